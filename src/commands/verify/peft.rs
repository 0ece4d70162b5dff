//! `velodrome verify --peft-goldens`: what Hugging Face PEFT computed with saved adapters, replayed.

use super::replayed::{self, Replayed, caught, error_cell, finite};
use crate::commands::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use burn::tensor::Device;
use serde::Serialize;
use std::path::Path;
use velodrome_submissions::adapters::interchange;

/// One row of the result.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    /// Name of the case's folder.
    case: String,
    /// The method that the case names; `None` where the case cannot be read.
    method: Option<String>,
    /// Largest error of outputs and merged weights; `None` where nothing was computed or the result is
    /// not finite.
    max_error: Option<f64>,
    passed: bool,
    message: String,
}

impl Replayed for Row {
    const CASES: &'static str = "adapters";
    const HEADER: &'static [&'static str] = &["case", "method", "largest error"];

    fn passed(&self) -> bool {
        self.passed
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.case.clone(),
            self.method.clone().unwrap_or_else(|| "-".into()),
            error_cell(self.max_error),
        ]
    }

    fn message(&self) -> &str {
        &self.message
    }
}

/// Replays every folder in `folder`, or `folder` itself where it is a case.
pub(super) fn execute(
    folder: &Path,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let hidden = |path: &Path| replayed::name(path).starts_with('.');
    let folders = match folder.join("case.json").is_file() {
        true => vec![folder.to_path_buf()],
        false => {
            let none =
                "holds no folders with adapters (case.json, case.safetensors, and PEFT's files)";
            replayed::cases(folder, none, |path| path.is_dir() && !hidden(path))?
        }
    };
    let rows: Vec<Row> = folders.iter().map(|folder| row(folder)).collect();
    replayed::report(&rows, format, console)
}

fn row(folder: &Path) -> Row {
    let mut row = Row {
        case: replayed::name(folder),
        method: None,
        max_error: None,
        passed: false,
        message: String::new(),
    };
    let device = Device::flex();
    let replay =
        caught(|| interchange::replay(folder, &device, &mut row.method).map_err(|e| e.to_string()));
    match replay {
        Ok(replay) => {
            row.max_error = finite(replay.max_error);
            row.passed = replay.first_miss.is_none();
            row.message = replay.first_miss.unwrap_or_default();
        }
        Err(message) => row.message = message,
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn goldens() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("submissions/tests/goldens/peft")
    }

    fn run(folder: &Path) -> (Result<Exit, Failure>, serde_json::Value) {
        let (mut console, out, _) = Console::captured();
        let exit = execute(folder, Format::Json, &mut console);
        (exit, serde_json::from_str(&out.text()).unwrap_or_default())
    }

    /// Copies a case, without one file.
    fn copy(case: &str, to: &Path, without: &str) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(goldens().join(case)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if name != without {
                fs::copy(&path, to.join(name)).unwrap();
            }
        }
    }

    #[test]
    fn the_repository_s_cases_pass() {
        let (exit, rows) = run(&goldens());
        assert_eq!(exit.unwrap(), Exit::Ok, "{rows}");
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 21);
        assert!(rows.iter().all(|r| r["max_error"].as_f64().unwrap() < 1e-5));
        assert_eq!(rows[0]["case"], "adalora");
        assert_eq!(rows[0]["method"], "adalora");
    }

    #[test]
    fn what_fails_is_a_row_and_the_others_run() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        copy("lora", &at("a"), "adapter_model.safetensors");
        copy("lora", &at("b"), "case.json");
        copy("lora", &at("c"), "");
        copy("lora", &at("d"), "");
        let config = at("d").join("adapter_config.json");
        let text = fs::read_to_string(&config).unwrap();
        let wrong = text.replace("\"lora_alpha\": 8", "\"lora_alpha\": 9");
        assert_ne!(wrong, text);
        fs::remove_file(&config).unwrap();
        fs::write(&config, wrong).unwrap();
        let (exit, rows) = run(folder.path());
        assert_eq!(exit.unwrap(), Exit::CheckFailed);
        let passed: Vec<bool> = (0..4).map(|i| rows[i]["passed"] == true).collect();
        assert_eq!(passed, [false, false, true, false], "{rows}");
        let message = |i: usize| rows[i]["message"].as_str().unwrap().to_string();
        assert!(
            message(0).contains("adapter_model.safetensors"),
            "{}",
            message(0)
        );
        assert!(message(1).contains("case.json"), "{}", message(1));
        assert!(message(3).contains("is off by"), "{}", message(3));
        assert!(rows[3]["max_error"].as_f64().unwrap() > 1e-3);
    }

    #[test]
    fn a_folder_without_cases_is_an_error_and_a_case_is_one_row() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(run(empty.path()).0.unwrap_err().exit(), Exit::Usage);
        let (exit, rows) = run(&goldens().join("boft"));
        assert_eq!(exit.unwrap(), Exit::Ok);
        assert_eq!(rows.as_array().unwrap().len(), 1);
    }
}

//! `velodrome verify --goldens`: reference trajectories of a folder, replayed.

use super::replayed::{self, Replayed, caught, error_cell, finite};
use crate::commands::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use burn::tensor::Device;
use serde::Serialize;
use std::fs;
use std::path::Path;
use velodrome_harness::conformance::Check;
use velodrome_harness::conformance::golden::{Golden, Replay};
use velodrome_harness::registry::nearest;
use velodrome_submissions::references;

/// The name of the check against a reference's trajectory.
const REFERENCE: &str = "reference";

/// One row of the result.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    /// Name of the file in its folder.
    file: String,
    /// The optimizer that the file names; `None` where the file cannot be read.
    optimizer: Option<String>,
    /// Largest distance from the reference; `None` where nothing was computed or the result is not
    /// finite.
    max_error: Option<f64>,
    /// Largest share of the tolerance that was used.
    share_of_tolerance: Option<f64>,
    passed: bool,
    message: String,
}

impl Replayed for Row {
    const CASES: &'static str = "golden files";
    const HEADER: &'static [&'static str] = &["file", "optimizer", "largest error", "of tolerance"];

    fn passed(&self) -> bool {
        self.passed
    }

    fn cells(&self) -> Vec<String> {
        let share = self.share_of_tolerance;
        vec![
            self.file.clone(),
            self.optimizer.clone().unwrap_or_else(|| "-".into()),
            error_cell(self.max_error),
            share.map_or_else(|| "-".into(), |x| format!("{:.0} %", 100.0 * x)),
        ]
    }

    fn message(&self) -> &str {
        &self.message
    }
}

/// Replays all `.json` files of `folder`.
pub(super) fn execute(
    folder: &Path,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let golden = |path: &Path| path.is_file() && path.extension().is_some_and(|e| e == "json");
    let files = replayed::cases(folder, "holds no golden files (*.json)", golden)?;
    let rows: Vec<Row> = files.iter().map(|file| row(file)).collect();
    replayed::report(&rows, format, console)
}

fn row(path: &Path) -> Row {
    let mut row = Row {
        file: replayed::name(path),
        optimizer: None,
        max_error: None,
        share_of_tolerance: None,
        passed: false,
        message: String::new(),
    };
    match caught(|| replay(path, &mut row.optimizer)) {
        Ok(replay) => {
            row.max_error = finite(replay.max_error);
            row.share_of_tolerance = finite(replay.share_of_tolerance);
            row.passed = replay.first_miss.is_none();
            row.message = replay.first_miss.unwrap_or_else(|| replay.notes.join("; "));
        }
        Err(message) => row.message = format!("{}: {message}", row.file),
    }
    row
}

/// The check of the built-in submission `name` against the trajectory that comes with the program;
/// `None` where there is none.
pub(super) fn reference(name: &str) -> Option<Check> {
    let (_, text) = references::GOLDENS.iter().find(|(n, _)| *n == name)?;
    Some(match replay_text(text, &mut None) {
        Ok(replay) => reference_check(replay),
        Err(message) => Check {
            name: REFERENCE,
            passed: false,
            message,
        },
    })
}

fn reference_check(replay: Replay) -> Check {
    let mut message = format!(
        "largest error {:.1e}, {:.0} % of the tolerance",
        replay.max_error,
        100.0 * replay.share_of_tolerance
    );
    for more in replay.first_miss.iter().chain(&replay.notes) {
        message = format!("{message}; {more}");
    }
    Check {
        name: REFERENCE,
        passed: replay.first_miss.is_none(),
        message,
    }
}

/// Replays one file and says in `optimizer` which one it names.
fn replay(path: &Path, optimizer: &mut Option<String>) -> Result<Replay, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))?;
    replay_text(&text, optimizer)
}

/// Replays the text of one file and says in `optimizer` which one it names.
fn replay_text(text: &str, optimizer: &mut Option<String>) -> Result<Replay, String> {
    let golden = Golden::parse(text)?;
    *optimizer = Some(golden.optimizer.clone());
    let all = references::all();
    let reference = all.iter().find(|r| r.optimizer == golden.optimizer);
    let reference = reference.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|r| r.optimizer).collect();
        let nearest = nearest(&golden.optimizer, names.iter().copied());
        let hint = nearest.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        format!(
            "`optimizer` is `{}`, which has no reference here{hint} (known: {})",
            golden.optimizer,
            names.join(", ")
        )
    })?;
    golden.replay(reference, &Device::flex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(files: &[(&str, &str)]) -> (Result<Exit, Failure>, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let (mut console, out, _) = Console::captured();
        let exit = execute(folder.path(), Format::Json, &mut console);
        (exit, serde_json::from_str(&out.text()).unwrap_or_default())
    }

    const LION: (&str, &str) = references::GOLDENS[4];

    #[test]
    fn a_sound_folder_passes_with_errors_in_numbers() {
        let (exit, rows) = run(&[("one.json", LION.1), ("README.md", "# notes")]);
        assert_eq!(exit.unwrap(), Exit::Ok);
        let row = &rows[0];
        assert_eq!(rows.as_array().unwrap().len(), 1);
        assert_eq!(
            (&row["file"], &row["optimizer"]),
            (&"one.json".into(), &"lion".into())
        );
        assert_eq!(row["passed"], true);
        let error = row["max_error"].as_f64().unwrap();
        assert!(error > 0.0 && error < 1e-5, "{error}");
        assert!(row["share_of_tolerance"].as_f64().unwrap() <= 1.0);
    }

    #[test]
    fn a_built_in_submission_is_checked_against_its_own_trajectory() {
        assert!(reference("no_such_rule").is_none());
        let lion = reference("lion").unwrap();
        assert!(lion.passed, "{}", lion.message);
        assert!(
            lion.message.contains("% of the tolerance"),
            "{}",
            lion.message
        );
        let wrong = LION
            .1
            .replace("\"weight_decay\": 0.1", "\"weight_decay\": 0.2");
        let miss = reference_check(replay_text(&wrong, &mut None).unwrap());
        assert!(!miss.passed);
        assert!(miss.message.contains("step 1"), "{}", miss.message);
    }

    #[test]
    fn what_fails_is_a_row_and_the_others_run() {
        let wrong = LION
            .1
            .replace("\"weight_decay\": 0.1", "\"weight_decay\": 0.2");
        let unknown = LION
            .1
            .replace("\"optimizer\": \"lion\"", "\"optimizer\": \"loin\"");
        let cut = &LION.1[..1000];
        let files = [
            ("a.json", wrong.as_str()),
            ("b.json", &unknown),
            ("c.json", cut),
            ("d.json", LION.1),
        ];
        let (exit, rows) = run(&files);
        assert_eq!(exit.unwrap(), Exit::CheckFailed);
        let passed: Vec<bool> = (0..4).map(|i| rows[i]["passed"] == true).collect();
        assert_eq!(passed, [false, false, false, true]);
        let message = |i: usize| rows[i]["message"].as_str().unwrap().to_string();
        assert!(message(0).contains("step 1"), "{}", message(0));
        assert!(message(1).contains("b.json: `optimizer`"), "{}", message(1));
        assert!(
            message(1).contains("did you mean `lion`?"),
            "{}",
            message(1)
        );
        assert!(message(2).contains("c.json"), "{}", message(2));
    }

    #[test]
    fn a_folder_without_golden_files_is_an_error() {
        let (exit, _) = run(&[("README.md", "# notes")]);
        assert_eq!(exit.unwrap_err().exit(), Exit::Usage);
        let (mut console, _, _) = Console::captured();
        let missing = execute(Path::new("no/such/folder"), Format::Text, &mut console);
        assert_eq!(missing.unwrap_err().exit(), Exit::Io);
    }
}

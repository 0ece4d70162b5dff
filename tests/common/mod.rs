//! Running the command as a user would.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use velodrome::results::log;
use velodrome::results::run::Run;
use velodrome::results::{EvalRecord, TrialRecord};

/// The command.
pub fn velodrome() -> Command {
    quiet(Command::new(env!("CARGO_BIN_EXE_velodrome")))
}

/// The command with the riders of `tests/riders`.
pub fn riders() -> Command {
    example("test_riders")
}

/// A binary on top of this crate, which `cargo test` builds as an example.
pub fn example(name: &str) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_velodrome"));
    let path = built
        .with_file_name("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{} is missing; `cargo test` without a target filter builds it",
        path.display()
    );
    quiet(Command::new(path))
}

fn quiet(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs to the end; standard output and error as text, and the exit code.
pub fn finish(command: &mut Command) -> (String, String, i32) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
        status.code().unwrap_or(-1),
    )
}

/// Runs to the end and expects success.
pub fn succeed(command: &mut Command) -> String {
    let (out, err, code) = finish(command);
    assert_eq!(code, 0, "{command:?}\n{out}\n{err}");
    out
}

/// Writes a suite file.
pub fn suite(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("suite.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Reads a run directory that must hold no damage.
pub fn read(dir: &Path) -> Run {
    let run = Run::read(dir).unwrap();
    assert!(run.damaged.is_empty(), "{:?}", run.damaged);
    assert!(run.missing.is_empty(), "{:?}", run.missing);
    run
}

/// Evaluations of every trial of a run, without seconds.
pub fn timeless_evals(dir: &Path) -> Vec<(String, Vec<EvalRecord>)> {
    read(dir)
        .trials
        .iter()
        .map(|t| {
            let evals = log::read(&t.path.join("evals.jsonl")).unwrap();
            (
                t.record.id.clone(),
                evals.iter().map(EvalRecord::timeless).collect(),
            )
        })
        .collect()
}

/// Fails where two runs differ in anything but seconds, memory and interruptions.
pub fn assert_same(a: &Path, b: &Path) {
    assert_eq!(timeless_evals(a), timeless_evals(b));
    let records = |dir: &Path| -> Vec<TrialRecord> {
        let run = read(dir);
        run.trials.iter().map(|t| t.record.timeless()).collect()
    };
    assert_eq!(records(a), records(b));
}

/// Makes a finished trial look as if it had been killed right after its start.
pub fn rewind(trial: &Path) {
    let path = trial.join("trial.json");
    let record = TrialRecord::read(&path).unwrap();
    record.as_planned().write(&path).unwrap();
}

/// Every file below a folder, with its content.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    for (path, content) in files(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// Numbers that look random and are the same at every run of a test (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

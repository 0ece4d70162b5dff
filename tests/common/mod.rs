//! Running the command as a user would.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use velodrome::results::EvalRecord;
use velodrome::results::log;
use velodrome::results::run::Run;

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

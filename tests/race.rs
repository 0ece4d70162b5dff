//! Two programs in turn: verdicts, and a race that goes on where it was stopped.
#![cfg(unix)]

mod common;

use common::*;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use velodrome::results::compare::{Comparison, Verdict};

const SUITE: &str = r#"
name = "race"
workloads = ["digits_mlp"]
submissions = ["moody"]
threads = 1
[overrides.digits_mlp]
budget_work = 3200
eval_every_work = 640
"#;

/// The riders of the tests in a mood: a program of its own, as a changed build would be.
fn rider(folder: &Path, mood: &str) -> PathBuf {
    let riders = riders().get_program().to_string_lossy().into_owned();
    let path = folder.join(format!("riders-{mood}"));
    let text = format!("#!/bin/sh\nVELODROME_TEST_MOOD={mood} exec '{riders}' \"$@\"\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn race(folder: &Path, moods: [&str; 2], studies: u32) -> Command {
    let mut command = velodrome();
    let [base, candidate] = moods.map(|mood| rider(folder, mood));
    command.arg("race").arg(suite(folder, SUITE));
    command.arg("--base").arg(base);
    command.arg("--candidate").arg(candidate);
    command.arg("--out").arg(folder.join("race"));
    command.args(["--format=json", &format!("--studies={studies}")]);
    command
}

/// Verdict and exit code, and how many trials each side has.
fn ended(folder: &Path, command: &mut Command) -> (Comparison, i32, [usize; 2]) {
    let (out, err, code) = finish(command);
    let found = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
    let trials =
        ["base", "candidate"].map(|side| read(&folder.join("race").join(side)).trials.len());
    (found, code, trials)
}

#[test]
fn a_crash_of_the_candidate_ends_the_race_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = race(dir.path(), ["calm", "panic"], 40);
    let (found, code, trials) = ended(dir.path(), &mut command);
    assert_eq!(
        (found.verdict, code, trials),
        (Verdict::Regressed, 11, [1, 1])
    );
    // Once more: the same verdict, and nothing is raced.
    let before = std::fs::read(dir.path().join("race/race.json")).unwrap();
    let (again, code, trials) = ended(dir.path(), &mut command);
    assert_eq!(
        (again.verdict, code, trials),
        (Verdict::Regressed, 11, [1, 1])
    );
    assert_eq!(
        std::fs::read(dir.path().join("race/race.json")).unwrap(),
        before
    );
    // Its verdict is not that of another program.
    let (_, err, code) = finish(&mut race(dir.path(), ["calm", "calm"], 40));
    assert_eq!(code, 6, "{err}");
}

#[test]
fn a_hungry_candidate_is_found_in_the_first_block() {
    let dir = tempfile::tempdir().unwrap();
    let (found, code, trials) = ended(dir.path(), &mut race(dir.path(), ["calm", "hungry"], 40));
    assert_eq!(
        (found.verdict, code, trials),
        (Verdict::Regressed, 11, [1, 1]),
        "{found:#?}"
    );
}

#[test]
fn a_slow_candidate_is_found_and_its_learning_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (found, code, trials) = ended(dir.path(), &mut race(dir.path(), ["calm", "slow"], 30));
    assert_eq!(
        (found.verdict, code),
        (Verdict::Regressed, 11),
        "{found:#?}"
    );
    use velodrome::results::compare::Question::{Learning, Speed};
    assert_eq!(found.answers[&Learning].verdict, Verdict::Same);
    assert_eq!(found.answers[&Speed].verdict, Verdict::Regressed);
    assert!(trials[0] >= 9 && trials[0] <= 30, "{trials:?}");
}

/// An interrupted race leaves two runs that can be read, and goes on.
#[test]
fn an_interrupted_race_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = race(dir.path(), ["calm", "calm"], 4);
    let mut child = command.spawn().unwrap();
    let first = dir
        .path()
        .join("race/base/trials/digits_mlp.moody.study-1.trial-1/trial.json");
    let give_up = Instant::now() + Duration::from_secs(60);
    while !first.exists() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    for side in ["base", "candidate"] {
        let run = dir.path().join("race").join(side);
        if run.join("run.json").exists() {
            read(&run);
        }
    }
    let (found, code, trials) = ended(dir.path(), &mut command);
    // Four pairs of the same program are too few for its speed, and enough to see that it learns alike.
    assert_eq!(trials, [4, 4]);
    assert!(code == 12 || code == 0, "{found:#?}");
    assert!(
        found.rows.iter().all(|r| r.changed == Some(false)),
        "{found:#?}"
    );
    assert!(
        found.notes.iter().any(|n| n.code == "looks"),
        "{:?}",
        found.notes
    );
}

#[test]
fn a_program_without_the_submission_is_refused_with_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = race(dir.path(), ["calm", "calm"], 2);
    command.args(["-s", "nobody"]);
    let (_, err, code) = finish(&mut command);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("nobody"), "{err}");
}

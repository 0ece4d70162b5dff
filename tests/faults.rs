//! Riders that break the rules: each is a row with its own status, and the others finish.

mod common;

use common::*;
use velodrome::results::Status;

#[test]
fn every_fault_is_a_row_and_the_rest_of_the_suite_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(
        dir.path(),
        r#"
name = "faults"
workloads = ["digits_mlp"]
submissions = ["panics", "not_a_number", "sleeps", "holds_the_pool", "memory_hog", "aborts", "honest"]

[limits]
stall_seconds = 4
memory_bytes = 500_000_000

[overrides.digits_mlp]
budget_work = 3200
eval_every_work = 640
"#,
    );
    let out = dir.path().join("run");
    let mut command = riders();
    command.arg("run").arg(&suite).arg("--out").arg(&out);
    let (stdout, stderr, code) = finish(&mut command);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    let run = read(&out);
    let status = |name: &str| {
        let trial = run.trials.iter().find(|t| t.record.submission == name);
        let record = &trial.unwrap().record;
        (record.status, record.reason.clone().unwrap_or_default())
    };
    let expect = |name: &str, wanted: Status, word: &str| {
        let (found, reason) = status(name);
        assert_eq!(found, wanted, "{name}: {reason}");
        assert!(reason.contains(word), "{name}: {reason}");
        assert!(stdout.contains(name), "no row for {name}:\n{stdout}");
    };
    expect("panics", Status::Crashed, "lost a wheel");
    expect("not_a_number", Status::Diverged, "finite");
    expect("sleeps", Status::TimedOut, "no progress for 4 s");
    // In a call of the device, from which the trial's own process cannot come back.
    expect("holds_the_pool", Status::TimedOut, "no progress for 4 s");
    expect("memory_hog", Status::OutOfMemory, "limit");
    expect("aborts", Status::Crashed, "signal 6");
    assert!(matches!(
        status("honest").0,
        Status::Missed | Status::Reached
    ));
    // A failure does not end the command, unless it is asked to be strict.
    let mut strict = riders();
    strict
        .arg("run")
        .arg(&suite)
        .arg("--out")
        .arg(&out)
        .arg("--strict");
    assert_eq!(finish(&mut strict).2, 3);
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_thread_gains_nothing_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(
        dir.path(),
        r#"
name = "threads"
workloads = ["shakespeare_gpt"]
submissions = ["second_thread", "honest"]
[overrides.shakespeare_gpt]
budget_work = 64
eval_every_work = 16
"#,
    );
    let out = dir.path().join("run");
    succeed(riders().arg("run").arg(&suite).arg("--out").arg(&out));
    let run = read(&out);
    let outcome = |name: &str| {
        let trial = run.trials.iter().find(|t| t.record.submission == name);
        trial.unwrap().record.clone()
    };
    let cheat = outcome("second_thread");
    // The thread never rests, so it worked through (nearly) all of the time off the clock that a
    // processor had for it; all of that is on its clock.
    let clock = cheat.outcome.clock;
    assert!(clock.background > 0.0, "{clock:?}");
    assert!(clock.on_clock() > clock.training + clock.prepare + clock.start);
    let honest = outcome("honest").outcome.clock;
    assert!(honest.background < 0.05 * honest.on_clock(), "{honest:?}");
}

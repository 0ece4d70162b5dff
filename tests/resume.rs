//! Killed at any moment and started again: nothing lost, nothing repeated, the same numbers.

mod common;

use common::*;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

const SUITE: &str = r#"
name = "resume"
workloads = ["digits_mlp", "shakespeare_gpt"]
submissions = ["adamw", "nesterov", "schedule_free_adamw"]
studies = 1

[limits]
# A checkpoint at every evaluation.
checkpoint_seconds = 0

[overrides.digits_mlp]
budget_work = 64000
eval_every_work = 512
[overrides.shakespeare_gpt]
budget_work = 1600
eval_every_work = 160
"#;

fn start(suite: &Path, out: &Path) -> Child {
    let mut command = velodrome();
    // Inherited pipes that nobody reads would block the command; its words are not needed here.
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command.arg("run").arg(suite).arg("--out").arg(out);
    command.spawn().unwrap()
}

/// Milliseconds until the next kill: spread over a second, fixed for a repeatable test.
fn moments() -> impl Iterator<Item = u64> {
    let mut state: u64 = 42;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        50 + (state >> 33) % 1000
    })
}

#[cfg(unix)]
#[test]
fn ten_kills_change_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let straight = dir.path().join("straight");
    succeed(
        velodrome()
            .arg("run")
            .arg(&suite)
            .arg("--out")
            .arg(&straight),
    );

    let killed = dir.path().join("killed");
    let mut kills = 0;
    for wait in moments().take(10) {
        let mut child = start(&suite, &killed);
        std::thread::sleep(Duration::from_millis(wait));
        if child.try_wait().unwrap().is_none() {
            // SIGKILL: no chance to clean up.
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills >= 5, "only {kills} of 10 kills met a running race");
    let out = succeed(velodrome().arg("run").arg(&suite).arg("--out").arg(&killed));
    assert!(out.contains("adamw"), "{out}");

    assert_eq!(timeless_evals(&straight), timeless_evals(&killed));
    let (a, b) = (read(&straight), read(&killed));
    let resumes: u32 = b.trials.iter().map(|t| t.record.outcome.resumes).sum();
    println!("{kills} kills, {resumes} resumes from a checkpoint");
    for (a, b) in a.trials.iter().zip(&b.trials) {
        assert_eq!(a.record.timeless(), b.record.timeless());
    }
    // A further start races nothing.
    let before = std::fs::read(
        killed
            .join("trials")
            .join(&a.trials[0].record.id)
            .join("trial.json"),
    );
    succeed(velodrome().arg("run").arg(&suite).arg("--out").arg(&killed));
    let after = std::fs::read(
        killed
            .join("trials")
            .join(&a.trials[0].record.id)
            .join("trial.json"),
    );
    assert_eq!(before.unwrap(), after.unwrap());
}

#[test]
fn a_second_start_on_one_folder_is_refused_with_the_holders_number() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let out = dir.path().join("run");
    let mut first = start(&suite, &out);
    let give_up = Instant::now() + Duration::from_secs(30);
    while !out.join("run.json").exists() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (_, err, code) = finish(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    let pid = first.id().to_string();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code, 5, "{err}");
    assert!(err.contains(&pid), "process {pid} is not named: {err}");
}

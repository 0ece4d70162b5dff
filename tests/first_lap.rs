//! The first lap: one command, and everything it promises lies in the run folder.

mod common;

use common::*;
use velodrome::results::Status;

#[test]
fn the_smoke_suite_leaves_records_board_tables_charts_and_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let stdout = succeed(velodrome().args(["run", "smoke", "--out"]).arg(&out));
    let run = read(&out);
    assert!(!run.trials.is_empty());
    for trial in &run.trials {
        let record = &trial.record;
        assert!(
            matches!(record.status, Status::Reached | Status::Missed),
            "{}: {:?}",
            record.id,
            record.reason
        );
        assert!(stdout.contains(&record.submission), "{stdout}");
        let clock = record.outcome.clock;
        assert!(
            clock.unaccounted_share().abs() < 0.01,
            "{}: the parts of the wall time do not add up: {clock:?}",
            record.id
        );
        assert_eq!(
            record.outcome.counters.evaluations,
            trial.evals.len() as u64
        );
        assert!(record.outcome.state_bytes > 0, "{}", record.id);
        assert!(record.outcome.step_times.count > 0);
        assert!(record.fingerprint.executable.len() == 64);
    }
    let charts = std::fs::read_dir(out.join("charts")).unwrap();
    let names: Vec<String> = charts
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    for kind in [".png", ".svg"] {
        assert!(
            names.iter().filter(|n| n.ends_with(kind)).count() >= 3,
            "{names:?}"
        );
    }
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("digits_mlp"));
    for file in ["board.md", "board.csv", "board.json"] {
        assert!(out.join(file).exists(), "{file}");
    }
    let json = succeed(velodrome().args(["score", "--format", "json"]).arg(&out));
    let board: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(board["rows"].as_array().is_some_and(|r| !r.is_empty()));
    // The same command again races nothing and prints the same board.
    let again = succeed(velodrome().args(["run", "smoke", "--out"]).arg(&out));
    assert_eq!(stdout, again);
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let stdout = succeed(
        velodrome()
            .args(["run", "smoke", "--dry-run", "--out"])
            .arg(&out),
    );
    assert!(stdout.contains("digits_mlp"), "{stdout}");
    assert!(!out.exists());
}

#[test]
fn every_submission_passes_its_checks() {
    let stdout = succeed(velodrome().args(["verify", "--quick"]));
    assert!(stdout.contains("adamw"), "{stdout}");
}

#[test]
fn events_are_json_lines_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut command = velodrome();
    command
        .args([
            "run", "smoke", "--events", "json", "--format", "json", "-s", "adamw", "--out",
        ])
        .arg(&out);
    let (stdout, stderr, code) = finish(&mut command);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str::<serde_json::Value>(&stdout).unwrap();
    let events: Vec<serde_json::Value> = stderr
        .lines()
        .filter(|l| l.starts_with('{'))
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let kinds: Vec<&str> = events.iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(kinds.first(), Some(&"run_started"));
    assert_eq!(kinds.last(), Some(&"run_ended"));
    assert!(kinds.contains(&"evaluated"));
}

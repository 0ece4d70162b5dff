//! `verify` as a user runs it: the checks that take processes of their own.

mod common;

use common::*;
use std::process::Command;

/// The names of the failed checks of `name`, and all messages.
fn failed(command: &mut Command, name: &str) -> (Vec<String>, String) {
    let (out, err, _) = finish(command.args(["verify", name, "--format", "json"]));
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
    let failed = rows.iter().filter(|row| row["passed"] == false);
    let name = |row: &serde_json::Value| row["check"].as_str().unwrap().to_string();
    let checks: Vec<String> = rows.iter().map(name).collect();
    for check in ["two_processes", "resume_in_new_process", "diverges"] {
        assert!(checks.contains(&check.to_string()), "{check}: {out}");
    }
    (failed.map(name).collect(), out)
}

#[test]
fn built_in_riders_of_either_ruleset_pass() {
    for name in [
        "bitfit",
        "adamw",
        "schedule_free_adamw",
        "nadamw_sequential",
    ] {
        let (failed, out) = failed(&mut velodrome(), name);
        assert!(failed.is_empty(), "{out}");
    }
}

#[test]
fn an_authors_own_riders_are_raced_and_each_vice_fails_its_own_check() {
    for (rider, wanted) in [
        ("honest", vec![]),
        ("keeps_in_program", vec!["resume_in_new_process"]),
        (
            "process_number",
            vec!["two_processes", "resume_in_new_process"],
        ),
    ] {
        let (failed, out) = failed(&mut riders(), rider);
        assert_eq!(failed, wanted, "{rider}: {out}");
    }
    // One that panics, or ends its own process, fails whatever it raced in, and `verify` goes on.
    let (failed, out) = failed(&mut riders(), "panics");
    for check in ["two_processes", "resume_in_new_process", "diverges"] {
        assert!(failed.contains(&check.to_string()), "{check}: {out}");
    }
    assert!(out.contains("lost a wheel"), "{out}");
}

#[test]
fn quick_races_nothing() {
    let out = succeed(velodrome().args(["verify", "--quick", "adamw"]));
    assert!(out.contains("adamw resumes"), "{out}");
    assert!(!out.contains("two_processes"), "{out}");
}

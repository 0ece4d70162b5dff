//! `velodrome audit` finds what does not hold.

mod common;

use common::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use velodrome::results::log;

const SUITE: &str = r#"
name = "audited"
workloads = ["digits_mlp"]
submissions = ["adamw", "nesterov"]
studies = 2
threads = 1

[overrides.digits_mlp]
budget_work = 3200
eval_every_work = 640
"#;

fn raced(dir: &Path) -> PathBuf {
    let (suite, out) = (suite(dir, SUITE), dir.join("run"));
    let mut command = velodrome();
    command.arg("run").arg(suite).arg("--out").arg(&out);
    succeed(command.arg("--records-only"));
    out
}

/// What an audit says, and its exit code.
fn audit(mut command: Command, run: &Path, studies: usize, seed: u64) -> (Value, i32) {
    command.arg("audit").arg(run).args(["--format", "json"]);
    command.args([
        "--studies",
        &studies.to_string(),
        "--seed",
        &seed.to_string(),
    ]);
    let (out, err, code) = finish(&mut command);
    let found = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
    (found, code)
}

/// The codes of the findings.
fn codes(found: &Value) -> Vec<&str> {
    let doubts = found["doubts"].as_array().unwrap();
    doubts.iter().map(|d| d["code"].as_str().unwrap()).collect()
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let before = std::fs::read(file).unwrap();
    let mut record: Value = serde_json::from_slice(&before).unwrap();
    change(&mut record);
    std::fs::write(file, record.to_string()).unwrap();
    before
}

#[test]
fn an_honest_run_holds_and_an_altered_record_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = raced(dir.path());
    let (found, code) = audit(velodrome(), &run, 2, 1);
    assert_eq!(
        (codes(&found).as_slice(), code),
        (&[] as &[&str], 0),
        "{found}"
    );
    assert_eq!(found["records"], 4);
    assert_eq!(found["raced_again"].as_array().unwrap().len(), 2);

    let trial = run.join("trials/digits_mlp.adamw.study-1.trial-1");
    let file = trial.join("trial.json");
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 5] = [
        ("settings", |r| r["point"]["learning_rate"] = json!(0.5)),
        ("settings", |r| r["seeds"]["data"] = json!(7)),
        ("hash", |r| r["hash"] = json!("0123456789abcdef")),
        ("outcome", |r| {
            r["outcome"]["best_validation"] = json!(0.001)
        }),
        ("target", |r| r["status"] = json!("reached")),
    ];
    for (wanted, change) in changes {
        let before = edit(&file, change);
        let (found, code) = audit(velodrome(), &run, 0, 1);
        assert!(codes(&found).contains(&wanted), "{wanted}: {found}");
        let named = |d: &Value| d["trial"] == "digits_mlp.adamw.study-1.trial-1";
        assert!(
            found["doubts"].as_array().unwrap().iter().all(named),
            "{found}"
        );
        assert_eq!(code, 1);
        std::fs::write(&file, before).unwrap();
    }
}

/// Who changes evaluations and everything that follows from them is found by racing again, and only so.
#[test]
fn numbers_that_agree_with_each_other_are_raced_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = raced(dir.path());
    let trial = run.join("trials/digits_mlp.nesterov.study-2.trial-1");
    let path = trial.join("evals.jsonl");
    let mut evals = log::read(&path).unwrap();
    let mut lines = String::new();
    let mut best = f64::INFINITY;
    for eval in &mut evals {
        let error = eval.validation.get_mut("error_rate").unwrap();
        *error *= 0.9;
        best = best.min(*error);
        lines += &log::encode(eval).unwrap();
        lines.push('\n');
    }
    std::fs::write(&path, lines).unwrap();
    edit(&trial.join("trial.json"), |r| {
        r["outcome"]["best_validation"] = json!(best);
    });
    let (found, code) = audit(velodrome(), &run, 0, 1);
    assert_eq!(
        (codes(&found).as_slice(), code),
        (&[] as &[&str], 0),
        "{found}"
    );
    let (found, code) = audit(velodrome(), &run, 4, 1);
    assert_eq!((codes(&found), code), (vec!["again"], 1), "{found}");
    assert_eq!(
        found["doubts"][0]["trial"],
        "digits_mlp.nesterov.study-2.trial-1"
    );
}

#[test]
fn a_submission_that_does_not_repeat_itself_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = SUITE.replace(r#"["adamw", "nesterov"]"#, r#"["process_number"]"#);
    let (suite, out) = (suite(dir.path(), &text), dir.path().join("run"));
    let mut command = riders();
    command.arg("run").arg(suite).arg("--out").arg(&out);
    succeed(command.arg("--records-only"));
    let (found, code) = audit(riders(), &out, 1, 1);
    assert_eq!((codes(&found), code), (vec!["again"], 1), "{found}");
}

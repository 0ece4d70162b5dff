//! Official logs through the command: forms, exit codes, records and export.

#[path = "../results/tests/results/logtree.rs"]
#[allow(dead_code)] // The tests of the results use the rest.
mod logtree;

mod common;

use common::*;
use logtree::*;
use serde_json::Value;
use std::path::Path;

fn score(root: &Path, targets: &Path, more: &[&str]) -> (String, String, i32) {
    let mut command = velodrome();
    command
        .arg("score")
        .arg("--algoperf")
        .arg(root)
        .arg("--targets")
        .arg(targets);
    finish(command.args(more))
}

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

/// Submission, score and rank, best first.
fn ranking(text: &str) -> Vec<(String, String, u64)> {
    json(text)
        .iter()
        .map(|o| {
            let score = o["score"].as_f64().unwrap();
            let name = o["submission"].as_str().unwrap().to_string();
            (name, format!("{score:.4}"), o["rank"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn every_form_and_policy() {
    let logs = board(1);
    let all = |more: &[&str]| {
        let (out, err, code) = score(&logs.root, &logs.targets, more);
        assert_eq!(code, 0, "{err}");
        out
    };
    let text = all(&[]);
    for words in [
        "Time to target after the rules",
        "Performance profile",
        "Speed-up",
        "Seconds per step",
        "What the scores depend on",
        "without submission baseline",
        "50 % of the budget",
        "Assumed: Ruleset external",
        "findings, of which --strict refuses",
        "Policy min_time",
        "trapezoid:100",
        "0.6244",
        "crashed",
    ] {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
    let markdown = all(&["--format", "markdown"]);
    assert!(markdown.contains("## Speed-up") && markdown.contains("0.6244"));
    let csv = all(&["--format", "csv"]);
    assert_eq!(csv.lines().count(), 1 + 2 * 8);

    let published = ranking(&all(&["--format", "json"]));
    let row = |name: &str, score: &str, rank| (name.to_string(), score.to_string(), rank);
    assert_eq!(
        published,
        [row("shampoo", "0.6244", 1), row("baseline", "0.4590", 2)]
    );
    let other = all(&[
        "--format",
        "json",
        "--policy",
        "eval_index_tie_lowest_trial",
    ]);
    assert!(ranking(&other).contains(&row("baseline", "0.4716", 2)));
    let exact = all(&["--format", "json", "--integration", "exact"]);
    for object in json(&exact) {
        assert_eq!(object["score"], object["score_exact"]);
    }
}

#[test]
fn strict_tells_and_changes_no_number() {
    let logs = board(1);
    let (free, ..) = score(&logs.root, &logs.targets, &["--format", "json"]);
    let (strict, err, code) = score(&logs.root, &logs.targets, &["--format", "json", "--strict"]);
    assert_eq!(code, 10, "{err}");
    assert!(
        err.contains("--strict") && err.contains("empty_trial"),
        "{err}"
    );
    assert_eq!(free, strict);
    // Complete logs pass.
    let logs = board(2);
    let (_, err, code) = score(&logs.root, &logs.targets, &["--strict"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn what_is_wrong_is_named() {
    let logs = board(2);
    let (_, err, code) = finish(velodrome().arg("score").arg("--algoperf").arg(&logs.root));
    assert_eq!(code, 2);
    assert!(err.contains("--targets"), "{err}");
    let empty = tempfile::tempdir().unwrap();
    let (_, err, code) = score(empty.path(), &logs.targets, &[]);
    assert_eq!(code, 9);
    assert!(err.contains("study_N"), "{err}");
    let (_, err, code) = score(&empty.path().join("none"), &logs.targets, &[]);
    assert_eq!(code, 7, "{err}");
    let targets = empty.path().join("targets.json");
    let text = std::fs::read_to_string(&logs.targets).unwrap();
    for (from, to, word) in [
        ("\"ssim\"", "\"beauty\"", "beauty"),
        ("\"base_workloads\"", "\"bases\"", "base_workloads"),
        ("\"fastmri\",", "\"fastmri\", \"zebra\",", "zebra"),
    ] {
        std::fs::write(&targets, text.replacen(from, to, 1)).unwrap();
        let (_, err, code) = score(&logs.root, &targets, &[]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("targets.json") && err.contains(word), "{err}");
    }
    let (_, err, code) = score(&logs.root, &logs.targets, &["--reference", "nobody"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("nobody") && err.contains("schedule_free_adamw_v2"),
        "{err}"
    );
    let (_, err, code) = score(&logs.root, &logs.targets, &["--integration", "trapezoid:1"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn records_report_and_export() {
    let logs = board(2);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let records = path("records").display().to_string();
    let out = path("board").display().to_string();
    let more = ["--format", "json", "--records", &records, "--out", &out];
    let (first, err, code) = score(&logs.root, &logs.targets, &more);
    assert_eq!(code, 0, "{err}");
    for file in [
        "board.md",
        "tables/trials.parquet",
        "charts/performance_profile.svg",
    ] {
        assert!(path("board").join(file).exists(), "{file}");
    }
    let page = path("page.html");
    let mut report = velodrome();
    report
        .arg("report")
        .arg("--algoperf")
        .arg(&logs.root)
        .arg("--targets")
        .arg(&logs.targets);
    let (_, err, code) = finish(report.arg("--out").arg(&page));
    assert_eq!(code, 0, "{err}");
    assert!(
        std::fs::read_to_string(page)
            .unwrap()
            .contains("schedule_free_adamw_v2")
    );

    let exported = path("exported");
    let mut export = velodrome();
    export
        .arg("export")
        .arg(&records)
        .arg("--algoperf")
        .arg(&exported);
    let (_, err, code) = finish(&mut export);
    assert_eq!(code, 0, "{err}");
    let (second, err, code) = score(
        &exported,
        &exported.join("targets.json"),
        &["--format", "json"],
    );
    assert_eq!(code, 0, "{err}");
    let (a, b) = (json(&first), json(&second));
    assert_eq!(a[0]["times"], b[0]["times"]);
    assert_eq!(a[0]["score"], b[0]["score"]);
    // A folder with something in it is not written over.
    let (_, err, code) = finish(&mut export);
    assert_eq!(code, 9);
    assert!(err.contains("not empty"), "{err}");
}

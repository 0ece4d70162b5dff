//! Bad input: a clear error that names the file and the field, an exit code from the table, and
//! the other trials' data untouched.

mod common;

use common::*;
use std::path::PathBuf;

const SUITE: &str = r#"
name = "small"
workloads = ["digits_mlp"]
submissions = ["adamw", "nesterov"]

[limits]
checkpoint_seconds = 0

[overrides.digits_mlp]
budget_work = 1280
eval_every_work = 640
"#;

fn refuse(text: &str, code: i32, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), text);
    let out = dir.path().join("run");
    let (_, err, found) = finish(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    assert_eq!(found, code, "{err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is not in: {err}");
    }
    assert!(!out.exists(), "something was written");
}

#[test]
fn a_typo_in_a_suite_names_file_line_and_nearest_key() {
    let text = SUITE.replace("submissions", "submisions");
    refuse(
        &text,
        2,
        &["suite.toml", "line 4", "submisions", "`submissions`"],
    );
    let text = SUITE.replace("budget_work", "budget_wrok");
    refuse(&text, 2, &["suite.toml", "line 10", "`budget_work`"]);
    let text = SUITE.replace("[overrides.digits_mlp]", "[overrides.digit_mlp]");
    refuse(&text, 2, &["suite.toml", "line 9", "`digits_mlp`"]);
}

#[test]
fn an_unknown_name_names_the_nearest() {
    let text = SUITE.replace("[\"digits_mlp\"]", "[\"digits_mpl\"]");
    refuse(&text, 2, &["line 3", "digits_mpl", "`digits_mlp`"]);
    let text = SUITE.replace("\"nesterov\"", "\"nestorov\"");
    refuse(&text, 2, &["line 4", "nestorov", "`nesterov`"]);
    let text = format!("{SUITE}\n[[points.adamw]]\nlearning_rat = 0.1\n").replace(
        "name = \"small\"",
        "name = \"small\"\nruleset = \"external\"",
    );
    refuse(&text, 2, &["line 15", "learning_rat", "`learning_rate`"]);
    let (_, err, code) = finish(velodrome().args(["run", "-w", "digits_mpl"]));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("`digits_mlp`"), "{err}");
}

#[test]
fn a_hyperparameter_out_of_range_names_file_field_and_range() {
    let external = SUITE.replace("name = ", "ruleset = \"external\"\nname = ");
    let with = |lines: &str| format!("{external}\n{lines}\n");
    let cases: [(&str, &[&str]); 8] = [
        // Line 14 opens the table, 15 is the first in it.
        (
            "[[points.adamw]]\nbeta1 = 1.5",
            &[
                "line 15",
                "`points.adamw`",
                "`beta1`",
                "1.5",
                "at least 0 and below 1",
            ],
        ),
        (
            "[[points.adamw]]\nlearning_rate = -1.0",
            &["line 15", "`learning_rate`", "at least 0"],
        ),
        (
            "[spaces.adamw]\nbeta3 = { scale = \"fixed\", value = 0.9 }",
            &["line 15", "no hyperparameter `beta3`", "did you mean `beta"],
        ),
        (
            "[spaces.adamw]\nbeta1 = { scale = \"uniform\", low = 0.5 }",
            &["line 15", "`spaces.adamw.beta1`", "lacks the field `high`"],
        ),
        (
            "[spaces.adamw]\nbeta1 = { low = 0.5, high = 0.6 }",
            &["line 15", "lacks the field `scale`", "log_uniform"],
        ),
        (
            "[spaces.adamw]\nbeta1 = { scale = \"uniform\", low = 0.5, high = 1.5 }",
            &["line 15", "`beta1`", "1.5", "at least 0 and below 1"],
        ),
        (
            "[spaces.adamw]\nbeta1 = { scale = \"unifrom\", low = 0.5, high = 0.6 }",
            &["line 15", "`unifrom`", "did you mean `uniform`"],
        ),
        (
            "[spaces.adamw]\nlearning_rate = { scale = \"log_uniform\", low = 1.0, high = 0.1 }",
            &["line 15", "`learning_rate`", "not sound"],
        ),
    ];
    for (lines, words) in cases {
        let mut all = vec!["suite.toml"];
        all.extend(words);
        refuse(&with(lines), 2, &all);
    }
    // The default ruleset draws no points.
    let text = format!("{SUITE}\n[spaces.adamw]\nbeta1 = {{ scale = \"fixed\", value = 0.9 }}\n");
    refuse(&text, 2, &["line 14", "self-tuning"]);
}

#[test]
fn a_plan_that_would_fill_the_memory_is_refused() {
    for (key, value) in [
        ("studies", u32::MAX),
        ("studies", 25_001),
        ("trials", u32::MAX),
    ] {
        let text = SUITE.replace(
            "name = ",
            &format!("ruleset = \"external\"\n{key} = {value}\nname = "),
        );
        refuse(
            &text,
            2,
            &["suite.toml", &value.to_string(), "50000 at most"],
        );
    }
}

#[test]
fn a_suite_can_narrow_a_search_space() {
    let text = SUITE.replace("name = ", "trials = 4\nruleset = \"external\"\nname = ");
    let text = format!(
        "{text}\n[spaces.adamw]\nbeta1 = {{ scale = \"choice\", values = [0.5, 0.6] }}\n\
         learning_rate = {{ scale = \"log_uniform\", low = 1e-3, high = 2e-3 }}\n"
    );
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), &text);
    let mut command = velodrome();
    command.arg("run").arg(&suite);
    let plan = succeed(command.args(["--dry-run", "--format", "json"]));
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let trials = plan["trials"].as_array().unwrap();
    let mut adamw = 0;
    for trial in trials.iter().filter(|t| t["submission"] == "adamw") {
        adamw += 1;
        let value = |name: &str| trial["point"][name].as_f64().unwrap();
        assert!([0.5, 0.6].contains(&value("beta1")));
        assert!((1e-3..=2e-3).contains(&value("learning_rate")));
    }
    assert_eq!((adamw, trials.len()), (4, 8));
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_what_to_do() {
    let text = format!("device = \"cuda\"\n{SUITE}");
    refuse(&text, 8, &["cuda", "--device flex"]);
}

/// A finished run, to be damaged.
fn finished() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let out = dir.path().join("run");
    succeed(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    (dir, suite, out)
}

/// Damages `file` of the first trial and expects a refusal that names it and changes nothing.
fn damage(file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>, words: &[&str]) {
    let (_dir, suite, out) = finished();
    let trials = out.join("trials");
    let path = trials.join("digits_mlp.adamw.study-1.trial-1").join(file);
    let content = std::fs::read(&path).unwrap_or_default();
    std::fs::write(&path, change(content)).unwrap();
    let before = files(&trials);
    let (_, err, code) = finish(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    assert_eq!(code, 4, "{err}");
    assert!(err.contains(file), "{err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is not in: {err}");
    }
    let after = files(&trials);
    assert_eq!(before, after, "a refused run changed the trials");
    // Scoring tells of it too, and keeps the other trial.
    let (stdout, err, code) = finish(velodrome().arg("score").arg(&out));
    assert_eq!(code, 4, "{stdout}\n{err}");
    assert!(stdout.contains("nesterov"), "{stdout}");
}

#[test]
fn a_flipped_bit_in_a_log_line_is_found_at_its_line() {
    let flip = |mut bytes: Vec<u8>| {
        let line = bytes.iter().position(|&b| b == b'\n').unwrap();
        bytes[line + 40] ^= 1;
        bytes
    };
    damage("evals.jsonl", flip, &["line 2", "crc"]);
}

#[test]
fn a_log_that_is_cut_short_is_found() {
    damage(
        "evals.jsonl",
        |b| b[..b.len() - 30].to_vec(),
        &["cut short"],
    );
    let drop_line = |b: Vec<u8>| {
        let text = String::from_utf8(b).unwrap();
        let keep = text.lines().count() - 1;
        let lines: Vec<&str> = text.lines().take(keep).collect();
        (lines.join("\n") + "\n").into_bytes()
    };
    damage("evals.jsonl", drop_line, &["outcome.counters.evaluations"]);
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name() {
    let newer = |b: Vec<u8>| {
        let text = String::from_utf8(b).unwrap();
        text.replace("velodrome-trial/1", "velodrome-trial/2")
            .into_bytes()
    };
    damage("trial.json", newer, &["format", "velodrome-trial/2"]);
}

#[test]
fn a_truncated_checkpoint_is_named() {
    let (_dir, suite, out) = finished();
    let trial = out.join("trials").join("digits_mlp.adamw.study-1.trial-1");
    // As after a kill: a running trial with a checkpoint, of which a part is lost.
    rewind(&trial);
    std::fs::write(trial.join("checkpoint"), b"velodrome-checkpoint/1\nxx").unwrap();
    let (_, err, code) = finish(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    assert_eq!(code, 4, "{err}");
    assert!(
        err.contains("checkpoint") && err.contains("cut short"),
        "{err}"
    );
}

/// Puts a device on which every write fails with "no space left" where a file is first written.
#[cfg(target_os = "linux")]
fn full_disk(file: &str) {
    let (_dir, suite, out) = finished();
    let trial = out.join("trials").join("digits_mlp.adamw.study-1.trial-1");
    let before = files(
        &out.join("trials")
            .join("digits_mlp.nesterov.study-1.trial-1"),
    );
    rewind(&trial);
    let full = trial.join(format!("{file}.tmp"));
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let (_, err, code) = finish(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    assert_eq!(code, 7, "{err}");
    assert!(err.contains(file) && err.contains("space"), "{err}");
    // Once there is space again, the same command finishes the race.
    let _ = std::fs::remove_file(&full);
    succeed(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    read(&out);
    let after = files(
        &out.join("trials")
            .join("digits_mlp.nesterov.study-1.trial-1"),
    );
    assert_eq!(before, after);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_the_race_goes_on_afterwards() {
    full_disk("checkpoint");
    full_disk("trial.json");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    // A file where the folder should be: refused for every user, root included.
    let blocked = dir.path().join("blocked");
    std::fs::write(&blocked, "").unwrap();
    let out = blocked.join("run");
    let (_, err, code) = finish(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("blocked"), "{err}");
}

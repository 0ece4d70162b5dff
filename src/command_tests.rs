use super::*;
use crate::console::capture::Buffer;
use clap::CommandFactory;

/// Runs `velodrome LINE` and gives exit, standard output and standard error.
fn velodrome(line: &str) -> (Exit, String, String) {
    let (mut console, out, err) = Console::captured();
    let exit = Command::new().run_with(arguments(line), &mut console);
    let text = |b: Buffer| b.text();
    (exit, text(out), text(err))
}

fn arguments(line: &str) -> Vec<OsString> {
    let words = std::iter::once("velodrome").chain(line.split_whitespace());
    words.map(OsString::from).collect()
}

#[test]
fn the_parser_is_sound() {
    Line::command().debug_assert();
}

#[test]
fn the_help_lists_every_exit_code() {
    let help = parser().render_long_help().to_string();
    for exit in Exit::ALL {
        let line = format!("  {:>3}  {}", exit.code(), exit.meaning());
        assert!(help.lines().any(|l| l == line), "{line}\n{help}");
    }
    assert!(!help.contains("__trial"), "{help}");
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    for line in [
        "rase",
        "race",
        "race --base x",
        "race --base x --candidate y --base-rev z",
        "race --base x --candidate y --allowance 0",
        "run --shard 0/3",
        "run --shard 4/3",
        "run --studies 0",
        "run --threads none",
        "run --ruleset tuned",
        "score",
        "score runs/x --policy fastest",
        "completions tcsh",
        "new submission",
        "new workload",
        "new workload digits_mlp",
        "new submission adamw",
    ] {
        assert_eq!(velodrome(line).0, Exit::Usage, "{line}");
    }
}

#[test]
fn unknown_names_name_the_nearest() {
    for (line, near) in [
        ("run qiuck", "`quick`"),
        ("run smoke -w digit_mlp", "`digits_mlp`"),
        ("run smoke -s adamww", "`adamw`"),
        ("verify nesterow", "`nesterov`"),
    ] {
        let (exit, out, err) = velodrome(line);
        assert_eq!(exit, Exit::Usage, "{line}");
        assert!(out.is_empty(), "{out}");
        assert!(err.contains(&format!("did you mean {near}?")), "{err}");
    }
}

#[test]
fn a_folder_without_a_run_is_a_usage_error_that_says_what_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("score {}", folder.path().display());
    let (exit, _, err) = velodrome(&line);
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("run.json"), "{err}");
}

#[test]
fn a_damaged_run_record_has_its_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.json"), "{").unwrap();
    let line = format!("report {}", folder.path().display());
    let (exit, _, err) = velodrome(&line);
    assert_eq!(exit, Exit::Damaged);
    assert!(err.contains("run.json"), "{err}");
}

#[test]
fn lists_are_complete_in_both_forms() {
    let (exit, text, _) = velodrome("list");
    assert_eq!(exit, Exit::Ok);
    let (_, json, _) = velodrome("list --format json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut names = Vec::new();
    let of = |entry: &serde_json::Value, path: &str| entry.pointer(path).cloned();
    for (list, path) in [
        ("workloads", "/name"),
        ("submissions", "/description/name"),
        ("suites", "/name"),
    ] {
        let (_, part, _) = velodrome(&format!("list {list} --format json"));
        let part: serde_json::Value = serde_json::from_str(&part).unwrap();
        assert_eq!(part, json[list]);
        let entries = part.as_array().unwrap();
        assert!(!entries.is_empty());
        names.extend(entries.iter().map(|e| of(e, path).unwrap()));
    }
    for name in names {
        let name = name.as_str().unwrap();
        assert!(text.lines().any(|l| l.contains(name)), "{name}\n{text}");
    }
}

#[test]
fn data_sets_name_their_source_and_licence() {
    let (exit, json, _) = velodrome("data list --format json");
    assert_eq!(exit, Exit::Ok);
    let sets: serde_json::Value = serde_json::from_str(&json).unwrap();
    let sets = sets.as_array().unwrap();
    for set in sets {
        for field in ["name", "about", "source", "licence"] {
            assert!(!set[field].as_str().unwrap().is_empty(), "{set}");
        }
        let sums = set["sha256"].as_array().unwrap();
        assert!(
            sums.iter().all(|s| s.as_str().unwrap().len() == 64),
            "{set}"
        );
        match set["place"].as_str().unwrap() {
            "embedded" => {
                assert_eq!(sums.len(), 1, "{set}");
                assert!(set["bytes"].as_u64().unwrap() > 0, "{set}");
                assert!(!set["workloads"].as_array().unwrap().is_empty(), "{set}");
            }
            "computed" => assert!(sums.is_empty() && set["bytes"].is_null(), "{set}"),
            "own_folder" | "no_folder" => assert_eq!(set["paths"].as_array().unwrap().len(), 1),
            _ => assert!(set["bytes"].as_u64().unwrap() > 0 && !sums.is_empty()),
        }
    }
    let (_, text, _) = velodrome("data list");
    assert_eq!(text.lines().count(), sets.len() + 5, "{text}");
}

#[test]
fn completions_are_for_the_name_of_the_program() {
    let (mut console, out, _) = Console::captured();
    let line = ["/opt/my_riders", "completions", "bash"].map(OsString::from);
    let exit = Command::new().run_with(line, &mut console);
    assert_eq!(exit, Exit::Ok);
    assert!(
        out.text().contains("complete -F _my_riders"),
        "{}",
        out.text()
    );
}

#[test]
fn a_reader_that_leaves_is_not_an_error() {
    let mut console = Console::unread();
    let exit = Command::new().run_with(arguments("list"), &mut console);
    assert_eq!(exit, Exit::Ok);
}

#[test]
fn a_second_submission_of_a_name_is_refused() {
    let taken = crate::commands::new::template::MySubmission;
    let again = crate::commands::new::template::MySubmission;
    let (mut console, _, err) = Console::captured();
    let command = Command::new().submission(taken).submission(again);
    let exit = command.run_with(arguments("list"), &mut console);
    assert_eq!(exit, Exit::Usage);
    assert!(err.text().contains("my_submission"), "{}", err.text());
}

#[test]
fn a_family_brings_its_variants_and_a_second_one_is_refused() {
    let family = &crate::commands::new::workload_template::MY_WORKLOAD;
    let (mut console, out, _) = Console::captured();
    let command = Command::new().family(family);
    let exit = command.run_with(arguments("list workloads"), &mut console);
    assert_eq!(exit, Exit::Ok);
    let out = out.text();
    assert!(out.contains("my_workload "), "{out}");
    assert!(out.contains("my_workload_tanh"), "{out}");
    let (mut console, _, err) = Console::captured();
    let command = Command::new().family(family).family(family);
    let exit = command.run_with(arguments("list"), &mut console);
    assert_eq!(exit, Exit::Usage);
    assert!(err.text().contains("my_workload"), "{}", err.text());
}

#[test]
fn command_lines_read_back() {
    let line = ["target/velodrome", "run", "my suite.toml", "--out", "it's"].map(OsString::from);
    assert_eq!(
        words(&line),
        r"velodrome run 'my suite.toml' --out 'it'\''s'"
    );
}

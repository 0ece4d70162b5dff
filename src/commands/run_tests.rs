use super::*;
use crate::suites;
use clap::Parser;
use toml::Spanned;
use velodrome_harness::contract::Ruleset;
use velodrome_harness::race::Suite;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    run: Arguments,
}

fn parse(line: &str) -> Arguments {
    let words = std::iter::once("run").chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap().run
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    velodrome_workloads::register(&mut registry).unwrap();
    velodrome_submissions::register(&mut registry).unwrap();
    registry
}

/// The suite that `run LINE` races.
fn suite(line: &str) -> Result<Suite, Failure> {
    let arguments = parse(line);
    arguments.selection.suite(arguments.studies, &registry())
}

fn names(list: &[Spanned<String>]) -> Vec<&str> {
    list.iter().map(|n| n.get_ref().as_str()).collect()
}

#[test]
fn without_arguments_the_quick_suite_races_unchanged() {
    let (suite, quick) = (suite("").unwrap(), suites::load("quick").unwrap());
    assert_eq!(format!("{suite:?}"), format!("{quick:?}"));
}

#[test]
fn options_change_the_suite() {
    let suite = suite(
        "quick -w digits_mlp -s lion --submission adamw --ruleset external --studies 2 \
         --trials 3 --seed 7 --threads 1 --device cuda:1",
    )
    .unwrap();
    assert_eq!(names(&suite.workloads), ["digits_mlp"]);
    assert_eq!(names(&suite.submissions), ["lion", "adamw"]);
    assert_eq!(suite.ruleset, Ruleset::External);
    assert_eq!((suite.studies, suite.trials, suite.seed), (2, 3, 7));
    assert_eq!((suite.threads, suite.device.as_str()), (Some(1), "cuda:1"));
}

#[test]
fn self_tuning_has_one_trial() {
    assert_eq!(suite("tuned --ruleset self-tuning").unwrap().trials, 1);
    let error = suite("quick --trials 5").unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.to_string().contains("--studies 5"), "{error}");
    assert_eq!(
        suite("quick --trials 5 --ruleset external").unwrap().trials,
        5
    );
}

#[test]
fn what_a_suite_says_of_left_out_entries_goes_but_a_typo_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let text = "name = \"s\"\n\
                workloads = [\"digits_mlp\", \"shakespeare_gpt\"]\n\
                submissions = [\"adamw\", \"lion\"]\n\
                overrides.digits_mlp.budget_work = 1000\n\
                overrides.shakespeare_gpt.budget_work = 1000\n\
                overrides.shakespear_gpt.budget_work = 1000\n\
                points.adamw = [{ learning_rate = 0.1 }]\n\
                points.lion = [{ learning_rate = 0.1 }]\n";
    std::fs::write(&path, text).unwrap();
    let suite = suite(&format!("{} -w digits_mlp -s lion", path.display())).unwrap();
    let overrides: Vec<&str> = suite
        .overrides
        .keys()
        .map(|k| k.get_ref().as_str())
        .collect();
    assert_eq!(overrides, ["digits_mlp", "shakespear_gpt"]);
    let points: Vec<&str> = suite.points.keys().map(|k| k.get_ref().as_str()).collect();
    assert_eq!(points, ["lion"]);
    let error = race::plan(&suite, &registry()).unwrap_err().to_string();
    assert!(error.contains("s.toml, line 6"), "{error}");
}

#[test]
fn the_run_folder_follows_the_plan() {
    let folder = |line: &str| parse(line).directory("my suite", "0123456789abcdef");
    assert_eq!(folder(""), PathBuf::from("runs/my_suite-01234567"));
    assert_eq!(
        folder("--shard 2/4"),
        PathBuf::from("runs/my_suite-01234567-part-2-of-4")
    );
    assert_eq!(folder("--out x/y --shard 2/4"), PathBuf::from("x/y"));
}

#[test]
fn shards_are_given_as_part_and_count() {
    assert_eq!(shard("1/4"), Ok(Shard { index: 1, of: 4 }));
    for wrong in ["", "1", "0/4", "5/4", "1/0", "a/b", "1/4/2", "-1/4"] {
        assert!(shard(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let line = format!("smoke --dry-run --seed 3 --out {}", out.display());
    let (mut console, text, _) = Console::captured();
    let exit = execute(parse(&line), &registry(), "", &mut console).unwrap();
    assert_eq!(exit, Exit::Ok);
    let text = text.text();
    for word in [
        "digits_mlp.adamw.study-1.trial-1",
        "learning_rate",
        "Nothing was written",
    ] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    let (mut console, json, _) = Console::captured();
    execute(
        parse(&format!("{line} --format json")),
        &registry(),
        "",
        &mut console,
    )
    .unwrap();
    let json: serde_json::Value = serde_json::from_str(&json.text()).unwrap();
    assert_eq!(json["seed"], 3);
    for trial in json["trials"].as_array().unwrap() {
        assert!(trial["seeds"]["model"].is_u64(), "{trial}");
        assert!(trial["budget"]["work"].as_u64().unwrap() > 0, "{trial}");
    }
    assert!(!out.exists());
}

#[test]
fn shards_of_a_dry_run_share_the_trials_out() {
    let ids = |shard: &str| -> Vec<String> {
        let (mut console, out, _) = Console::captured();
        let line = format!("quick --dry-run --format json {shard}");
        execute(parse(&line), &registry(), "", &mut console).unwrap();
        let json: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
        let trials = json["trials"].as_array().unwrap();
        trials
            .iter()
            .map(|t| t["id"].as_str().unwrap().to_string())
            .collect()
    };
    let mut parts: Vec<String> = (1..=4)
        .flat_map(|i| ids(&format!("--shard {i}/4")))
        .collect();
    let mut whole = ids("");
    parts.sort();
    whole.sort();
    assert_eq!(parts, whole);
}

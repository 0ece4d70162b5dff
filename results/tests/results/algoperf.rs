//! Official logs from their archives, end to end, against independently computed values.

use crate::logtree::*;
use serde_json::Value;
use std::collections::BTreeMap;
use velodrome_results::algoperf::{
    ExportOptions, FindingKind, LogScoreOptions, Logs, Ruleset, export, write_run,
};
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::record::Status;
use velodrome_results::run::Run;
use velodrome_results::score::{Integration, Policy, profile};

fn options(policy: Policy) -> LogScoreOptions {
    let mut options = LogScoreOptions {
        policy,
        ..LogScoreOptions::default()
    };
    options.bootstrap.resamples = 0;
    options
}

/// The JSON form by submission.
fn objects(logs: &Logs, policy: Policy) -> (Vec<String>, BTreeMap<String, Value>) {
    let text = logs.score(&options(policy)).unwrap().json().unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let name = |v: &Value| v["submission"].as_str().unwrap().to_string();
    (
        all.iter().map(name).collect(),
        all.into_iter().map(|v| (name(&v), v)).collect(),
    )
}

fn check_rows(what: &str, found: &Value, expected: &Value) {
    for workload in keys(expected) {
        assert!(found.get(&workload).is_some(), "{what}: no {workload}");
    }
    for (workload, value) in found.as_object().unwrap() {
        let (a, b) = (cell(value), cell(&expected[workload]));
        assert!(
            same(a, b, 1e-9),
            "{what}: {workload}: {a:?} instead of {b:?}"
        );
    }
}

fn check_policy(what: &str, logs: &Logs, policy: Policy, expected: &Value) {
    let (order, found) = objects(logs, policy);
    for (name, object) in &found {
        let what = format!("{what}, {policy}, {name}");
        for (key, golden) in [
            ("times", "time_to_target"),
            ("after_base_to_heldout", "after_base_to_heldout"),
            ("after_4x", "after_4x"),
            ("after_rules", "after_rules"),
            ("ratios", "ratios"),
        ] {
            if expected.get(golden).is_some() {
                check_rows(
                    &format!("{what}, {key}"),
                    &object[key],
                    &expected[golden][name],
                );
            }
        }
        for key in ["score", "score_exact"] {
            let (a, b) = (
                object[key].as_f64().unwrap(),
                expected[key][name].as_f64().unwrap(),
            );
            assert!((a - b).abs() <= 1e-12, "{what}: {key} {a} instead of {b}");
        }
    }
    if let Some(rank) = expected["rank"].as_array() {
        let rank: Vec<&str> = rank.iter().map(|s| s.as_str().unwrap()).collect();
        // Equal scores may stand in any order.
        let score = |name: &str| found[name]["score"].as_f64().unwrap();
        let scores: Vec<f64> = order.iter().map(|n| score(n)).collect();
        let golden: Vec<f64> = rank.iter().map(|n| score(n)).collect();
        assert_eq!(scores, golden, "{what}");
    }
}

#[test]
fn every_golden_from_the_archives() {
    for which in 0..BOARDS.len() {
        let unpacked = board(which);
        let golden = golden(unpacked.golden);
        let logs = read(&unpacked.root, &unpacked.targets);
        for policy in Policy::ALL {
            let expected = &golden["policies"][policy.as_str()];
            check_policy(unpacked.golden, &logs, policy, expected);
            let score = logs.score(&options(policy)).unwrap();
            let taus = profile::grid(100).unwrap();
            for (s, name) in logs.submissions.iter().enumerate() {
                let found: Vec<f64> = taus
                    .iter()
                    .map(|t| profile::at(&score.scored.ratios[s], *t))
                    .collect();
                let expected: Vec<f64> = expected["profile"][name]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|v| v.as_f64().unwrap())
                    .collect();
                assert_eq!(found, expected, "{} {policy} {name}", unpacked.golden);
            }
        }
    }
}

#[test]
fn every_trial_of_the_archives() {
    for which in 0..BOARDS.len() {
        let unpacked = board(which);
        let golden = golden(unpacked.golden);
        let logs = read(&unpacked.root, &unpacked.targets);
        let (_, objects) = objects(&logs, Policy::MinTime);
        let mut found = BTreeMap::new();
        for (name, object) in &objects {
            for t in object["trials"].as_array().unwrap() {
                let key = format!(
                    "{name}/study_{}/{}_{}/trial_{}",
                    t["study"],
                    t["workload"].as_str().unwrap(),
                    t["framework"].as_str().unwrap(),
                    t["trial"]
                );
                if t["evaluations"] != 0 {
                    found.insert(key, t.clone());
                }
            }
        }
        let expected = golden["trials"].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for e in expected {
            let text = |key: &str| e[key].as_str().unwrap();
            let key = format!(
                "{}/{}/{}/{}",
                text("submission"),
                text("study"),
                text("workload"),
                text("trial")
            );
            let t = &found[&key];
            for (a, b) in [
                ("evaluations", "n_evals"),
                ("target_reached", "target_reached"),
                ("index_to_target", "index_to_target"),
                ("step_to_target", "step_to_target"),
                ("last_step", "last_step"),
            ] {
                assert_eq!(t[a], e[b], "{key} {a}");
            }
            for (a, b) in [
                ("time_to_target", "time_to_target"),
                ("best_metric", "best_metric"),
                ("time_to_best", "time_to_best"),
                ("last_time", "last_time"),
            ] {
                assert_eq!(
                    cell(&t[a]),
                    cell(&e[b]),
                    "{key} {a}: decimals are read exactly"
                );
            }
        }
        for (name, workloads) in golden["step_time"].as_object().unwrap() {
            for (folder, expected) in workloads.as_object().unwrap() {
                let workload = folder.rsplit_once('_').unwrap().0;
                let found = cell(&objects[name]["step_times"][workload]);
                assert!(
                    same(found, cell(expected), 1e-9),
                    "{name} {folder} {found:?}"
                );
            }
        }
    }
}

#[test]
fn speed_ups() {
    for which in [0, 1] {
        let unpacked = board(which);
        let golden = golden(&format!("{}.speedups", unpacked.golden));
        let logs = read(&unpacked.root, &unpacked.targets);
        let (_, found) = objects(&logs, Policy::EvalIndexTieLowestTrial);
        for name in keys(&golden).iter().filter(|n| *n != "_meta") {
            let (object, expected) = (&found[name], &golden[name]);
            check_rows(
                name,
                &object["time_ratio_to_reference"],
                &expected["time_ratio_to_base"],
            );
            let mean = cell(&expected["geometric_mean"]);
            assert!(same(cell(&object["time_ratio"]), mean, 1e-12), "{name}");
            assert_eq!(object["speed_up"].as_f64().is_some(), mean.is_some());
        }
    }
}

/// The scores that AlgoPerf published, with the default settings.
#[test]
fn published_scores() {
    for (which, published) in [
        (
            0,
            vec![
                ("schedule_free_adamw", "0.8542"),
                ("baseline", "0.8194"),
                ("nadamw_sequential", "0.3308"),
                ("sinv6_75", "0.1420"),
                ("sinv6", "0.0903"),
                ("adamg", "0.0000"),
            ],
        ),
        (1, vec![("shampoo", "0.6244"), ("baseline", "0.4590")]),
    ] {
        let unpacked = board(which);
        let logs = read(&unpacked.root, &unpacked.targets);
        for policy in [Policy::default(), Policy::EvalIndexTieMinTime] {
            let board = logs.score(&options(policy)).unwrap().board();
            let found: Vec<(String, String, usize)> = board
                .rows
                .iter()
                .map(|r| (r.submission.clone(), format!("{:.4}", r.score), r.rank))
                .collect();
            let expected: Vec<(String, String, usize)> = published
                .iter()
                .enumerate()
                .map(|(i, (n, s))| (n.to_string(), s.to_string(), i + 1))
                .collect();
            assert_eq!(found, expected);
        }
    }
}

/// The random small leaderboards, written as log trees and read back.
#[test]
fn synthetic_trees() {
    let cases = golden("synthetic_cases");
    for (n, case) in cases.as_array().unwrap().iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let targets = dir.path().join("targets.json");
        std::fs::write(&targets, case["config"].to_string()).unwrap();
        let root = dir.path().join("logs");
        for (submission, workloads) in case["runs"].as_object().unwrap() {
            for (folder, studies) in workloads.as_object().unwrap() {
                let name = folder.rsplit_once('_').unwrap().0;
                let metric = case["config"]["workloads"][name]["target_metric_name"].as_str();
                for (study, trials) in studies.as_object().unwrap() {
                    for (trial, evals) in trials.as_object().unwrap() {
                        let values = |key: &str| -> Vec<f64> {
                            let values = evals[key].as_array().unwrap().iter();
                            values.map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
                        };
                        let rows: Vec<(f64, f64)> =
                            values("time").into_iter().zip(values("metric")).collect();
                        let path = root.join(submission).join(study).join(folder).join(trial);
                        write_trial(&path, metric.unwrap_or("loss"), &rows);
                    }
                }
            }
        }
        let logs = read(&root, &targets);
        assert_eq!(keys(&case["expected"]).len(), 3);
        for policy in keys(&case["expected"]) {
            let expected = &case["expected"][&policy];
            check_policy(
                &format!("case {n}"),
                &logs,
                policy.parse().unwrap(),
                expected,
            );
        }
    }
}

#[test]
fn crashes_are_told_from_misses() {
    let unpacked = board(0);
    let logs = read(&unpacked.root, &unpacked.targets);
    let count = |name: &str, workload: &str, status: Status| {
        let w = logs.targets.position(workload).unwrap();
        let of = logs.trials.iter().filter(|t| t.folder.submission == name);
        of.filter(|t| t.folder.workload == w && t.status == status)
            .count()
    };
    // sinv6 left empty folders on criteo1tb; adamg wrote one evaluation; imagenet was an honest miss.
    assert_eq!(count("sinv6", "criteo1tb", Status::Crashed), 5);
    assert_eq!(count("adamg", "criteo1tb", Status::Crashed), 5);
    assert_eq!(count("baseline", "imagenet_resnet", Status::Missed), 5);
    assert_eq!(count("baseline", "wmt", Status::Reached), 4);
    let empty = logs
        .findings
        .iter()
        .filter(|f| f.kind == FindingKind::EmptyTrial)
        .count();
    assert_eq!(empty, 20);
    // Absent and not reached stay apart in the numbers.
    let (_, found) = objects(&logs, Policy::MinTime);
    assert_eq!(found["sinv6"]["times"]["criteo1tb"], Value::Null);
    assert_eq!(found["adamg"]["times"]["criteo1tb"], "inf");
}

#[test]
fn what_the_scores_depend_on() {
    let unpacked = board(1);
    let logs = read(&unpacked.root, &unpacked.targets);
    let score = logs.score(&options(Policy::MinTime)).unwrap();
    let by = |what: &str, which: Value| {
        let (_, objects) = objects(&logs, Policy::MinTime);
        let all = objects["shampoo"]["sensitivity"]
            .as_array()
            .unwrap()
            .clone();
        all.into_iter()
            .find(|c| c["what"] == what && c["which"] == which)
            .unwrap()
    };
    // 2 submissions, 8 workloads, 3 studies, 5 budgets.
    assert_eq!(score.variations.len(), 2 + 8 + 3 + 5);
    // Alone, a submission is the best everywhere: 5 of 8 workloads solved.
    let alone = by("submission", "baseline".into());
    assert!(
        (alone["score"].as_f64().unwrap() - 0.625).abs() < 1e-12,
        "{alone}"
    );
    assert_eq!(by("submission", "shampoo".into())["score"], Value::Null);
    // Without a workload that nobody solved, the same sum counts over 7 instead of 8.
    let full = by("budget", 1.0.into())["score"].as_f64().unwrap();
    let without = by("workload", "imagenet_resnet".into())["score"]
        .as_f64()
        .unwrap();
    assert!((without - full * 8.0 / 7.0).abs() < 1e-12);
    // A smaller budget never adds a solved workload.
    assert!(by("budget", 0.25.into())["score"].as_f64().unwrap() < full);
}

#[test]
fn a_workload_left_out_takes_its_variants_with_it() {
    let unpacked = board(0);
    let logs = read(&unpacked.root, &unpacked.targets);
    // The same by another way: a targets file that never had the workload.
    let text = std::fs::read_to_string(&unpacked.targets).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    for list in ["base_workloads", "held_out_workloads"] {
        let names = file[list].as_array_mut().unwrap();
        names.retain(|n| !n.as_str().unwrap().starts_with("criteo1tb"));
    }
    let path = unpacked.dir.path().join("fewer.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let fewer = read(&unpacked.root, &path);
    let expected = fewer
        .score(&options(Policy::MinTime))
        .unwrap()
        .scored
        .scores;
    let (_, objects) = objects(&logs, Policy::MinTime);
    for (name, expected) in fewer.submissions.iter().zip(expected) {
        let all = objects[name]["sensitivity"].as_array().unwrap();
        let found = all
            .iter()
            .find(|c| c["what"] == "workload" && c["which"] == "criteo1tb");
        assert_eq!(found.unwrap()["score"].as_f64(), Some(expected), "{name}");
    }
    let unscored =
        |f: &&velodrome_results::algoperf::LogFinding| f.kind == FindingKind::UnscoredWorkload;
    assert!(fewer.findings.iter().filter(unscored).count() > 0);
}

/// Board, tables and our own scorer on the records made from logs; and back again by export.
#[test]
fn logs_become_records_and_records_become_logs() {
    for which in 0..BOARDS.len() {
        let unpacked = board(which);
        if which > 0 {
            unpack("v06_metadata", unpacked.dir.path());
        }
        let logs = read(&unpacked.root, &unpacked.targets);
        let score = logs.score(&options(Policy::MinTime)).unwrap();
        let board = score.board();
        let out = unpacked.dir.path().join("records");
        let run = logs.run();
        assert!(run.damaged.is_empty());
        assert_eq!(run.missing.len(), logs.trials.len() - run.trials.len());
        write_run(&run, &out).unwrap();
        assert!(write_run(&run, &out).is_err(), "a run is never overwritten");
        let back = Run::read(&out).unwrap();
        assert_eq!(back.trials.len(), run.trials.len());
        assert!(back.damaged.is_empty(), "{:?}", back.damaged);

        let held_out: Vec<String> = logs
            .targets
            .held_out
            .iter()
            .map(|h| logs.targets.workloads[h.workload].name.clone())
            .collect();
        let mut own = AssembleOptions {
            integration: Integration::Trapezoid(100),
            held_out: held_out.clone(),
            allow_mixed: true,
            ..AssembleOptions::default()
        };
        own.bootstrap.resamples = 0;
        let assembled = assemble(&[back], &own).unwrap();
        let rows = |b: &velodrome_results::board::Board| -> BTreeMap<String, (f64, usize)> {
            b.rows
                .iter()
                .map(|r| (r.submission.clone(), (r.score, r.rank)))
                .collect()
        };
        assert_eq!(rows(&assembled), rows(&board), "{}", unpacked.golden);
        if which > 0 {
            let trial = &run.trials[0].record;
            assert!(
                trial
                    .fingerprint
                    .accelerator
                    .as_ref()
                    .unwrap()
                    .contains("V100")
            );
            assert!(which == 2 || !trial.point.is_empty());
            assert!(trial.eval_every_seconds > 0.0);
            assert!(
                run.trials[0].evals[0].train.contains_key("loss"),
                "all columns are kept"
            );
        }

        let folder = unpacked.dir.path().join("export");
        let exported = export(
            &[Run::read(&out).unwrap()],
            &folder,
            &ExportOptions {
                framework: "jax",
                held_out,
            },
        )
        .unwrap();
        assert_eq!(exported.trials, run.trials.len());
        let again = read(&folder, &exported.targets);
        assert_eq!(again.ruleset, logs.ruleset);
        let again = again.score(&options(Policy::MinTime)).unwrap();
        let times = |s: &velodrome_results::algoperf::LogScore<'_>| -> BTreeMap<(String, String), Option<f64>> {
            let mut times = BTreeMap::new();
            for (s_, row) in s.logs.submissions.iter().zip(&s.times) {
                for (w, cell) in s.logs.targets.workloads.iter().zip(row) {
                    times.insert((s_.clone(), w.name.clone()), *cell);
                }
            }
            times
        };
        assert_eq!(times(&again), times(&score), "{}", unpacked.golden);
        assert_eq!(rows(&again.board()), rows(&board), "{}", unpacked.golden);
    }
}

#[test]
fn the_place_of_the_submissions_is_found() {
    let unpacked = board(1);
    unpack("v06_self_tuning", unpacked.dir.path());
    let targets = || velodrome_results::algoperf::Targets::read(&unpacked.targets).unwrap();
    let budgets = || velodrome_results::algoperf::Budgets::published().unwrap();
    let top = unpacked.dir.path();
    let error = Logs::read(top, targets(), budgets(), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("external_tuning") && error.contains("self_tuning"),
        "{error}"
    );
    for (ruleset, submissions) in [(Ruleset::External, 2), (Ruleset::SelfTuning, 1)] {
        let logs = Logs::read(top, targets(), budgets(), Some(ruleset)).unwrap();
        assert_eq!(
            (logs.ruleset, logs.submissions.len()),
            (ruleset, submissions)
        );
    }
    let one = Logs::read(&unpacked.root.join("shampoo"), targets(), budgets(), None).unwrap();
    assert_eq!(
        (one.submissions.clone(), one.ruleset),
        (vec!["shampoo".into()], Ruleset::External)
    );
    assert!(
        one.assumed[0].contains("one submission"),
        "{:?}",
        one.assumed
    );
    let nothing = tempfile::tempdir().unwrap();
    assert!(Logs::read(nothing.path(), targets(), budgets(), None).is_err());
}

#[test]
fn studies_may_have_names() {
    let unpacked = board(1);
    let before = read(&unpacked.root, &unpacked.targets);
    let study = unpacked.root.join("shampoo/study_2");
    std::fs::rename(&study, unpacked.root.join("shampoo/study_last")).unwrap();
    let after = read(&unpacked.root, &unpacked.targets);
    let score = |logs: &Logs| logs.score(&options(Policy::MinTime)).unwrap().scored;
    assert_eq!(score(&before), score(&after));
    let named =
        |f: &&velodrome_results::algoperf::LogFinding| f.kind == FindingKind::UnnumberedStudy;
    assert_eq!(after.findings.iter().filter(named).count(), 1);
}

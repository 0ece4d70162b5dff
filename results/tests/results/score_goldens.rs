//! The scorer against independently computed values (see `goldens/README.md`).

use serde_json::Value;
use velodrome_results::Status;
use velodrome_results::score::{
    Cell, HeldOut, Integration, Matrix, Options, Policy, Reach, Rules, Scored, Table, TrialRow,
    profile, score_times,
};

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/goldens/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn keys(v: &Value) -> Vec<String> {
    v.as_object().unwrap().keys().cloned().collect()
}

fn names(v: &Value) -> Vec<String> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap().to_string())
        .collect()
}

fn cell(v: &Value) -> Cell {
    match v {
        Value::Null => None,
        Value::String(s) if s == "inf" => Some(f64::INFINITY),
        number => Some(number.as_f64().unwrap()),
    }
}

fn same(found: Cell, expected: Cell) -> bool {
    match (found, expected) {
        (Some(a), Some(b)) => a == b || (a - b).abs() <= 1e-9 * b.abs(),
        (a, b) => a == b,
    }
}

/// Minimised metrics of AlgoPerf; the others are maximised.
fn meets(metric: &str, value: f64, target: f64) -> bool {
    match metric {
        "loss" | "ctc_loss" | "ce_loss" | "l1_loss" | "wer" | "ppl" | "error_rate" => {
            value <= target
        }
        "accuracy" | "ssim" | "bleu" | "mean_average_precision" => value >= target,
        other => panic!("unknown metric {other}"),
    }
}

fn without_framework(name: &str) -> &str {
    name.strip_suffix("_jax")
        .or_else(|| name.strip_suffix("_pytorch"))
        .unwrap()
}

fn number(name: &str) -> u32 {
    name.rsplit('_').next().unwrap().parse().unwrap()
}

/// Base and held-out workloads in order, and the held-out rule on their columns.
fn workloads(config: &Value) -> (Vec<String>, Vec<HeldOut>) {
    let base = names(&config["base_workloads"]);
    let mut all = base.clone();
    let mut held_out = Vec::new();
    for name in names(&config["held_out_workloads"]) {
        held_out.push(HeldOut {
            workload: all.len(),
            base: base.iter().position(|b| name.contains(b.as_str())).unwrap(),
        });
        all.push(name);
    }
    (all, held_out)
}

/// Compares one matrix with an object of objects; `columns` are the workloads' names.
fn check_matrix(what: &str, found: &Matrix, expected: &Value, rows: &[String], columns: &[&str]) {
    assert_eq!(found.len(), rows.len(), "{what}");
    for (row, name) in found.iter().zip(rows) {
        assert_eq!(row.len(), columns.len(), "{what}");
        // A workload that the file leaves out is absent, and must be absent here as well.
        for workload in keys(&expected[name]) {
            assert!(columns.contains(&workload.as_str()), "{what}: {workload}");
        }
        for (value, workload) in row.iter().zip(columns) {
            let expected = cell(&expected[name][workload]);
            assert!(
                same(*value, expected),
                "{what}: {name} on {workload}: {value:?} instead of {expected:?}"
            );
        }
    }
}

fn score_with(times: &Matrix, rules: &Rules, integration: Integration) -> Scored {
    let options = Options {
        rules: rules.clone(),
        integration,
        ..Options::default()
    };
    score_times(times, &options).unwrap()
}

/// Everything that both kinds of golden files hold for one policy.
fn check_policy(what: &str, table: &Table, held_out: &[HeldOut], policy: Policy, expected: &Value) {
    let rules = Rules {
        held_out: held_out.to_vec(),
        ..Rules::default()
    };
    let rows = &table.submissions;
    let columns: Vec<&str> = table.workloads.iter().map(String::as_str).collect();
    let base = &columns[..columns.len() - held_out.len()];
    let times = table.study_times(policy).unwrap().medians();
    check_matrix(
        &format!("{what} times"),
        &times,
        &expected["time_to_target"],
        rows,
        &columns,
    );
    let exact = score_with(&times, &rules, Integration::Exact);
    let grid = score_with(&times, &rules, Integration::Trapezoid(100));
    assert_eq!(exact.ratios, grid.ratios);
    let after = &exact.stages.after_rules;
    check_matrix(
        &format!("{what} after rules"),
        after,
        &expected["after_rules"],
        rows,
        base,
    );
    check_matrix(
        &format!("{what} ratios"),
        &exact.ratios,
        &expected["ratios"],
        rows,
        base,
    );
    for (s, name) in rows.iter().enumerate() {
        for (key, found) in [("score", grid.scores[s]), ("score_exact", exact.scores[s])] {
            let expected = expected[key][name].as_f64().unwrap();
            assert!(
                (found - expected).abs() <= 1e-12,
                "{what} {key} of {name}: {found} instead of {expected}"
            );
        }
        // The rank, worked out from the expected scores.
        let score = |n: &String| expected["score"][n].as_f64().unwrap();
        let ahead = rows
            .iter()
            .filter(|n| score(n) > score(name) + 1e-12)
            .count();
        assert_eq!(grid.ranks[s], ahead + 1, "{what} rank of {name}");
    }
}

#[test]
fn sixty_random_leaderboards() {
    let cases = golden("synthetic_cases");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 60);
    for (n, case) in cases.iter().enumerate() {
        let (workloads, held_out) = workloads(&case["config"]);
        let mut table = Table {
            submissions: keys(&case["runs"]),
            workloads,
            trials: Vec::new(),
        };
        for (submission, name) in table.submissions.clone().iter().enumerate() {
            for (workload_dir, studies) in case["runs"][name].as_object().unwrap() {
                let workload_name = without_framework(workload_dir);
                let Some(workload) = table.workloads.iter().position(|w| w == workload_name) else {
                    continue;
                };
                let config = &case["config"]["workloads"][workload_name];
                let metric = config["target_metric_name"].as_str().unwrap();
                let target = config["validation_target_value"].as_f64().unwrap();
                for (study, trials) in studies.as_object().unwrap() {
                    for (trial, evals) in trials.as_object().unwrap() {
                        let values = evals["metric"].as_array().unwrap();
                        let index = values
                            .iter()
                            .position(|v| v.as_f64().is_some_and(|v| meets(metric, v, target)));
                        table.trials.push(TrialRow {
                            submission,
                            workload,
                            study: number(study),
                            trial: number(trial),
                            status: if index.is_some() {
                                Status::Reached
                            } else {
                                Status::Missed
                            },
                            reached: index.map(|i| Reach {
                                time: evals["time"][i].as_f64().unwrap(),
                                index: i as u64,
                                steps: None,
                            }),
                        });
                    }
                }
            }
        }
        let policies = keys(&case["expected"]);
        assert_eq!(policies.len(), 3);
        for policy in policies {
            check_policy(
                &format!("case {n}, {policy}:"),
                &table,
                &held_out,
                policy.parse().unwrap(),
                &case["expected"][&policy],
            );
        }
    }
}

/// The trials of a competition's golden file as a table.
fn competition(golden: &Value) -> (Table, Vec<HeldOut>) {
    let (workloads, held_out) = workloads(&golden["meta"]["targets"]);
    let mut table = Table {
        submissions: keys(&golden["policies"]["min_time"]["time_to_target"]),
        workloads,
        trials: Vec::new(),
    };
    for trial in golden["trials"].as_array().unwrap() {
        let text = |key: &str| trial[key].as_str().unwrap();
        let workload = without_framework(text("workload"));
        let Some(workload) = table.workloads.iter().position(|w| w == workload) else {
            continue;
        };
        let index = trial["index_to_target"].as_u64();
        table.trials.push(TrialRow {
            submission: table
                .submissions
                .iter()
                .position(|s| s == text("submission"))
                .unwrap(),
            workload,
            study: number(text("study")),
            trial: number(text("trial")),
            status: if index.is_some() {
                Status::Reached
            } else {
                Status::Missed
            },
            reached: index.map(|index| Reach {
                time: trial["time_to_target"].as_f64().unwrap(),
                index,
                steps: trial["step_to_target"].as_u64(),
            }),
        });
    }
    (table, held_out)
}

#[test]
fn competitions_under_all_policies() {
    for name in ["v05_self_tuning", "v06_external_tuning", "v06_self_tuning"] {
        let golden = golden(name);
        let (table, held_out) = competition(&golden);
        let columns: Vec<&str> = table.workloads.iter().map(String::as_str).collect();
        let taus: Vec<f64> = golden["tau"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t.as_f64().unwrap())
            .collect();
        assert_eq!(profile::grid(100).unwrap(), taus);
        for policy in Policy::ALL {
            let what = format!("{name}, {policy}:");
            let expected = &golden["policies"][policy.as_str()];
            check_policy(&what, &table, &held_out, policy, expected);

            let studies = table.study_times(policy).unwrap();
            for (s, submission) in table.submissions.iter().enumerate() {
                for (w, workload) in table.workloads.iter().enumerate() {
                    let expected = expected["studies"][submission][workload].as_object();
                    let found = &studies.cells[s][w];
                    assert_eq!(
                        found.len(),
                        expected.map_or(0, serde_json::Map::len),
                        "{what}"
                    );
                    for study in found {
                        let expected = &expected.unwrap()[&format!("study_{}", study.study)];
                        assert!(same(Some(study.time), cell(&expected["time"])), "{what}");
                        let trial = study.row.map(|i| table.trials[i].trial);
                        assert_eq!(trial, expected["trial"].as_str().map(number), "{what}");
                    }
                }
            }

            let rules = Rules {
                held_out: held_out.clone(),
                ..Rules::default()
            };
            let scored = score_with(&studies.medians(), &rules, Integration::Trapezoid(100));
            let (rows, stages) = (&table.submissions, &scored.stages);
            for (key, found) in [
                ("after_base_to_heldout", &stages.after_base),
                ("after_4x", &stages.after_limit),
            ] {
                check_matrix(
                    &format!("{what} {key}"),
                    found,
                    &expected[key],
                    rows,
                    &columns,
                );
            }
            for (s, submission) in rows.iter().enumerate() {
                let expected = expected["profile"][submission].as_array().unwrap();
                for (tau, expected) in taus.iter().zip(expected) {
                    assert_eq!(
                        profile::at(&scored.ratios[s], *tau),
                        expected.as_f64().unwrap()
                    );
                }
            }
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|s| scored.ranks[*s]);
            let order: Vec<&String> = order.iter().map(|s| &rows[*s]).collect();
            assert_eq!(
                order,
                names(&expected["rank"]).iter().collect::<Vec<_>>(),
                "{what}"
            );
        }
    }
}

/// The scores that AlgoPerf published, to four decimals.
#[test]
fn published_scores() {
    for (name, published) in [
        (
            "v05_self_tuning",
            vec![
                ("schedule_free_adamw", "0.8542"),
                ("baseline", "0.8194"),
                ("nadamw_sequential", "0.3308"),
                ("sinv6_75", "0.1420"),
                ("sinv6", "0.0903"),
                ("adamg", "0.0000"),
            ],
        ),
        (
            "v06_external_tuning",
            vec![("shampoo", "0.6244"), ("baseline", "0.4590")],
        ),
    ] {
        let (table, held_out) = competition(&golden(name));
        let rules = Rules {
            held_out,
            ..Rules::default()
        };
        for policy in [Policy::MinTime, Policy::EvalIndexTieMinTime] {
            let times = table.study_times(policy).unwrap().medians();
            let scored = score_with(&times, &rules, Integration::Trapezoid(100));
            for (rank, (submission, score)) in published.iter().enumerate() {
                let s = table
                    .submissions
                    .iter()
                    .position(|n| n == submission)
                    .unwrap();
                assert_eq!(
                    format!("{:.4}", scored.scores[s]),
                    *score,
                    "{name} {submission}"
                );
                assert_eq!(scored.ranks[s], rank + 1, "{name} {submission}");
            }
        }
    }
}

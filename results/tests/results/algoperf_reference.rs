//! The scorer against a slow, obvious second implementation, on random boards.
//!
//! The second one shares no code with the first: it works cell by cell on names, keeps absent
//! times as NaN, and computes every number from its definition.

use proptest::prelude::*;
use std::collections::HashMap;
use velodrome_results::Status;
use velodrome_results::score::{
    HeldOut, Integration, Options, Policy, Reach, Rules, Table, TrialRow, score_times,
};

const BASE: usize = 3;

/// (submission, workload, study, trial) to the evaluation that reached the target, if any.
type Trials = HashMap<(usize, usize, u32, u32), Option<(f64, u64)>>;

/// The time of a study.
fn study(trials: &Trials, s: usize, w: usize, study: u32, policy: Policy) -> Option<f64> {
    let mut there = false;
    let mut best: Option<(f64, u64)> = None;
    for trial in 0..20 {
        let Some(reached) = trials.get(&(s, w, study, trial)) else {
            continue;
        };
        there = true;
        let Some((time, index)) = *reached else {
            continue;
        };
        let wins = match best {
            None => true,
            Some((t, i)) => match policy {
                Policy::MinTime => time < t,
                Policy::EvalIndexTieMinTime => index < i || (index == i && time < t),
                Policy::EvalIndexTieLowestTrial => index < i,
                Policy::EvalIndexTieMaxTime => index < i || (index == i && time > t),
            },
        };
        if wins {
            best = Some((time, index));
        }
    }
    there.then(|| best.map_or(f64::INFINITY, |b| b.0))
}

fn workload(trials: &Trials, s: usize, w: usize, policy: Policy) -> f64 {
    let mut times: Vec<f64> = (0..20)
        .filter_map(|n| study(trials, s, w, n, policy))
        .collect();
    times.sort_by(|a, b| a.partial_cmp(b).unwrap());
    match times.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => times[n / 2],
        n => (times[n / 2 - 1] + times[n / 2]) / 2.0,
    }
}

/// Minimum that ignores NaN; NaN of nothing.
fn nanmin(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, |a, b| {
        if a.is_nan() || b < a {
            if b.is_nan() { a } else { b }
        } else {
            a
        }
    })
}

struct Scores {
    times: Vec<Vec<f64>>,
    ratios: Vec<Vec<f64>>,
    grid: Vec<f64>,
    exact: Vec<f64>,
}

fn reference(
    trials: &Trials,
    submissions: usize,
    held: &[(usize, usize)],
    policy: Policy,
) -> Scores {
    let columns = BASE + held.len();
    let times: Vec<Vec<f64>> = (0..submissions)
        .map(|s| {
            (0..columns)
                .map(|w| workload(trials, s, w, policy))
                .collect()
        })
        .collect();
    let mut t = times.clone();
    for row in &mut t {
        for &(v, b) in held {
            if row[b].is_nan() || row[b].is_infinite() {
                row[v] = f64::INFINITY;
            }
        }
    }
    let best: Vec<f64> = (0..columns)
        .map(|w| nanmin(t.iter().map(|row| row[w])))
        .collect();
    for row in &mut t {
        for w in 0..columns {
            if row[w] > 4.0 * best[w] {
                row[w] = f64::INFINITY;
            }
        }
        for &(v, b) in held {
            if row[v].is_nan() || row[v].is_infinite() {
                row[b] = f64::INFINITY;
            }
        }
        row.truncate(BASE);
    }
    let least: Vec<f64> = (0..BASE)
        .map(|w| nanmin(t.iter().map(|row| row[w])))
        .collect();
    let ratios: Vec<Vec<f64>> = t
        .iter()
        .map(|row| {
            (0..BASE)
                .map(|w| {
                    let r = row[w] / least[w];
                    if r.is_nan() { row[w] } else { r }
                })
                .collect()
        })
        .collect();
    let share =
        |row: &[f64], tau: f64| row.iter().filter(|r| **r <= tau).count() as f64 / BASE as f64;
    let grid = |row: &Vec<f64>| {
        let mut area = 0.0;
        // The points as `numpy.linspace(1, 4, 100)` has them, to the last bit: a ratio of 2 lies
        // on one of them.
        let tau = |k: u32| {
            if k == 99 {
                4.0
            } else {
                f64::from(k) * (3.0 / 99.0) + 1.0
            }
        };
        for k in 0..99 {
            let (a, b) = (tau(k), tau(k + 1));
            area += (share(row, a) + share(row, b)) / 2.0 * (b - a);
        }
        area / 3.0
    };
    let exact = |row: &Vec<f64>| {
        let areas = row
            .iter()
            .filter(|r| !r.is_nan())
            .map(|r| (4.0 - r.max(1.0)).max(0.0));
        areas.sum::<f64>() / (3.0 * BASE as f64)
    };
    Scores {
        grid: ratios.iter().map(grid).collect(),
        exact: ratios.iter().map(exact).collect(),
        times,
        ratios,
    }
}

/// Boards: up to 5 submissions, 3 scored and up to 2 held-out workloads, up to 5 studies of up to
/// 5 trials, with holes, misses, and times few enough to tie.
fn boards() -> impl Strategy<Value = (usize, Vec<(usize, usize)>, Trials)> {
    let time = prop_oneof![
        (1u32..7).prop_map(f64::from),
        (0.5f64..40.0),
        Just(4.0),
        Just(1.0),
    ];
    let trial = prop::option::weighted(0.75, (time, 0u64..4));
    let rows = prop::collection::hash_map(
        (0usize..5, 0usize..BASE + 2, 0u32..5, 1u32..6),
        trial,
        0..160,
    );
    let held = prop::collection::vec(0usize..BASE, 0..3);
    (1usize..6, held, rows).prop_map(|(submissions, bases, rows)| {
        let held: Vec<(usize, usize)> = bases
            .into_iter()
            .enumerate()
            .map(|(i, b)| (BASE + i, b))
            .collect();
        let columns = BASE + held.len();
        let rows = rows
            .into_iter()
            .filter(|(k, _)| k.0 < submissions && k.1 < columns)
            .collect();
        (submissions, held, rows)
    })
}

fn same(found: Option<f64>, expected: f64) -> bool {
    found.map_or(expected.is_nan(), |f| f == expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn two_implementations_agree((submissions, held, trials) in boards()) {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect();
        let table = Table {
            submissions: names(submissions),
            workloads: names(BASE + held.len()),
            trials: trials
                .iter()
                .map(|(&(submission, workload, study, trial), reached)| TrialRow {
                    submission,
                    workload,
                    study,
                    trial,
                    status: Status::Missed,
                    reached: reached.map(|(time, index)| Reach { time, index, steps: None }),
                })
                .collect(),
        };
        for policy in Policy::ALL {
            let expected = reference(&trials, submissions, &held, policy);
            let times = table.study_times(policy).unwrap().medians();
            for integration in [Integration::Trapezoid(100), Integration::Exact] {
                let options = Options {
                    policy,
                    integration,
                    rules: Rules {
                        held_out: held
                            .iter()
                            .map(|&(workload, base)| HeldOut { workload, base })
                            .collect(),
                        ..Rules::default()
                    },
                };
                let scored = score_times(&times, &options).unwrap();
                let scores = match integration {
                    Integration::Exact => &expected.exact,
                    Integration::Trapezoid(_) => &expected.grid,
                };
                for s in 0..submissions {
                    for (found, expected) in times[s].iter().zip(&expected.times[s]) {
                        prop_assert!(same(*found, *expected));
                    }
                    for w in 0..BASE {
                        let (a, b) = (scored.ratios[s][w], expected.ratios[s][w]);
                        prop_assert!(same(a, b), "{policy} {s} {w}: {a:?} {b}");
                    }
                    let (a, b) = (scored.scores[s], scores[s]);
                    prop_assert!((a - b).abs() <= 1e-12, "{policy} {integration} {s}: {a} {b}");
                    let before = scored.scores.iter().filter(|x| **x > a).count();
                    prop_assert_eq!(scored.ranks[s], before + 1);
                }
            }
        }
    }
}

//! Laws that scores obey, and small examples worked out by hand.

use proptest::prelude::*;
use velodrome_results::Status;
use velodrome_results::score::{
    Cell, HeldOut, Integration, Matrix, Options, Policy, Reach, Rules, ScoreError, Table, TrialRow,
    median, profile, score_times,
};

const INF: f64 = f64::INFINITY;

fn trapezoid() -> Options {
    Options {
        integration: Integration::Trapezoid(100),
        ..Options::default()
    }
}

fn cells() -> impl Strategy<Value = Cell> {
    prop_oneof![
        1 => Just(None),
        2 => Just(Some(INF)),
        // Few different values, so that ties and ratios on the limit occur.
        3 => (1u32..9).prop_map(|t| Some(f64::from(t))),
        4 => (0.01f64..1e4).prop_map(Some),
    ]
}

fn matrices() -> impl Strategy<Value = Matrix> {
    (1usize..6, 1usize..7).prop_flat_map(|(submissions, workloads)| {
        prop::collection::vec(prop::collection::vec(cells(), workloads), submissions)
    })
}

fn rows() -> impl Strategy<Value = Vec<TrialRow>> {
    let row = (
        0usize..3,
        0usize..3,
        1u32..4,
        1u32..4,
        prop::option::of((0.1f64..9.0, 0u64..4)),
    );
    prop::collection::vec(row, 0..60).prop_map(|rows| {
        let mut rows: Vec<TrialRow> = rows
            .into_iter()
            .map(|(submission, workload, study, trial, reached)| TrialRow {
                submission,
                workload,
                study,
                trial,
                status: Status::Missed,
                reached: reached.map(|(time, index)| Reach {
                    time,
                    index,
                    steps: None,
                }),
            })
            .collect();
        rows.sort_by_key(|r| (r.submission, r.workload, r.study, r.trial));
        rows.dedup_by_key(|r| (r.submission, r.workload, r.study, r.trial));
        rows
    })
}

fn table(trials: Vec<TrialRow>) -> Table {
    let names = |n: &str| (0..3).map(|i| format!("{n}{i}")).collect();
    Table {
        submissions: names("s"),
        workloads: names("w"),
        trials,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn scores_lie_between_0_and_1(times in matrices()) {
        for options in [Options::default(), trapezoid()] {
            let scored = score_times(&times, &options).unwrap();
            for score in scored.scores {
                prop_assert!((0.0..=1.0).contains(&score), "{score}");
            }
        }
    }

    #[test]
    fn the_fastest_has_ratio_1_and_nobody_less(times in matrices()) {
        let scored = score_times(&times, &Options::default()).unwrap();
        for (w, best) in scored.best.iter().enumerate() {
            let column: Vec<f64> = scored.ratios.iter().filter_map(|row| row[w]).collect();
            let least = column.iter().copied().min_by(f64::total_cmp);
            match best {
                Some(b) if b.is_finite() => prop_assert_eq!(least, Some(1.0)),
                Some(_) => prop_assert_eq!(least, Some(INF)),
                None => prop_assert!(column.is_empty()),
            }
        }
    }

    /// A faster machine changes no score, whichever workloads it speeds up.
    #[test]
    fn scaling_the_times_of_a_workload_changes_no_score(
        times in matrices(),
        powers in prop::collection::vec(-8i32..8, 6),
        factors in prop::collection::vec(0.001f64..1000.0, 6),
    ) {
        let scale = |by: &dyn Fn(usize) -> f64| -> Matrix {
            let row = |row: &Vec<Cell>| row.iter().enumerate().map(|(w, t)| t.map(|t| t * by(w))).collect();
            times.iter().map(row).collect()
        };
        for options in [Options::default(), trapezoid()] {
            let before = score_times(&times, &options).unwrap();
            let after = score_times(&scale(&|w| 2f64.powi(powers[w])), &options).unwrap();
            prop_assert_eq!(&before.scores, &after.scores);
            prop_assert_eq!(&before.ranks, &after.ranks);
        }
        // Any other factor rounds, which the exact integral passes on without a jump.
        let before = score_times(&times, &Options::default()).unwrap();
        let after = score_times(&scale(&|w| factors[w]), &Options::default()).unwrap();
        for (a, b) in before.scores.iter().zip(after.scores) {
            prop_assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn the_grid_differs_from_the_exact_integral_by_at_most_half_a_cell(
        ratios in prop::collection::vec(
            prop_oneof![Just(None), Just(Some(INF)), Just(Some(1.0)), Just(Some(4.0)),
                        (1.0f64..5.0).prop_map(Some)],
            1..9,
        ),
    ) {
        let exact = |r: &[Cell]| profile::score(r, Integration::Exact).unwrap();
        let grid = |r: &[Cell]| profile::score(r, Integration::Trapezoid(100)).unwrap();
        let bound = 1.0 / 198.0 + 1e-12;
        for ratio in &ratios {
            let one = [*ratio];
            prop_assert!((exact(&one) - grid(&one)).abs() <= bound);
        }
        prop_assert!((exact(&ratios) - grid(&ratios)).abs() <= bound);
    }

    /// The exact score is the integral of the exact step function.
    #[test]
    fn the_exact_score_is_the_area_under_the_steps(times in matrices()) {
        let scored = score_times(&times, &Options::default()).unwrap();
        for (row, score) in scored.ratios.iter().zip(scored.scores) {
            let steps = profile::steps(row);
            let ends = steps.iter().skip(1).map(|s| s.0).chain([4.0]);
            let area: f64 = steps.iter().zip(ends).map(|((tau, rho), end)| (end - tau) * rho).sum();
            prop_assert!((area / 3.0 - score).abs() < 1e-12, "{area} {score}");
        }
    }

    #[test]
    fn a_slower_newcomer_changes_nothing_for_the_others(times in matrices()) {
        let before = score_times(&times, &Options::default()).unwrap();
        let mut more = times.clone();
        more.push(profile::best(&times).iter().map(|b| b.map(|b| b * 2.0)).collect());
        let after = score_times(&more, &Options::default()).unwrap();
        prop_assert_eq!(&before.scores[..], &after.scores[..times.len()]);
    }

    #[test]
    fn ranks_follow_scores(times in matrices()) {
        let scored = score_times(&times, &Options::default()).unwrap();
        let pairs: Vec<(f64, usize)> = scored.scores.into_iter().zip(scored.ranks).collect();
        for (score, rank) in &pairs {
            prop_assert_eq!(*rank, 1 + pairs.iter().filter(|p| p.0 > *score).count());
        }
    }

    /// No policy selects a faster trial than `min_time`, and none selects a missed one where
    /// another trial reached the target; the order of the rows does not matter.
    #[test]
    fn policies_agree_on_what_exists(rows in rows()) {
        let table_a = table(rows.clone());
        let table_b = table(rows.into_iter().rev().collect());
        let fastest = table_a.study_times(Policy::MinTime).unwrap();
        for policy in Policy::ALL {
            let a = table_a.study_times(policy).unwrap();
            prop_assert_eq!(a.medians(), table_b.study_times(policy).unwrap().medians());
            let pairs = a.cells.iter().flatten().flatten().zip(fastest.cells.iter().flatten().flatten());
            for (a, fastest) in pairs {
                prop_assert_eq!(a.study, fastest.study);
                prop_assert!(a.time >= fastest.time);
                prop_assert_eq!(a.time.is_finite(), fastest.time.is_finite());
            }
        }
    }
}

/// Three submissions, two workloads. Best times: 10 and 15.
///
/// | | times | ratios | area |
/// |---|---|---|---|
/// | A | 10, 30 | 1, 2 | (3 + 2) / 6 |
/// | B | 20, 15 | 2, 1 | (2 + 3) / 6 |
/// | C | 35, never | 3.5, - | 0.5 / 6 |
#[test]
fn a_profile_worked_out_by_hand() {
    let times = vec![
        vec![Some(10.0), Some(30.0)],
        vec![Some(20.0), Some(15.0)],
        vec![Some(35.0), Some(INF)],
    ];
    let scored = score_times(&times, &Options::default()).unwrap();
    assert_eq!(
        scored.ratios,
        [
            [Some(1.0), Some(2.0)],
            [Some(2.0), Some(1.0)],
            [Some(3.5), Some(INF)]
        ]
    );
    assert_eq!(profile::steps(&scored.ratios[0]), [(1.0, 0.5), (2.0, 1.0)]);
    assert_eq!(profile::steps(&scored.ratios[2]), [(1.0, 0.0), (3.5, 0.5)]);
    assert_eq!(scored.scores, [5.0 / 6.0, 5.0 / 6.0, 0.5 / 6.0]);
    assert_eq!(scored.ranks, [1, 1, 3]);

    // On 4 points (1, 2, 3, 4), by the trapezoid rule:
    // A: 0.5, 1, 1, 1   -> 0.75 + 1 + 1 = 2.75
    // C: 0, 0, 0, 0.5   -> 0.25
    let options = Options {
        integration: Integration::Trapezoid(4),
        ..Options::default()
    };
    let scored = score_times(&times, &options).unwrap();
    assert!((scored.scores[0] - 2.75 / 3.0).abs() < 1e-15);
    assert!((scored.scores[2] - 0.25 / 3.0).abs() < 1e-15);
}

#[test]
fn absent_infinite_and_unsolved_are_three_things() {
    let times = vec![
        vec![Some(1.0), None, Some(INF), None],
        vec![Some(4.0), Some(7.0), Some(INF), None],
        vec![Some(4.1), Some(7.0), None, None],
    ];
    let scored = score_times(&times, &Options::default()).unwrap();
    assert_eq!(scored.best, [Some(1.0), Some(7.0), Some(INF), None]);
    assert_eq!(scored.ratios[0], [Some(1.0), None, Some(INF), None]);
    // Exactly four times the best is within the limit, more is not.
    assert_eq!(scored.ratios[1], [Some(4.0), Some(1.0), Some(INF), None]);
    assert_eq!(scored.ratios[2], [Some(INF), Some(1.0), None, None]);
    // All four workloads count, those that nobody solved included.
    assert_eq!(scored.scores, [0.25, 0.25, 0.25]);
    let no_limit = Options {
        rules: Rules {
            limit: None,
            ..Rules::default()
        },
        ..Options::default()
    };
    let free = score_times(&times, &no_limit).unwrap();
    assert_eq!(free.ratios[2][0], Some(4.1));
    assert_eq!(free.scores, scored.scores);
}

/// A held-out workload that was not solved, not raced, or solved too slowly takes the base time.
#[test]
fn held_out_workloads_guard_their_base() {
    let rules = Rules {
        held_out: vec![HeldOut {
            workload: 1,
            base: 0,
        }],
        ..Rules::default()
    };
    let times = vec![
        vec![Some(10.0), Some(10.0)],
        vec![Some(10.0), Some(INF)],
        vec![Some(10.0), None],
        vec![Some(10.0), Some(41.0)],
        vec![Some(INF), Some(1.0)],
    ];
    let stages = rules.apply(&times).unwrap();
    // The last one's 1 s does not count, or 10 s would be over the limit.
    assert_eq!(stages.after_base[4], [Some(INF), Some(INF)]);
    assert_eq!(stages.after_limit[2], [Some(10.0), None]);
    let inf = vec![Some(INF)];
    assert_eq!(
        stages.after_rules,
        [vec![Some(10.0)], inf.clone(), inf.clone(), inf.clone(), inf]
    );
}

#[test]
fn medians() {
    assert_eq!(median(vec![]), None);
    assert_eq!(median(vec![3.0]), Some(3.0));
    assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    assert_eq!(median(vec![4.0, INF]), Some(INF));
    assert_eq!(median(vec![INF, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![INF, INF]), Some(INF));
}

#[test]
fn ties_on_the_evaluation_go_where_the_policy_says() {
    let row = |trial, time, index| TrialRow {
        submission: 0,
        workload: 0,
        study: 1,
        trial,
        status: Status::Reached,
        reached: Some(Reach {
            time,
            index,
            steps: None,
        }),
    };
    let table = table(vec![
        row(1, 6.0, 3),
        row(2, 8.0, 3),
        row(3, 5.0, 4),
        row(4, 7.0, 3),
        row(5, 4.0, 9),
    ]);
    let time = |p: Policy| table.study_times(p).unwrap().medians()[0][0];
    assert_eq!(time(Policy::MinTime), Some(4.0));
    assert_eq!(time(Policy::EvalIndexTieMinTime), Some(6.0));
    assert_eq!(time(Policy::EvalIndexTieLowestTrial), Some(6.0));
    assert_eq!(time(Policy::EvalIndexTieMaxTime), Some(8.0));
    assert_eq!(
        table.study_times(Policy::MinTime).unwrap().medians()[1][1],
        None
    );
}

#[test]
fn bad_tables_and_settings_are_refused() {
    let row = TrialRow {
        submission: 0,
        workload: 0,
        study: 1,
        trial: 1,
        status: Status::Reached,
        reached: Some(Reach {
            time: 1.0,
            index: 0,
            steps: None,
        }),
    };
    let refuse = |rows: Vec<TrialRow>| table(rows).study_times(Policy::MinTime).unwrap_err();
    assert!(
        refuse(vec![row, row])
            .to_string()
            .contains("s0 on w0, study 1, trial 1")
    );
    assert!(matches!(
        refuse(vec![TrialRow { workload: 3, ..row }]),
        ScoreError::Index { found: 3, .. }
    ));
    for time in [f64::NAN, INF, -1.0] {
        let reached = Some(Reach {
            time,
            index: 0,
            steps: None,
        });
        assert!(matches!(
            refuse(vec![TrialRow { reached, ..row }]),
            ScoreError::Time { .. }
        ));
    }
    let bad = |times: Matrix, options: &Options| score_times(&times, options).unwrap_err();
    let options = Options::default();
    assert!(matches!(
        bad(vec![vec![None], vec![]], &options),
        ScoreError::Shape { .. }
    ));
    assert!(matches!(
        bad(vec![vec![Some(f64::NAN)]], &options),
        ScoreError::Time { .. }
    ));
    let limit = Rules {
        limit: Some(0.5),
        ..Rules::default()
    };
    assert!(matches!(
        bad(
            vec![vec![None]],
            &Options {
                rules: limit,
                ..options.clone()
            }
        ),
        ScoreError::Setting { .. }
    ));
    let held_out = vec![HeldOut {
        workload: 1,
        base: 0,
    }];
    let rules = Rules {
        held_out,
        ..Rules::default()
    };
    assert!(matches!(
        bad(vec![vec![None]], &Options { rules, ..options }),
        ScoreError::Index { .. }
    ));
    assert_eq!("trapezoid:100".parse(), Ok(Integration::Trapezoid(100)));
    assert_eq!("exact".parse(), Ok(Integration::Exact));
    for wrong in ["trapezoid:1", "trapezoid:", "simpson"] {
        assert!(
            wrong
                .parse::<Integration>()
                .unwrap_err()
                .to_string()
                .contains("trapezoid:N")
        );
    }
    assert!(
        "fastest"
            .parse::<Policy>()
            .unwrap_err()
            .to_string()
            .contains("min_time")
    );
}

//! Intervals over studies, and ranks when one submission is left out.

use velodrome_results::Status;
use velodrome_results::bootstrap::{BootstrapOptions, bootstrap, leave_one_submission_out};
use velodrome_results::score::{Options, Policy, Reach, StudyTimes, Table, TrialRow, score_times};

/// One trial per study; `times[submission][workload][study]`, infinite where not reached.
fn studies(times: &[&[&[f64]]]) -> StudyTimes {
    let mut table = Table {
        submissions: (0..times.len()).map(|i| format!("s{i}")).collect(),
        workloads: (0..times[0].len()).map(|i| format!("w{i}")).collect(),
        trials: Vec::new(),
    };
    for (submission, row) in times.iter().enumerate() {
        for (workload, cell) in row.iter().enumerate() {
            for (study, time) in cell.iter().enumerate() {
                let reached = time.is_finite().then_some(Reach {
                    time: *time,
                    index: 0,
                    steps: None,
                });
                table.trials.push(TrialRow {
                    submission,
                    workload,
                    study: study as u32 + 1,
                    trial: 1,
                    status: if reached.is_some() {
                        Status::Reached
                    } else {
                        Status::Missed
                    },
                    reached,
                });
            }
        }
    }
    table.study_times(Policy::MinTime).unwrap()
}

fn noisy() -> StudyTimes {
    studies(&[
        &[
            &[10.0, 12.0, 11.0, 14.0, 9.0],
            &[30.0, 33.0, 29.0, 35.0, 31.0],
        ],
        &[
            &[15.0, 11.0, 18.0, 16.0, 12.0],
            &[25.0, 34.0, 39.0, 28.0, f64::INFINITY],
        ],
    ])
}

#[test]
fn the_same_seed_gives_the_same_intervals_and_they_hold_the_score() {
    let studies = noisy();
    let options = Options::default();
    let settings = BootstrapOptions::default();
    let a = bootstrap(&studies, &options, &settings).unwrap().unwrap();
    let b = bootstrap(&studies, &options, &settings).unwrap().unwrap();
    assert_eq!(a, b);
    let scored = score_times(&studies.medians(), &options).unwrap();
    for (s, interval) in a.iter().enumerate() {
        let (low, high) = interval.score;
        assert!(
            low < high,
            "the studies differ, so the interval has a width"
        );
        assert!(low <= scored.scores[s] && scored.scores[s] <= high);
        assert!(interval.rank.0 <= scored.ranks[s] && scored.ranks[s] <= interval.rank.1);
    }
    // The order of the two is not settled by these studies, and the interval says so.
    assert_eq!(a[0].rank, (1, 2));

    let few = BootstrapOptions {
        resamples: 20,
        ..settings
    };
    let draws = |seed| {
        let settings = BootstrapOptions { seed, ..few };
        bootstrap(&studies, &options, &settings).unwrap().unwrap()[1].score
    };
    let different: Vec<_> = (0..10).map(draws).collect();
    assert!(
        different.iter().any(|d| *d != different[0]),
        "the seed is used"
    );

    let narrow = BootstrapOptions {
        confidence: 0.5,
        ..settings
    };
    let narrow = bootstrap(&studies, &options, &narrow).unwrap().unwrap();
    assert!(narrow[1].score.1 - narrow[1].score.0 < a[1].score.1 - a[1].score.0);
}

/// The second submission takes exactly twice as long in every study, while the studies themselves
/// differ a hundredfold. Only draws that all submissions share keep the ratio at 2.
#[test]
fn the_pairing_of_studies_is_kept() {
    let studies = studies(&[&[&[10.0, 1000.0, 55.0]], &[&[20.0, 2000.0, 110.0]]]);
    let intervals = bootstrap(&studies, &Options::default(), &BootstrapOptions::default());
    let intervals = intervals.unwrap().unwrap();
    assert_eq!(intervals[0].score, (1.0, 1.0));
    assert_eq!(intervals[1].score, (2.0 / 3.0, 2.0 / 3.0));
    assert_eq!(intervals[1].rank, (2, 2));
}

/// With two studies a resample holds the first twice, one of each, or the second twice, with
/// probabilities 1/4, 1/2, 1/4: the 95 % interval spans them all, the 40 % interval only the mix.
#[test]
fn two_studies_worked_out_by_hand() {
    let studies = studies(&[&[&[10.0, 10.0]], &[&[20.0, 30.0]]]);
    let options = Options::default();
    let wide = bootstrap(&studies, &options, &BootstrapOptions::default())
        .unwrap()
        .unwrap();
    assert_eq!(wide[1].score, (1.0 / 3.0, 2.0 / 3.0));
    let settings = BootstrapOptions {
        confidence: 0.4,
        ..BootstrapOptions::default()
    };
    let middle = bootstrap(&studies, &options, &settings).unwrap().unwrap();
    assert_eq!(middle[1].score, (0.5, 0.5));
}

#[test]
fn no_intervals_without_studies_to_draw_from() {
    let one = studies(&[&[&[10.0]], &[&[20.0]]]);
    let options = Options::default();
    assert_eq!(
        bootstrap(&one, &options, &BootstrapOptions::default()).unwrap(),
        None
    );
    let off = BootstrapOptions {
        resamples: 0,
        ..BootstrapOptions::default()
    };
    assert_eq!(bootstrap(&noisy(), &options, &off).unwrap(), None);
    for confidence in [0.0, 1.0, 95.0, f64::NAN] {
        let settings = BootstrapOptions {
            confidence,
            ..BootstrapOptions::default()
        };
        assert!(bootstrap(&noisy(), &options, &settings).is_err());
    }
}

/// C is so fast on the first workload that A's and B's times there do not count, and unable on
/// the second. Without C, A is ahead of B; with C, B is ahead of A.
///
/// | | times | score, all | score, without C |
/// |---|---|---|---|
/// | A | 10, 20 | (0 + 2) / 6 | (3 + 2) / 6 |
/// | B | 30, 10 | (0 + 3) / 6 | (1 + 3) / 6 |
/// | C | 2, never | (3 + 0) / 6 | |
#[test]
fn a_third_submission_can_turn_the_order_of_two() {
    let times = vec![
        vec![Some(10.0), Some(20.0)],
        vec![Some(30.0), Some(10.0)],
        vec![Some(2.0), Some(f64::INFINITY)],
    ];
    let options = Options::default();
    assert_eq!(score_times(&times, &options).unwrap().ranks, [3, 1, 1]);
    let ranges = leave_one_submission_out(&times, &options).unwrap().unwrap();
    // A, without B: level with C, behind the place of B; without C: ahead of B.
    assert_eq!(ranges[0], (2, 2));
    assert_eq!(ranges[1], (1, 2));
    assert_eq!(ranges[2], (1, 1));

    let settled = vec![vec![Some(1.0)], vec![Some(2.0)], vec![Some(3.0)]];
    let ranges = leave_one_submission_out(&settled, &options)
        .unwrap()
        .unwrap();
    assert_eq!(ranges, [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(
        leave_one_submission_out(&settled[..1].to_vec(), &options).unwrap(),
        None
    );
}

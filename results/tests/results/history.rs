//! A history grows, comes back as it was, and takes nothing that does not belong to it.

use crate::common::{TrialBuilder, run};
use velodrome_results::compare::Verdict;
use velodrome_results::history::{HistoryError, append, read, series};
use velodrome_results::run::Run;
use velodrome_results::{Status, TrialRecord};

/// A run of two workloads; `steps` to the target, and `factor` on the step time.
fn raced(name: &str, steps: u64, factor: f64) -> Run {
    let mut trials = Vec::new();
    for workload in ["digits", "text"] {
        for study in 1..=3 {
            let needed = steps + 10 * u64::from(study);
            let time = needed as f64 * 0.01 * factor;
            trials.push(
                TrialBuilder::new(workload, "adamw", study, 1)
                    .reached(time, needed)
                    .build(),
            );
        }
    }
    run(name, trials)
}

fn edited(mut run: Run, change: impl Fn(&mut TrialRecord)) -> Run {
    run.trials.iter_mut().for_each(|t| change(&mut t.record));
    run
}

#[test]
fn a_history_grows_and_its_step_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.parquet");
    let mut all = Vec::new();
    for n in 0..16 {
        // No two runs are alike: the same run twice is refused.
        let noise = 1.0 + 0.01 * ((n * 7 % 5) as f64 - 2.0) + 1e-5 * f64::from(n);
        let slow = if n >= 9 { 1.1 } else { 1.0 };
        let run = raced(&format!("r{n}"), 1000, noise * slow);
        let before = all.clone();
        all.extend(append(&path, &run, &format!("c{n}"), f64::from(n), None).unwrap());
        // What was there is there.
        assert_eq!(read(&path).unwrap()[..before.len()], before);
    }
    assert_eq!(read(&path).unwrap(), all);
    assert_eq!(all.len(), 32);
    let digits = &all[0];
    assert_eq!(
        (digits.trials, digits.reached, digits.verdict),
        (3, 3, None)
    );
    assert_eq!(digits.medians["steps_to_target"], 1020.0);

    let found = series(&all, "seconds_per_step", 0.01);
    assert_eq!(found.len(), 2);
    for series in &found {
        let [step] = series.changes.as_slice() else {
            panic!("{series:?}");
        };
        assert_eq!(series.points[step.at].0, "c9");
        assert!(
            (step.ratio - 1.1).abs() < 0.02 && step.p.unwrap() <= 0.01,
            "{step:?}"
        );
    }
    assert!(
        series(&all, "steps_to_target", 0.01)
            .iter()
            .all(|s| s.changes.is_empty())
    );
}

#[test]
fn what_does_not_belong_to_the_history_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.parquet");
    let verdict = Some(Verdict::Improved);
    append(&path, &raced("first", 1000, 1.0), "c0", 0.0, verdict).unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = |run: &Run| append(&path, run, "c1", 1.0, None).unwrap_err();
    let next = || raced("next", 1001, 1.01);

    assert!(matches!(
        refused(&raced("first", 1000, 1.0)),
        HistoryError::Twice { .. }
    ));
    let other = refused(&edited(next(), |r| r.fingerprint.cpu = "Other CPU".into())).to_string();
    for part in [
        "fingerprint.cpu",
        "Other CPU",
        "Example CPU 3000",
        "adamw on digits",
    ] {
        assert!(other.contains(part), "{other}");
    }
    let other = refused(&edited(next(), |r| r.target.validation = 0.4)).to_string();
    assert!(other.contains("target.validation"), "{other}");
    // Within one run too.
    let mut mixed = next();
    mixed.trials[2].record.fingerprint.threads = 64;
    assert!(refused(&mixed).to_string().contains("fingerprint.threads"));

    let mut running = next();
    running.trials[1].record.status = Status::Running;
    let mut missing = next();
    missing.missing.push("digits.adamw.study-9.trial-1".into());
    for run in [&running, &missing] {
        let error = refused(run);
        assert!(matches!(error, HistoryError::Unfinished { .. }), "{error}");
        assert!(error.to_string().contains("digits.adamw.study-"), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);

    // Another version of burn is what a history is for; another machine has a file of its own.
    let newer = edited(next(), |r| {
        drop(r.fingerprint.versions.insert("burn".into(), "9".into()))
    });
    append(&path, &newer, "c1", 1.0, None).unwrap();
    assert_eq!(read(&path).unwrap()[0].verdict, verdict);
}

#[test]
fn a_target_that_half_of_the_trials_missed_has_no_median() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.parquet");
    let trial = |study| TrialBuilder::new("digits", "adamw", study, 1);
    let trials = vec![
        trial(1).reached(1.0, 10).build(),
        trial(2).missed(0.8).build(),
    ];
    let added = append(&path, &run("r", trials), "c0", 0.0, None).unwrap();
    assert_eq!((added[0].trials, added[0].reached), (2, 1));
    assert!(!added[0].medians.contains_key("steps_to_target"));
    assert!(added[0].medians.contains_key("seconds_per_step"));
}

#[test]
fn a_damaged_or_foreign_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.parquet");
    append(&path, &raced("first", 1000, 1.0), "c0", 0.0, None).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for bytes in [&b""[..], b"PAR1", &whole[..whole.len() / 2]] {
        std::fs::write(&path, bytes).unwrap();
        let error = append(&path, &raced("next", 1001, 1.0), "c1", 1.0, None).unwrap_err();
        assert!(error.to_string().contains("history.parquet"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    let board = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/boards/external-digits/records.parquet"
    );
    assert!(read(std::path::Path::new(board)).is_err());
}

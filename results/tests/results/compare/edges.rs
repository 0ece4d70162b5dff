//! What a reviewer would try: NaN, failures, budgets, strangers, sizes.

use super::{edited, judged, noise, raced, with_first};
use crate::common::{TrialBuilder, run};
use velodrome_results::compare::{CompareOptions, Comparison, Question, Verdict, compare};
use velodrome_results::run::Run;
use velodrome_results::{Status, TrialRecord};

fn noted(found: &Comparison, code: &str) -> bool {
    found.notes.iter().any(|n| n.code == code)
}

#[test]
fn nan_equals_itself() {
    let spoilt = || {
        let mut run = raced("base", 1, 3, 1.0, 1.0);
        for trial in &mut run.trials {
            let first = &mut trial.evals[0];
            first.train.insert("loss".into(), f64::NAN);
            first.test.insert("loss".into(), f64::INFINITY);
        }
        run
    };
    let found = judged(&spoilt(), &spoilt());
    assert_eq!(found.verdict, Verdict::Same, "{found:#?}");
    let found = judged(&spoilt(), &raced("base", 1, 3, 1.0, 1.0));
    assert!(found.rows.iter().all(|r| r.changed == Some(true)));
}

#[test]
fn a_run_in_which_everything_fails_alike_is_the_same_as_itself() {
    let failed = |status: Status| {
        let trials = (1..=3).map(|study| {
            let trial = TrialBuilder::new("digits", "adamw", study, 1);
            trial.failed(status, "panic at step 7").build()
        });
        run("base", trials.collect())
    };
    let found = judged(&failed(Status::Crashed), &failed(Status::Crashed));
    assert_eq!(found.verdict, Verdict::Same, "{found:#?}");
    let found = judged(&failed(Status::Crashed), &failed(Status::OutOfMemory));
    assert_eq!(found.verdict, Verdict::Inconclusive, "{found:#?}");
    assert!(noted(&found, "both_failed"));
}

/// A slow candidate runs out of seconds early: that is no fewer steps.
#[test]
fn a_trial_that_ran_out_of_seconds_counts_with_its_whole_budget() {
    let base = raced("base", 1, 10, 1.0, 1.0);
    let mut candidate = raced("candidate", 2, 10, 1.0, 20.0);
    for trial in &mut candidate.trials {
        let record = &mut trial.record;
        record.status = Status::Missed;
        record.outcome.steps_to_target = None;
        record.outcome.counters.steps = 100;
        record.outcome.counters.work = 1000;
    }
    let found = judged(&base, &candidate);
    let answer = &found.answers[&Question::Learning];
    assert_eq!(answer.verdict, Verdict::Regressed, "{answer:#?}");
    // 10,000 steps have the budget of 100,000 examples.
    assert!(answer.ratio.unwrap() > 3.0, "{answer:#?}");
}

#[test]
fn with_other_seeds_one_divergence_is_luck_and_a_crash_is_not() {
    let other = |status: Status| {
        let run = edited(raced("candidate", 2, 10, 1.0, 1.0), |r| r.seeds.data += 100);
        with_first(run, |mut t| {
            t.record.status = status;
            t.record.outcome.steps_to_target = None;
            t
        })
    };
    let base = raced("base", 1, 10, 1.0, 1.0);
    assert_ne!(
        judged(&base, &other(Status::Diverged)).verdict,
        Verdict::Regressed
    );
    let found = judged(&base, &other(Status::Crashed));
    assert_eq!(found.verdict, Verdict::Regressed);
    assert!(noted(&found, "candidate_failed"));
}

#[test]
fn every_trial_is_held_against_the_rules_and_the_machine() {
    let base = || raced("base", 1, 3, 1.0, 1.0);
    let refused = |candidate: Run| {
        let found = compare(&base(), &candidate, &CompareOptions::default());
        found.unwrap_err().to_string()
    };
    let last = |change: fn(&mut TrialRecord)| {
        let mut run = base();
        change(&mut run.trials.last_mut().unwrap().record);
        run
    };
    let message = refused(last(|r| r.budget.work = 7));
    for part in ["budget.work", "text.adamw.study-3.trial-1"] {
        assert!(message.contains(part), "{message}");
    }
    let message = refused(last(|r| r.fingerprint.threads = 64));
    for part in ["fingerprint.threads", "text.adamw.study-3.trial-1"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_is_unfinished_is_told_by_name() {
    let base = raced("base", 1, 3, 1.0, 1.0);
    let mut candidate = raced("base", 1, 3, 1.0, 1.0);
    candidate.trials[0].record.status = Status::Running;
    let gone = candidate.trials.remove(1);
    candidate.missing.push(gone.record.id.clone());
    let found = judged(&base, &candidate);
    for code in ["not_ended", "not_raced", "missing_pair"] {
        assert!(noted(&found, code), "{code}: {:?}", found.notes);
    }
    assert!(
        found
            .notes
            .iter()
            .any(|n| n.message.contains(&gone.record.id))
    );
}

/// Another process loads the machine during most of the candidate's run.
#[test]
fn a_machine_that_wandered_is_no_regression() {
    let loaded = |from: u32| {
        let run = raced("candidate", 2, 12, 1.0, 1.0);
        edited(run, |r| {
            // Study by study, whatever the order of the plan.
            r.started = Some(f64::from(r.study));
            if r.study >= from {
                r.outcome.step_times.mean *= 1.5;
            }
        })
    };
    let base = edited(raced("base", 1, 12, 1.0, 1.0), |r| {
        r.started = Some(f64::from(r.study))
    });
    let found = judged(&base, &loaded(4));
    assert_ne!(
        found.answers[&Question::Speed].verdict,
        Verdict::Regressed,
        "{found:#?}"
    );
    assert!(noted(&found, "wandered") && found.drift > 0.4, "{found:#?}");
    // All of it: no comparison of two runs can tell that from a slower program.
    let found = judged(&base, &loaded(1));
    assert_eq!(found.answers[&Question::Speed].verdict, Verdict::Regressed);
    assert!(!noted(&found, "wandered"));
}

/// Rows of a hundred seeds each: thousands of tests of one family.
#[test]
fn ten_thousand_trials_have_a_verdict_and_the_worst_row_is_found() {
    let run_of = |factor: f64| {
        let mut trials = Vec::new();
        for row in 0..100 {
            for study in 1..=100 {
                let slow = if row == 42 { factor } else { 1.0 };
                let needed = (2000.0 * noise(study, row, 0.4) * slow).round();
                let trial = TrialBuilder::new(&format!("w{row}"), "adamw", study, 1);
                trials.push(trial.reached(needed * 0.01, needed as u64).build());
            }
        }
        run("base", trials)
    };
    let found = judged(&run_of(1.0), &run_of(1.1));
    assert_eq!(found.verdict, Verdict::Regressed);
    let regressed: Vec<&str> = found
        .rows
        .iter()
        .filter(|r| r.verdict == Verdict::Regressed)
        .map(|r| r.workload.as_str())
        .collect();
    assert_eq!(regressed, ["w42"]);
}

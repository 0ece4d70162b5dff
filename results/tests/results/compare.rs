//! Two runs and the verdict.

mod edges;
mod forms;
mod rates;

use crate::common::{TrialBuilder, run};
use velodrome_results::compare::{
    CompareError, CompareOptions, Comparison, Question, Verdict, compare,
};
use velodrome_results::run::{Run, Trial};
use velodrome_results::{Direction, RecordError, Status, TrialRecord};

/// A factor near 1 that depends on the study and a side, the same at every call.
fn noise(study: u32, side: u32, size: f64) -> f64 {
    let mixed = (study * 7919 + side * 104_729).wrapping_mul(2_654_435_761);
    1.0 + size * (f64::from(mixed >> 8) / f64::from(1 << 24) - 0.5)
}

/// Two workloads and one submission from `studies` seeds. `steps` and `step_time` are factors.
fn raced(name: &str, side: u32, studies: u32, steps: f64, step_time: f64) -> Run {
    let mut trials = Vec::new();
    for workload in ["digits", "text"] {
        for study in 1..=studies {
            // The same seeds need the same steps unless the algorithm changed.
            let needed = (2000.0 * noise(study, 0, 0.2) * steps).round();
            let time = needed * 0.01 * step_time * noise(study, side, 0.02);
            let trial = TrialBuilder::new(workload, "adamw", study, 1);
            trials.push(
                trial
                    .reached(time, needed as u64)
                    .edit(|r| r.point = [("learning_rate".to_string(), 0.1)].into())
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

fn verdict(c: &Comparison, question: Question) -> Verdict {
    c.answers[&question].verdict
}

fn judged(base: &Run, candidate: &Run) -> Comparison {
    compare(base, candidate, &CompareOptions::default()).unwrap()
}

#[test]
fn a_run_against_itself_is_the_same_whatever_its_size() {
    for studies in [1, 2, 10] {
        let base = raced("base", 1, studies, 1.0, 1.0);
        let found = judged(&base, &raced("base", 1, studies, 1.0, 1.0));
        assert_eq!(found.verdict, Verdict::Same, "{found:#?}");
        assert!(found.rows.iter().all(|r| r.verdict == Verdict::Same));
        assert!(found.rows.iter().all(|r| r.changed == Some(false)));
        assert_eq!(found.notes, []);
    }
}

#[test]
fn another_day_on_the_same_machine_is_no_regression() {
    let base = raced("base", 1, 10, 1.0, 1.0);
    // 5 % slower as a whole: within what a machine may drift between two sittings.
    let found = judged(&base, &raced("candidate", 2, 10, 1.0, 1.05));
    assert_eq!(found.verdict, Verdict::Same, "{:#?}", found.answers);
    assert_eq!(found.rows[0].changed, Some(false));
}

#[test]
fn more_steps_are_a_regression_of_learning_alone() {
    let base = raced("base", 1, 10, 1.0, 1.0);
    let found = judged(&base, &raced("candidate", 2, 10, 1.1, 1.0));
    assert_eq!(found.verdict, Verdict::Regressed);
    assert_eq!(verdict(&found, Question::Learning), Verdict::Regressed);
    assert_eq!(verdict(&found, Question::Speed), Verdict::Same);
    let answer = &found.answers[&Question::Learning];
    assert!((answer.ratio.unwrap() - 1.1).abs() < 1e-3, "{answer:#?}");
    let back = judged(&raced("candidate", 2, 10, 1.1, 1.0), &base);
    assert_eq!(verdict(&back, Question::Learning), Verdict::Improved);
    assert_eq!(back.verdict, Verdict::Improved);
}

#[test]
fn slower_steps_count_beyond_the_drift() {
    let base = raced("base", 1, 10, 1.0, 1.0);
    let candidate = raced("candidate", 2, 10, 1.0, 1.05);
    let interleaved = CompareOptions {
        drift: 0.0,
        ..CompareOptions::default()
    };
    let found = compare(&base, &candidate, &interleaved).unwrap();
    assert_eq!(verdict(&found, Question::Speed), Verdict::Regressed);
    let found = judged(&base, &raced("candidate", 2, 10, 1.0, 1.3));
    assert_eq!(verdict(&found, Question::Speed), Verdict::Regressed);
    assert_eq!(verdict(&found, Question::Learning), Verdict::Same);
}

#[test]
fn a_change_in_few_runs_is_shown_and_left_open() {
    let base = raced("base", 1, 2, 1.0, 1.0);
    let found = judged(&base, &raced("candidate", 1, 2, 1.02, 1.0));
    assert_eq!(found.verdict, Verdict::Inconclusive);
    assert!(found.rows.iter().all(|r| r.changed == Some(true)));
}

#[test]
fn more_state_is_a_regression_in_a_single_run() {
    let base = raced("base", 1, 1, 1.0, 1.0);
    let grow = |r: &mut TrialRecord| r.outcome.state_bytes = 4916;
    let found = judged(&base, &edited(raced("base", 1, 1, 1.0, 1.0), grow));
    assert_eq!(verdict(&found, Question::Memory), Verdict::Regressed);
    assert_eq!(found.verdict, Verdict::Regressed);
}

#[test]
fn other_seeds_are_two_samples() {
    let other = |run: Run| edited(run, |r| r.seeds.data += 100);
    let base = raced("base", 1, 10, 1.0, 1.0);
    let found = judged(&base, &other(raced("candidate", 2, 10, 1.0, 1.0)));
    assert_ne!(found.verdict, Verdict::Regressed);
    assert_eq!(found.rows[0].changed, None);
    assert!(found.notes.iter().all(|n| n.code == "other_seeds"));
    let found = judged(&base, &other(raced("candidate", 2, 10, 1.5, 1.0)));
    assert_eq!(verdict(&found, Question::Learning), Verdict::Regressed);
}

/// Replaces the first trial.
fn with_first(mut run: Run, change: impl Fn(Trial) -> Trial) -> Run {
    let first = run.trials.remove(0);
    run.trials.insert(0, change(first));
    run
}

#[test]
fn a_crash_of_the_candidate_alone_is_a_regression() {
    let crash = |mut t: Trial| {
        t.record.status = Status::Crashed;
        t.record.reason = Some("out of range".into());
        t
    };
    let base = || raced("base", 1, 3, 1.0, 1.0);
    let found = judged(&base(), &with_first(base(), crash));
    assert_eq!(found.verdict, Verdict::Regressed);
    let note = &found.notes[0];
    assert_eq!(note.code, "candidate_failed");
    for part in ["digits.adamw.study-1.trial-1", "crashed", "out of range"] {
        assert!(note.message.contains(part), "{note:?}");
    }
    let found = judged(&with_first(base(), crash), &base());
    assert_eq!(found.notes[0].code, "base_failed");
    assert_eq!(found.verdict, Verdict::Same);
    let found = judged(&with_first(base(), crash), &with_first(base(), crash));
    assert_eq!(found.notes[0].code, "both_failed");
    assert_eq!(found.verdict, Verdict::Same);
}

#[test]
fn missing_partners_are_told() {
    let base = raced("base", 1, 3, 1.0, 1.0);
    let mut candidate = raced("base", 1, 3, 1.0, 1.0);
    candidate.trials.remove(0);
    let found = judged(&base, &candidate);
    assert_eq!(found.notes[0].code, "missing_pair");
    candidate.trials.retain(|t| t.record.workload != "digits");
    let found = judged(&base, &candidate);
    assert_eq!(found.notes[0].code, "missing_row");
    assert_eq!(found.verdict, Verdict::Inconclusive);
    let found = judged(&candidate, &base);
    assert_eq!(found.notes[0].code, "new_row");
    assert_eq!(found.verdict, Verdict::Same);
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let base = || raced("base", 1, 3, 1.0, 1.0);
    let refused = |candidate: &Run| {
        compare(&base(), candidate, &CompareOptions::default())
            .unwrap_err()
            .to_string()
    };
    let message = refused(&edited(base(), |r| r.target.validation = 0.4));
    for part in ["target.validation", "0.5", "0.4", "trial.json"] {
        assert!(message.contains(part), "{message}");
    }
    let message = refused(&edited(base(), |r| r.workload_version = 2));
    assert!(message.contains("workload_version"), "{message}");
    let message = refused(&edited(base(), |r| r.outcome.parameters = 7));
    assert!(message.contains("outcome.parameters"), "{message}");
    let other = |r: &mut TrialRecord| r.fingerprint.cpu = "Other CPU".into();
    let message = refused(&edited(base(), other));
    for part in ["fingerprint.cpu", "Other CPU", "--allow-mixed"] {
        assert!(message.contains(part), "{message}");
    }
    let mixed = CompareOptions {
        allow_mixed: true,
        ..CompareOptions::default()
    };
    let found = compare(&base(), &edited(base(), other), &mixed).unwrap();
    assert_eq!(found.verdict, Verdict::Same);
    assert!(!found.answers.contains_key(&Question::Speed));

    let mut twice = base();
    let mut twin = twice.trials[0].clone();
    twin.record.id = "digits.adamw.study-9.trial-1".into();
    twice.trials.push(twin);
    let message = refused(&twice);
    for part in ["study-1.trial-1", "study-9.trial-1", "same seeds"] {
        assert!(message.contains(part), "{message}");
    }
    let message = refused(&edited(base(), |r| r.submission = "lion".into()));
    assert!(
        message.contains("nothing") || message.contains("no workload"),
        "{message}"
    );
    let mut damaged = base();
    let error = RecordError::damaged("evals.jsonl", 3, "cut short");
    damaged
        .damaged
        .push(("digits.adamw.study-1.trial-1".into(), error));
    assert!(refused(&damaged).contains("evals.jsonl"));
    let never = CompareOptions {
        family_error: 0.0,
        ..CompareOptions::default()
    };
    let error = compare(&base(), &base(), &never).unwrap_err();
    assert!(matches!(
        error,
        CompareError::Option {
            option: "family_error",
            ..
        }
    ));
}

#[test]
fn missed_targets_are_compared_by_their_best_metric() {
    let missed = |name: &str, best: f64| {
        let trials = (1..=10).map(|study| {
            let best = best * noise(study, 0, 0.1);
            TrialBuilder::new("digits", "adamw", study, 1)
                .missed(best)
                .build()
        });
        run(name, trials.collect())
    };
    let found = judged(&missed("base", 0.8), &missed("candidate", 0.9));
    let answer = &found.answers[&Question::Learning];
    assert_eq!(answer.measure, "best validation metric");
    assert_eq!(answer.verdict, Verdict::Regressed);
    let upwards = |r: &mut TrialRecord| r.target.direction = Direction::Maximize;
    let found = judged(
        &edited(missed("base", 0.8), upwards),
        &edited(missed("candidate", 0.9), upwards),
    );
    assert_eq!(verdict(&found, Question::Learning), Verdict::Improved);
}

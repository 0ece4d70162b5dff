//! Who pays for which second: a fake workload on a fake clock.
#![allow(missing_docs)]

mod support;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use std::sync::Arc;
use std::time::Duration;
use support::*;
use velodrome_harness::contract::{
    Batch, ModelError, Network, Pass, PassOptions, SubmissionError, Trained, Trainee,
};
use velodrome_harness::race::time::FakeTime;
use velodrome_results::measures::Measures;
use velodrome_results::{EndedBy, Status, log};

const SECOND: Duration = Duration::from_secs(1);

fn during_evaluation(f: impl Fn() + 'static) {
    DURING_EVALUATION.set(Some(Box::new(f)));
}

/// Gradient descent whose every step takes a second.
fn ticking(time: &Arc<FakeTime>) -> Probe {
    let mut probe = Probe::new(time);
    let t = time.clone();
    probe.on_update = Arc::new(move |step, trainee, batch| {
        t.advance(SECOND);
        descend(step, trainee, batch)
    });
    probe
}

#[test]
fn only_start_steps_and_preparation_are_on_the_clock() {
    let time = Arc::new(FakeTime::default());
    let mut workload = FakeWorkload::new(&time);
    workload.open_takes = 1000 * SECOND;
    let mut probe = Probe::new(&time);
    probe.on_start = |t, _| t.advance(3 * SECOND);
    probe.on_prepare = |t| t.advance(SECOND / 2);
    let t = time.clone();
    probe.on_update = Arc::new(move |step, trainee, batch| {
        t.advance(2 * SECOND);
        descend(step, trainee, batch)
    });
    let t = time.clone();
    during_evaluation(move || t.advance(500 * SECOND));
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, planned(&workload), dir.path());

    assert_eq!(record.status, Status::Missed, "{:?}", record.reason);
    assert_eq!(record.ended_by, Some(EndedBy::WorkBudget));
    let clock = record.outcome.clock;
    // 80 steps of 8 examples are the budget of 640; 11 evaluations, the one before step 1 included.
    assert_eq!(record.outcome.counters.steps, 80);
    assert_eq!(record.outcome.counters.evaluations, 11);
    assert_eq!(clock.start, 3.0);
    assert_eq!(clock.training, 160.0);
    assert_eq!(clock.prepare, 5.5);
    assert_eq!(clock.setup, 1000.0);
    assert_eq!(clock.evaluation, 2.0 * 11.0 * 500.0);
    assert_eq!(clock.on_clock(), 168.5);
    assert_eq!(clock.background, 0.0);
    assert!(clock.unaccounted_share().abs() < 1e-9);
    let evals = log::read(&dir.path().join("evals.jsonl")).unwrap();
    assert_eq!(evals[0].clock, 3.5);
    assert_eq!(evals[1].clock, 3.5 + 8.0 * 2.0 + 0.5);
    assert_eq!(evals[10].work, 640);
}

#[test]
fn work_in_another_thread_while_the_clock_stands_is_charged() {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    let honest = {
        during_evaluation(|| {});
        let dir = tempfile::tempdir().unwrap();
        race(
            &workload,
            &Probe::new(&time),
            planned(&workload),
            dir.path(),
        )
    };
    // The same submission, with a thread that works on while the harness evaluates.
    let t = time.clone();
    during_evaluation(move || t.work_in_background(SECOND));
    let dir = tempfile::tempdir().unwrap();
    let cheat = race(
        &workload,
        &Probe::new(&time),
        planned(&workload),
        dir.path(),
    );
    let gain = cheat.outcome.clock.on_clock() - honest.outcome.clock.on_clock();
    assert!((gain - 2.0 * 11.0).abs() < 1e-9, "{gain}");
    assert!(cheat.findings.iter().any(|f| f.code == "background_work"));
    assert!(honest.findings.is_empty(), "{:?}", honest.findings);
}

#[test]
fn a_second_gradient_is_paid_in_work_and_brings_no_evaluation() {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    during_evaluation(|| {});
    let mut probe = Probe::new(&time);
    probe.on_update = Arc::new(|step, trainee, batch| {
        trainee.gradients(batch, &PassOptions::default())?;
        descend(step, trainee, batch)
    });
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, planned(&workload), dir.path());
    // Two gradients a step: half the steps for the same budget, the same number of evaluations.
    assert_eq!(record.outcome.counters.steps, 40);
    assert_eq!(record.outcome.counters.work, 640);
    assert_eq!(record.outcome.counters.evaluations, 11);
}

#[test]
fn a_budget_of_seconds_ends_a_trial_between_evaluations() {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    during_evaluation(|| {});
    let probe = ticking(&time);
    let mut record = planned(&workload);
    record.budget.seconds = 13.0;
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, record, dir.path());
    assert_eq!(record.ended_by, Some(EndedBy::TimeBudget));
    assert_eq!(record.outcome.counters.steps, 13);
    assert_eq!(record.outcome.counters.evaluations, 2);
}

#[test]
fn the_target_stops_the_clock_at_the_first_evaluation_that_meets_it() {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    during_evaluation(|| {});
    let probe = ticking(&time);
    let mut record = planned(&workload);
    record.target.validation = 0.05;
    record.target.test = 1e9;
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, record, dir.path());
    assert_eq!(record.status, Status::Reached);
    let evals = log::read(&dir.path().join("evals.jsonl")).unwrap();
    let (last, before) = evals.split_last().unwrap();
    assert!(last.validation["loss"] <= 0.05);
    assert!(before.iter().all(|e| e.validation["loss"] > 0.05));
    assert_eq!(record.outcome.time_to_target, Some(last.clock));
    assert_eq!(record.outcome.steps_to_target, Some(last.step));
    assert_eq!(record.outcome.time_to_test_target, Some(0.0));
}

#[test]
fn an_error_and_a_nan_are_statuses() {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    during_evaluation(|| {});
    let mut probe = Probe::new(&time);
    probe.on_update = Arc::new(|step, trainee, batch| {
        if step == 7 {
            return Err(SubmissionError::from("out of ideas"));
        }
        descend(step, trainee, batch)
    });
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, planned(&workload), dir.path());
    assert_eq!(record.status, Status::Crashed);
    assert!(record.reason.unwrap().contains("out of ideas"));

    probe.on_update = Arc::new(|step, trainee, batch| {
        descend(step, trainee, batch)?;
        if step == 3 {
            trainee.map(|_, v| v.mul_scalar(f64::NAN));
        }
        Ok(())
    });
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, planned(&workload), dir.path());
    assert_eq!(record.status, Status::Diverged, "{:?}", record.reason);
}

/// Measures of its own choice: those of a model that a submission would like to be judged by.
#[derive(Module, Debug)]
struct Perfect {
    weight: Param<Tensor<1>>,
}

impl Network for Perfect {
    fn losses(&self, _: &Batch, _: &mut Pass) -> Result<Tensor<1>, ModelError> {
        Ok(self.weight.val())
    }

    fn evaluate(&self, _: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        Ok([("loss".to_string(), 0.0)].into())
    }
}

/// With another trainee come other counters and other measures.
#[test]
fn another_trainee_in_the_place_of_the_trials_ends_it() {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    during_evaluation(|| {});
    let mut probe = Probe::new(&time);
    probe.on_update = Arc::new(|step, trainee, batch| {
        if step == 5 {
            let device = Device::flex().autodiff();
            let weight = Param::from_tensor(Tensor::zeros([1], &device));
            let model = Trained::new(Perfect { weight });
            *trainee = Trainee::new(Box::new(model), Device::flex(), 1);
            return Ok(());
        }
        descend(step, trainee, batch)
    });
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, planned(&workload), dir.path());
    assert_eq!(record.status, Status::Crashed);
    assert!(record.reason.unwrap().contains("another trainee"));
    assert_eq!(record.outcome.counters.steps, 5);
}

#[test]
fn a_trial_resumed_from_a_checkpoint_equals_a_straight_one_bit_for_bit() {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    during_evaluation(|| {});
    let straight_dir = tempfile::tempdir().unwrap();
    let straight = race(
        &workload,
        &Probe::new(&time),
        planned(&workload),
        straight_dir.path(),
    );
    let dir = tempfile::tempdir().unwrap();
    let mut stopping = Probe::new(&time);
    stopping.on_update = Arc::new(|step, trainee, batch| {
        if step == 45 {
            panic!("killed");
        }
        descend(step, trainee, batch)
    });
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        race(&workload, &stopping, planned(&workload), dir.path())
    }));
    assert!(killed.is_err());
    let resumed = race(
        &workload,
        &Probe::new(&time),
        planned(&workload),
        dir.path(),
    );
    assert_eq!(resumed.outcome.resumes, 1);
    assert_eq!(resumed.outcome.counters, straight.outcome.counters);
    let read = |d: &tempfile::TempDir| log::read(&d.path().join("evals.jsonl")).unwrap();
    let (a, b) = (read(&straight_dir), read(&dir));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((a.n, a.step, a.work), (b.n, b.step, b.work));
        assert_eq!(a.validation, b.validation);
        assert_eq!(a.test, b.test);
        assert_eq!(a.train, b.train);
    }
}

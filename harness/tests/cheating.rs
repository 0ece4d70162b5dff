//! Submissions that cheat, each caught: a fake workload on a fake clock (`docs/integrity.md` lists the ways).
#![allow(missing_docs)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;
use velodrome_harness::contract::*;
use velodrome_harness::race::time::FakeTime;
use velodrome_results::{Status, TrialRecord, log};

/// Races a submission that trains the map's two weights and does `more` before each step. The target allows two
/// of the model's three elements.
fn race_limited(more: impl Fn(u64, &mut Trainee) + Send + Sync + 'static) -> TrialRecord {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    DURING_EVALUATION.set(None);
    let mut probe = Probe::new(&time);
    probe.on_start = |_, trainee| trainee.set_trainable(is_weight);
    probe.on_update = Arc::new(move |step, trainee, batch| {
        more(step, trainee);
        descend(step, trainee, batch)
    });
    let mut record = planned(&workload);
    record.target.trainable_share = Some(0.67);
    let dir = tempfile::tempdir().unwrap();
    race(&workload, &probe, record, dir.path())
}

fn is_weight(param: &ParamInfo) -> bool {
    param.shape.len() == 2
}

fn assert_barred(record: &TrialRecord) {
    assert_eq!(record.status, Status::Skipped, "{:?}", record.reason);
    let reason = record.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("trains 3 elements"), "{reason}");
    // It raced as far as the evaluation that would have profited.
    assert_eq!(record.outcome.counters.evaluations, 1);
}

#[test]
fn what_trains_the_allowed_share_races_to_the_end() {
    let record = race_limited(|_, _| {});
    assert_eq!(record.status, Status::Missed, "{:?}", record.reason);
    assert_eq!(record.outcome.trainable_parameters, 2);
}

#[test]
fn writing_to_frozen_weights_counts_as_training_them() {
    assert_barred(&race_limited(|_, trainee| {
        trainee.map(|info, value| match is_weight(info) {
            true => value,
            false => value.add_scalar(0.01),
        });
    }));
}

#[test]
fn training_one_part_after_the_other_counts_both() {
    assert_barred(&race_limited(|step, trainee| {
        trainee.set_trainable(|info| is_weight(info) == (step % 2 == 0));
    }));
}

/// Work that was left to the pool would be done beside the evaluation, for nothing.
#[test]
fn no_work_is_left_to_the_pool_when_the_clock_stands() {
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    fn leave(_: &FakeTime) {
        for _ in 0..40 {
            LEFT.fetch_add(1, SeqCst);
            rayon::spawn(|| {
                std::thread::sleep(Duration::from_millis(1));
                // What a job leaves in its turn counts too.
                rayon::spawn(|| {
                    LEFT.fetch_sub(1, SeqCst);
                });
            });
        }
    }
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    DURING_EVALUATION.set(Some(Box::new(move || {
        sees.lock().unwrap().push(LEFT.load(SeqCst));
    })));
    let mut probe = Probe::new(&time);
    probe.on_prepare = leave;
    let dir = tempfile::tempdir().unwrap();
    let record = race(&workload, &probe, planned(&workload), dir.path());
    assert_eq!(record.status, Status::Missed, "{:?}", record.reason);
    // Of both splits, eleven times.
    assert_eq!(*seen.lock().unwrap(), [0; 22]);
}

/// Jobs that come from a thread outside while the pool is waited for must not hold up the trial for ever.
#[test]
fn a_thread_that_feeds_the_pool_hangs_nothing() {
    let over = Arc::new(AtomicBool::new(false));
    let seen = over.clone();
    let feeder = std::thread::spawn(move || {
        while !seen.load(SeqCst) {
            rayon::spawn(|| {});
            std::thread::sleep(Duration::from_micros(5));
        }
    });
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    DURING_EVALUATION.set(None);
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let record = planned(&workload);
        let record = race(&workload, &Probe::new(&time), record, dir.path());
        assert_eq!(record.status, Status::Missed, "{:?}", record.reason);
    }
    over.store(true, SeqCst);
    feeder.join().unwrap();
}

/// Gradient descent that writes down all that it is told.
struct Listener(Arc<Mutex<Vec<String>>>);

impl Submission for Listener {
    fn describe(&self) -> Description {
        Probe::new(&Arc::default()).describe()
    }

    fn search_space(&self) -> SearchSpace {
        SearchSpace::new()
    }

    fn start(
        &self,
        _: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        self.0.lock().unwrap().push(format!("{context:?}"));
        Ok(Box::new(Listener(self.0.clone())))
    }
}

impl Algorithm for Listener {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        self.0.lock().unwrap().push(format!("{context:?}"));
        descend(context.step, trainee, batch)
    }

    fn save(&self, _: &mut State) -> Result<(), SubmissionError> {
        Ok(())
    }

    fn load(&mut self, _: &State, _: &Trainee) -> Result<(), SubmissionError> {
        Ok(())
    }
}

#[test]
fn a_submission_is_told_nothing_of_the_test_split() {
    let listen = |test_points| {
        let time = Arc::new(FakeTime::default());
        let mut workload = FakeWorkload::new(&time);
        workload.test_points = test_points;
        DURING_EVALUATION.set(None);
        let told = Arc::default();
        let dir = tempfile::tempdir().unwrap();
        let record = planned(&workload);
        let record = race(&workload, &Listener(Arc::clone(&told)), record, dir.path());
        assert_eq!(record.status, Status::Missed, "{:?}", record.reason);
        let last = log::read(&dir.path().join("evals.jsonl")).unwrap().pop();
        let last = last.unwrap();
        let told = told.lock().unwrap().clone();
        (told, last.validation["loss"], last.test["loss"])
    };
    let (told, validation, test) = listen(EXAMPLES);
    let (again, same, other) = listen(EXAMPLES / 2);
    assert_ne!(test, other);
    assert_eq!(validation, same);
    assert!(
        told.last()
            .is_some_and(|told| told.contains("evaluations: [0.")),
        "{told:?}"
    );
    assert_eq!(told, again);
}

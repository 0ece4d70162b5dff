//! Submissions that cheat, each caught: a fake workload on a fake clock (`docs/integrity.md` lists the ways).
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use support::*;
use velodrome_harness::contract::{ParamInfo, Trainee};
use velodrome_harness::race::time::FakeTime;
use velodrome_results::{Status, TrialRecord};

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

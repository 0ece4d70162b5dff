//! One cell of the board.

use super::collect::Collected;
use crate::board::{BoardCell, StudyResult, Tuning};
use crate::record::{Outcome, Status};
use crate::score::{self, StudyTime};
use std::cmp::Ordering;

/// Builds the cell of submission and workload `at` from its study times.
pub(super) fn cell(
    collected: &Collected<'_>,
    studies: &[StudyTime],
    at: (usize, usize),
    ratio: score::Cell,
) -> BoardCell {
    let finite = |x: &f64| x.is_finite();
    let results: Vec<StudyResult> = studies
        .iter()
        .filter_map(|study| study_result(collected, study, at))
        .collect();
    let steps = results
        .iter()
        .map(|r| r.steps.map_or(f64::INFINITY, |s| s as f64));
    let tuning = tuning(collected, &results, at);
    BoardCell {
        tuning,
        time: score::median(studies.iter().map(|s| s.time).collect()).filter(finite),
        ratio: ratio.filter(finite),
        steps: score::median(steps.collect()).filter(finite),
        studies: results,
        statuses: statuses(collected, at),
    }
}

/// Medians over the trials that count, where they began from pretrained weights.
fn tuning(
    collected: &Collected<'_>,
    results: &[StudyResult],
    at: (usize, usize),
) -> Option<Tuning> {
    let counts = |row: usize| {
        let trial = &collected.table.trials[row];
        let here = (trial.submission, trial.workload) == at;
        here && results
            .iter()
            .any(|r| (r.study, r.trial) == (trial.study, trial.trial))
    };
    let outcomes: Vec<&Outcome> = (0..collected.table.trials.len())
        .filter(|row| counts(*row))
        .map(|row| &collected.trials[row].record.outcome)
        .filter(|outcome| outcome.retained.is_some())
        .collect();
    let median = |value: &dyn Fn(&Outcome) -> Option<f64>| {
        let values: Vec<f64> = outcomes.iter().filter_map(|o| value(o)).collect();
        score::median(values).filter(|x| x.is_finite())
    };
    Some(Tuning {
        trained: median(&|o| Some(o.trainable_parameters as f64))?,
        share: median(&|o| Some(o.trainable_parameters as f64 / o.parameters.max(1) as f64))?,
        adapter_bytes: median(&|o| Some(o.adapter_bytes() as f64))?,
        peak_memory_bytes: median(&|o| o.peak_memory_bytes.map(|b| b as f64)),
        forgetting: median(&|o| o.retained.map(|r| r.forgetting())),
    })
}

/// How many trials of the cell ended how, running ones included.
fn statuses(collected: &Collected<'_>, at: (usize, usize)) -> Vec<(Status, usize)> {
    let ended = collected
        .table
        .trials
        .iter()
        .filter(|r| (r.submission, r.workload) == at)
        .map(|r| r.status);
    let running = collected
        .running
        .iter()
        .filter(|(s, w, _)| (*s, *w) == at)
        .map(|_| Status::Running);
    let all: Vec<Status> = ended.chain(running).collect();
    Status::ALL
        .into_iter()
        .map(|status| (status, all.iter().filter(|s| **s == status).count()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The trial that stands for a study: the one that the policy selected, or, where none reached
/// the target, the one with the best validation metric (the lowest number among equals).
fn study_result(
    collected: &Collected<'_>,
    study: &StudyTime,
    at: (usize, usize),
) -> Option<StudyResult> {
    let direction = collected.workloads[at.1].target.direction;
    let metric = |i: usize| {
        let best = collected.trials[i].record.outcome.best_validation;
        best.unwrap_or(f64::NAN)
    };
    let row = study.row.or_else(|| {
        let rows = collected.table.trials.iter().enumerate();
        rows.filter(|(_, r)| (r.submission, r.workload) == at && r.study == study.study)
            .map(|(i, _)| i)
            .min_by(|&a, &b| {
                if direction.better(metric(a), metric(b)) {
                    Ordering::Less
                } else if direction.better(metric(b), metric(a)) {
                    Ordering::Greater
                } else {
                    let number = |i: usize| collected.table.trials[i].trial;
                    number(a).cmp(&number(b))
                }
            })
    })?;
    let trial = &collected.table.trials[row];
    Some(StudyResult {
        study: study.study,
        trial: trial.trial,
        time: trial.reached.map(|r| r.time),
        steps: trial.reached.and_then(|r| r.steps),
        status: trial.status,
    })
}

//! One cell of the board.

use super::collect::Collected;
use crate::board::{BoardCell, StudyResult};
use crate::record::Status;
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
    BoardCell {
        time: score::median(studies.iter().map(|s| s.time).collect()).filter(finite),
        ratio: ratio.filter(finite),
        steps: score::median(steps.collect()).filter(finite),
        studies: results,
        statuses: statuses(collected, at),
    }
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

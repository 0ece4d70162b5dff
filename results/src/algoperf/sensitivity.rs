//! How the scores depend on who and what takes part.

use super::Logs;
use crate::score::{
    Cell, HeldOut, Matrix, Options, Rules, ScoreError, StudyTimes, Table, profile, score_times,
};
use serde::Serialize;

/// The budgets that are tried, as parts of the full one. (Larger ones cannot be: the logs end.)
const BUDGETS: [f64; 5] = [1.0, 0.9, 0.75, 0.5, 0.25];

/// What was changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what", content = "which")]
pub enum LeftOut {
    /// One submission is not there: ratios are over the best of the others.
    Submission(String),
    /// One scored workload is not there, nor its held-out variants.
    Workload(String),
    /// One study of every cell is not there.
    Study(u32),
    /// Trials count as not reached after this part of the budget.
    Budget(f64),
}

/// The scores under one change.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    /// The change.
    pub change: LeftOut,
    /// Scores, in the order of the logs; `None` for a submission left out.
    pub scores: Vec<Option<f64>>,
    /// Ranks among those that are there.
    pub ranks: Vec<Option<usize>>,
}

/// Every change.
pub(super) fn all(
    logs: &Logs,
    table: &Table,
    studies: &StudyTimes,
    options: &Options,
) -> Result<Vec<Variation>, ScoreError> {
    let times = studies.medians();
    let mut found = Vec::new();
    let full = |change, times: &Matrix, options: &Options| -> Result<Variation, ScoreError> {
        let scored = score_times(times, options)?;
        Ok(Variation {
            change,
            scores: scored.scores.into_iter().map(Some).collect(),
            ranks: scored.ranks.into_iter().map(Some).collect(),
        })
    };
    if times.len() > 1 {
        for (out, name) in logs.submissions.iter().enumerate() {
            let mut rest = times.clone();
            rest.remove(out);
            let scored = score_times(&rest, options)?;
            let mut scores: Vec<Option<f64>> = scored.scores.into_iter().map(Some).collect();
            scores.insert(out, None);
            let mut ranks: Vec<Option<usize>> = scored.ranks.into_iter().map(Some).collect();
            ranks.insert(out, None);
            found.push(Variation {
                change: LeftOut::Submission(name.clone()),
                scores,
                ranks,
            });
        }
    }
    if logs.targets.base > 1 {
        for out in 0..logs.targets.base {
            let (rest, options) = without_workload(&times, options, out);
            let name = logs.targets.workloads[out].name.clone();
            found.push(full(LeftOut::Workload(name), &rest, &options)?);
        }
    }
    let numbers = studies.studies();
    if numbers.len() > 1 {
        for out in &numbers {
            let rest: Vec<u32> = numbers.iter().copied().filter(|n| n != out).collect();
            found.push(full(
                LeftOut::Study(*out),
                &studies.medians_of(&rest),
                options,
            )?);
        }
    }
    let budgets: Vec<Option<f64>> = (0..table.workloads.len()).map(|w| logs.budget(w)).collect();
    if budgets.iter().any(Option::is_some) {
        for part in BUDGETS {
            let mut table = table.clone();
            for row in &mut table.trials {
                let late = |time: f64| budgets[row.workload].is_some_and(|b| time > part * b);
                row.reached = row.reached.filter(|r| !late(r.time));
            }
            let times = table.study_times(options.policy)?.medians();
            found.push(full(LeftOut::Budget(part), &times, options)?);
        }
    }
    Ok(found)
}

/// The times without a scored workload and its held-out variants.
fn without_workload(times: &Matrix, options: &Options, out: usize) -> (Matrix, Options) {
    let held = &options.rules.held_out;
    let gone = |w: usize| w == out || held.iter().any(|h| h.workload == w && h.base == out);
    let place = |w: usize| w - (0..w).filter(|w| gone(*w)).count();
    let row = |row: &Vec<Cell>| {
        let kept = row.iter().enumerate().filter(|(w, _)| !gone(*w));
        kept.map(|(_, cell)| *cell).collect()
    };
    let held_out = held.iter().filter(|h| !gone(h.workload)).map(|h| HeldOut {
        workload: place(h.workload),
        base: place(h.base),
    });
    let options = Options {
        rules: Rules {
            held_out: held_out.collect(),
            ..options.rules.clone()
        },
        ..options.clone()
    };
    (times.iter().map(row).collect(), options)
}

/// The share of the pairs of submissions whose order is the same in two lists of scores; pairs of
/// which one is missing are left out. `None` without any pair.
pub(super) fn agreement(a: &[f64], b: &[Option<f64>]) -> Option<f64> {
    let mut same = 0;
    let mut pairs = 0;
    for i in 0..a.len() {
        for j in i + 1..a.len() {
            let (Some(x), Some(y)) = (b[i], b[j]) else {
                continue;
            };
            pairs += 1;
            same += usize::from(a[i].total_cmp(&a[j]) == x.total_cmp(&y));
        }
    }
    (pairs > 0).then(|| same as f64 / f64::from(pairs))
}

/// The ratio at which the profile ends, for texts.
pub(super) const LIMIT: f64 = profile::MAX_RATIO;

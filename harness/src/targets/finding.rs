//! From the records of a procedure to a target, a budget and a cadence.

use super::TargetError;
use crate::contract::Point;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use velodrome_results::Direction;
use velodrome_results::run::{Run, Trial};

/// Evaluations on the way to the target that the suggested cadence gives, where they cost no more
/// than [`EVALUATION_SHARE`].
const EVALUATIONS: f64 = 50.0;
/// Seconds of evaluations over seconds on the clock that the suggested cadence does not exceed.
const EVALUATION_SHARE: f64 = 0.2;
/// The work budget in step hints.
const BUDGET_HINTS: u64 = 2;
/// The budget of seconds in times that the winner needs for the whole work budget on the machine of
/// the procedure: generous, since the work is what should end a trial.
const BUDGET_SLACK: f64 = 5.0;

/// Best validation value of one trial of the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Searched {
    /// Algorithm.
    pub algorithm: String,
    /// Its trial: on a base, 1 is the default point.
    pub trial: u32,
    /// Best validation value; `None` where there was no finite one.
    pub best: Option<f64>,
}

/// The point that a search chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Winner {
    /// Algorithm.
    pub algorithm: String,
    /// Its point.
    pub point: Point,
}

/// One repetition of the winner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// Best validation value.
    pub validation: f64,
    /// Test value at that evaluation.
    pub test: f64,
    /// Work at the first evaluation that met the target; `None` where none did.
    pub work_to_target: Option<u64>,
    /// Seconds on the clock at that evaluation.
    pub seconds_to_target: Option<f64>,
}

/// What the procedure found for one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Workload.
    pub workload: String,
    /// The winner.
    pub winner: Winner,
    /// Every trial of the search, by algorithm and trial.
    pub searched: Vec<Searched>,
    /// The repetitions.
    pub repeated: Vec<Repetition>,
    /// Validation target.
    pub validation: f64,
    /// Test target.
    pub test: f64,
    /// Suggested work between two evaluations.
    pub eval_every_work: u64,
    /// Suggested work budget.
    pub budget_work: u64,
    /// Suggested budget of submission seconds.
    pub budget_seconds: f64,
    /// Seconds of evaluations at the suggested cadence over seconds on the clock, on the way to the
    /// target.
    pub evaluation_share: f64,
}

/// The first of the best among `trials`; `None` where none has a finite metric.
fn best<'a>(trials: impl Iterator<Item = &'a Trial>) -> Option<Winner> {
    let value = |t: &Trial| t.record.outcome.best_validation.unwrap_or(f64::NAN);
    let mut best: Option<&Trial> = None;
    for trial in trials {
        let beaten = best.map_or(f64::NAN, value);
        if trial.record.target.direction.better(value(trial), beaten) {
            best = Some(trial);
        }
    }
    best.map(|best| Winner {
        algorithm: best.record.submission.clone(),
        point: Point(best.record.point.clone()),
    })
}

/// The best trial of a search.
pub(super) fn choose(search: &Run, workload: &str) -> Result<Winner, TargetError> {
    best(search.trials.iter()).ok_or_else(|| TargetError::Failed {
        workload: workload.to_string(),
        message: "no trial of the search has a finite metric".into(),
    })
}

/// The best point of each algorithm that has a finite metric, by name.
pub(super) fn best_points(search: &Run) -> Vec<Winner> {
    let names: BTreeSet<&str> = search
        .trials
        .iter()
        .map(|t| t.record.submission.as_str())
        .collect();
    let of = |name| {
        search
            .trials
            .iter()
            .filter(move |t| t.record.submission == name)
    };
    names
        .into_iter()
        .filter_map(|name| best(of(name)))
        .collect()
}

/// Rounds to four decimals towards the easier side; a value that has no more stays as it is.
fn rounded(value: f64, direction: Direction) -> f64 {
    let scaled = value * 1e4;
    // 0.201 times 1e4 is a little above 2010.
    let nearest = scaled.round();
    if (scaled - nearest).abs() < 1e-6 {
        return nearest / 1e4;
    }
    match direction {
        Direction::Minimize => scaled.ceil() / 1e4,
        Direction::Maximize => scaled.floor() / 1e4,
    }
}

/// The middle of `values`; of two middle ones the worse, so that at least half meet it.
fn median(mut values: Vec<f64>, direction: Direction) -> f64 {
    values.sort_by(|a, b| match direction {
        Direction::Minimize => a.total_cmp(b),
        Direction::Maximize => b.total_cmp(a),
    });
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Finding {
    /// What the records say. `hint_work` is the work of the step hint, `batch_size` the suggested batch.
    ///
    /// # Errors
    /// [`TargetError::Failed`] where a repetition has no value, or none meets the target.
    pub fn from_runs(
        workload: &str,
        search: &Run,
        repeat: &Run,
        hint_work: u64,
        batch_size: u64,
    ) -> Result<Self, TargetError> {
        let failed = |message: String| TargetError::Failed {
            workload: workload.to_string(),
            message,
        };
        let trials = &repeat.trials;
        let first = trials
            .first()
            .ok_or_else(|| failed("there are no repetitions".into()))?;
        let direction = first.record.target.direction;
        let mut values = Vec::new();
        for trial in trials {
            let outcome = &trial.record.outcome;
            match (outcome.best_validation, outcome.test_at_best) {
                (Some(validation), Some(test)) => values.push((validation, test)),
                _ => {
                    let (id, status) = (&trial.record.id, trial.record.status);
                    return Err(failed(format!("repetition {id} is {status}")));
                }
            }
        }
        let validation = rounded(
            median(values.iter().map(|v| v.0).collect(), direction),
            direction,
        );
        let reaching = values.iter().filter(|v| direction.meets(v.0, validation));
        let test = reaching
            .map(|v| v.1)
            .reduce(|a, b| if direction.better(a, b) { b } else { a })
            .ok_or_else(|| failed("no repetition meets the median".into()))?;
        let test = rounded(test, direction);

        let repeated: Vec<Repetition> = trials
            .iter()
            .zip(&values)
            .map(|(trial, &(best, test))| {
                let target = &trial.record.target;
                let met = trial
                    .evals
                    .iter()
                    .find(|e| direction.meets(target.value_in(&e.validation), validation));
                Repetition {
                    validation: best,
                    test,
                    work_to_target: met.map(|e| e.work),
                    seconds_to_target: met.map(|e| e.clock),
                }
            })
            .collect();
        let work: Vec<f64> = repeated
            .iter()
            .filter_map(|r| r.work_to_target.map(|w| w as f64))
            .collect();
        let work = median(work, Direction::Minimize);
        let sum = |f: &dyn Fn(&Trial) -> f64| trials.iter().map(f).sum::<f64>();
        let clock = sum(&|t| t.record.outcome.clock.on_clock());
        let trained = sum(&|t| t.record.outcome.counters.work as f64);
        let per_work = clock / trained.max(1.0);
        let evaluations = sum(&|t| t.record.outcome.counters.evaluations as f64);
        let per_evaluation = sum(&|t| t.record.outcome.clock.evaluation) / evaluations.max(1.0);
        let affordable = per_evaluation / (EVALUATION_SHARE * per_work);
        let steps_between = (work / EVALUATIONS).max(affordable) / batch_size as f64;
        let eval_every_work = steps_between.ceil().max(1.0) as u64 * batch_size;
        let budget_work = BUDGET_HINTS * hint_work;
        let seconds = BUDGET_SLACK * per_work * budget_work as f64;
        Ok(Self {
            workload: workload.to_string(),
            winner: Winner {
                algorithm: first.record.submission.clone(),
                point: Point(first.record.point.clone()),
            },
            searched: searched(search),
            repeated,
            validation,
            test,
            eval_every_work,
            budget_work,
            budget_seconds: (seconds / 60.0).ceil().max(1.0) * 60.0,
            evaluation_share: per_evaluation / (per_work * eval_every_work as f64),
        })
    }
}

fn searched(search: &Run) -> Vec<Searched> {
    let trials = search.trials.iter().map(|t| &t.record);
    trials
        .map(|record| Searched {
            algorithm: record.submission.clone(),
            trial: record.trial,
            best: record.outcome.best_validation,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_and_the_median_lean_to_the_easier_side() {
        use Direction::{Maximize, Minimize};
        assert_eq!(rounded(0.12341, Minimize), 0.1235);
        assert_eq!(rounded(0.12349, Maximize), 0.1234);
        assert_eq!(rounded(0.201, Minimize), 0.201);
        assert_eq!(rounded(0.57, Maximize), 0.57);
        assert_eq!(median(vec![3.0, 1.0, 2.0], Minimize), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0], Minimize), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0], Maximize), 2.0);
    }
}

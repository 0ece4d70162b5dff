//! How far the machine wandered while the runs were raced.

use super::pairs::Group;
use super::ride::Ride;
use super::stats::median;
use crate::record::TrialRecord;
use crate::run::Run;
use crate::trace::Evaluation;
use std::collections::HashMap;

/// Parts of a run, in racing order, whose step times are held against each other.
const PARTS: usize = 4;
/// Trials in a part, at least: fewer show noise, not the machine.
const LEAST: usize = 3;
/// Trials of a row from which on it has a level of its own.
const OWN_LEVEL: usize = 3;

/// Logarithms of step times with the row that each belongs to and its place in racing order.
type Series = Vec<(usize, usize, f64)>;

/// The largest ratio between the typical step times of two quarters of a run, less 1, where rows are
/// held against themselves: what the machine did to trials that should have taken the same time. 0
/// where there are too few trials to tell.
///
/// Pairs are looked at by their ratio, so that it does not matter which run wandered.
pub(super) fn wander<E: Evaluation>(
    base: &Run<E>,
    candidate: &Run<E>,
    groups: &[Group<'_>],
) -> f64 {
    let (first, second) = (places(base), places(candidate));
    let place =
        |places: &HashMap<&str, usize>, t: &Ride<'_>| places.get(t.record.id.as_str()).copied();
    let (mut pairs, mut before, mut after) = (Series::new(), Series::new(), Series::new());
    for (row, group) in groups.iter().enumerate() {
        for (a, b) in &group.pairs {
            if let (Some(a), Some(b), Some(at)) = (step(a), step(b), place(&second, b)) {
                pairs.push((row, at, b - a));
            }
        }
        for (trials, places, series) in [
            (&group.apart.0, &first, &mut before),
            (&group.apart.1, &second, &mut after),
        ] {
            for trial in trials {
                if let (Some(step), Some(at)) = (step(trial), place(places, trial)) {
                    series.push((row, at, step));
                }
            }
        }
    }
    let ranges = [pairs, before, after].map(range);
    ranges.into_iter().fold(0.0, f64::max).exp_m1()
}

fn step(trial: &Ride<'_>) -> Option<f64> {
    let mean = trial.record.outcome.step_times.mean;
    (mean > 0.0).then(|| mean.ln())
}

/// The place of each trial in racing order: by its start where all have one, else as planned.
fn places<E: Evaluation>(run: &Run<E>) -> HashMap<&str, usize> {
    let mut records: Vec<&TrialRecord> = run.trials.iter().map(|t| &t.record).collect();
    if records.iter().all(|r| r.started.is_some()) {
        let start = |r: &&TrialRecord| r.started.unwrap_or_default();
        records.sort_by(|a, b| start(a).total_cmp(&start(b)));
    }
    let ids = records.into_iter().map(|r| r.id.as_str());
    ids.enumerate().map(|(place, id)| (id, place)).collect()
}

/// Largest difference between the medians of the quarters of a series about the levels of its rows.
fn range(mut series: Series) -> f64 {
    if series.len() < PARTS * LEAST {
        return 0.0;
    }
    let mut rows: HashMap<usize, Vec<f64>> = HashMap::new();
    for (row, _, value) in &series {
        rows.entry(*row).or_default().push(*value);
    }
    let middle = |mut values: Vec<f64>| median(&mut values).unwrap_or(0.0);
    let overall = middle(series.iter().map(|s| s.2).collect());
    let levels: HashMap<usize, f64> = rows
        .into_iter()
        .map(|(row, values)| match values.len() {
            0..OWN_LEVEL => (row, overall),
            _ => (row, middle(values)),
        })
        .collect();
    series.sort_by_key(|s| s.1);
    let size = series.len().div_ceil(PARTS);
    let parts = series.chunks(size).filter(|part| part.len() >= LEAST);
    let of_part = |part: &[(usize, usize, f64)]| {
        let about_level = part.iter().map(|(row, _, value)| value - levels[row]);
        middle(about_level.collect())
    };
    let (low, high) = parts
        .map(of_part)
        .fold((f64::MAX, f64::MIN), |(low, high), x| {
            (low.min(x), high.max(x))
        });
    (high - low).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are raced in turn, each with its own level, and a machine that is `factor` times
    /// slower from `from` on.
    fn series(rows: usize, each: usize, from: usize, factor: f64) -> Series {
        (0..rows * each)
            .map(|at| {
                let slow = if at >= from { factor.ln() } else { 0.0 };
                let noise = 0.01 * ((at * 37 % 17) as f64 / 17.0 - 0.5);
                (at % rows, at, (at % rows) as f64 + slow + noise)
            })
            .collect()
    }

    #[test]
    fn a_machine_that_slows_down_is_seen_and_rows_of_other_speed_are_not() {
        assert!(range(series(5, 10, 50, 1.4)) < 0.01);
        let found = range(series(5, 10, 25, 1.4));
        assert!((found - 1.4_f64.ln()).abs() < 0.02, "{found}");
        // Too few to tell.
        assert_eq!(range(series(11, 1, 5, 1.4)), 0.0);
    }
}

//! Where a series changed.

use crate::compare::stats::{median, middle_ranks};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Most orders that are drawn.
const SAMPLED: u32 = 20_000;
/// Drawing ends once so many orders show as large a step.
const ENOUGH: u32 = 500;

/// A step in a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Index of the first value after it.
    pub at: usize,
    /// Median after over median before, up to the neighbouring steps.
    pub ratio: f64,
    /// Probability of so large a step in a series that did not change; `None` where chance has no part
    /// in the values.
    pub p: Option<f64>,
}

/// The steps of a series of positive values, in order.
///
/// The statistic is the largest standardised difference between the means before and after any place
/// (the cumulative sum test of a single change), of the ranks of the values, so that one wild value
/// makes no step. Its p-value is the share of random orders with as large a step: a series that did not
/// change is exchangeable (Pettitt, Applied Statistics 28, 1979; Antoch and Hušková, Statistics &
/// Probability Letters 53, 2001). Where it is at most `level`, both sides are searched in turn (binary
/// segmentation; Vostrikova 1981). At the level 0.01 at least five values must lie on each side, or two
/// after more than twenty.
///
/// With `exact`, chance has no part in the values and every difference is a step.
pub fn changes(values: &[f64], level: f64, exact: bool) -> Vec<Change> {
    let mut places = Vec::new();
    if exact {
        let differ = |i: &usize| values[*i] != values[*i - 1];
        places.extend((1..values.len()).filter(differ).map(|i| (i, None)));
    } else {
        search(values, 0, level, &mut places);
        places.sort_by_key(|p| p.0);
    }
    let edge = |i: Option<&(usize, Option<f64>)>, end: usize| i.map_or(end, |p| p.0);
    let step = |(i, &(at, p)): (usize, &(usize, Option<f64>))| {
        let from = edge(i.checked_sub(1).and_then(|i| places.get(i)), 0);
        let to = edge(places.get(i + 1), values.len());
        let middle = |part: &[f64]| median(&mut part.to_vec()).unwrap_or(f64::NAN);
        Change {
            at,
            ratio: middle(&values[at..to]) / middle(&values[from..at]),
            p,
        }
    };
    places.iter().enumerate().map(step).collect()
}

/// Adds the steps of `values`, which begin at `offset`.
fn search(values: &[f64], offset: usize, level: f64, places: &mut Vec<(usize, Option<f64>)>) {
    if values.len() < 3 {
        return;
    }
    let mut ranks = middle_ranks(values);
    let middle = (values.len() + 1) as f64 / 2.0;
    ranks.iter_mut().for_each(|rank| *rank -= middle);
    let (at, observed) = largest(&ranks);
    if observed == 0.0 {
        return;
    }
    let p = share_as_large(&mut ranks, observed);
    if p > level {
        return;
    }
    places.push((offset + at, Some(p)));
    search(&values[..at], offset, level, places);
    search(&values[at..], offset + at, level, places);
}

/// The place with the largest standardised difference of means, and that difference.
fn largest(centred: &[f64]) -> (usize, f64) {
    let n = centred.len() as f64;
    let (mut sum, mut best) = (0.0, (0, 0.0));
    for (i, value) in centred.iter().enumerate().take(centred.len() - 1) {
        sum += value;
        let k = (i + 1) as f64;
        let difference = sum.abs() * (n / (k * (n - k))).sqrt();
        if difference > best.1 {
            best = (i + 1, difference);
        }
    }
    best
}

/// Share of random orders whose largest difference is at least `observed`.
fn share_as_large(values: &mut [f64], observed: f64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let floor = observed * (1.0 - 1e-9);
    let mut hits = 0;
    for drawn in 1..=SAMPLED {
        // Fisher and Yates.
        for i in (1..values.len()).rev() {
            let j = ((u64::from(rng.next_u32()) * (i as u64 + 1)) >> 32) as usize;
            values.swap(i, j);
        }
        hits += u32::from(largest(values).1 >= floor);
        if hits == ENOUGH {
            return f64::from(hits) / f64::from(drawn);
        }
    }
    f64::from(hits + 1) / f64::from(SAMPLED + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(n: usize, seed: u64, level: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        (0..n)
            .map(|i| level(i) * (1.0 + 0.04 * (unit() - 0.5)))
            .collect()
    }

    #[test]
    fn two_steps_are_found_where_they_are() {
        let level = |i: usize| match i {
            0..12 => 10.0,
            12..25 => 11.0,
            _ => 9.0,
        };
        let found = changes(&noisy(40, 1, level), 0.01, false);
        let places: Vec<usize> = found.iter().map(|c| c.at).collect();
        assert_eq!(places, [12, 25], "{found:?}");
        assert!((found[0].ratio - 1.1).abs() < 0.02, "{found:?}");
        assert!((found[1].ratio - 9.0 / 11.0).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn one_wild_value_is_no_step() {
        let mut values = noisy(30, 2, |_| 10.0);
        values[17] = 40.0;
        assert_eq!(changes(&values, 0.01, false), []);
    }

    /// 400 series that did not change: a step in one of a hundred.
    #[test]
    fn unchanged_series_rarely_have_a_step() {
        let with = |seed: &u64| !changes(&noisy(20, *seed, |_| 10.0), 0.05, false).is_empty();
        let found = (0..400).filter(with).count();
        // 20 expected; more than 36 has a probability below 1e-3.
        assert!((4..=36).contains(&found), "{found}");
    }

    #[test]
    fn what_chance_has_no_part_in_needs_no_test() {
        let found = changes(&[100.0, 100.0, 120.0], 0.01, true);
        let step = Change {
            at: 2,
            ratio: 1.2,
            p: None,
        };
        assert_eq!(found, [step]);
        assert_eq!(changes(&[100.0, 100.0, 120.0], 0.01, false), []);
        for few in [&[][..], &[1.0], &[1.0, 1.0]] {
            assert_eq!(changes(few, 0.01, false), []);
            assert_eq!(changes(few, 0.01, true), []);
        }
    }
}

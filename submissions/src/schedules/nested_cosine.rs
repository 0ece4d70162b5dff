//! Warm-up, then cosine decays to zero that end one after the other, each begun on one long curve.
//!
//! With peak rate `lr`, horizon `T`, warm-up factor `w` and ends `e_1 < e_2 < ... < e_last = T` (in
//! steps, not necessarily whole), let `c(t)` be half a cosine from `lr` at `floor(w T)` to 0 at `T`. At
//! step `t`:
//! - `t < W = floor(w e_1)`: `lr * t / W`
//! - `W <= t < e_1`: `lr * (1 + cos(pi * (t - W) / (e_1 - W))) / 2`
//! - `e_i <= t < e_(i+1)`: `c(e_i) * (1 + cos(pi * (t - e_i) / (e_(i+1) - e_i))) / 2`
//! - from `T` on: 0.
//!
//! The schedule of AlgoPerf's entry CASPR Adaptive, which has decayed to zero at each end and can reach
//! its target there. Its first two ends are at 0.53571619898 and 0.75 of the horizon.

use super::{Schedule, warm_up};
use crate::common::{fraction, non_negative};
use velodrome_harness::contract::{StartContext, SubmissionError};

/// Warm-up and nested cosine decays.
#[derive(Debug, Clone, PartialEq)]
pub struct NestedCosine {
    /// Highest learning rate.
    pub peak: f64,
    /// Steps of warm-up as a share of those to the first end, and of the long curve's.
    pub warmup_factor: f64,
    /// Step at which the last decay ends.
    pub horizon: u64,
    /// Shares of the horizon at which the other decays end, ascending, in `(0, 1)`.
    pub ends: Vec<f64>,
}

impl NestedCosine {
    /// From the hyperparameters `learning_rate` and `warmup_factor`, with the entry's ends; the horizon
    /// is the workload's step hint.
    pub fn start(context: &StartContext) -> Result<Self, SubmissionError> {
        Ok(Self {
            peak: non_negative(&context.point, "learning_rate")?,
            warmup_factor: fraction(&context.point, "warmup_factor")?,
            horizon: context.hints.steps,
            ends: vec![0.535_716_198_98, 0.75],
        })
    }

    /// The long curve at `t`, which may lie in its warm-up.
    fn long(&self, t: f64) -> f64 {
        let horizon = self.horizon as f64;
        let warmup = (self.warmup_factor * horizon).floor();
        if t < warmup {
            return self.peak * t / warmup;
        }
        self.peak * half_cosine(t - warmup, horizon - warmup)
    }
}

/// From 1 at `done = 0` to 0 at `done = length` and later.
fn half_cosine(done: f64, length: f64) -> f64 {
    let length = length.max(1.0);
    0.5 * (1.0 + (std::f64::consts::PI * done.min(length) / length).cos())
}

impl Schedule for NestedCosine {
    fn at(&self, step: u64) -> f64 {
        let t = step as f64;
        let horizon = self.horizon as f64;
        let ends = || self.ends.iter().map(|share| share * horizon);
        let first = ends().next().unwrap_or(horizon);
        let warmup = (self.warmup_factor * first) as u64;
        if let Some(done) = warm_up(step, warmup) {
            return self.peak * done;
        }
        let (mut start, mut height) = (warmup as f64, self.peak);
        for end in ends() {
            if t < end {
                return height * half_cosine(t - start, end - start);
            }
            (start, height) = (end, self.long(end));
        }
        height * half_cosine(t - start, horizon - start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::WarmupCosine;

    fn nested(ends: &[f64]) -> NestedCosine {
        NestedCosine {
            peak: 1.0,
            warmup_factor: 0.05,
            horizon: 1000,
            ends: ends.to_vec(),
        }
    }

    #[test]
    fn has_the_values_of_the_entry() {
        // Computed from the entry's definition in a few lines of Python.
        let expected = [
            (0, 0.0),
            (13, 0.5),
            (26, 1.0),
            (280, 0.5026444),
            (535, 0.0000049),
            (536, 0.4822827),
            (643, 0.2406407),
            (749, 0.0000259),
            (750, 0.1613592),
            (875, 0.0806796),
            (999, 0.0000064),
            (1000, 0.0),
            (5000, 0.0),
        ];
        let schedule = nested(&[0.535_716_198_98, 0.75]);
        for (step, rate) in expected {
            let got = schedule.at(step);
            assert!((got - rate).abs() < 1e-7, "at {step}: {got}, not {rate}");
        }
    }

    #[test]
    fn without_other_ends_it_is_the_plain_cosine_and_odd_lengths_survive() {
        let plain = WarmupCosine {
            peak: 1.0,
            warmup: 50,
            horizon: 1000,
        };
        for t in [0, 10, 50, 500, 999, 1000, 3000] {
            assert!((nested(&[]).at(t) - plain.at(t)).abs() < 1e-12, "{t}");
        }
        for horizon in [0, 1, 2, 3] {
            let short = NestedCosine {
                horizon,
                ..nested(&[0.5, 0.75])
            };
            assert!((0..10).all(|t| (0.0..=1.0).contains(&short.at(t))));
        }
    }
}

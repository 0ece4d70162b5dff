//! Linear warm-up from zero, then half a cosine down to zero.
//!
//! With peak rate `lr`, horizon `T` and `W` warm-up steps, at step `t` (from 0):
//! - `t < W`: `lr * t / W`
//! - `W <= t < T`: `lr * (1 + cos(pi * (t - W) / (T - W))) / 2`
//! - later: 0.
//!
//! This is the schedule of AlgoPerf's Adam-like baselines (arXiv 2306.07179; JAX submissions). Its
//! PyTorch version starts at `1e-10 * lr` instead of 0.

use super::{Schedule, warm_up};
use crate::common::{non_negative, warmup_steps};
use velodrome_harness::contract::{StartContext, SubmissionError};

/// Warm-up and cosine decay to zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmupCosine {
    /// Highest learning rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Step at which the rate has come down to zero.
    pub horizon: u64,
}

impl WarmupCosine {
    /// From the hyperparameters `learning_rate` and `warmup_factor`; the horizon is the workload's
    /// step hint.
    pub fn start(context: &StartContext) -> Result<Self, SubmissionError> {
        Ok(Self {
            peak: non_negative(&context.point, "learning_rate")?,
            warmup: warmup_steps(context)?,
            horizon: context.hints.steps,
        })
    }
}

impl Schedule for WarmupCosine {
    fn at(&self, step: u64) -> f64 {
        let factor = warm_up(step, self.warmup).unwrap_or_else(|| {
            let length = self.horizon.saturating_sub(self.warmup).max(1);
            let done = (step - self.warmup).min(length) as f64 / length as f64;
            0.5 * (1.0 + (std::f64::consts::PI * done).cos())
        });
        self.peak * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_published_values() {
        let schedule = WarmupCosine {
            peak: 1.0,
            warmup: 5,
            horizon: 100,
        };
        let expected = [(0, 0.0), (1, 0.2), (5, 1.0), (52, 0.508267), (99, 0.000273)];
        for (step, rate) in expected {
            let got = schedule.at(step);
            assert!((got - rate).abs() < 5e-7, "at {step}: {got}, not {rate}");
        }
    }

    #[test]
    fn stays_at_zero_after_the_horizon_and_survives_odd_lengths() {
        let schedule = WarmupCosine {
            peak: 0.3,
            warmup: 5,
            horizon: 100,
        };
        assert_eq!(schedule.at(100), 0.0);
        assert_eq!(schedule.at(12_345), 0.0);
        let no_warmup = WarmupCosine {
            warmup: 0,
            ..schedule
        };
        assert_eq!(no_warmup.at(0), 0.3);
        let empty = WarmupCosine {
            warmup: 0,
            horizon: 0,
            ..schedule
        };
        assert_eq!([empty.at(0), empty.at(1)], [0.3, 0.0]);
    }
}

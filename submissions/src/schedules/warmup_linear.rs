//! Linear warm-up from zero, linear decay to a share of the peak, then constant.
//!
//! With peak rate `lr`, `W` warm-up steps and `D` decay steps, at step `t` (from 0):
//! - `t < W`: `lr * t / W`
//! - `W <= t < W + D`: `lr * (1 - (1 - end_factor) * (t - W) / D)`
//! - later: `lr * end_factor`.
//!
//! This is the schedule of AlgoPerf's momentum baselines (arXiv 2306.07179), where
//! `D = floor((T - W) * decay_steps_factor)` for the horizon `T`.

use super::{Schedule, warm_up};
use crate::common::{fraction, non_negative, warmup_steps};
use velodrome_harness::contract::{StartContext, SubmissionError};

/// Warm-up, linear decay, constant end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmupLinear {
    /// Highest learning rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps of decay behind the warm-up.
    pub decay: u64,
    /// Share of the peak that remains at the end.
    pub end_factor: f64,
}

impl WarmupLinear {
    /// From the hyperparameters `learning_rate`, `warmup_factor`, `decay_steps_factor` and
    /// `end_factor`; the horizon is the workload's step hint.
    pub fn start(context: &StartContext) -> Result<Self, SubmissionError> {
        let warmup = warmup_steps(context)?;
        let rest = context.hints.steps.saturating_sub(warmup) as f64;
        let factor = fraction(&context.point, "decay_steps_factor")?;
        Ok(Self {
            peak: non_negative(&context.point, "learning_rate")?,
            warmup,
            decay: (rest * factor) as u64,
            end_factor: fraction(&context.point, "end_factor")?,
        })
    }
}

impl Schedule for WarmupLinear {
    fn at(&self, step: u64) -> f64 {
        let factor = warm_up(step, self.warmup).unwrap_or_else(|| {
            let since = step - self.warmup;
            if since < self.decay {
                1.0 - (1.0 - self.end_factor) * since as f64 / self.decay as f64
            } else {
                self.end_factor
            }
        });
        self.peak * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velodrome_harness::contract::{Hints, Point, Ruleset};

    fn started(steps: u64) -> WarmupLinear {
        let values = [
            ("learning_rate", 1.0),
            ("warmup_factor", 0.05),
            ("decay_steps_factor", 0.9),
            ("end_factor", 1e-3),
        ];
        let context = StartContext {
            point: Point(values.map(|(k, v)| (k.to_string(), v)).into()),
            hints: Hints {
                steps,
                batch_size: 32,
            },
            ruleset: Ruleset::External,
            seed: 0,
        };
        WarmupLinear::start(&context).unwrap()
    }

    #[test]
    fn has_the_published_values() {
        let schedule = started(100);
        assert_eq!((schedule.warmup, schedule.decay), (5, 85));
        let expected = [(0, 0.0), (1, 0.2), (5, 1.0), (50, 0.471118), (90, 0.001)];
        for (step, rate) in expected {
            let got = schedule.at(step);
            assert!((got - rate).abs() < 5e-7, "at {step}: {got}, not {rate}");
        }
        assert_eq!(schedule.at(5_000), 0.001);
    }

    #[test]
    fn needs_no_steps() {
        assert_eq!(started(0).at(0), 0.001);
    }
}

//! Lion-K with a dead zone: entries below a threshold do not move, and decay makes weights sparse.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr sign(c) [|c| > threshold]
//! m = beta2 m + (1 - beta2) g
//! ```
//! `K` is the sum over entries of `max(|x| - threshold, 0)`. Weight decay holds the iterates in Lion's
//! box, `|p| <= 1 / wd`, and adds the penalty `threshold |p|_1` to the loss: weights whose gradients are
//! small decay to zero. With the threshold 0 it is Lion. burn has no such rule; it is a fused rule of
//! ours. Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1.5e-3 | 3e-5 to 3e-3, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | complement 0.005 to 0.05, logarithmic |
//! | `weight_decay` | 0.5 | 0.02 to 5, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `threshold` | 1e-5 | 1e-7 to 1e-3, logarithmic; in units of a gradient's entry |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Those of `lion`, and `threshold`, whose default is not tuned.
//!
//! # State
//! 4 bytes per parameter: `m` in 32 bits.
//!
//! # Sources
//! Chen et al., arXiv 2310.05898. Checked in the case of threshold 0, and where it stands still.
//!
//! # What differs
//! No code of the authors is known.

use super::ball::{DECAY, enters, unit_box};
use super::space;
use crate::fused::Fused;
use crate::fused::prelude::*;
use velodrome_harness::contract::Claim;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LionShrink {
    /// Share of the average in the step, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Size up to which an entry does not count.
    pub threshold: f64,
}

impl Rule<1> for LionShrink {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 1]) -> (N, [N; 1]) + Sync {
        let (rule, keep) = (*self, 1.0 - now.lr * self.weight_decay);
        move |p, g, [m]| {
            let c = m.clone().ema(g.clone(), rule.beta1);
            let counts = (c.clone().abs() + -rule.threshold).clamp(0.0, f64::INFINITY);
            let step = c.sign() * counts.sign();
            (p * keep - step * now.lr, [m.ema(g, rule.beta2)])
        }
    }
}

impl Elementwise<1> for LionShrink {
    const CARD: Description = Description {
        name: "lion_k_shrink",
        summary: "Lion with a dead zone, which makes weights sparse",
        paper: "arXiv 2310.05898",
        reference: "the paper's equations",
        ..PRETRAIN
    };

    const CLAIMS: &'static [Claim] = &[Claim {
        statement: "iterates enter the box |p| <= 1 / weight_decay, their excess shrinking by 1 - lr wd per step",
        check: || {
            let rule = Self {
                beta1: 0.9,
                beta2: 0.99,
                weight_decay: DECAY,
                threshold: 0.05,
            };
            enters(Fused(rule), &[unit_box()])
        },
    }];

    fn space() -> SearchSpace {
        space().log_uniform("threshold", 1e-7, 1e-3, 1e-5)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            weight_decay: non_negative(point, "weight_decay")?,
            threshold: non_negative(point, "threshold")?,
        })
    }
}

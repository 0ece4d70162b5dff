//! Lion-K with Huber's function: small entries move by their size, large ones by their sign.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr clip(c / epsilon, -1, 1)
//! m = beta2 m + (1 - beta2) g
//! ```
//! `K` is the sum over entries of `x^2 / (2 epsilon)` where `|x| <= epsilon`, else `|x| - epsilon / 2`.
//! Weight decay holds the iterates in Lion's box, `|p| <= 1 / wd`, and adds the penalty
//! `epsilon wd / 2 |p|^2` to the loss. Towards `epsilon` 0 the rule becomes Lion, far above the gradients
//! momentum with the rate `lr / epsilon`. burn has no such rule; it is a fused rule of ours. Schedule:
//! linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1.5e-3 | 3e-5 to 3e-3, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | complement 0.005 to 0.05, logarithmic |
//! | `weight_decay` | 0.5 | 0.02 to 5, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `epsilon` | 1e-4 | 1e-6 to 1e-2, logarithmic; in units of a gradient's entry |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Those of `lion`, and `epsilon`, whose default is not tuned.
//!
//! # State
//! 4 bytes per parameter: `m` in 32 bits.
//!
//! # Sources
//! Chen et al., arXiv 2310.05898. Checked against three steps in 64 bits and the case of small
//! `epsilon`.
//!
//! # What differs
//! No code of the authors is known.

use super::ball::{DECAY, enters, unit_box};
use super::space;
use crate::common::positive;
use crate::fused::Fused;
use crate::fused::prelude::*;
use velodrome_harness::contract::Claim;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LionHuber {
    /// Share of the average in the step, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Size from which on an entry counts by its sign; above 0.
    pub epsilon: f64,
}

impl Rule<1> for LionHuber {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 1]) -> (N, [N; 1]) + Sync {
        let (rule, keep) = (*self, 1.0 - now.lr * self.weight_decay);
        move |p, g, [m]| {
            let c = m.clone().ema(g.clone(), rule.beta1);
            let step = (c * (1.0 / rule.epsilon)).clamp(-1.0, 1.0);
            (p * keep - step * now.lr, [m.ema(g, rule.beta2)])
        }
    }
}

impl Elementwise<1> for LionHuber {
    const CARD: Description = Description {
        name: "lion_k_huber",
        summary: "Lion with Huber's function: small entries move by their size",
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
                epsilon: 0.05,
            };
            enters(Fused(rule), &[unit_box()])
        },
    }];

    fn space() -> SearchSpace {
        space().log_uniform("epsilon", 1e-6, 1e-2, 1e-4)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            weight_decay: non_negative(point, "weight_decay")?,
            epsilon: positive(point, "epsilon")?,
        })
    }
}

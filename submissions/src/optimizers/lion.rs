//! Lion: the sign of an interpolated momentum, found by program search.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr sign(c)         (sign(0) = 0)
//! m = beta2 m + (1 - beta2) g            (after the step, with the other beta)
//! ```
//! No bias correction, no epsilon, no second moment. burn's own `Lion` computes the
//! same, with betas in 32 bits and in several passes. Every entry moves by `lr`, so rates are 3 to 10 times below AdamW's and
//! weight decay is as much above it. Schedule:
//! [`WarmupCosine`](crate::schedules::WarmupCosine).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1.5e-3 | 3e-5 to 3e-3, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | complement 0.005 to 0.05, logarithmic |
//! | `weight_decay` | 0.5 | 0.02 to 5, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! AlgoPerf has no search space for Lion: these ranges are AdamW's, moved by the authors' rule of
//! thumb and wide enough for their settings (beta1 and beta2 of 0.9 and 0.99, or 0.95 and 0.98).
//!
//! # State
//! 4 bytes per parameter: `m` in 32 bits.
//!
//! # Claims
//! Entries beyond `1 / weight_decay` come back by the factor `1 - lr wd` per step at least: the iterates
//! enter that box and stay (Chen et al., arXiv 2310.05898).
//!
//! # Sources
//! Chen et al., arXiv 2302.06675. Checked against `pytorch_optimizer` 4.1.0.
//!
//! # What differs
//! Scaling all gradients by a constant changes nothing, so clipping by the global norm has no
//! effect on the length of a step; it only weighs one gradient against another in `m`.

use crate::fused::prelude::*;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lion {
    /// Share of the average in the step, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl Rule<1> for Lion {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 1]) -> (N, [N; 1]) + Sync {
        let (rule, keep) = (*self, 1.0 - now.lr * self.weight_decay);
        move |p, g, [m]| {
            let step = m.clone().ema(g.clone(), rule.beta1).sign();
            (p * keep - step * now.lr, [m.ema(g, rule.beta2)])
        }
    }
}

impl Elementwise<1> for Lion {
    const CARD: Description = Description {
        name: "lion",
        summary: "Sign of an interpolated momentum, warm-up and cosine decay",
        paper: "arXiv 2302.06675",
        reference: "pytorch_optimizer 4.1.0 Lion",
        version: "2",
        ..PRETRAIN
    };
    const CLAIMS: &'static [Claim] = &[super::lion_k::ball::LION];

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 3e-5, 3e-3, 1.5e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .one_minus_log_uniform("beta2", 0.005, 0.05, 0.99)
            .log_uniform("weight_decay", 0.02, 5.0, 0.5)
            .fixed("warmup_factor", 0.05)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }
}

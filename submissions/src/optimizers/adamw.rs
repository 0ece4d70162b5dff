//! AdamW: Adam with decoupled weight decay, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! p = (1 - lr wd) p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! All parameters decay, biases and normalisation included, as in AlgoPerf. Schedule:
//! [`WarmupCosine`](crate::schedules::WarmupCosine). burn's own `AdamW` computes the same, in some ten
//! passes over memory where [`crate::fused`] needs one.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per parameter: `m` and `v` in 32 bits.
//!
//! # Sources
//! Loshchilov and Hutter, arXiv 1711.05101; search space and schedule: AlgoPerf, arXiv 2306.07179.
//! Checked against `torch.optim.AdamW` 2.15.
//!
//! # What differs
//! AlgoPerf's paper draws the label smoothing from 0.1 and 0.2 only.

use crate::fused::prelude::*;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second average.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl AdamW {
    /// From `beta1`, `beta2`, `epsilon` and `weight_decay`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }
}

impl Rule<2> for AdamW {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let Self {
            beta1,
            beta2,
            epsilon,
            ..
        } = *self;
        let keep = 1.0 - now.lr * self.weight_decay;
        let rate = now.lr / now.correction(beta1);
        let correction = now.correction(beta2).recip();
        move |p, g, [m, v]| {
            let m = m.ema(g.clone(), beta1);
            let v = v.ema(g.square(), beta2);
            let root = (v.clone() * correction).sqrt() + epsilon;
            (p * keep - m.clone() * rate / root, [m, v])
        }
    }
}

impl Elementwise<2> for AdamW {
    const CARD: Description = Description {
        name: "adamw",
        summary: "Adam with decoupled weight decay, warm-up and cosine decay",
        paper: "arXiv 1711.05101",
        reference: "torch.optim.AdamW 2.15; AlgoPerf baseline (arXiv 2306.07179)",
        version: "2",
        ..PRETRAIN
    };

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Self::from_point(point)
    }
}

//! AdaBelief: Adam with the second average of `g - m` in place of `g`.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `s` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! s = beta2 s + (1 - beta2) (g - m)^2 + epsilon      (with the new m; epsilon stays in s)
//! p = (1 - lr wd) p - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + epsilon)
//! ```
//! Steps are long where gradients agree with their average. With `rectify = 1` the last line
//! becomes, with [`rectification`] `r`,
//! ```text
//! p = (1 - lr wd) p - lr r sqrt(1 - beta2^t) (m / (1 - beta1^t)) / (sqrt(s) + epsilon)
//! p = (1 - lr wd) p - lr m / (1 - beta1^t)           (as long as r is undefined)
//! ```
//! burn has no such rule. All parameters alike. Schedule: linear warm-up,
//! cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-16 | fixed |
//! | `rectify` | 0 | fixed; 1 turns rectification on |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are AdamW's in AlgoPerf, which has none for AdaBelief.
//!
//! # State
//! 8 bytes per parameter: `m` and `s` in 32 bits.
//!
//! # Sources
//! Zhuang et al., arXiv 2010.07468. Checked against `pytorch_optimizer` 4.1.0 (12 steps) and the
//! authors' `adabelief-pytorch` 0.2.1, rectified and not (three steps).
//!
//! # What differs
//! The authors' package rectifies by default. Here it is off: rectification replaces a warm-up, which
//! the schedule already has, and its first steps are plain momentum, at a rate meant for Adam. In 32
//! bits an epsilon of 1e-16 vanishes beside an `s` above 1e-9 or so; it matters where gradients do
//! not change.

use super::parts::rectification;
use crate::fused::prelude::*;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaBelief {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared surprises, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the second average at every step, and to its root.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Whether steps are rectified as RAdam's.
    pub rectify: bool,
}

impl AdaBelief {
    /// From `beta1`, `beta2`, `epsilon`, `weight_decay` and `rectify` (0 or else on).
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            rectify: non_negative(point, "rectify")? != 0.0,
        })
    }
}

impl Rule<2> for AdaBelief {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let Self {
            beta1,
            beta2,
            epsilon,
            ..
        } = *self;
        let keep = 1.0 - now.lr * self.weight_decay;
        let rate = now.lr / now.correction(beta1);
        // Rate of the adaptive step, and what `s` is multiplied by under the root.
        let adaptive = if self.rectify {
            let factor = rectification(beta2, now.time);
            factor.map(|r| (rate * r * now.correction(beta2).sqrt(), 1.0))
        } else {
            Some((rate, now.correction(beta2).recip()))
        };
        move |p, g, [m, s]| {
            let m = m.ema(g.clone(), beta1);
            let s = s.ema((g - m.clone()).square(), beta2) + epsilon;
            let step = match adaptive {
                Some((rate, inner)) => m.clone() * rate / ((s.clone() * inner).sqrt() + epsilon),
                None => m.clone() * rate,
            };
            (p * keep - step, [m, s])
        }
    }
}

impl Elementwise<2> for AdaBelief {
    const CARD: Description = Description {
        name: "adabelief",
        summary: "Adam by the variance around the momentum, warm-up and cosine decay",
        paper: "arXiv 2010.07468",
        reference: "pytorch_optimizer 4.1.0 AdaBelief; adabelief-pytorch 0.2.1",
        version: "2",
        ..PRETRAIN
    };

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-16)
            .fixed("rectify", 0.0)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Self::from_point(point)
    }
}

//! RAdam: AdamW whose first steps are plain momentum and whose later ones are rectified.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! a = 2 / (1 - beta2) - 1
//! rho = a - 2 t beta2^t / (1 - beta2^t)
//! r = sqrt((rho - 4) (rho - 2) a / ((a - 4) (a - 2) rho))
//! p = (1 - lr wd) p - lr (m / (1 - beta1^t)) r sqrt(1 - beta2^t) / (sqrt(v) + epsilon)
//!                                                    where rho > 5; else
//! p = (1 - lr wd) p - lr m / (1 - beta1^t)
//! ```
//! With `beta2 = 0.999` the first five steps are the plain ones. burn has no such rule. All parameters alike. Schedule: linear warm-up, cosine decay
//! ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are AdamW's in AlgoPerf, which has none for RAdam. Rectification is meant to replace a
//! warm-up, so by default there is none.
//!
//! # State
//! 8 bytes per parameter: `m` and `v` in 32 bits.
//!
//! # Sources
//! Liu et al., arXiv 1908.03265. Checked against `torch.optim.RAdam` 2.15 with decoupled decay.
//!
//! # What differs
//! The paper's threshold is `rho > 4`; the authors' code and PyTorch use 5, as here.

use super::parts::rectification;
use crate::fused::prelude::*;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RAdam {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second average, before its correction.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl RAdam {
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

impl Rule<2> for RAdam {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let Self {
            beta1,
            beta2,
            epsilon,
            ..
        } = *self;
        let keep = 1.0 - now.lr * self.weight_decay;
        let rate = now.lr / now.correction(beta1);
        let factor = rectification(beta2, now.time).map(|r| r * now.correction(beta2).sqrt());
        move |p, g, [m, v]| {
            let m = m.ema(g.clone(), beta1);
            let v = v.ema(g.square(), beta2);
            let step = match factor {
                Some(factor) => m.clone() * (rate * factor) / (v.clone().sqrt() + epsilon),
                None => m.clone() * rate,
            };
            (p * keep - step, [m, v])
        }
    }
}

impl Elementwise<2> for RAdam {
    const CARD: Description = Description {
        name: "radam",
        summary: "AdamW with rectified early steps in place of a warm-up, cosine decay",
        paper: "arXiv 1908.03265",
        reference: "torch.optim.RAdam 2.15 (decoupled decay)",
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
            .fixed("warmup_factor", 0.0)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Self::from_point(point)
    }
}

//! Adan: Adam with Nesterov's look-ahead as an average of gradient differences.
//!
//! # Rule
//! With gradient `g`, the one before it `h` (at the first step `g` itself), step `t` from 1,
//! parameter `p`, averages `m`, `d` and `n` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! d = beta2 d + (1 - beta2) (g - h)
//! n = beta3 n + (1 - beta3) (g + beta2 (g - h))^2
//! u = (m / (1 - beta1^t) + beta2 d / (1 - beta2^t)) / (sqrt(n / (1 - beta3^t)) + epsilon)
//! p = (p - lr u) / (1 + lr wd)           (proximal; with no_prox = 1: (1 - lr wd) p - lr u)
//! ```
//! burn's own `Adan` computes the same, with betas in 32 bits and in many passes. The betas say how much is kept; the
//! paper's are their complements. All parameters alike. Schedule: linear warm-up, cosine decay
//! ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 5e-4 to 5e-2, logarithmic |
//! | `beta1` | 0.98 | complement 0.01 to 0.1, logarithmic |
//! | `beta2` | 0.92 | complement 0.02 to 0.2, logarithmic |
//! | `beta3` | 0.99 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.02 | 5e-3 to 1, logarithmic |
//! | `no_prox` | 0 | fixed; 1 for AdamW's form of the decay |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The rates are AdamW's, moved up: the authors advise 5 to 10 times AdamW's. Betas and decay lie
//! around the authors' settings.
//!
//! # State
//! 16 bytes per parameter: `m`, `d`, `n` and the previous gradient in 32 bits.
//!
//! # Sources
//! Xie et al., arXiv 2208.06677. Checked against `pytorch_optimizer` 4.1.0 (12 steps) and the
//! authors' class, with both forms of decay (three steps).
//!
//! # What differs
//! The authors' optional clipping of the global norm is left out.

use crate::fused::prelude::*;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adan {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of gradient differences, in `[0, 1)`.
    pub beta2: f64,
    /// Decay rate of the average of squares, in `[0, 1)`.
    pub beta3: f64,
    /// Added to the root of the average of squares.
    pub epsilon: f64,
    /// Weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Whether the decay takes AdamW's form in place of the proximal one.
    pub no_prox: bool,
}

impl Rule<4> for Adan {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 4]) -> (N, [N; 4]) + Sync {
        let Self {
            beta1,
            beta2,
            beta3,
            epsilon,
            ..
        } = *self;
        let rate = now.lr / now.correction(beta1);
        let rate_of_difference = now.lr * beta2 / now.correction(beta2);
        let correction = now.correction(beta3).recip();
        let decay = now.lr * self.weight_decay;
        let (before, after) = if self.no_prox {
            (1.0 - decay, 1.0)
        } else {
            (1.0, (1.0 + decay).recip())
        };
        // At the first step there is no gradient before this one.
        let known = f64::from(now.time > 1);
        move |p, g, [m, d, n, h]| {
            let difference = (g.clone() - h) * known;
            let m = m.ema(g.clone(), beta1);
            let d = d.ema(difference.clone(), beta2);
            let n = n.ema((g.clone() + difference * beta2).square(), beta3);
            let root = (n.clone() * correction).sqrt() + epsilon;
            let step = (m.clone() * rate + d.clone() * rate_of_difference) / root;
            ((p * before - step) * after, [m, d, n, g])
        }
    }
}

impl Elementwise<4> for Adan {
    const CARD: Description = Description {
        name: "adan",
        summary: "Adam with an average of gradient differences, warm-up and cosine decay",
        paper: "arXiv 2208.06677",
        reference: "pytorch_optimizer 4.1.0 Adan",
        version: "2",
        ..PRETRAIN
    };

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 5e-4, 5e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.01, 0.1, 0.98)
            .one_minus_log_uniform("beta2", 0.02, 0.2, 0.92)
            .fixed("beta3", 0.99)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.02)
            .fixed("no_prox", 0.0)
            .fixed("warmup_factor", 0.05)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            beta3: fraction(point, "beta3")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            no_prox: non_negative(point, "no_prox")? != 0.0,
        })
    }
}

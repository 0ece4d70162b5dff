//! AdEMAMix: AdamW with a second, very slow average of gradients in the numerator.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m`, `n` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! n = b n + (1 - b) g                    (not corrected: it starts small)
//! v = beta2 v + (1 - beta2) g^2
//! p = (1 - lr wd) p
//!     - lr (m / (1 - beta1^t) + a n) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! `a` and `b` rise over the first `T` steps, the whole run by default. With `s = min(1, t / T)`,
//! `a = s alpha`, and `b` comes from interpolating linearly between the half-lives of `beta1` and
//! `beta3`: `b = 0.5^(1 / (1 + (1 - s) H(beta1) + s H(beta3)))` with `H(x) = ln 0.5 / ln x - 1`.
//!
//! With `alpha = 0` it is AdamW. burn has no such rule. All parameters alike.
//! Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `beta3` | 0.999 | complement 1e-4 to 1e-2, logarithmic |
//! | `alpha` | 2 | 2, 5, 8 |
//! | `ramp_factor` | 1 | fixed; `T` as a share of the step hint, 0 for none |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The authors' `beta3` of 0.9999 remembers 10,000 steps; it suits runs longer than that.
//!
//! # State
//! 12 bytes per parameter: `m`, `n` and `v` in 32 bits.
//!
//! # Sources
//! Pagliardini et al., arXiv 2409.03137. Checked against `pytorch_optimizer` 4.1.0 (12 steps) and
//! the authors' class (three steps), both without the rise of `a` and `b`.
//!
//! # What differs
//! The authors' code adds 1e-8 to the betas inside the logarithms of `H`; here it is exact. With
//! `beta1 = 0` the authors store no `m`; here it is stored, and equal to the gradient.

use crate::fused::prelude::*;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdEmaMix {
    /// Decay rate of the fast average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decay rate of the slow average of gradients, in `[0, 1)`.
    pub beta3: f64,
    /// Weight of the slow average.
    pub alpha: f64,
    /// Steps over which that weight and the slow decay rate rise; 0 for none.
    pub ramp: u64,
    /// Added to the root of the average of squares.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl AdEmaMix {
    /// From `beta1`, `beta2`, `beta3`, `alpha`, `epsilon` and `weight_decay`; `ramp` in steps.
    pub fn from_point(point: &Point, ramp: u64) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            beta3: fraction(point, "beta3")?,
            alpha: non_negative(point, "alpha")?,
            ramp,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }

    /// Weight and decay rate of the slow average at step `time`, from 1.
    pub fn slow(&self, time: usize) -> (f64, f64) {
        let done = time as f64 / self.ramp as f64;
        // Also where there is no ramp, and the share is infinite.
        if done >= 1.0 {
            return (self.alpha, self.beta3);
        }
        let half_life = |beta: f64| 0.5f64.ln() / beta.ln() - 1.0;
        let mixed = (1.0 - done) * half_life(self.beta1) + done * half_life(self.beta3);
        (done * self.alpha, 0.5f64.powf(1.0 / (1.0 + mixed)))
    }
}

impl Rule<3> for AdEmaMix {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 3]) -> (N, [N; 3]) + Sync {
        let Self {
            beta1,
            beta2,
            epsilon,
            ..
        } = *self;
        let (alpha, beta3) = self.slow(now.time);
        let (lr, keep) = (now.lr, 1.0 - now.lr * self.weight_decay);
        let rate = lr / now.correction(beta1);
        let correction = now.correction(beta2).recip();
        move |p, g, [m, n, v]| {
            let m = m.ema(g.clone(), beta1);
            let n = n.ema(g.clone(), beta3);
            let v = v.ema(g.square(), beta2);
            let root = (v.clone() * correction).sqrt() + epsilon;
            let step = (m.clone() * rate + n.clone() * (alpha * lr)) / root;
            (p * keep - step, [m, n, v])
        }
    }
}

impl Elementwise<3> for AdEmaMix {
    const CARD: Description = Description {
        name: "ademamix",
        summary: "AdamW plus a slow average of gradients, warm-up and cosine decay",
        paper: "arXiv 2409.03137",
        reference: "pytorch_optimizer 4.1.0 AdEMAMix",
        version: "2",
        ..PRETRAIN
    };

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .one_minus_log_uniform("beta3", 1e-4, 1e-2, 0.999)
            .choice("alpha", &[2.0, 5.0, 8.0], 2.0)
            .fixed("ramp_factor", 1.0)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05)
    }

    fn new(point: &Point, hints: &Hints) -> Result<Self, SubmissionError> {
        let factor = non_negative(point, "ramp_factor")?;
        Self::from_point(point, (factor * hints.steps as f64) as u64)
    }
}

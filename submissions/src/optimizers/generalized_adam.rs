//! Generalized Adam: NAdamW whose look-ahead and preconditioning can be switched off, and whose
//! schedule can end early.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! n = (beta1 m + (1 - beta1) g) / (1 - beta1^t)    with nesterov = 1
//! n = m                                            with nesterov = 0 (no bias correction)
//! p = (1 - lr wd) p - lr n / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! With `precondition = 0` it is momentum without damping, with decoupled decay:
//! ```text
//! b = beta1 b + g
//! p = (1 - lr wd) p - lr (g + beta1 b)             with nesterov = 1
//! p = (1 - lr wd) p - lr b                         with nesterov = 0
//! ```
//! Schedule: [`WarmupCosine`] with its end at `cosine_decay_fraction` of the step hint; the rate stays
//! 0 from there on.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.004 to 0.1, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `nesterov` | 1 | 0, 1 |
//! | `precondition` | 1 | fixed; 0 needs a rate some 25 times as high |
//! | `cosine_decay_fraction` | 1 | 0.75, 1 |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are `nadamw`'s; the competition entry searched a list of five points instead.
//!
//! # State
//! 8 bytes per parameter: `m` and `v` in 32 bits; without preconditioning the second stays zero.
//!
//! # Sources
//! AlgoPerf's competition, arXiv 2502.15015, external tuning, entry Generalized Adam. Checked against
//! NAdamW and Nesterov momentum in the corners where they meet.
//!
//! # What differs
//! The entry names the switch `disable_preconditioning`. The warm-up is a share of the whole step
//! hint here, also where the schedule ends early.
//!
//! [`WarmupCosine`]: crate::schedules::WarmupCosine

use super::nadamw::NAdamW;
use crate::bowl;
use crate::common::{positive, switch};
use crate::fused::prelude::*;
use crate::schedules::{Schedule, WarmupCosine};
use velodrome_harness::contract::{Claim, StartContext};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeneralizedAdam {
    /// NAdamW's settings.
    pub base: NAdamW,
    /// Whether the first average looks ahead.
    pub nesterov: bool,
    /// Whether the second average divides.
    pub precondition: bool,
}

impl Rule<2> for GeneralizedAdam {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let Self {
            nesterov,
            precondition,
            ..
        } = *self;
        let NAdamW {
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = self.base;
        let keep = 1.0 - now.lr * weight_decay;
        let rate = match nesterov && precondition {
            true => now.lr / now.correction(beta1),
            false => now.lr,
        };
        let correction = now.correction(beta2).recip();
        move |p, g, [m, v]| {
            if !precondition {
                let b = m * beta1 + g.clone();
                let ahead = match nesterov {
                    true => g + b.clone() * beta1,
                    false => b.clone(),
                };
                return (p * keep - ahead * rate, [b, v]);
            }
            let m = m.ema(g.clone(), beta1);
            let v = v.ema(g.clone().square(), beta2);
            let ahead = match nesterov {
                true => m.clone().ema(g, beta1),
                false => m.clone(),
            };
            let root = (v.clone() * correction).sqrt() + epsilon;
            (p * keep - ahead * rate / root, [m, v])
        }
    }
}

impl Elementwise<2> for GeneralizedAdam {
    const CARD: Description = Description {
        name: "generalized_adam",
        summary: "NAdamW with switches for look-ahead, preconditioning and an early end",
        paper: "arXiv 2502.15015 (Generalized Adam)",
        reference: "AlgoPerf v0.5 entry Generalized Adam, its update in 64 bits",
        ..PRETRAIN
    };

    const CLAIMS: &'static [Claim] = &[Claim {
        statement: "with both switches on it is NAdamW, bit for bit; each switch matters",
        check: is_nadamw_with_both,
    }];

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.004, 0.1, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .choice("nesterov", &[0.0, 1.0], 1.0)
            .fixed("precondition", 1.0)
            .choice("cosine_decay_fraction", &[0.75, 1.0], 1.0)
            .fixed("warmup_factor", 0.05)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Ok(Self {
            base: NAdamW::from_point(point)?,
            nesterov: switch(point, "nesterov")?,
            precondition: switch(point, "precondition")?,
        })
    }

    fn schedule(context: &StartContext) -> Result<Box<dyn Schedule>, SubmissionError> {
        let fraction = positive(&context.point, "cosine_decay_fraction")?;
        let whole = WarmupCosine::start(context)?;
        Ok(Box::new(WarmupCosine {
            horizon: (fraction * whole.horizon as f64) as u64,
            ..whole
        }))
    }
}

fn is_nadamw_with_both() -> Result<(bool, String), SubmissionError> {
    let base = NAdamW {
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
    };
    let run = |nesterov, precondition| {
        let rule = GeneralizedAdam {
            base,
            nesterov,
            precondition,
        };
        bowl::descend(rule, 30)
    };
    let nadamw = bowl::descend(base, 30)?;
    let (both, late, plain) = (run(true, true)?, run(false, true)?, run(true, false)?);
    let found = format!("after 30 steps: {nadamw:?}, {both:?}, {late:?}, {plain:?}");
    let differ = nadamw != late && nadamw != plain && late != plain;
    Ok((nadamw == both && differ, found))
}

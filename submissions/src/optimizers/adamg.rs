//! AdamG: Adam whose gradients are scaled by a slow function of their own second moment, so that one
//! rate of 1 serves everywhere.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, rate `lr` of the schedule, averages `v`, `r`
//! and `m` from zero:
//! ```text
//! v = beta2 v + (1 - beta2) g^2
//! r = beta3 r + (1 - beta3) p_scale v^q          (v as it is, not corrected for its bias)
//! m = beta1 m + (1 - beta1) r g
//! a = min(lr, 1 / sqrt(t))
//! p = (1 - a wd) p - a (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! With `q` near a quarter, a gradient `c` times as large gives a step `c^(2 q)` times as large:
//! close to a square root, between Adam's 0 and gradient descent's 1. All parameters alike.
//! Schedule: linear warm-up, then cosine decay to zero over `horizon_factor` of the step hint
//! ([`WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1 | fixed; only a cap on `1 / sqrt(t)` |
//! | `beta1` | 0.95 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.999 | complement 1e-3 to 5e-2, logarithmic |
//! | `beta3` | 0.95 | complement 0.02 to 0.2, logarithmic |
//! | `p` | 0.2 | 0.1 to 0.4, logarithmic; `p_scale` above |
//! | `q` | 0.24 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0 | fixed |
//! | `warmup_factor` | 0.02 | fixed; share of the horizon |
//! | `horizon_factor` | 0.75 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The values are those of the AlgoPerf submission, whose smoothing was 0 and dropout 0.1.
//!
//! # State
//! 12 bytes per parameter: `m`, `v` and `r` in 32 bits.
//!
//! # Sources
//! Pan et al., arXiv 2405.04376. Checked against `pytorch_optimizer` 4.1.0, and against the class of
//! AlgoPerf's self-tuning submission (three steps).
//!
//! # What differs
//! The package has no decay of this kind: it adds `wd p` to the gradient, or scales the weights by
//! `1 - lr wd` (without the cap), or by `1 - wd`. [`Decay`] computes all four.

use super::parts::bias_correction;
use crate::common::{optional, positive, switch, warmup_steps};
use crate::fused::prelude::*;
use crate::schedules::{Schedule, WarmupCosine};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{Claim, StartContext};

/// What weight decay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// Scales the weights by `1 - a wd`, with the step size `a`: AlgoPerf's.
    Step,
    /// Scales them by `1 - lr wd`.
    Rate,
    /// Scales them by `1 - wd`.
    Fixed,
    /// Adds `wd p` to the gradient.
    Coupled,
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamG {
    /// Decay rate of the average of scaled gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decay rate of the average of scales, in `[0, 1)`.
    pub beta3: f64,
    /// Factor of the scale.
    pub p: f64,
    /// Power of the scale.
    pub q: f64,
    /// Added to the root of the average of squares.
    pub epsilon: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// What it does.
    pub decay: Decay,
}

impl AdamG {
    /// From `beta1`, `beta2`, `beta3`, `p`, `q`, `epsilon` and `weight_decay` (0 where missing).
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            beta3: fraction(point, "beta3")?,
            p: positive(point, "p")?,
            q: positive(point, "q")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: optional(point, "weight_decay", non_negative)?.unwrap_or(0.0),
            decay: Decay::Step,
        })
    }

    /// As the package has it: the same, with its switches `weight_decouple` and `fixed_decay`.
    pub fn package(point: &Point) -> Result<Self, SubmissionError> {
        let set = |name| Ok::<_, SubmissionError>(optional(point, name, switch)? == Some(true));
        let decay = match (set("weight_decouple")?, set("fixed_decay")?) {
            (false, _) => Decay::Coupled,
            (true, false) => Decay::Rate,
            (true, true) => Decay::Fixed,
        };
        Ok(Self {
            decay,
            ..Self::from_point(point)?
        })
    }
}

impl Rule<3> for AdamG {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 3]) -> (N, [N; 3]) + Sync {
        let rule = *self;
        let step = now.lr.min(1.0 / (now.time as f64).sqrt());
        let rate = step / now.correction(rule.beta1);
        let correction = now.correction(rule.beta2).recip();
        let (coupled, keep) = match rule.decay {
            Decay::Coupled => (rule.weight_decay, 1.0),
            Decay::Step => (0.0, 1.0 - step * rule.weight_decay),
            Decay::Rate => (0.0, 1.0 - now.lr * rule.weight_decay),
            Decay::Fixed => (0.0, 1.0 - rule.weight_decay),
        };
        move |p, g, [m, v, r]| {
            let g = g + p.clone() * coupled;
            let v = v.ema(g.clone().square(), rule.beta2);
            let r = r.ema(v.clone().powf(rule.q) * rule.p, rule.beta3);
            let m = m.ema(g * r.clone(), rule.beta1);
            let root = (v.clone() * correction).sqrt() + rule.epsilon;
            (p * keep - m.clone() * rate / root, [m, v, r])
        }
    }
}

impl Elementwise<3> for AdamG {
    const CARD: Description = Description {
        name: "adamg",
        summary: "Adam on gradients scaled by their second moment, rate 1, steps at most 1 / sqrt(t)",
        paper: "arXiv 2405.04376",
        reference: "pytorch_optimizer 4.1.0 AdamG",
        ..PRETRAIN
    };

    const CLAIMS: &'static [Claim] = &[Claim {
        statement: "Gradients 16 times as large give a first step 16^(2 q) times as large.",
        check: first_step_grows_as_stated,
    }];

    fn space() -> SearchSpace {
        SearchSpace::new()
            .fixed("learning_rate", 1.0)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.95)
            .one_minus_log_uniform("beta2", 1e-3, 5e-2, 0.999)
            .one_minus_log_uniform("beta3", 0.02, 0.2, 0.95)
            .log_uniform("p", 0.1, 0.4, 0.2)
            .fixed("q", 0.24)
            .fixed("epsilon", 1e-8)
            .fixed("weight_decay", 0.0)
            .fixed("warmup_factor", 0.02)
            .fixed("horizon_factor", 0.75)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        non_negative(point, "weight_decay")?;
        Self::from_point(point)
    }

    fn schedule(context: &StartContext) -> Result<Box<dyn Schedule>, SubmissionError> {
        let mut context = context.clone();
        let factor = positive(&context.point, "horizon_factor")?;
        context.hints.steps = (factor * context.hints.steps as f64) as u64;
        warmup_steps(&context)?;
        Ok(Box::new(WarmupCosine::start(&context)?))
    }
}

fn first_step_grows_as_stated() -> Result<(bool, String), SubmissionError> {
    let rule = AdamG {
        beta1: 0.95,
        beta2: 0.999,
        beta3: 0.95,
        p: 0.2,
        q: 0.24,
        epsilon: 0.0,
        weight_decay: 0.0,
        decay: Decay::Step,
    };
    let step = |g: f32| {
        let zero = Tensor::<1>::zeros([1], &Device::flex());
        let gradient = zero.clone().add_scalar(g);
        let state = std::array::from_fn(|_| zero.clone());
        let now = Now { lr: 1.0, time: 1 };
        let (moved, _) = crate::fused::step(&rule, now, zero.clone(), gradient, state);
        f64::from(moved.into_scalar::<f32>())
    };
    let ratio = step(16.0) / step(1.0);
    let stated = 16f64.powf(2.0 * rule.q);
    let scale = rule.p * (1.0 - rule.beta3) * bias_correction(rule.beta2, 1).powf(rule.q);
    let size = (step(1.0).abs() / scale - 1.0).abs();
    let holds = (ratio / stated - 1.0).abs() < 1e-5 && size < 1e-5;
    Ok((holds, format!("{ratio:.4} times; stated {stated:.4}")))
}

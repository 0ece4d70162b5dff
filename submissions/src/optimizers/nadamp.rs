//! NadamP: NAdamW with another root of the second average.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! n = beta1 m + (1 - beta1) g            (the same gradient a second time; n is not kept)
//! p = (1 - lr wd) p - lr (n / (1 - beta1^t)) / ((v / (1 - beta2^t))^(1 / power) + epsilon)
//! ```
//! With `power = 2` it is NAdamW. With another the step depends on the scale of the gradients: small
//! gradients take longer steps when `power` is below 2. Schedule: [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.004 to 0.1, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `power` | 1.5 | 1.5, 2 |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are `nadamw`'s; the default rate is lower, since at 1.5 steps are longer. The
//! competition entry searched a list of five points instead.
//!
//! # State
//! 8 bytes per parameter: `m` and `v` in 32 bits.
//!
//! # Sources
//! AlgoPerf's competition, arXiv 2502.15015, external tuning, entry NadamP. Checked against the rule
//! in 64 bits (three steps), and NAdamW at `power = 2`.
//!
//! # What differs
//! The first average of `g^2` stays one of squares at any power, as in the entry.
//!
//! [`WarmupCosine`]: crate::schedules::WarmupCosine

use super::nadamw::NAdamW;
use crate::bowl;
use crate::common::positive;
use crate::fused::prelude::*;
use velodrome_harness::contract::Claim;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NadamP {
    /// NAdamW's settings.
    pub base: NAdamW,
    /// Which root of the second average divides, above 0.
    pub power: f64,
}

impl Rule<2> for NadamP {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let NAdamW {
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = self.base;
        let keep = 1.0 - now.lr * weight_decay;
        let rate = now.lr / now.correction(beta1);
        let correction = now.correction(beta2).recip();
        let exponent = (self.power != 2.0).then(|| self.power.recip());
        move |p, g, [m, v]| {
            let m = m.ema(g.clone(), beta1);
            let v = v.ema(g.clone().square(), beta2);
            let ahead = m.clone().ema(g, beta1);
            let corrected = v.clone() * correction;
            let root = match exponent {
                Some(exponent) => corrected.powf(exponent),
                None => corrected.sqrt(),
            };
            (p * keep - ahead * rate / (root + epsilon), [m, v])
        }
    }
}

impl Elementwise<2> for NadamP {
    const CARD: Description = Description {
        name: "nadamp",
        summary: "NAdamW with another root of the second average",
        paper: "arXiv 2502.15015 (NadamP)",
        reference: "AlgoPerf v0.5 entry NadamP, its update in 64 bits",
        ..PRETRAIN
    };

    const CLAIMS: &'static [Claim] = &[Claim {
        statement: "with power 2 it is NAdamW, bit for bit; with another it is not",
        check: is_nadamw_at_two,
    }];

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 1e-3)
            .one_minus_log_uniform("beta1", 0.004, 0.1, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .choice("power", &[1.5, 2.0], 1.5)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Ok(Self {
            base: NAdamW::from_point(point)?,
            power: positive(point, "power")?,
        })
    }
}

fn is_nadamw_at_two() -> Result<(bool, String), SubmissionError> {
    let base = NAdamW {
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
    };
    let nadamw = bowl::descend(base, 30)?;
    let two = bowl::descend(NadamP { base, power: 2.0 }, 30)?;
    let other = bowl::descend(NadamP { base, power: 1.5 }, 30)?;
    let found = format!("after 30 steps: {nadamw:?}, {two:?}, {other:?}");
    Ok((nadamw == two && nadamw != other, found))
}

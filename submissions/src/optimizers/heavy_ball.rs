//! Heavy ball: stochastic gradient descent with momentum, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g`, parameter `p`, buffer `b`:
//! ```text
//! g' = g + wd p                          (coupled decay: it passes through the buffer)
//! b  = momentum b + g'                   (b = g' at the first step)
//! p  = p - lr b
//! ```
//! The buffer is not damped, so that the length of a step in a constant direction grows to
//! `lr / (1 - momentum)`. burn's own `Sgd` with dampening 0 (its default is 0.1) computes
//! the same in several passes. Schedule: [`WarmupLinear`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 0.15 | 0.02 to 5, logarithmic |
//! | `momentum` | 0.9 | complement 0.005 to 0.3, logarithmic |
//! | `weight_decay` | 1e-5 | 1e-7 to 5e-5, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `decay_steps_factor` | 0.9 | fixed; share of the steps behind the warm-up |
//! | `end_factor` | 1e-3 | 1e-3, 1e-2 |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 4 bytes per parameter: `b` in 32 bits.
//!
//! # Sources
//! Polyak 1964, "Some methods of speeding up the convergence of iteration methods"; search space
//! and schedule: AlgoPerf, arXiv 2306.07179. Checked against `torch.optim.SGD` 2.15.
//!
//! # What differs
//! AlgoPerf calls `momentum` beta1. Its paper draws the label smoothing from 0.1 and 0.2 only.

use crate::fused::prelude::*;
use crate::schedules::{Schedule, WarmupLinear};
use velodrome_harness::contract::StartContext;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeavyBall {
    /// Share of the buffer that is kept, in `[0, 1)`.
    pub momentum: f64,
    /// Coupled weight decay: `g' = g + wd p`.
    pub weight_decay: f64,
}

impl Rule<1> for HeavyBall {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 1]) -> (N, [N; 1]) + Sync {
        let (rule, lr) = (*self, now.lr);
        move |p, g, [b]| {
            let b = b * rule.momentum + (g + p.clone() * rule.weight_decay);
            (p - b.clone() * lr, [b])
        }
    }
}

impl Elementwise<1> for HeavyBall {
    const CARD: Description = Description {
        name: "heavy_ball",
        summary: "SGD with heavy-ball momentum, warm-up and linear decay",
        paper: "Polyak 1964, USSR Comp. Math. and Math. Phys. 4(5)",
        reference: "torch.optim.SGD 2.15; AlgoPerf baseline (arXiv 2306.07179)",
        version: "2",
        ..PRETRAIN
    };

    fn space() -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 2e-2, 5.0, 0.15)
            .one_minus_log_uniform("momentum", 0.005, 0.3, 0.9)
            .log_uniform("weight_decay", 1e-7, 5e-5, 1e-5)
            .fixed("warmup_factor", 0.05)
            .fixed("decay_steps_factor", 0.9)
            .choice("end_factor", &[1e-3, 1e-2], 1e-3)
    }

    fn new(point: &Point, _hints: &Hints) -> Result<Self, SubmissionError> {
        Ok(Self {
            momentum: fraction(point, "momentum")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }

    fn schedule(context: &StartContext) -> Result<Box<dyn Schedule>, SubmissionError> {
        Ok(Box::new(WarmupLinear::start(context)?))
    }
}

//! Nesterov momentum: heavy ball with a look-ahead, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g`, parameter `p`, buffer `b`:
//! ```text
//! g' = g + wd p                          (coupled decay: it passes through the buffer)
//! b  = momentum b + g'                   (b = g' at the first step)
//! p  = p - lr (g' + momentum b)
//! ```
//! The buffer is not damped. burn's own `Sgd` with dampening 0 (its default is 0.1) computes the
//! same in several passes. Schedule: [`WarmupLinear`](crate::schedules::WarmupLinear).
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
//! Nesterov 1983; in the form of Sutskever et al. 2013, "On the importance of initialization and
//! momentum in deep learning". Search space and schedule: AlgoPerf, arXiv 2306.07179. Checked
//! against `torch.optim.SGD(nesterov=True)` 2.15.
//!
//! # What differs
//! The gradient is taken at the parameters themselves and the look-ahead is folded into the step,
//! as all common libraries do. AlgoPerf calls `momentum` beta1. Its paper draws the label smoothing
//! from 0.1 and 0.2 only.

use super::heavy_ball::HeavyBall;
use crate::fused::prelude::*;
use crate::schedules::Schedule;
use velodrome_harness::contract::StartContext;

/// The update rule: heavy ball's, one look-ahead further.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nesterov(pub HeavyBall);

impl Rule<1> for Nesterov {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 1]) -> (N, [N; 1]) + Sync {
        let (
            HeavyBall {
                momentum,
                weight_decay,
            },
            lr,
        ) = (self.0, now.lr);
        move |p, g, [b]| {
            let g = g + p.clone() * weight_decay;
            let b = b * momentum + g.clone();
            (p - (g + b.clone() * momentum) * lr, [b])
        }
    }
}

impl Elementwise<1> for Nesterov {
    const CARD: Description = Description {
        name: "nesterov",
        summary: "SGD with Nesterov momentum, warm-up and linear decay",
        paper: "Sutskever et al. 2013, ICML (after Nesterov 1983)",
        reference: "torch.optim.SGD(nesterov=True) 2.15; AlgoPerf baseline (arXiv 2306.07179)",
        version: "2",
        ..PRETRAIN
    };

    fn space() -> SearchSpace {
        HeavyBall::space()
    }

    fn new(point: &Point, hints: &Hints) -> Result<Self, SubmissionError> {
        HeavyBall::new(point, hints).map(Self)
    }

    fn schedule(context: &StartContext) -> Result<Box<dyn Schedule>, SubmissionError> {
        HeavyBall::schedule(context)
    }
}

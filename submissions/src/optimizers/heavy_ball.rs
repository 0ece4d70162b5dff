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
//! `lr / (1 - momentum)`. The update is burn's own `Sgd` with dampening 0 (its default is 0.1),
//! which computes exactly this. Schedule: [`WarmupLinear`].
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

use crate::common::{PRETRAIN, fraction, non_negative, pass_options, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::WarmupLinear;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Sgd, SgdConfig};
use velodrome_harness::contract::{
    Algorithm, Description, Point, SearchSpace, StartContext, Submission, SubmissionError, Trainee,
};

/// The update rule, from `momentum` and `weight_decay`.
pub fn rule(point: &Point) -> Result<Sgd, SubmissionError> {
    undamped(point, false)
}

/// Undamped momentum with coupled weight decay, as heavy ball or with Nesterov's look-ahead.
pub(super) fn undamped(point: &Point, nesterov: bool) -> Result<Sgd, SubmissionError> {
    let momentum = MomentumConfig {
        momentum: fraction(point, "momentum")?,
        dampening: 0.0,
        nesterov,
    };
    let penalty = non_negative(point, "weight_decay")? as f32;
    Ok(SgdConfig::new()
        .with_momentum(Some(momentum))
        .with_weight_decay(Some(WeightDecayConfig { penalty }))
        .build())
}

/// AlgoPerf's search space for undamped momentum.
pub(super) fn momentum_space() -> SearchSpace {
    let space = SearchSpace::new()
        .log_uniform("learning_rate", 2e-2, 5.0, 0.15)
        .one_minus_log_uniform("momentum", 0.005, 0.3, 0.9)
        .log_uniform("weight_decay", 1e-7, 5e-5, 1e-5)
        .fixed("warmup_factor", 0.05)
        .fixed("decay_steps_factor", 0.9)
        .choice("end_factor", &[1e-3, 1e-2], 1e-3);
    with_regularisation(space)
}

/// The submission `heavy_ball`.
#[derive(Debug, Clone, Copy)]
pub struct HeavyBallSubmission;

impl Submission for HeavyBallSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "heavy_ball",
            summary: "SGD with heavy-ball momentum, warm-up and linear decay",
            paper: "Polyak 1964, USSR Comp. Math. and Math. Phys. 4(5)",
            reference: "torch.optim.SGD 2.15; AlgoPerf baseline (arXiv 2306.07179)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        momentum_space()
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let schedule = WarmupLinear::start(context)?;
        let algorithm = ScheduledOptimizer::new(rule(&context.point)?, schedule)
            .with_options(pass_options(&context.point)?);
        Ok(Box::new(algorithm))
    }
}

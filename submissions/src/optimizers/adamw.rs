//! AdamW: Adam with decoupled weight decay, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! p = (1 - lr wd) p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! The update is burn's own `AdamW`, which computes exactly this. All parameters decay, biases and
//! normalisation included, as in AlgoPerf. Schedule: [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed (burn's own default is 1e-5) |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per parameter: `m` and `v` in 32 bits.
//!
//! # Sources
//! Loshchilov and Hutter, arXiv 1711.05101; search space and schedule: AlgoPerf, arXiv 2306.07179.
//! Checked against `torch.optim.AdamW` 2.15.
//!
//! # What differs
//! burn keeps the two betas in 32 bits, so that `1 - 0.999` is 0.00100005. AlgoPerf's paper draws
//! the label smoothing from 0.1 and 0.2 only.

use crate::common::{PRETRAIN, fraction, non_negative, pass_options, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::WarmupCosine;
use burn::optim::{AdamW, AdamWConfig};
use velodrome_harness::contract::{
    Algorithm, Description, Point, SearchSpace, StartContext, Submission, SubmissionError, Trainee,
};

/// The update rule, from `beta1`, `beta2`, `epsilon` and `weight_decay`.
pub fn rule(point: &Point) -> Result<AdamW, SubmissionError> {
    Ok(AdamWConfig::new()
        .with_beta_1(fraction(point, "beta1")? as f32)
        .with_beta_2(fraction(point, "beta2")? as f32)
        .with_epsilon(non_negative(point, "epsilon")? as f32)
        .with_weight_decay(non_negative(point, "weight_decay")? as f32)
        .build())
}

/// The submission `adamw`.
#[derive(Debug, Clone, Copy)]
pub struct AdamWSubmission;

impl Submission for AdamWSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "adamw",
            summary: "Adam with decoupled weight decay, warm-up and cosine decay",
            paper: "arXiv 1711.05101",
            reference: "torch.optim.AdamW 2.15; AlgoPerf baseline (arXiv 2306.07179)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let schedule = WarmupCosine::start(context)?;
        let algorithm = ScheduledOptimizer::new(rule(&context.point)?, schedule)
            .with_options(pass_options(&context.point)?);
        Ok(Box::new(algorithm))
    }
}

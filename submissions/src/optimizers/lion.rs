//! Lion: the sign of an interpolated momentum, found by program search.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr sign(c)         (sign(0) = 0)
//! m = beta2 m + (1 - beta2) g            (after the step, with the other beta)
//! ```
//! No bias correction, no epsilon, no second moment. The update is burn's own `Lion`, which
//! computes exactly this. Every entry moves by `lr`, so rates are 3 to 10 times below AdamW's and
//! weight decay is as much above it. Schedule: [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1.5e-3 | 3e-5 to 3e-3, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | complement 0.005 to 0.05, logarithmic |
//! | `weight_decay` | 0.5 | 0.02 to 5, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! AlgoPerf has no search space for Lion: these ranges are AdamW's, moved by the authors' rule of
//! thumb and wide enough for their settings (beta1 and beta2 of 0.9 and 0.99, or 0.95 and 0.98).
//!
//! # State
//! 4 bytes per parameter: `m` in 32 bits.
//!
//! # Sources
//! Chen et al., arXiv 2302.06675. Checked against `pytorch_optimizer` 4.1.0.
//!
//! # What differs
//! Scaling all gradients by a constant changes nothing, so clipping by the global norm has no
//! effect on the length of a step; it only weighs one gradient against another in `m`.

use crate::common::{PRETRAIN, fraction, non_negative, pass_options, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::WarmupCosine;
use burn::optim::{Lion, LionConfig};
use velodrome_harness::contract::{
    Algorithm, Description, Point, SearchSpace, StartContext, Submission, SubmissionError, Trainee,
};

/// The update rule, from `beta1`, `beta2` and `weight_decay`.
pub fn rule(point: &Point) -> Result<Lion, SubmissionError> {
    Ok(LionConfig::new()
        .with_beta_1(fraction(point, "beta1")? as f32)
        .with_beta_2(fraction(point, "beta2")? as f32)
        .with_weight_decay(non_negative(point, "weight_decay")? as f32)
        .build())
}

/// The submission `lion`.
#[derive(Debug, Clone, Copy)]
pub struct LionSubmission;

impl Submission for LionSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "lion",
            summary: "Sign of an interpolated momentum, warm-up and cosine decay",
            paper: "arXiv 2302.06675",
            reference: "pytorch_optimizer 4.1.0 Lion",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 3e-5, 3e-3, 1.5e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .one_minus_log_uniform("beta2", 0.005, 0.05, 0.99)
            .log_uniform("weight_decay", 0.02, 5.0, 0.5)
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

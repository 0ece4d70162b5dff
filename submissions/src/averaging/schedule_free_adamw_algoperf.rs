//! Schedule-free AdamW as it won AlgoPerf's self-tuning ruleset (v0.5).
//!
//! # Rule
//! That of [`super::schedule_free_adamw`] in an earlier form. With `y = beta1 x + (1 - beta1) z`,
//! gradient `g` at `y`, step `k` from 0 and `W` warm-up steps:
//! ```text
//! lr_k  = lr min(1, (k + 1) / W),   s = lr_k sqrt(1 - beta2^(k+1))
//! w     = (k + 1)^r max(lr_0 .. lr_k)^q,   c = w / (sum of all w so far)
//! v     = beta2 v + (1 - beta2) g^2
//! z     = z - s (g / (sqrt(v) + epsilon) + wd x)
//! x     = (1 - c) x + c z
//! ```
//! Weight decay acts at `x`, and later steps weigh more in `x`. Evaluated at `x`.
//!
//! A guard ([`Guard`]) watches for divergence: after a tenth of
//! the step hint, whenever the validation metric is less than 0.01 better than at the first
//! evaluation and none of the latest three evaluations improved it by 0.01, training starts again from the
//! initial weights, with nothing remembered but half the rate. The training steps go on counting.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 2.5e-3 | 1e-3 to 5e-3, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.9955159689799007 | fixed |
//! | `epsilon` | 1e-8 | fixed; not corrected for the bias of `v` |
//! | `weight_decay` | 0.08121616522670176 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.015 | fixed; share of the step hint |
//! | `average_power` | 0.75 | fixed; `r` |
//! | `average_lr_power` | 2 | fixed; `q`, less weight on warm-up steps |
//! | `guard` | 1 | fixed; 0 for none |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Defaults are the winner's, apart from its smoothing of 0.2 and dropout of 0.1 (its warm-up is
//! 0.02 of three quarters of the hint). The rates span the list of the external-tuning entry.
//!
//! # State
//! 12 bytes per parameter: `z`, `v` and the initial weights in 32 bits; 8 without a guard.
//!
//! # Sources
//! Defazio et al., arXiv 2405.15682. Checked against the classes of AlgoPerf v0.5's external-tuning
//! and self-tuning submissions, with their 16-bit `v` widened.
//!
//! # What differs
//! `v` has 32 bits, not 16. As submitted, running statistics of batch norm are those of the training
//! passes, at `y`, though the evaluation is at `x`; the second version of the submission, and
//! [`super::schedule_free_adamw`], refresh them. The guard's metric need not lie between 0 and 1
//! here, but its margin of 0.01 is the submission's. The external-tuning entry had no guard.

use super::schedule_free::{Form, Guard, ScheduleFree, ScheduleFreeAdamW};
use crate::common::{PRETRAIN, pass_options, switch, warmup_steps, with_regularisation};
use crate::flat;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The submission `schedule_free_adamw_algoperf`.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFreeAdamWAlgoPerfSubmission;

impl Submission for ScheduleFreeAdamWAlgoPerfSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "schedule_free_adamw_algoperf",
            summary: "Schedule-free AdamW as it won AlgoPerf's self-tuning ruleset, guard included",
            paper: "arXiv 2405.15682",
            reference: "AlgoPerf v0.5 self-tuning, schedule_free_adamw",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-3, 5e-3, 2.5e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .fixed("beta2", 0.9955159689799007)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.08121616522670176)
            .fixed("warmup_factor", 0.015)
            .fixed("average_power", 0.75)
            .fixed("average_lr_power", 2.0)
            .fixed("guard", 1.0);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let guard = switch(point, "guard").ok()?;
        Some(flat::bytes_per_entry(params, 2 + u64::from(guard)))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let warmup = warmup_steps(context)?;
        let rule = ScheduleFreeAdamW::from_point(&context.point, Form::AlgoPerf, warmup)?;
        let options = pass_options(&context.point)?;
        let algorithm = ScheduleFree::new(rule, options, trainee).with_training_statistics();
        Ok(Box::new(if switch(&context.point, "guard")? {
            algorithm.with_guard(Guard::new(context.hints.steps, trainee))
        } else {
            algorithm
        }))
    }
}

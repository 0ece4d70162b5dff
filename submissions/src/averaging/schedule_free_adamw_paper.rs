//! Schedule-free AdamW as the paper's experiments ran it.
//!
//! # Rule
//! That of [`super::schedule_free_adamw`], with the bias of `v` corrected in the rate, which then
//! weighs the steps of the average too. With `y = beta1 x + (1 - beta1) z`, gradient `g` at `y`, step
//! `k` from 0 and `W` warm-up steps:
//! ```text
//! lr_k  = lr min(1, (k + 1) / W) sqrt(1 - beta2^(k+1))
//! w     = (k + 1)^r max(lr_0 .. lr_k)^q,   c = w / (sum of all w so far)
//! v     = beta2 v + (1 - beta2) g^2
//! z     = z - lr_k (g / (sqrt(v) + epsilon) + wd y)
//! x     = (1 - c) x + c z
//! ```
//! Early steps are so taken at a lower rate than by Adam's rule, and they weigh less in `x`: with
//! `beta2 = 0.999` the rate has come to a tenth after 10 steps, to 0.8 after 1000. It takes weight
//! decay along. Evaluated at `x`.
//!
//! # Batch norm
//! Running statistics are kept at `x` by [`NormRefresh`](super::held::NormRefresh).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1e-2 | 5e-4 to 5e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.999 | complement 1e-3 to 2e-2, logarithmic |
//! | `epsilon` | 1e-8 | fixed; not corrected for the bias of `v` |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `average_power` | 0 | fixed; `r`, more weight on later steps when above 0 |
//! | `average_lr_power` | 2 | fixed; `q`, less weight on steps at a low rate |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per parameter: `z` and `v` in 32 bits.
//!
//! # Sources
//! Defazio et al., arXiv 2405.15682. Checked against `AdamWScheduleFreePaper` of `schedulefree` 1.4.1.
//!
//! # What differs
//! The authors warn that this correction of the bias can be unstable on some problems; their package
//! corrects in the denominator. Their code leaves running statistics to the user.

use super::schedule_free::{Form, ScheduleFree, ScheduleFreeAdamW};
use crate::common::{PRETRAIN, pass_options, warmup_steps, with_regularisation};
use crate::flat;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The submission `schedule_free_adamw_paper`.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFreeAdamWPaperSubmission;

impl Submission for ScheduleFreeAdamWPaperSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "schedule_free_adamw_paper",
            summary: "Schedule-free AdamW as in the paper's experiments: bias corrected in the rate",
            paper: "arXiv 2405.15682",
            reference: "schedulefree 1.4.1 AdamWScheduleFreePaper",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 5e-4, 5e-2, 1e-2)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .one_minus_log_uniform("beta2", 1e-3, 2e-2, 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05)
            .fixed("average_power", 0.0)
            .fixed("average_lr_power", 2.0);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(flat::bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let warmup = warmup_steps(context)?;
        let rule = ScheduleFreeAdamW::from_point(&context.point, Form::Paper, warmup)?;
        let options = pass_options(&context.point)?;
        Ok(Box::new(ScheduleFree::new(rule, options, trainee)))
    }
}

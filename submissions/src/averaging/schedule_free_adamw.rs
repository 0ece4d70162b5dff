//! Schedule-free AdamW: averaging and interpolation in place of a decaying learning rate.
//!
//! # Rule
//! Three points: `z` takes the steps, `x` averages the `z` and is what is evaluated, and the
//! gradient `g` is taken at `y = beta1 x + (1 - beta1) z`. All start at the initial weights. At
//! step `k` from 0, with `W` warm-up steps:
//! ```text
//! lr_k  = lr min(1, (k + 1) / W)
//! w     = (k + 1)^r max(lr_0 .. lr_k)^q,   c = w / (sum of all w so far)
//! v     = beta2 v + (1 - beta2) g^2
//! d     = lr_k (g / (sqrt(v / (1 - beta2^(k+1))) + epsilon) + wd y)
//! z     = z - d
//! x     = (1 - c) x + c z
//! ```
//! The model holds `y`, the state `z` and `v`. `x` is not stored, `x = (y - (1 - beta1) z) / beta1`,
//! and the last two lines become `y = (1 - c) y + c z_old - (1 - beta1 (1 - c)) d`, without a
//! division.
//!
//! Before an evaluation `x` goes into the model; a copy of `y` is kept (shared, not duplicated, as
//! long as nothing changes it) and put back as it was, bit for bit.
//!
//! # Batch norm
//! Running statistics are kept at `x` by [`NormRefresh`](super::held::NormRefresh): one more forward pass after every third
//! step, on the clock, for models that have such statistics.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1e-2 | 5e-4 to 5e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `average_power` | 0 | fixed; `r`, more weight on later steps when above 0 |
//! | `average_lr_power` | 2 | fixed; `q`, less weight on warm-up steps |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are AdamW's, with the rate moved up: the authors advise 1 to 10 times the rate of a
//! scheduled Adam. The step hint enters through the warm-up alone.
//!
//! # State
//! 8 bytes per parameter: `z` and `v` in 32 bits.
//!
//! # Sources
//! Defazio et al., arXiv 2405.15682. Checked against `AdamWScheduleFree` of `schedulefree` 1.4.1.
//!
//! # What differs
//! The package's class, followed here, corrects the bias of `v` in the denominator. The code of the
//! paper's experiments does not ([`super::schedule_free_adamw_paper`]), nor does the winning AlgoPerf
//! submission ([`super::schedule_free_adamw_algoperf`]); their trajectories are not these.

pub use super::schedule_free::{Form, ScheduleFree, ScheduleFreeAdamW};

use crate::common::{PRETRAIN, pass_options, warmup_steps, with_regularisation};
use crate::flat;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The submission `schedule_free_adamw`.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFreeAdamWSubmission;

impl Submission for ScheduleFreeAdamWSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "schedule_free_adamw",
            summary: "AdamW with online averaging in place of a decaying rate; evaluates the average",
            paper: "arXiv 2405.15682",
            reference: "schedulefree 1.4.1 AdamWScheduleFree",
            version: "2",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 5e-4, 5e-2, 1e-2)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .fixed("beta2", 0.999)
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
        let rule = ScheduleFreeAdamW::from_point(&context.point, Form::Package, warmup)?;
        let options = pass_options(&context.point)?;
        Ok(Box::new(ScheduleFree::new(rule, options, trainee)))
    }
}

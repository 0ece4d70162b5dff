//! NAdamW: AdamW with a Nesterov look-ahead in the first average, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! n = beta1 m + (1 - beta1) g            (the same gradient a second time; n is not kept)
//! p = (1 - lr wd) p - lr (n / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! burn has no such rule, so [`NAdamW`] is ours. All parameters decay alike. Schedule:
//! [`WarmupCosine`]. With `beta1 = 0` it is AdamW with `beta1 = 0`.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.004 to 0.1, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per parameter: `m` and `v` in 32 bits.
//!
//! # Sources
//! Dozat 2016, "Incorporating Nesterov Momentum into Adam" (the idea); rule, search space and
//! schedule: AlgoPerf, arXiv 2306.07179. Checked against AlgoPerf's rule in 64 bits.
//!
//! # What differs
//! This is not Dozat's rule with its schedule of momentum, nor `torch.optim.NAdam`: the first step
//! here is `(1 + beta1)` times as long as AdamW's, because `n` holds more of the gradient than the
//! bias correction takes out. AlgoPerf's paper draws the label smoothing from 0.1 and 0.2 only.

use super::parts::{bias_correction, decay, ema};
use crate::common::{PRETRAIN, fraction, non_negative, pass_options, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::WarmupCosine;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Description, Point, SearchSpace, StartContext, Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdamW {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second average.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl NAdamW {
    /// From `beta1`, `beta2`, `epsilon` and `weight_decay`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }
}

/// State of [`NAdamW`] for one parameter.
#[derive(RecordState, Clone)]
pub struct NAdamWState<const D: usize> {
    /// Steps taken.
    pub time: usize,
    /// Average of gradients.
    pub moment_1: Tensor<D>,
    /// Average of squared gradients.
    pub moment_2: Tensor<D>,
}

impl Optimizer for NAdamW {
    type State<const D: usize> = NAdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, m, v) = match state {
            Some(s) => (s.time + 1, Some(s.moment_1), Some(s.moment_2)),
            None => (1, None, None),
        };
        let moment_1 = ema(m, grad.clone(), self.beta1);
        let moment_2 = ema(v, grad.clone().square(), self.beta2);
        let numerator = ema(Some(moment_1.clone()), grad, self.beta1);
        let root = moment_2
            .clone()
            .div_scalar(bias_correction(self.beta2, time))
            .sqrt();
        let step = numerator / root.add_scalar(self.epsilon);
        let length = lr / bias_correction(self.beta1, time);
        let tensor = decay(tensor, lr, self.weight_decay) - step.mul_scalar(length);
        let state = NAdamWState {
            time,
            moment_1,
            moment_2,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        NAdamWState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
        }
    }
}

/// The submission `nadamw`.
#[derive(Debug, Clone, Copy)]
pub struct NAdamWSubmission;

impl Submission for NAdamWSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "nadamw",
            summary: "AdamW with a Nesterov look-ahead, warm-up and cosine decay",
            paper: "arXiv 2306.07179 (after Dozat 2016)",
            reference: "AlgoPerf baseline, its update in 64-bit numpy",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.004, 0.1, 0.9)
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
        let rule = NAdamW::from_point(&context.point)?;
        let algorithm = ScheduledOptimizer::new(rule, WarmupCosine::start(context)?)
            .with_options(pass_options(&context.point)?);
        Ok(Box::new(algorithm))
    }
}

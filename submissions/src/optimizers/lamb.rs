//! LAMB: Adam's step, stretched per tensor to the length of the weights, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter tensor `p`, averages `m` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! u = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) + wd p
//! p = p - lr (|p| / |u|) u               (ratio 1 where |p| or |u| is 0; no bounds on it)
//! ```
//! Norms are Euclidean, over one tensor. burn's own `Lamb` computes the same formula, but corrects
//! the bias in 32 bits; [`Lamb`] is ours, with 64-bit scalars. All parameters alike. Schedule: linear
//! warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.05 to 0.3, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 1e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! A learning rate of 0.01 means that each tensor moves by 1 % of its own length per step.
//!
//! # State
//! 8 bytes per parameter: `m` and `v` in 32 bits.
//!
//! # Sources
//! You et al., arXiv 1904.00962; search space and schedule: AlgoPerf, arXiv 2306.07179. Checked
//! against AlgoPerf's rule (three steps), and in the other form below against `Lamb` of
//! `pytorch_optimizer` 4.1.0.
//!
//! # What differs
//! `pytorch_optimizer` computes another rule, here [`Form::RateCorrected`]: `u` is `m / (sqrt(v) +
//! epsilon)` without corrections, decay is decoupled, the ratio is `min(|p|, 10) / (|u| + epsilon)`,
//! and the rate is divided by `1 - beta1^t`. The ratio cancels any factor of `u`, so this makes the
//! first step `1 / (1 - beta1)` times as long as the paper's. It is there for comparison and does not
//! race. A tensor that starts at zero (a bias) takes its first step at ratio 1, then crawls until it
//! has grown; that is the rule of all forms.

use super::parts::{Moments, bias_correction, decay, norm};
use crate::common::{PRETRAIN, fraction, non_negative, with_regularisation};
use crate::flat;
use crate::scheduled::ScheduledOptimizer;
use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// Which of the two rules that are called LAMB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// AlgoPerf's and the paper's: corrections and decay inside the step whose length is taken.
    Corrected,
    /// `pytorch_optimizer`'s: correction of the rate, decoupled decay, bounded norm of the weights.
    RateCorrected,
}

/// Largest norm of the weights that counts in [`Form::RateCorrected`].
const LARGEST_NORM: f64 = 10.0;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lamb {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second average.
    pub epsilon: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Which rule.
    pub form: Form,
}

impl Lamb {
    /// From `beta1`, `beta2`, `epsilon` and `weight_decay`, in `form`.
    pub fn from_point(point: &Point, form: Form) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            form,
        })
    }

    /// The tensor behind its decoupled decay, and the step `u`.
    fn direction<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        state: &Moments<D>,
    ) -> (Tensor<D>, Tensor<D>) {
        match self.form {
            Form::Corrected => {
                let mut u = state.adam_step(self.beta1, self.beta2, self.epsilon);
                if self.weight_decay != 0.0 {
                    u = u + tensor.clone().mul_scalar(self.weight_decay);
                }
                (tensor, u)
            }
            Form::RateCorrected => {
                let root = state.moment_2.clone().sqrt().add_scalar(self.epsilon);
                let u = state.moment_1.clone() / root;
                (decay(tensor, lr, self.weight_decay), u)
            }
        }
    }

    /// `|p| / |u|`, shape `[1]`; 1 where either is 0. Never read on the host.
    fn ratio(&self, mut weights: Tensor<1>, step: Tensor<1>) -> Tensor<1> {
        let sound =
            (weights.clone().greater_scalar(0.0)).bool_and(step.clone().greater_scalar(0.0));
        let mut length = step;
        if self.form == Form::RateCorrected {
            weights = weights.clamp_max(LARGEST_NORM);
            length = length.add_scalar(self.epsilon);
        }
        weights.ones_like().mask_where(sound, weights / length)
    }
}

impl Optimizer for Lamb {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let state = Moments::advance(state, grad, self.beta1, self.beta2);
        let rate = match self.form {
            Form::Corrected => lr,
            Form::RateCorrected => lr / bias_correction(self.beta1, state.time),
        };
        let (tensor, u) = self.direction(lr, tensor, &state);
        let ratio = self.ratio(norm(tensor.clone()), norm(u.clone()));
        (tensor - u * ratio.mul_scalar(rate).unsqueeze(), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.to_device(device)
    }
}

/// The submission `lamb`.
#[derive(Debug, Clone, Copy)]
pub struct LambSubmission;

impl Submission for LambSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "lamb",
            summary: "Adam's step at the length of each tensor's weights, warm-up and cosine decay",
            paper: "arXiv 1904.00962",
            reference: "AlgoPerf baseline (arXiv 2306.07179); pytorch_optimizer 4.1.0 Lamb",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.05, 0.3, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 1e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(flat::bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = Lamb::from_point(&context.point, Form::Corrected)?;
        ScheduledOptimizer::cosine(rule, context)
    }
}

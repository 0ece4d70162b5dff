//! AdaBelief: Adam with the second average of `g - m` in place of `g`.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `s` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! s = beta2 s + (1 - beta2) (g - m)^2 + epsilon      (with the new m; epsilon stays in s)
//! p = (1 - lr wd) p - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + epsilon)
//! ```
//! Steps are long where gradients agree with their average. With `rectify = 1` the last line
//! becomes, with [`rectification`] `r`,
//! ```text
//! p = (1 - lr wd) p - lr r sqrt(1 - beta2^t) (m / (1 - beta1^t)) / (sqrt(s) + epsilon)
//! p = (1 - lr wd) p - lr m / (1 - beta1^t)           (as long as r is undefined)
//! ```
//! burn has no such rule, so [`AdaBelief`] is ours. All parameters alike. Schedule: linear warm-up,
//! cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-16 | fixed |
//! | `rectify` | 0 | fixed; 1 turns rectification on |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are AdamW's in AlgoPerf, which has none for AdaBelief.
//!
//! # State
//! 8 bytes per parameter: `m` and `s` in 32 bits.
//!
//! # Sources
//! Zhuang et al., arXiv 2010.07468. Checked against `pytorch_optimizer` 4.1.0 (12 steps) and the
//! authors' `adabelief-pytorch` 0.2.1, rectified and not (three steps).
//!
//! # What differs
//! The authors' package rectifies by default. Here it is off: rectification replaces a warm-up, which
//! the schedule already has, and its first steps are plain momentum, at a rate meant for Adam. In 32
//! bits an epsilon of 1e-16 vanishes beside an `s` above 1e-9 or so; it matters where gradients do
//! not change.

use super::parts::{Moments, bias_correction, decay, ema, rectification};
use crate::common::{PRETRAIN, fraction, non_negative, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Description, Point, SearchSpace, StartContext, Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaBelief {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared surprises, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the second average at every step, and to its root.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Whether steps are rectified as RAdam's.
    pub rectify: bool,
}

impl AdaBelief {
    /// From `beta1`, `beta2`, `epsilon`, `weight_decay` and `rectify` (0 or else on).
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            rectify: non_negative(point, "rectify")? != 0.0,
        })
    }

    fn direction<const D: usize>(&self, state: &Moments<D>) -> Tensor<D> {
        if !self.rectify {
            return state.adam_step(self.beta1, self.beta2, self.epsilon);
        }
        let m = state
            .moment_1
            .clone()
            .div_scalar(bias_correction(self.beta1, state.time));
        match rectification(self.beta2, state.time) {
            Some(factor) => {
                let factor = factor * bias_correction(self.beta2, state.time).sqrt();
                let root = state.moment_2.clone().sqrt().add_scalar(self.epsilon);
                m.mul_scalar(factor) / root
            }
            None => m,
        }
    }
}

impl Optimizer for AdaBelief {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, m, s) = Moments::parts(state);
        let moment_1 = ema(m, grad.clone(), self.beta1);
        let surprise = (grad - moment_1.clone()).square();
        let state = Moments {
            time,
            moment_1,
            moment_2: ema(s, surprise, self.beta2).add_scalar(self.epsilon),
        };
        let step = self.direction(&state).mul_scalar(lr);
        (decay(tensor, lr, self.weight_decay) - step, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.to_device(device)
    }
}

/// The submission `adabelief`.
#[derive(Debug, Clone, Copy)]
pub struct AdaBeliefSubmission;

impl Submission for AdaBeliefSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "adabelief",
            summary: "Adam by the variance around the momentum, warm-up and cosine decay",
            paper: "arXiv 2010.07468",
            reference: "pytorch_optimizer 4.1.0 AdaBelief; adabelief-pytorch 0.2.1",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-16)
            .fixed("rectify", 0.0)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        ScheduledOptimizer::cosine(AdaBelief::from_point(&context.point)?, context)
    }
}

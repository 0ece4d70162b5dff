//! MARS: AdamW on gradients whose variance is reduced by the gradient before (approximate form).
//!
//! # Rule
//! For tensors of two and more axes, with gradient `g`, the one before it `h` (zero at the first
//! step), step `t` from 1, parameter `p`, averages `m` and `v` from zero:
//! ```text
//! c = g + gamma beta1 / (1 - beta1) (g - h)
//! c = c / max(1, |c|)                    (Euclidean norm over the tensor)
//! m = beta1 m + (1 - beta1) c
//! v = beta2 v + (1 - beta2) c^2
//! p = (1 - lr wd) p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! Tensors of one axis take AdamW's step with settings of their own: rate `lr_1d_ratio lr`, `beta1_1d`,
//! `beta2_1d`, `weight_decay_1d`; unless `optimize_1d = 1`. burn has no such rule, so [`Mars`] is ours.
//! Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.95 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | fixed |
//! | `gamma` | 0.025 | 0.01 to 0.05, logarithmic |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `optimize_1d` | 0 | fixed; 1 for the same rule on all tensors |
//! | `lr_1d_ratio` | 1 | fixed |
//! | `beta1_1d` | 0.9 | fixed |
//! | `beta2_1d` | 0.95 | fixed |
//! | `weight_decay_1d` | 0.1 | fixed |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Rate and decay are AdamW's in AlgoPerf; the rest lies around the authors' settings.
//!
//! # State
//! 12 bytes per parameter in tensors of two and more axes: `m`, `v` and the previous gradient in 32
//! bits; 8 in the others.
//!
//! # Sources
//! Yuan et al., arXiv 2411.10438. Checked against `pytorch_optimizer` 4.1.0 (12 steps) and the
//! authors' class (three steps).
//!
//! # What differs
//! This is the approximate form: `h` is the gradient of the previous batch. The exact form takes a
//! second gradient of the present batch at the previous weights. The authors' code treats only
//! tensors of exactly two axes so, and gives convolutions plain AdamW; here they are treated as
//! matrices, as in `pytorch_optimizer`. The authors also keep `h` for all tensors.
//! `pytorch_optimizer` adds epsilon before the bias correction of the root
//! ([`Mars::early_epsilon`], for comparison; it does not race). Clipping makes the rule depend on the
//! scale of the loss.

use super::parts::{Moments, bias_correction, decay, norm};
use crate::common::{PRETRAIN, fraction, non_negative, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The AdamW part of the rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Share of the learning rate.
    pub lr_ratio: f64,
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squares, in `[0, 1)`.
    pub beta2: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mars {
    /// Weight of the correction.
    pub gamma: f64,
    /// Added to the root of the second average.
    pub epsilon: f64,
    /// Whether epsilon is added before that root is corrected for its bias, as in
    /// `pytorch_optimizer`, not after it.
    pub early_epsilon: bool,
    /// Settings for corrected gradients.
    pub corrected: Settings,
    /// Settings for AdamW on tensors of one axis; `None` corrects their gradients, too.
    pub one_dimensional: Option<Settings>,
}

impl Mars {
    /// From the hyperparameters of the search space.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        let plain = Settings {
            lr_ratio: non_negative(point, "lr_1d_ratio")?,
            beta1: fraction(point, "beta1_1d")?,
            beta2: fraction(point, "beta2_1d")?,
            weight_decay: non_negative(point, "weight_decay_1d")?,
        };
        let all = non_negative(point, "optimize_1d")? != 0.0;
        Ok(Self {
            gamma: non_negative(point, "gamma")?,
            epsilon: non_negative(point, "epsilon")?,
            early_epsilon: false,
            corrected: Settings {
                lr_ratio: 1.0,
                beta1: fraction(point, "beta1")?,
                beta2: fraction(point, "beta2")?,
                weight_decay: non_negative(point, "weight_decay")?,
            },
            one_dimensional: (!all).then_some(plain),
        })
    }

    fn correct<const D: usize>(&self, g: Tensor<D>, before: Option<Tensor<D>>) -> Tensor<D> {
        let weight = self.gamma * self.corrected.beta1 / (1.0 - self.corrected.beta1);
        let mut c = g.mul_scalar(1.0 + weight);
        if let Some(h) = before {
            c = c - h.mul_scalar(weight);
        }
        let length = norm(c.clone()).clamp_min(1.0);
        c / length.unsqueeze()
    }
}

/// State of [`Mars`] for one parameter.
#[derive(RecordState, Clone)]
pub struct MarsState<const D: usize> {
    /// Steps taken.
    pub time: usize,
    /// Average of gradients, corrected or not.
    pub moment_1: Tensor<D>,
    /// Average of their squares.
    pub moment_2: Tensor<D>,
    /// The previous gradient; `None` where the rule is AdamW.
    pub previous: Option<Tensor<D>>,
}

impl Optimizer for Mars {
    type State<const D: usize> = MarsState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (moments, before) = match state {
            Some(s) => {
                let moments = Moments {
                    time: s.time,
                    moment_1: s.moment_1,
                    moment_2: s.moment_2,
                };
                (Some(moments), s.previous)
            }
            None => (None, None),
        };
        let (settings, gradient, previous) = match self.one_dimensional {
            Some(plain) if D < 2 => (plain, grad, None),
            _ => (
                self.corrected,
                self.correct(grad.clone(), before),
                Some(grad),
            ),
        };
        let moments = Moments::advance(moments, gradient, settings.beta1, settings.beta2);
        let epsilon = if self.early_epsilon {
            self.epsilon / bias_correction(settings.beta2, moments.time).sqrt()
        } else {
            self.epsilon
        };
        let step = moments.adam_step(settings.beta1, settings.beta2, epsilon);
        let rate = lr * settings.lr_ratio;
        let tensor = decay(tensor, rate, settings.weight_decay) - step.mul_scalar(rate);
        let state = MarsState {
            time: moments.time,
            moment_1: moments.moment_1,
            moment_2: moments.moment_2,
            previous,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        MarsState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            previous: state.previous.map(|g| g.to_device(device)),
        }
    }
}

/// The submission `mars`.
#[derive(Debug, Clone, Copy)]
pub struct MarsSubmission;

impl Submission for MarsSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "mars",
            summary: "AdamW on variance-reduced gradients, warm-up and cosine decay",
            paper: "arXiv 2411.10438",
            reference: "pytorch_optimizer 4.1.0 MARS (adamw)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.95)
            .fixed("beta2", 0.99)
            .log_uniform("gamma", 0.01, 0.05, 0.025)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("optimize_1d", 0.0)
            .fixed("lr_1d_ratio", 1.0)
            .fixed("beta1_1d", 0.9)
            .fixed("beta2_1d", 0.95)
            .fixed("weight_decay_1d", 0.1)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let plain = point.get("optimize_1d").ok()? == 0.0;
        let numbers = |p: &ParamInfo| if plain && p.shape.len() < 2 { 2 } else { 3 };
        let trainable = params.iter().filter(|p| p.trainable);
        Some(trainable.map(|p| 4 * numbers(p) * p.len() as u64).sum())
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        ScheduledOptimizer::cosine(Mars::from_point(&context.point)?, context)
    }
}

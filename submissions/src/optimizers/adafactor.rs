//! Adafactor: second moments kept as row and column averages, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, momentum `m` and averages `r`, `c` from zero;
//! "rows" and "columns" are the last two axes of a tensor:
//! ```text
//! b = decay (1 - decay^(t-1)) / (1 - decay^t)
//! r = b r + (1 - b) (mean of g^2 + epsilon1 over the columns of each row)
//! c = b c + (1 - b) (mean of g^2 + epsilon1 over the rows of each column)
//! u = g / sqrt(r / mean(r)) / sqrt(c)
//! u = u / max(1, rms(u) / clip_threshold)
//! m = beta1 m + (1 - beta1) lr u         (the rate is inside the momentum)
//! p = (1 - lr wd) p - m
//! ```
//! Tensors of one axis keep the average of `g^2 + epsilon1` entry by entry. burn's own `Adafactor`
//! computes the other form below, without momentum; [`Adafactor`] is ours and computes both.
//! Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.01 to 0.45, logarithmic |
//! | `decay` | 0.99 | fixed |
//! | `epsilon1` | 1e-30 | fixed |
//! | `clip_threshold` | 1 | fixed |
//! | `weight_decay` | 0.1 | 1e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 4 bytes per parameter for `m` (none with `beta1 = 0`), and 4 for each row and each column of each
//! matrix of the last two axes: `4 + 4 (r + c) / (r c)` bytes per parameter. Tensors of one axis: 8.
//!
//! # Sources
//! Shazeer and Stern, arXiv 1804.04235; rule, search space and schedule: AlgoPerf, arXiv 2306.07179.
//! Checked against AlgoPerf's rule (three steps) and, in the other form, `torch.optim.Adafactor` 2.15.
//!
//! # What differs
//! The paper and PyTorch have no momentum, `1 - b = t^beta2_decay`, and the step
//! `p = (1 - lr wd) p - max(epsilon2, rms(p)) min(lr, 1 / sqrt(t)) u`: [`Adafactor::original`], for
//! comparison; it does not race. PyTorch bounds the product of averages from below where this adds
//! `epsilon1`; the two differ only where gradients are zero. Both factor a convolution over the axes
//! of its kernel, which saves little there.

use super::parts::{decay, ema};
use crate::common::{PRETRAIN, fraction, non_negative, positive, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// Which of the two rules that are called Adafactor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// AlgoPerf's.
    Baseline {
        /// Decay rate of the momentum, in `[0, 1)`.
        beta1: f64,
        /// Limit of the decay rate of the averages, in `(0, 1)`.
        decay: f64,
    },
    /// The paper's and PyTorch's.
    Original {
        /// Power of the step number that weighs a new value in the averages; below 0.
        beta2_decay: f64,
        /// Least root mean square of the weights in the length of the step.
        epsilon2: f64,
    },
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adafactor {
    /// Added to squared gradients.
    pub epsilon1: f64,
    /// Largest root mean square of a step, before the rate.
    pub clip_threshold: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Which rule.
    pub form: Form,
}

impl Adafactor {
    /// AlgoPerf's form, from the hyperparameters of the search space.
    pub fn baseline(point: &Point) -> Result<Self, SubmissionError> {
        positive(point, "decay")?;
        let form = Form::Baseline {
            beta1: fraction(point, "beta1")?,
            decay: fraction(point, "decay")?,
        };
        Self::with_form(point, form)
    }

    /// The paper's form, from `epsilon1`, `epsilon2`, `beta2_decay`, `clip_threshold` and
    /// `weight_decay`.
    pub fn original(point: &Point) -> Result<Self, SubmissionError> {
        let beta2_decay = point.get("beta2_decay")?;
        if !(beta2_decay.is_finite() && beta2_decay < 0.0) {
            return Err(SubmissionError::Hyperparameter {
                name: "beta2_decay".into(),
                message: format!("is {beta2_decay}; it must be a finite number below 0"),
            });
        }
        let epsilon2 = non_negative(point, "epsilon2")?;
        let form = Form::Original {
            beta2_decay,
            epsilon2,
        };
        Self::with_form(point, form)
    }

    fn with_form(point: &Point, form: Form) -> Result<Self, SubmissionError> {
        Ok(Self {
            epsilon1: positive(point, "epsilon1")?,
            clip_threshold: positive(point, "clip_threshold")?,
            weight_decay: non_negative(point, "weight_decay")?,
            form,
        })
    }

    /// Decay rate of the averages at step `time`, from 1.
    fn keep(&self, time: usize) -> f64 {
        let t = time as f64;
        match self.form {
            Form::Baseline { decay, .. } => {
                decay * (1.0 - decay.powf(t - 1.0)) / (1.0 - decay.powf(t))
            }
            Form::Original { beta2_decay, .. } => 1.0 - t.powf(beta2_decay),
        }
    }
}

/// State of [`Adafactor`] for one parameter.
#[derive(RecordState, Clone)]
pub struct AdafactorState<const D: usize> {
    /// Steps taken.
    pub time: usize,
    /// Average of squares of each row, last axis 1; in a tensor of one axis of each entry.
    pub rows: Tensor<D>,
    /// Average of squares of each column, last axis but one 1; `None` for one axis.
    pub columns: Option<Tensor<D>>,
    /// Momentum of steps; `None` in a form without.
    pub momentum: Option<Tensor<D>>,
}

/// Root of the mean square of all entries, shape `[1]`.
fn rms<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.square().mean().sqrt()
}

impl Optimizer for Adafactor {
    type State<const D: usize> = AdafactorState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, rows, columns, momentum) = match state {
            Some(s) => (s.time + 1, Some(s.rows), s.columns, s.momentum),
            None => (1, None, None, None),
        };
        let keep = self.keep(time);
        let squares = grad.clone().square().add_scalar(self.epsilon1);
        let (rows, columns, u) = if D < 2 {
            let rows = ema(rows, squares, keep);
            (rows.clone(), None, grad / rows.sqrt())
        } else {
            let rows = ema(rows, squares.clone().mean_dim(D - 1), keep);
            let columns = ema(columns, squares.mean_dim(D - 2), keep);
            // Rows are made relative first: the product of two small averages would underflow.
            let relative = rows.clone() / rows.clone().mean_dim(D - 2);
            let u = grad / relative.sqrt() / columns.clone().sqrt();
            (rows, Some(columns), u)
        };
        let excess = rms(u.clone()).div_scalar(self.clip_threshold);
        let u = u / excess.clamp_min(1.0).unsqueeze();
        let (step, momentum) = match self.form {
            Form::Baseline { beta1, .. } => {
                let m = ema(momentum, u.mul_scalar(lr), beta1);
                (m.clone(), (beta1 != 0.0).then_some(m))
            }
            Form::Original { epsilon2, .. } => {
                let rate = lr.min(1.0 / (time as f64).sqrt());
                let length = rms(tensor.clone()).clamp_min(epsilon2).mul_scalar(rate);
                (u * length.unsqueeze(), None)
            }
        };
        let tensor = decay(tensor, lr, self.weight_decay) - step;
        let state = AdafactorState {
            time,
            rows,
            columns,
            momentum,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdafactorState {
            time: state.time,
            rows: state.rows.to_device(device),
            columns: state.columns.map(|c| c.to_device(device)),
            momentum: state.momentum.map(|m| m.to_device(device)),
        }
    }
}

/// The submission `adafactor`.
#[derive(Debug, Clone, Copy)]
pub struct AdafactorSubmission;

impl Submission for AdafactorSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "adafactor",
            summary: "Factored second moments and momentum, warm-up and cosine decay",
            paper: "arXiv 1804.04235",
            reference: "AlgoPerf baseline (arXiv 2306.07179); torch.optim.Adafactor 2.15",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.01, 0.45, 0.9)
            .fixed("decay", 0.99)
            .fixed("epsilon1", 1e-30)
            .fixed("clip_threshold", 1.0)
            .log_uniform("weight_decay", 1e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let momentum = u64::from(point.get("beta1").ok()? != 0.0);
        let numbers = |p: &ParamInfo| match p.shape.as_slice() {
            [rest @ .., rows, columns] => rest.iter().product::<usize>() * (rows + columns),
            _ => p.len(),
        };
        let trainable = params.iter().filter(|p| p.trainable);
        Some(
            trainable
                .map(|p| 4 * (momentum * p.len() as u64 + numbers(p) as u64))
                .sum(),
        )
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        ScheduledOptimizer::cosine(Adafactor::baseline(&context.point)?, context)
    }
}

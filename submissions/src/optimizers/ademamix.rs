//! AdEMAMix: AdamW with a second, very slow average of gradients in the numerator.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m`, `n` and `v` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! n = b n + (1 - b) g                    (not corrected: it starts small)
//! v = beta2 v + (1 - beta2) g^2
//! p = (1 - lr wd) p
//!     - lr (m / (1 - beta1^t) + a n) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! `a` and `b` rise over the first `T` steps, the whole run by default. With `s = min(1, t / T)`,
//! `a = s alpha`, and `b` comes from interpolating linearly between the half-lives of `beta1` and
//! `beta3`: `b = 0.5^(1 / (1 + (1 - s) H(beta1) + s H(beta3)))` with `H(x) = ln 0.5 / ln x - 1`.
//!
//! With `alpha = 0` it is AdamW. With `beta1 = 0` the gradient itself takes the place of `m`, which
//! is then not stored. burn has no such rule, so [`AdEmaMix`] is ours. All parameters alike. Schedule:
//! linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `beta3` | 0.999 | complement 1e-4 to 1e-2, logarithmic |
//! | `alpha` | 2 | 2, 5, 8 |
//! | `ramp_factor` | 1 | fixed; `T` as a share of the step hint, 0 for none |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The authors' `beta3` of 0.9999 remembers 10,000 steps; it suits runs longer than that.
//!
//! # State
//! 12 bytes per parameter: `m`, `n` and `v` in 32 bits; 8 with `beta1 = 0`.
//!
//! # Sources
//! Pagliardini et al., arXiv 2409.03137. Checked against `pytorch_optimizer` 4.1.0 (12 steps) and
//! the authors' class (three steps), both without the rise of `a` and `b`.
//!
//! # What differs
//! The authors' code adds 1e-8 to the betas inside the logarithms of `H`; here it is exact.

use super::parts::{bias_correction, decay, ema};
use crate::common::{PRETRAIN, fraction, non_negative, with_regularisation};
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Description, Point, SearchSpace, StartContext, Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdEmaMix {
    /// Decay rate of the fast average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decay rate of the slow average of gradients, in `[0, 1)`.
    pub beta3: f64,
    /// Weight of the slow average.
    pub alpha: f64,
    /// Steps over which that weight and the slow decay rate rise; 0 for none.
    pub ramp: u64,
    /// Added to the root of the average of squares.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl AdEmaMix {
    /// From `beta1`, `beta2`, `beta3`, `alpha`, `epsilon` and `weight_decay`; `ramp` in steps.
    pub fn from_point(point: &Point, ramp: u64) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            beta3: fraction(point, "beta3")?,
            alpha: non_negative(point, "alpha")?,
            ramp,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }

    /// Weight and decay rate of the slow average at step `time`, from 1.
    pub fn slow(&self, time: usize) -> (f64, f64) {
        let done = time as f64 / self.ramp as f64;
        // Also where there is no ramp, and the share is infinite.
        if done >= 1.0 {
            return (self.alpha, self.beta3);
        }
        let half_life = |beta: f64| 0.5f64.ln() / beta.ln() - 1.0;
        let mixed = (1.0 - done) * half_life(self.beta1) + done * half_life(self.beta3);
        (done * self.alpha, 0.5f64.powf(1.0 / (1.0 + mixed)))
    }
}

/// State of [`AdEmaMix`] for one parameter.
#[derive(RecordState, Clone)]
pub struct AdEmaMixState<const D: usize> {
    /// Steps taken.
    pub time: usize,
    /// Fast average of gradients; `None` where `beta1` is 0.
    pub fast: Option<Tensor<D>>,
    /// Slow average of gradients.
    pub slow: Tensor<D>,
    /// Average of squared gradients.
    pub square: Tensor<D>,
}

impl Optimizer for AdEmaMix {
    type State<const D: usize> = AdEmaMixState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, m, n, v) = match state {
            Some(s) => (s.time + 1, s.fast, Some(s.slow), Some(s.square)),
            None => (1, None, None, None),
        };
        let (alpha, beta3) = self.slow(time);
        let m = ema(m, grad.clone(), self.beta1);
        let slow = ema(n, grad.clone(), beta3);
        let square = ema(v, grad.square(), self.beta2);
        let root = square
            .clone()
            .div_scalar(bias_correction(self.beta2, time))
            .sqrt();
        let numerator = m.clone().div_scalar(bias_correction(self.beta1, time))
            + slow.clone().mul_scalar(alpha);
        let step = numerator / root.add_scalar(self.epsilon);
        let tensor = decay(tensor, lr, self.weight_decay) - step.mul_scalar(lr);
        let state = AdEmaMixState {
            time,
            fast: (self.beta1 != 0.0).then_some(m),
            slow,
            square,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdEmaMixState {
            time: state.time,
            fast: state.fast.map(|m| m.to_device(device)),
            slow: state.slow.to_device(device),
            square: state.square.to_device(device),
        }
    }
}

/// The submission `ademamix`.
#[derive(Debug, Clone, Copy)]
pub struct AdEmaMixSubmission;

impl Submission for AdEmaMixSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "ademamix",
            summary: "AdamW plus a slow average of gradients, warm-up and cosine decay",
            paper: "arXiv 2409.03137",
            reference: "pytorch_optimizer 4.1.0 AdEMAMix",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .one_minus_log_uniform("beta3", 1e-4, 1e-2, 0.999)
            .choice("alpha", &[2.0, 5.0, 8.0], 2.0)
            .fixed("ramp_factor", 1.0)
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
        let factor = non_negative(&context.point, "ramp_factor")?;
        let ramp = (factor * context.hints.steps as f64) as u64;
        ScheduledOptimizer::cosine(AdEmaMix::from_point(&context.point, ramp)?, context)
    }
}

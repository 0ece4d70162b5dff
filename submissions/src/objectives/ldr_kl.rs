//! LDR-KL: AdamW on the worst mix of a classifier's margins that stays close to the even one.
//!
//! # Rule
//! For an example with label `y` among `K` classes and scores `f`:
//! ```text
//! d_k = f_k - f_y + margin (k != y)                        (d_y = 0)
//! loss = max over p of sum(p d) - lambda KL(p | even)
//!      = lambda log(mean(exp(d / lambda)))
//! ```
//! With `lambda` 1 and no margin this is the cross entropy less `log K`; towards 0 the hinge `max d`,
//! for large `lambda` the mean of `d`, which symmetric label noise does not mislead. With `normalise`
//! the scores are first `softplus(f)`, divided by their mean over the classes. An example of several
//! units (tokens) has the mean of their losses. A model without class scores keeps its own loss. AdamW
//! takes the step ([`AdamW`]). Schedule: [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `lambda` | 1 | 0.1, 1, 10 |
//! | `margin` | 0.1 | fixed |
//! | `normalise` | 0 | 0, 1 |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per trainable parameter, as AdamW.
//!
//! # Sources
//! Zhu, Ying and Yang, arXiv 2112.14869. Checked against closed forms, finite differences and the
//! maximum over a grid of `p`.
//!
//! # What differs
//! The authors train with momentum at a rate of 1e-3 to 1e-2. Their code always normalises; that
//! leaves no scale to the scores, so that the cross entropy of an evaluation would mean little, and it
//! is off by default here. The divisor of the normalisation is at least 1e-3, for scores of zero.

use crate::common::{PRETRAIN, non_negative, pass_options_without_smoothing, positive, switch};
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Int, Tensor, TensorData};
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ModelError, ParamInfo, PassOptions, Point, Predictions,
    SearchSpace, StartContext, State, StepContext, Submission, SubmissionError, Trainee,
    cross_entropy,
};

/// Name of the optimizer's entry in the saved state.
const OPTIMIZER: &str = "optimizer";
/// Least divisor of a normalisation.
pub(super) const LEAST_SCALE: f64 = 1e-3;
/// Spread of `d / lambda` below which the mean of exponentials is taken around 1.
const CLOSE: f64 = 1.0;

/// `d_k = f_k - f_y + margin (k != y)`, shape `[rows, classes]`, from scores `f` of that shape and
/// labels `y` of shape `[rows]`; `d_y` is 0.
pub fn differences(scores: Tensor<2>, labels: Tensor<1, Int>, margin: f64) -> Tensor<2> {
    let [rows, classes] = scores.dims();
    let labels = labels.reshape([rows, 1]);
    let at_label = scores.clone().gather(1, labels.clone());
    let plain = if labels.device().is_autodiff() {
        labels.inner()
    } else {
        labels
    };
    let numbers = Tensor::<1, Int>::arange(0..classes as i64, &plain.device());
    let numbers = numbers.reshape([1, classes]).expand([rows, classes]);
    let other = numbers.not_equal(plain.expand([rows, classes])).float();
    let margins = other.mul_scalar(margin);
    let margins = if scores.device().is_autodiff() {
        Tensor::from_inner(margins)
    } else {
        margins
    };
    scores - at_label + margins
}

/// `lambda log(mean(exp(d / lambda)))` of each row, shape `[rows]`, from `d` of shape
/// `[rows, classes]` and `lambda` of shape `[rows, 1]`, above 0.
///
/// Where the entries of `d / lambda` are close to each other the mean of exponentials is 1 up to
/// rounding; there it is taken as 1 plus a mean of `exp(x) - 1 = 2 t / (1 - t)` with `t = tanh(x / 2)`.
pub fn ldr_kl(d: Tensor<2>, lambda: Tensor<2>) -> Tensor<1> {
    let [rows, _] = d.dims();
    let most = d.clone().max_dim(1);
    let x = (d - most.clone()) / lambda.clone();
    let far = x.clone().exp().mean_dim(1).log();
    let is_far = x.clone().min_dim(1).lower_elem(-CLOSE);
    let t = x.clamp_min(-CLOSE).mul_scalar(0.5).tanh();
    let t = t.clone().mul_scalar(2.0) / t.neg().add_scalar(1.0);
    let close = t.mean_dim(1).log1p();
    (most + lambda * close.mask_where(is_far, far)).reshape([rows])
}

/// Scores divided by their mean over the classes, after a softplus; shape `[rows, classes]`.
fn normalised(scores: Tensor<2>) -> Tensor<2> {
    let soft = scores.clone().clamp_min(0.0) + scores.abs().neg().exp().log1p();
    let mean = soft.clone().mean_dim(1).clamp_min(LEAST_SCALE);
    soft / mean
}

/// The loss, at fixed hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LdrKl {
    /// Weight of the divergence, above 0.
    pub lambda: f64,
    /// Margin of each wrong class, at least 0.
    pub margin: f64,
    /// Whether scores are normalised.
    pub normalise: bool,
}

impl LdrKl {
    /// Loss of each unit, shape `[units]`.
    pub fn unit_losses(&self, predictions: Predictions) -> Tensor<1> {
        let scores = if self.normalise {
            normalised(predictions.logits)
        } else {
            predictions.logits
        };
        let d = differences(scores, predictions.labels, self.margin);
        let lambda = d.clone().detach().narrow(1, 0, 1).zeros_like();
        ldr_kl(d, lambda.add_scalar(self.lambda))
    }
}

/// The loss around any optimizer.
pub struct Robust {
    optimizer: ModuleOptimizer,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    loss: LdrKl,
}

impl Robust {
    /// `optimizer` on `loss`.
    pub fn new(
        optimizer: impl Into<ModuleOptimizer>,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        loss: LdrKl,
    ) -> Self {
        Self {
            optimizer: optimizer.into(),
            schedule: Box::new(schedule),
            options,
            loss,
        }
    }
}

impl Algorithm for Robust {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let loss = self.loss;
        let replaced = trainee.gradients_replaced(batch, &self.options, |predictions| {
            Ok(loss.unit_losses(predictions).mean())
        });
        let pass = match replaced {
            Err(SubmissionError::Model(ModelError::Unsupported(_))) => {
                trainee.gradients(batch, &self.options)?
            }
            other => other?,
        };
        let learning_rate = self.schedule.at(context.step);
        trainee.step(&mut self.optimizer, learning_rate, pass.gradients);
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer(OPTIMIZER, &self.optimizer)
    }

    fn load(&mut self, state: &State, _trainee: &Trainee) -> Result<(), SubmissionError> {
        self.optimizer = state.get_optimizer(OPTIMIZER, self.optimizer.clone())?;
        Ok(())
    }
}

/// The submission `ldr_kl`.
#[derive(Debug, Clone, Copy)]
pub struct LdrKlSubmission;

impl Submission for LdrKlSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "ldr_kl",
            summary: "AdamW on the worst mix of margins that stays close to the even one",
            paper: "arXiv 2112.14869",
            reference: "closed forms and the definition as a maximum",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .choice("lambda", &[0.1, 1.0, 10.0], 1.0)
            .fixed("margin", 0.1)
            .choice("normalise", &[0.0, 1.0], 0.0)
            .fixed("warmup_factor", 0.05)
            .choice("dropout", &[0.0, 0.1], 0.0)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "with lambda 1 and no margin it is the cross entropy less log K; for small \
                        lambda the largest margin, for large lambda their mean",
            check: has_its_limits,
        }]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        let loss = LdrKl {
            lambda: positive(point, "lambda")?,
            margin: non_negative(point, "margin")?,
            normalise: switch(point, "normalise")?,
        };
        Ok(Box::new(Robust::new(
            Fused(AdamW::from_point(point)?),
            WarmupCosine::start(context)?,
            pass_options_without_smoothing(point)?,
            loss,
        )))
    }
}

fn has_its_limits() -> Result<(bool, String), SubmissionError> {
    const ROWS: usize = 20;
    const CLASSES: usize = 7;
    let device = Device::flex();
    let scores: Vec<f32> = (0..ROWS * CLASSES)
        .map(|i| (i * 7919 % 2003) as f32 / 250.0 - 4.0)
        .collect();
    let labels: Vec<i32> = (0..ROWS).map(|i| (i * 5 % CLASSES) as i32).collect();
    let scores = Tensor::<1>::from_data(TensorData::new(scores, [ROWS * CLASSES]), &device);
    let scores = scores.reshape([ROWS, CLASSES]);
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [ROWS]), &device);
    let at = |lambda: f64, margin: f64| {
        let lambda = Tensor::full([ROWS, 1], lambda, &device);
        ldr_kl(differences(scores.clone(), labels.clone(), margin), lambda)
    };
    let apart = |a: Tensor<1>, b: Tensor<1>| f64::from((a - b).abs().max().into_scalar::<f32>());
    let entropy = cross_entropy(scores.clone(), labels.clone(), 0.0);
    let d = differences(scores.clone(), labels.clone(), 0.5);
    let found = [
        apart(at(1.0, 0.0), entropy.sub_scalar((CLASSES as f64).ln())),
        apart(at(1e-4, 0.5), d.clone().max_dim(1).reshape([ROWS])),
        apart(at(1e6, 0.5), d.mean_dim(1).reshape([ROWS])),
    ];
    let text = format!(
        "apart by {:.1e}, {:.1e} and {:.1e}",
        found[0], found[1], found[2]
    );
    Ok((found[0] < 5e-6 && found[1] < 1e-3 && found[2] < 5e-5, text))
}

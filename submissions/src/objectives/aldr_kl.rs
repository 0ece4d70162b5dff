//! ALDR-KL: LDR-KL in which every training example has a temperature of its own.
//!
//! # Rule
//! With `d` as in [`ldr_kl`](super::ldr_kl), scores `f` and the temperature `l` of an example, which
//! starts at `lambda`:
//! ```text
//! p = softmax(f / l) + 1e-5, divided by its sum
//! l = lambda - lambda / (alpha log K) KL(p | even)                in [lambda (1 - 1 / alpha), lambda]
//! loss = l log(mean(exp(d / l))) - alpha log K / (2 lambda) (l - lambda)^2
//! ```
//! The temperature changes each time its example is seen, once, before the loss, and is a constant of
//! the gradient. Clear examples get a small one, which is nearer to the hinge; unclear ones, such as
//! those with wrong labels, a large one, which is nearer to the mean of `d` and more robust. An example
//! of several units (tokens) has one temperature, from the mean of their divergences, and the mean of
//! their losses. With `normalise` the scores are first divided by the mean of their sizes over the
//! classes. A model without class scores keeps its own loss. AdamW takes the step ([`AdamW`]).
//! Schedule: [`WarmupCosine`].
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
//! | `alpha` | 2 | fixed; above 1 |
//! | `margin` | 0.1 | fixed |
//! | `normalise` | 0 | 0, 1 |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per trainable parameter, as AdamW, and 4 per training example, up to the last one seen.
//!
//! # Sources
//! Zhu, Ying and Yang, arXiv 2112.14869. Checked against the loss and the temperature that the
//! authors' code gives for given scores.
//!
//! # What differs
//! The authors train with momentum at a rate of 1e-3 to 1e-2, with a `lambda` of 10. Their code always
//! normalises; that leaves no scale to the scores, so that the cross entropy of an evaluation would mean
//! little, and it is off by default here. The divisor of the normalisation is at least 1e-3. As in the
//! code, `p` has no margin, which the paper's has.

use super::ldr_kl::{LEAST_SCALE, differences, ldr_kl};
use crate::common::{
    PRETRAIN, checked, non_negative, pass_options_without_smoothing, positive, switch,
};
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use burn::optim::ModuleOptimizer;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ModelError, PassOptions, Point, Predictions, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Trainee,
};

/// Name of the optimizer's entry in the saved state.
const OPTIMIZER: &str = "optimizer";
/// Name of the temperatures' entry in the saved state.
const TEMPERATURES: &str = "temperatures";
/// Added to each probability.
const LEAST_PROBABILITY: f64 = 1e-5;

/// The loss, at fixed hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AldrKl {
    /// Largest and first temperature, above 0.
    pub lambda: f64,
    /// How far temperatures fall: to `lambda (1 - 1 / alpha)`. Above 1.
    pub alpha: f64,
    /// Margin of each wrong class, at least 0.
    pub margin: f64,
    /// Whether scores are normalised.
    pub normalise: bool,
}

impl AldrKl {
    /// From `lambda`, `alpha`, `margin` and `normalise`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            lambda: positive(point, "lambda")?,
            alpha: checked(point, "alpha", "a finite number above 1", |x| {
                x.is_finite() && x > 1.0
            })?,
            margin: non_negative(point, "margin")?,
            normalise: switch(point, "normalise")?,
        })
    }

    fn scores(&self, logits: Tensor<2>) -> Tensor<2> {
        if self.normalise {
            let mean = logits.clone().abs().mean_dim(1).clamp_min(LEAST_SCALE);
            logits / mean
        } else {
            logits
        }
    }

    /// The new temperatures, shape `[examples]`, of examples with such predictions and temperatures
    /// `now`; everything without graph.
    pub fn temperatures(&self, predictions: &Predictions, now: Tensor<1>) -> Tensor<1> {
        let (units, examples) = (predictions.units_per_example, now.dims()[0]);
        let [rows, classes] = predictions.dims();
        let scores = self.scores(predictions.logits.clone());
        let p = softmax(scores / per_unit(now, units), 1).add_scalar(LEAST_PROBABILITY);
        let p = p.clone() / p.sum_dim(1);
        let log_classes = (classes as f64).ln();
        let divergence = (p.clone() * (p.log().add_scalar(log_classes))).sum_dim(1);
        let divergence = divergence.reshape([examples, rows / examples]).mean_dim(1);
        let fall = divergence.mul_scalar(self.lambda / (self.alpha * log_classes));
        fall.neg().add_scalar(self.lambda).reshape([examples])
    }

    /// Loss of each unit, shape `[units]`, at the examples' temperatures, which are without graph.
    pub fn unit_losses(&self, predictions: Predictions, temperatures: Tensor<1>) -> Tensor<1> {
        let [rows, classes] = predictions.dims();
        let lambda = per_unit(temperatures, predictions.units_per_example);
        let scale = self.alpha * (classes as f64).ln() / (2.0 * self.lambda);
        let apart = lambda.clone().sub_scalar(self.lambda).square();
        let cost = apart.mul_scalar(scale).reshape([rows]);
        let d = differences(
            self.scores(predictions.logits),
            predictions.labels,
            self.margin,
        );
        if d.device().is_autodiff() {
            ldr_kl(d, Tensor::from_inner(lambda)) - Tensor::from_inner(cost)
        } else {
            ldr_kl(d, lambda) - cost
        }
    }
}

/// The value of each unit's example, shape `[units, 1]`.
fn per_unit(per_example: Tensor<1>, units: usize) -> Tensor<2> {
    let examples = per_example.dims()[0];
    let column = per_example.reshape([examples, 1]);
    column
        .expand([examples, units])
        .reshape([examples * units, 1])
}

/// The loss around any optimizer.
pub struct Adaptive {
    optimizer: ModuleOptimizer,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    loss: AldrKl,
    /// By the example's index in the training split.
    temperatures: Vec<f32>,
}

impl Adaptive {
    /// `optimizer` on `loss`.
    pub fn new(
        optimizer: impl Into<ModuleOptimizer>,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        loss: AldrKl,
    ) -> Self {
        Self {
            optimizer: optimizer.into(),
            schedule: Box::new(schedule),
            options,
            loss,
            temperatures: Vec::new(),
        }
    }

    /// The temperatures by the examples' indices in the training split, up to the last one seen.
    pub fn temperatures(&self) -> &[f32] {
        &self.temperatures
    }

    /// Present temperatures of a batch, shape `[examples]`.
    fn of(&self, batch: &Batch, device: &Device) -> Tensor<1> {
        let first = self.loss.lambda as f32;
        let present = |id: Option<&usize>| id.and_then(|&id| self.temperatures.get(id));
        let values: Vec<f32> = (0..batch.len())
            .map(|i| present(batch.ids().get(i)).copied().unwrap_or(first))
            .collect();
        Tensor::from_data(TensorData::new(values, [batch.len()]), device)
    }

    /// Keeps what [`AldrKl::temperatures`] gave for a batch. Reading it waits for the device.
    fn keep(&mut self, batch: &Batch, new: Tensor<1>) -> Result<(), SubmissionError> {
        let values = new.into_data().try_to_vec::<f32>();
        let values = values.map_err(|e| SubmissionError::Other(format!("{e:?}")))?;
        if let Some(&last) = batch.ids().iter().max()
            && last >= self.temperatures.len()
        {
            self.temperatures.resize(last + 1, self.loss.lambda as f32);
        }
        for (&id, value) in batch.ids().iter().zip(values) {
            if let Some(slot) = self.temperatures.get_mut(id) {
                *slot = value;
            }
        }
        Ok(())
    }
}

impl Algorithm for Adaptive {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let loss = self.loss;
        let now = self.of(batch, &trainee.device());
        let mut new = None;
        let replaced = trainee.gradients_replaced(batch, &self.options, |predictions| {
            let temperatures = loss.temperatures(&predictions.plain(), now.clone());
            new = Some(temperatures.clone());
            Ok(loss.unit_losses(predictions, temperatures).mean())
        });
        let pass = match replaced {
            Err(SubmissionError::Model(ModelError::Unsupported(_))) => {
                trainee.gradients(batch, &self.options)?
            }
            other => other?,
        };
        if let Some(new) = new {
            self.keep(batch, new)?;
        }
        let learning_rate = self.schedule.at(context.step);
        trainee.step(&mut self.optimizer, learning_rate, pass.gradients);
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer(OPTIMIZER, &self.optimizer)?;
        let n = self.temperatures.len();
        let mut saved = Vec::new();
        if n > 0 {
            let data = TensorData::new(self.temperatures.clone(), [n]);
            saved.push(Tensor::from_data(data, &Device::flex()));
        }
        state.put_tensors(TEMPERATURES, &saved)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.optimizer = state.get_optimizer(OPTIMIZER, self.optimizer.clone())?;
        let saved = state.get_tensors(TEMPERATURES, &trainee.device())?;
        self.temperatures = match saved.into_iter().next() {
            Some(tensor) => {
                let values = tensor.into_data().try_to_vec::<f32>();
                values.map_err(|e| SubmissionError::State {
                    name: TEMPERATURES.to_string(),
                    message: format!("{e:?}"),
                })?
            }
            None => Vec::new(),
        };
        Ok(())
    }
}

/// The submission `aldr_kl`.
#[derive(Debug, Clone, Copy)]
pub struct AldrKlSubmission;

impl Submission for AldrKlSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "aldr_kl",
            summary: "AdamW on LDR-KL with a temperature for each training example",
            paper: "arXiv 2112.14869",
            reference: "the authors' loss and temperature for given scores",
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
            .fixed("alpha", 2.0)
            .fixed("margin", 0.1)
            .choice("normalise", &[0.0, 1.0], 0.0)
            .fixed("warmup_factor", 0.05)
            .choice("dropout", &[0.0, 0.1], 0.0)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "temperatures stay between lambda (1 - 1 / alpha) and lambda: the first for a \
                        certain prediction, the second for an even one",
            check: temperatures_stay_in_range,
        }]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        Ok(Box::new(Adaptive::new(
            Fused(AdamW::from_point(point)?),
            WarmupCosine::start(context)?,
            pass_options_without_smoothing(point)?,
            AldrKl::from_point(point)?,
        )))
    }
}

fn temperatures_stay_in_range() -> Result<(bool, String), SubmissionError> {
    const ROWS: usize = 40;
    const CLASSES: usize = 5;
    let device = Device::flex();
    let loss = AldrKl {
        lambda: 3.0,
        alpha: 2.0,
        margin: 0.1,
        normalise: false,
    };
    // From even scores in the first row to certain ones in the last.
    let scores: Vec<f32> = (0..ROWS * CLASSES)
        .map(|i| {
            let (row, class) = (i / CLASSES, i % CLASSES);
            (row * row * (class * 2 % CLASSES)) as f32 * 0.1
        })
        .collect();
    let scores = Tensor::<1>::from_data(TensorData::new(scores, [ROWS * CLASSES]), &device);
    let predictions = Predictions {
        logits: scores.reshape([ROWS, CLASSES]),
        labels: Tensor::zeros([ROWS], &device),
        units_per_example: 1,
        label_smoothing: 0.0,
    };
    let mut now = Tensor::full([ROWS], loss.lambda, &device);
    for _ in 0..5 {
        now = loss.temperatures(&predictions, now);
    }
    let values = now.into_data().try_to_vec::<f32>();
    let values = values.map_err(|e| SubmissionError::Other(format!("{e:?}")))?;
    let least = values.iter().fold(f32::MAX, |a, &x| a.min(x));
    let most = values.iter().fold(f32::MIN, |a, &x| a.max(x));
    // The 1e-5 keeps a prediction from full certainty.
    let holds = (1.5..1.501).contains(&least) && (2.9999..=3.0 + 1e-6).contains(&most);
    Ok((holds, format!("from {least:.5} to {most:.5}")))
}

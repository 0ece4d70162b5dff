//! Dynamic loss-based reweighting of samples: AdamW on a batch whose examples weigh by their present
//! losses.
//!
//! # Rule
//! With the losses `l` of the `n` examples of a batch, from the same forward pass as the gradient:
//! ```text
//! h = (2 l - max l - min l) / max(max l - min l, 1e-6)      (in [-1, 1])
//! s = min(h + 1, 1)    strategy 0, LinUpper: less weight on the lowest losses
//!     1 - h^2          strategy 1, Quadratic: most weight in the middle
//!     |h|              strategy 2, Extremes
//!     (h + 1) / 2      strategy 3, Upper
//! w = softmax(s / temperature)
//! loss = sum(w l)
//! ```
//! The weights are constants of the gradient. Before the burn-in is over the loss is the plain mean.
//! AdamW takes the step ([`AdamW`]). Schedule: [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `strategy` | 0 | fixed; 0 to 3 as above |
//! | `temperature` | 1 | 0.4 to 10, logarithmic |
//! | `burn_in_factor` | 0.05 | fixed; share of the step hint |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per trainable parameter, as AdamW. The weights need none.
//!
//! # Sources
//! arXiv 2502.06733 and its released trainer. Checked against the released weights of four losses.
//!
//! # What differs
//! The trainer also multiplies each term by its example's share of the tokens, which is the same for
//! all where examples are equally long.

use crate::common::{PRETRAIN, checked, fraction, pass_options, positive, with_regularisation};
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use burn::optim::ModuleOptimizer;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ParamInfo, PassOptions, Point, SearchSpace, StartContext,
    State, StepContext, Submission, SubmissionError, Trainee, Weights,
};

/// Name of the optimizer's entry in the saved state.
const OPTIMIZER: &str = "optimizer";
/// Least range of the losses that is divided by.
const LEAST_RANGE: f64 = 1e-6;

/// How a loss, scaled to `h` in `[-1, 1]` within its batch, becomes a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// `min(h + 1, 1)`.
    LinUpper,
    /// `1 - h^2`.
    Quadratic,
    /// `|h|`.
    Extremes,
    /// `(h + 1) / 2`.
    Upper,
}

impl Strategy {
    fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        let value = checked(point, "strategy", "0, 1, 2 or 3", |x| {
            [0.0, 1.0, 2.0, 3.0].contains(&x)
        })?;
        Ok(match value as u8 {
            0 => Self::LinUpper,
            1 => Self::Quadratic,
            2 => Self::Extremes,
            _ => Self::Upper,
        })
    }
}

/// Weights that add up to 1, shape `[examples]`, from losses of that shape.
pub fn weights(losses: Tensor<1>, strategy: Strategy, temperature: f64) -> Tensor<1> {
    let (least, most) = (losses.clone().min(), losses.clone().max());
    let range = (most.clone() - least.clone()).clamp_min(LEAST_RANGE);
    let h = (losses.mul_scalar(2.0) - most - least) / range;
    let scores = match strategy {
        Strategy::LinUpper => h.add_scalar(1.0).clamp_max(1.0),
        Strategy::Quadratic => h.square().neg().add_scalar(1.0),
        Strategy::Extremes => h.abs(),
        Strategy::Upper => h.add_scalar(1.0).mul_scalar(0.5),
    };
    softmax(scores.div_scalar(temperature), 0)
}

/// Reweighting around any optimizer.
pub struct Reweighting {
    optimizer: ModuleOptimizer,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    strategy: Strategy,
    temperature: f64,
    burn_in: u64,
}

impl Reweighting {
    /// `optimizer` on the plain mean for `burn_in` steps, on the weighted one from then on.
    pub fn new(
        optimizer: impl Into<ModuleOptimizer>,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        (strategy, temperature): (Strategy, f64),
        burn_in: u64,
    ) -> Self {
        Self {
            optimizer: optimizer.into(),
            schedule: Box::new(schedule),
            options,
            strategy,
            temperature,
            burn_in,
        }
    }
}

impl Algorithm for Reweighting {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let pass = if context.step < self.burn_in {
            trainee.gradients(batch, &self.options)?
        } else {
            trainee.gradients_weighted(batch, &self.options, |seen| {
                // The contract divides by the number of examples.
                let n = seen.losses.dims()[0] as f64;
                let weights = weights(seen.losses.clone(), self.strategy, self.temperature);
                Ok(Weights::Examples(weights.mul_scalar(n)))
            })?
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

/// The submission `loss_reweighting`.
#[derive(Debug, Clone, Copy)]
pub struct LossReweightingSubmission;

impl Submission for LossReweightingSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "loss_reweighting",
            summary: "AdamW on batches whose examples weigh by their present losses",
            paper: "arXiv 2502.06733",
            reference: "the authors' trainer, strategies linupper, mid, extremes and upper",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("strategy", 0.0)
            .log_uniform("temperature", 0.4, 10.0, 1.0)
            .fixed("burn_in_factor", 0.05)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "the weights do not change when the losses are shifted or scaled, and no \
                        weight exceeds the share e^(1/T) / (e^(1/T) + n - 1)",
            check: weights_are_bounded_and_invariant,
        }]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        let burn_in = fraction(point, "burn_in_factor")? * context.hints.steps as f64;
        Ok(Box::new(Reweighting::new(
            Fused(AdamW::from_point(point)?),
            WarmupCosine::start(context)?,
            pass_options(point)?,
            (
                Strategy::from_point(point)?,
                positive(point, "temperature")?,
            ),
            burn_in as u64,
        )))
    }
}

fn weights_are_bounded_and_invariant() -> Result<(bool, String), SubmissionError> {
    let read = |losses: Vec<f32>, strategy, temperature| {
        let n = losses.len();
        let losses = Tensor::from_data(TensorData::new(losses, [n]), &Device::flex());
        let weights = weights(losses, strategy, temperature);
        let values = weights.into_data().try_to_vec::<f32>();
        values.map_err(|e| SubmissionError::Other(format!("{e:?}")))
    };
    let strategies = [
        Strategy::LinUpper,
        Strategy::Quadratic,
        Strategy::Extremes,
        Strategy::Upper,
    ];
    let (mut apart, mut over) = (0.0f64, f64::NEG_INFINITY);
    for strategy in strategies {
        for temperature in [0.4, 1.0, 10.0] {
            for n in [2usize, 7, 64] {
                let losses: Vec<f32> = (0..n).map(|i| (i * 37 % 64) as f32 / 16.0).collect();
                let moved = losses.iter().map(|l| 4.0 * l + 2.0).collect();
                let weights = read(losses, strategy, temperature)?;
                let again = read(moved, strategy, temperature)?;
                let most = (1.0 / temperature).exp();
                let bound = most / (most + n as f64 - 1.0);
                for (w, v) in weights.into_iter().zip(again) {
                    apart = apart.max(f64::from((w - v).abs()));
                    over = over.max(f64::from(w) - bound);
                }
            }
        }
    }
    let found = format!("36 cases; apart by {apart:.1e}, beyond the bound by {over:.1e}");
    Ok((apart < 1e-6 && over < 1e-6, found))
}

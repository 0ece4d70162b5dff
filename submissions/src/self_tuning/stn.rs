//! Self-tuning networks: the weights learn how their optimum moves with dropout, label smoothing and
//! L2 penalty, and these descend a validation loss through that response, in one training run.
//!
//! # Rule
//! `h` holds an unconstrained number for each of the three hyperparameters; the value is
//! `high / (1 + exp(-h))`, with `high` 0.9 for dropout, 0.5 for label smoothing and 0.01 for the factor
//! `l` of the penalty `l |W(h)|^2 / 2` of kernels. Kernels (hidden matrices, the head, convolutions)
//! and the biases of their layers respond to `h` (see [`response`]):
//! ```text
//! W(h) = c W + (U h) * W'        b(h) = c b + (V h) * b'
//! ```
//! with a gate per output channel. `W`, `b` are the model's own; `c = 1`, `U` and `V` are normal with
//! deviation 0.01, and `W'`, `b'` uniform in `±1/sqrt(fan_in)` at the start.
//!
//! A fixed share of the training examples, chosen by their indices, is held back. Every batch is split:
//! - training step, on the others: `h~ = h + s e` with `e` normal; the batch is cut into `draws` parts
//!   with an `h~` each; the mean loss at `W(h~)`, regularised with the values of `h~`, steps
//!   `W, b, W', b', U, V, c` and all other parameters by AdamW without weight decay.
//! - validation step, after each `train_steps` training steps from `settle_factor` of the step hint on:
//!   the loss of the held-back examples at `W(h~)` as in an evaluation, less `entropy` times
//!   `sum(log(s sqrt(2 pi e)))`; steps `h` and `log(exp(s) - 1)` by Adam.
//!
//! Evaluations are at `W(h)`. `h` stays once the learning rate has come to zero, since weights would no
//! longer answer. Schedule of the weights: [`WarmupCosine`](crate::schedules::WarmupCosine).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `hyper_learning_rate` | 1e-2 | 3e-3 to 0.1, logarithmic; of `h` and the scales, constant |
//! | `perturbation` | 0.5 | 0.25 to 1, logarithmic; `s` at the start |
//! | `learn_scale` | 1 | 0, 1; whether `s` is tuned |
//! | `entropy` | 1e-3 | 1e-5 to 1e-2, logarithmic |
//! | `draws` | 2 | 1, 2, 4; as far as each has 8 examples |
//! | `train_steps` | 2 | fixed |
//! | `settle_factor` | 0.05 | fixed |
//! | `held_share` | 0.2 | fixed |
//! | `dropout` | 0.05 | fixed; the start, 0 leaves it at 0 |
//! | `label_smoothing` | 0.05 | fixed; the start, 0 leaves it at 0 |
//! | `l2` | 1e-4 | fixed; the start of `l`, 0 leaves it at 0 |
//!
//! # State
//! 8 bytes per parameter (AdamW's averages); for each entry of a kernel or of its bias 12 more (`W'` and
//! averages), for each of its outputs 12 per tuned hyperparameter (`U` and averages); 12 per such layer (`c`).
//!
//! # Sources
//! MacKay, Vicol, Lorraine, Duvenaud and Grosse, arXiv 1903.03088, and the authors' code
//! (asteroidhouse/self-tuning-networks). Checked against finite differences, the closed form of ridge
//! regression's response, and a bilevel problem of known optimum.
//!
//! # What differs
//! - As in the code, not the paper: the factor `c`, and gates that see `h` itself, not its distance
//!   from a centre.
//! - A pass has one set of weights and one dropout rate: `h~` is drawn per part of a batch, not per
//!   example; normalisation sees the statistics of a part.
//! - Three hyperparameters for the whole model; the sources tune up to 15 (a dropout rate per layer,
//!   augmentations, activation penalties), which the contract does not reach. Label smoothing and the L2
//!   penalty come instead; a model without dropout or class labels gives theirs no meaning.
//! - Embeddings and normalisation layers do not respond.
//! - AdamW under a cosine in place of SGD with steps; no weights decay but through the tuned penalty.
//! - Examples are held back by a hash of their indices. A validation step uses those of its own batch,
//!   which are fewer than a training step's.
//! - Defaults of the rates suit short runs (the sources: 3e-3 for `h`) and are untuned.

pub mod response;
mod submission;
pub mod tuned;

pub use submission::StnSubmission;

use crate::flat;
use crate::fused::{Fused, Now};
use crate::optimizers::adamw::AdamW;
use crate::schedules::Schedule;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use response::{Responses, add};
use tuned::{Knob, Tuned, Tuning};
use velodrome_harness::contract::{
    Algorithm, Batch, Gradients, PassOptions, State, StepContext, SubmissionError, Trainee,
};
use velodrome_harness::seed;

/// Names of the entries in the saved state.
const OPTIMIZER: &str = "optimizer";
const RESPONSES: &str = "responses";
const HYPERPARAMETERS: &str = "hyperparameters";
const TRAINED: &str = "training_steps";
/// Fewest examples that a draw is worth.
const PART: usize = 8;

/// What does not change over a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Steps everything but the hyperparameters.
    pub rule: AdamW,
    /// How the hyperparameters are stepped.
    pub tuning: Tuning,
    /// Share of the examples that is held back.
    pub held_share: f64,
    /// Draws of hyperparameters per training step, at least 1.
    pub draws: usize,
    /// Training steps per validation step, at least 1.
    pub train_steps: u64,
    /// Steps before the hyperparameters move.
    pub settle: u64,
    /// Chooses the examples that are held back and draws the responses.
    pub seed: u64,
}

/// A parameter that responds, in one pass.
struct Responding {
    index: usize,
    /// Its effective value, and the gradient there.
    value: Tensor<1>,
    gradient: Tensor<1>,
}

/// Self-tuning networks.
pub struct SelfTuning {
    plan: Plan,
    optimizer: ModuleOptimizer,
    schedule: Box<dyn Schedule>,
    responses: Responses,
    tuned: Tuned,
    /// Training steps taken.
    trained: usize,
    /// The parameters' own values during an evaluation.
    own: Option<Vec<Tensor<1>>>,
}

impl SelfTuning {
    /// Lets the kernels of `trainee` respond to `knobs`.
    pub fn new(
        trainee: &Trainee,
        knobs: Vec<Knob>,
        plan: Plan,
        schedule: impl Schedule + 'static,
    ) -> Self {
        let seed = seed::derive(plan.seed, &["responses"]);
        let params = trainee.params();
        Self {
            optimizer: Fused(plan.rule).into(),
            schedule: Box::new(schedule),
            responses: Responses::new(&params, knobs.len(), seed, &trainee.device()),
            tuned: Tuned::new(knobs, plan.tuning),
            trained: 0,
            own: None,
            plan,
        }
    }

    /// The hyperparameters.
    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    /// The responses.
    pub fn responses_mut(&mut self) -> &mut Responses {
        &mut self.responses
    }

    /// The values of the parameters at unconstrained hyperparameters `h`, by parameter.
    pub fn values_at(&self, trainee: &Trainee, h: &[f64]) -> Vec<Tensor<1>> {
        let own = trainee.values();
        let values = self.responses.values(&own, &tensor(h, trainee));
        own.into_iter()
            .zip(values)
            .map(|(own, value)| value.unwrap_or(own))
            .collect()
    }

    /// One pass at the effective weights: gradients of what does not respond, and what does.
    fn pass(
        &self,
        trainee: &mut Trainee,
        batch: &Batch,
        options: &PassOptions,
        own: &[Tensor<1>],
        h: &Tensor<1>,
    ) -> Result<(Gradients, Vec<Responding>), SubmissionError> {
        // The effective weights are leaves of the graph, so that it is no larger than the model's.
        let mut places = vec![None; own.len()];
        let mut values = Vec::new();
        for (index, value) in self.responses.values(own, h).into_iter().enumerate() {
            if let Some(value) = value {
                places[index] = Some(values.len());
                values.push(value);
            }
        }
        let through = trainee.gradients_through(batch, options, &values, |info, own, values| {
            let place = places.get(info.index).copied().flatten();
            place.and_then(|p| values.get(p).cloned()).unwrap_or(own)
        })?;
        let indices = (0..places.len()).filter(|i| places[*i].is_some());
        let responding = indices.zip(values).zip(through.auxiliary);
        let responding = responding.map(|((index, value), gradient)| Responding {
            index,
            value,
            gradient,
        });
        Ok((through.pass.gradients, responding.collect()))
    }

    /// A training step: the hyperparameters stay.
    pub fn train(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        step: u64,
        rng: &mut impl Rng,
    ) -> Result<(), SubmissionError> {
        let (params, own) = (trainee.params(), trainee.values());
        let draws = self.plan.draws.min(batch.len() / PART).max(1);
        let mut behind = self.responses.nothing();
        let mut others: Vec<Option<Tensor<1>>> = vec![None; params.len()];
        let mut last = None;
        for draw in 0..draws {
            let positions: Vec<usize> = (draw..batch.len()).step_by(draws).collect();
            let share = positions.len() as f64 / batch.len() as f64;
            let part = batch.pick(&positions, &trainee.device());
            let at = self.tuned.draw(rng).at;
            let with = self.tuned.regularisation(&at);
            let h = tensor(&at, trainee);
            let (gradients, responding) = self.pass(trainee, &part, &with.options, &own, &h)?;
            for r in responding {
                let l2 = if self.responses.is_kernel(r.index) {
                    with.l2
                } else {
                    0.0
                };
                let g = (r.gradient + r.value.mul_scalar(l2)).mul_scalar(share);
                let w = &own[r.index];
                self.responses.chain(&mut behind, r.index, w, &g, &h);
            }
            for info in params.iter() {
                if let Some(g) = gradients.get(info) {
                    add(&mut others[info.index], g.mul_scalar(share));
                }
            }
            last = Some(gradients);
        }
        let Some(mut gradients) = last else {
            return Ok(());
        };
        for info in params.iter() {
            let found = behind.own[info.index].take();
            if let Some(g) = found.or_else(|| others[info.index].take()) {
                gradients.set(info, g);
            }
        }
        let lr = self.schedule.at(step);
        trainee.step(&mut self.optimizer, lr, gradients);
        self.trained += 1;
        let time = self.trained;
        self.responses
            .step(&self.plan.rule, Now { lr, time }, behind);
        Ok(())
    }

    /// A validation step: the weights stay.
    pub fn tune(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        rng: &mut impl Rng,
    ) -> Result<(), SubmissionError> {
        let draw = self.tuned.draw(rng);
        let h = tensor(&draw.at, trainee);
        let options = PassOptions {
            as_in_evaluation: true,
            update_norm: false,
            ..PassOptions::default()
        };
        let own = trainee.values();
        let (_, responding) = self.pass(trainee, batch, &options, &own, &h)?;
        let gradients = responding.into_iter().map(|r| (r.index, r.gradient));
        if let Some(at_h) = self.responses.at_hyperparameters(gradients) {
            self.tuned.step(&numbers(at_h), &draw);
        }
        Ok(())
    }
}

/// Numbers as a tensor without graph.
fn tensor(h: &[f64], trainee: &Trainee) -> Tensor<1> {
    let entries: Vec<f32> = h.iter().map(|x| *x as f32).collect();
    Tensor::from_data(TensorData::new(entries, [h.len()]), &trainee.device())
}

fn numbers(x: Tensor<1>) -> Vec<f64> {
    let data = x.into_data().convert::<f32>();
    data.iter::<f32>().map(f64::from).collect()
}

impl Algorithm for SelfTuning {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let seed = seed::derive(self.plan.seed, &["held"]);
        let held = |id: usize| seed::unit(seed, id as u64) < self.plan.held_share;
        let (held, rest) = batch.partition(held, &trainee.device());
        let mut rng = context.rng();
        if !rest.is_empty() {
            self.train(trainee, &rest, context.step, &mut rng)?;
        }
        let since = (context.step + 1).saturating_sub(self.plan.settle);
        let due = since > 0 && since.is_multiple_of(self.plan.train_steps.max(1));
        if due && !held.is_empty() && self.schedule.at(context.step) > 0.0 {
            self.tune(trainee, &held, &mut rng)?;
        }
        Ok(())
    }

    fn prepare_for_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        let values = self.values_at(trainee, self.tuned.center());
        self.own = Some(trainee.values());
        trainee.set_values(&values)
    }

    fn after_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        match self.own.take() {
            Some(own) => trainee.set_values(&own),
            None => Ok(()),
        }
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer(OPTIMIZER, &self.optimizer)?;
        state.put(HYPERPARAMETERS, self.tuned.position())?;
        state.put(TRAINED, &self.trained)?;
        flat::save(state, RESPONSES, self.responses.tensors())
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.optimizer = state.get_optimizer(OPTIMIZER, self.optimizer.clone())?;
        self.trained = state.get(TRAINED)?;
        if !self.tuned.resume(state.get(HYPERPARAMETERS)?) {
            return Err(SubmissionError::State {
                name: HYPERPARAMETERS.into(),
                message: "holds another number of hyperparameters".into(),
            });
        }
        let tensors = self.responses.tensors_mut();
        flat::load(state, RESPONSES, &trainee.device(), tensors)
    }
}

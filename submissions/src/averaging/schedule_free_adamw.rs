//! Schedule-free AdamW: averaging and interpolation in place of a decaying learning rate.
//!
//! # Rule
//! Three points: `z` takes the steps, `x` averages the `z` and is what is evaluated, and the
//! gradient `g` is taken at `y = beta1 x + (1 - beta1) z`. All start at the initial weights. At
//! step `k` from 0, with `W` warm-up steps:
//! ```text
//! lr_k  = lr min(1, (k + 1) / W)
//! w     = (k + 1)^r max(lr_0 .. lr_k)^q,   c = w / (sum of all w so far)
//! v     = beta2 v + (1 - beta2) g^2
//! d     = lr_k (g / (sqrt(v / (1 - beta2^(k+1))) + epsilon) + wd y)
//! z     = z - d
//! x     = (1 - c) x + c z
//! ```
//! The model holds `y`, the state `z` and `v`. `x` is not stored, `x = (y - (1 - beta1) z) / beta1`,
//! and the last two lines become `y = (1 - c) y + c z_old - (1 - beta1 (1 - c)) d`, without a
//! division.
//!
//! Before an evaluation `x` goes into the model; a copy of `y` is kept (shared, not duplicated, as
//! long as nothing changes it) and put back as it was, bit for bit.
//!
//! # Batch norm
//! Running statistics are kept at `x` by [`NormRefresh`]: one more forward pass after every third
//! step, on the clock, for models that have such statistics.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1e-2 | 5e-4 to 5e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `average_power` | 0 | fixed; `r`, more weight on later steps when above 0 |
//! | `average_lr_power` | 2 | fixed; `q`, less weight on warm-up steps |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are AdamW's, with the rate moved up: the authors advise 1 to 10 times the rate of a
//! scheduled Adam. The step hint enters through the warm-up alone.
//!
//! # State
//! 8 bytes per parameter: `z` and `v` in 32 bits.
//!
//! # Sources
//! Defazio et al., arXiv 2405.15682. Checked against `AdamWScheduleFree` of `schedulefree` 1.4.1.
//!
//! # What differs
//! The package's class, followed here, corrects the bias of `v` in the denominator. The code of the
//! paper's experiments scales `lr_k` by `sqrt(1 - beta2^(k+1))` instead, and the winning AlgoPerf
//! submission also has `r = 0.75` and decays at `x`; their trajectories are not these.

use super::held::{Held, NormRefresh};
use crate::common::{
    PRETRAIN, fraction, non_negative, pass_options, positive, warmup_steps, with_regularisation,
};
use crate::optimizers::parts::{bias_correction, ema};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use velodrome_harness::contract::{
    Algorithm, Batch, Description, ParamInfo, PassOptions, Point, SearchSpace, StartContext, State,
    StepContext, Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeAdamW {
    /// Learning rate behind the warm-up.
    pub learning_rate: f64,
    /// Share of `x` in `y`, above 0 and below 1.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of that average.
    pub epsilon: f64,
    /// Weight decay at `y`; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// `r`: power of the step number in the weights of the average.
    pub average_power: f64,
    /// `q`: power of the largest learning rate so far in the weights of the average.
    pub average_lr_power: f64,
}

/// The scalars that one step shares between parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StepScalars {
    learning_rate: f64,
    /// `1 - beta2^(k+1)`.
    correction: f64,
    /// `c`.
    share: f64,
}

/// What the rule remembers beside its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Progress {
    steps: usize,
    largest_rate: f64,
    weight_sum: f64,
}

impl ScheduleFreeAdamW {
    /// From the hyperparameters of the search space; `warmup` in steps.
    pub fn from_point(point: &Point, warmup: u64) -> Result<Self, SubmissionError> {
        // x is recovered by a division by beta1.
        positive(point, "beta1")?;
        Ok(Self {
            learning_rate: positive(point, "learning_rate")?,
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            warmup,
            average_power: non_negative(point, "average_power")?,
            average_lr_power: non_negative(point, "average_lr_power")?,
        })
    }

    fn advance(&self, progress: &mut Progress) -> StepScalars {
        progress.steps += 1;
        let number = progress.steps as f64;
        let warm = if self.warmup == 0 {
            1.0
        } else {
            (number / self.warmup as f64).min(1.0)
        };
        let learning_rate = self.learning_rate * warm;
        progress.largest_rate = progress.largest_rate.max(learning_rate);
        let weight =
            number.powf(self.average_power) * progress.largest_rate.powf(self.average_lr_power);
        progress.weight_sum += weight;
        StepScalars {
            learning_rate,
            correction: bias_correction(self.beta2, progress.steps),
            share: weight / progress.weight_sum,
        }
    }

    /// One parameter's step: the new `y`. Updates `slot`.
    fn step(&self, at: StepScalars, y: Tensor<1>, g: Tensor<1>, slot: &mut Slot) -> Tensor<1> {
        let v = ema(Some(slot.v.clone()), g.clone().square(), self.beta2);
        let root = v.clone().div_scalar(at.correction).sqrt();
        let mut d = g / root.add_scalar(self.epsilon);
        if self.weight_decay != 0.0 {
            d = d + y.clone().mul_scalar(self.weight_decay);
        }
        let d = d.mul_scalar(at.learning_rate);
        let z = slot.z.clone();
        *slot = Slot {
            z: z.clone() - d.clone(),
            v,
        };
        y.mul_scalar(1.0 - at.share) + z.mul_scalar(at.share)
            - d.mul_scalar(1.0 - self.beta1 * (1.0 - at.share))
    }

    /// The evaluation point of one parameter.
    fn average(&self, y: Tensor<1>, z: Tensor<1>) -> Tensor<1> {
        (y - z.mul_scalar(1.0 - self.beta1)).div_scalar(self.beta1)
    }
}

/// State of one trainable parameter, flat.
#[derive(Debug, Clone)]
struct Slot {
    z: Tensor<1>,
    v: Tensor<1>,
}

/// [`ScheduleFreeAdamW`] at work in one trial.
pub struct ScheduleFree {
    rule: ScheduleFreeAdamW,
    options: PassOptions,
    progress: Progress,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<Slot>>,
    norm: NormRefresh,
    held: Held,
}

impl ScheduleFree {
    /// Starts at the trainee's present weights.
    pub fn new(rule: ScheduleFreeAdamW, options: PassOptions, trainee: &Trainee) -> Self {
        let params = trainee.params();
        let slots = params
            .iter()
            .zip(trainee.values())
            .map(|(info, z)| {
                let v = z.zeros_like();
                info.trainable.then_some(Slot { z, v })
            })
            .collect();
        Self {
            rule,
            options,
            progress: Progress::default(),
            slots,
            norm: NormRefresh::new(trainee),
            held: Held::default(),
        }
    }

    /// `x` of one parameter that has `y`; `y` itself where it is frozen.
    fn evaluated(&self, info: &ParamInfo, y: Tensor<1>) -> Tensor<1> {
        match self.slots.get(info.index) {
            Some(Some(slot)) => self.rule.average(y, slot.z.clone()),
            _ => y,
        }
    }

    fn tensors(&self, pick: impl Fn(&Slot) -> &Tensor<1>) -> Vec<Tensor<1>> {
        let slots = self.slots.iter().flatten();
        slots.map(|slot| pick(slot).clone()).collect()
    }
}

impl Algorithm for ScheduleFree {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        _context: &StepContext,
    ) -> Result<(), SubmissionError> {
        self.held.refuse("a step")?;
        self.options.update_norm = self.norm.in_training(self.progress.steps as u64);
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        let at = self.rule.advance(&mut self.progress);
        let (rule, slots) = (self.rule, &mut self.slots);
        trainee.map(
            |info, y| match (slots.get_mut(info.index), gradients.get(info)) {
                (Some(Some(slot)), Some(g)) => rule.step(at, y, g, slot),
                _ => y,
            },
        );
        let steps = self.progress.steps as u64;
        let x = |info: &ParamInfo, y| self.evaluated(info, y);
        self.norm.after_step(steps, trainee, batch, x)
    }

    fn prepare_for_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        let mut held = std::mem::take(&mut self.held);
        held.put(trainee, |info, y| self.evaluated(info, y));
        self.held = held;
        Ok(())
    }

    fn after_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        self.held.put_back(trainee)
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        self.held.refuse("the state")?;
        state.put("progress", &self.progress)?;
        state.put_tensors("z", &self.tensors(|slot| &slot.z))?;
        state.put_tensors("v", &self.tensors(|slot| &slot.v))
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.progress = state.get("progress")?;
        let device = trainee.device();
        let zs = state.get_tensors("z", &device)?;
        let vs = state.get_tensors("v", &device)?;
        let count = self.slots.iter().flatten().count();
        let mut fits = zs.len() == count && vs.len() == count;
        let saved = zs.into_iter().zip(vs);
        for (slot, (z, v)) in self.slots.iter_mut().flatten().zip(saved) {
            fits &= z.dims() == slot.z.dims() && v.dims() == slot.v.dims();
            *slot = Slot { z, v };
        }
        if fits {
            Ok(())
        } else {
            Err(SubmissionError::State {
                name: "z, v".into(),
                message: "belongs to a model with other trainable parameters".into(),
            })
        }
    }
}

/// The submission `schedule_free_adamw`.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFreeAdamWSubmission;

impl Submission for ScheduleFreeAdamWSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "schedule_free_adamw",
            summary: "AdamW with online averaging in place of a decaying rate; evaluates the average",
            paper: "arXiv 2405.15682",
            reference: "schedulefree 1.4.1 AdamWScheduleFree",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 5e-4, 5e-2, 1e-2)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05)
            .fixed("average_power", 0.0)
            .fixed("average_lr_power", 2.0);
        with_regularisation(space)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = ScheduleFreeAdamW::from_point(&context.point, warmup_steps(context)?)?;
        let options = pass_options(&context.point)?;
        Ok(Box::new(ScheduleFree::new(rule, options, trainee)))
    }
}

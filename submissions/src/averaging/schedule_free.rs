//! What the schedule-free AdamW submissions share: one rule in three forms, and the algorithm that
//! trains at `y` and is evaluated at `x`.

use super::held::{Held, NormRefresh};
use crate::common::{fraction, non_negative, optional, positive};
use crate::flat;
use crate::fused::{self, Now, Number, Rule};
use crate::optimizers::parts::bias_correction;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use velodrome_harness::contract::{
    Algorithm, Batch, Direction, ParamInfo, PassOptions, Point, State, StepContext,
    SubmissionError, Trainee,
};

/// The forms of the rule that were published. With `v` corrected for its bias, `epsilon` is added to
/// a root of another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The package's: corrects the bias of `v` in the denominator, decays at `y`.
    Package,
    /// The paper's experiments: multiplies the rate by `sqrt(1 - beta2^(k+1))` instead, in the
    /// weights of the average as well, and decays at `y`.
    Paper,
    /// AlgoPerf's winner: multiplies the step alone by that, and decays at `x`.
    AlgoPerf,
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeAdamW {
    /// Which form.
    pub form: Form,
    /// Learning rate behind the warm-up.
    pub learning_rate: f64,
    /// Share of `x` in `y`, above 0 and below 1.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of that average.
    pub epsilon: f64,
    /// Weight decay; multiplied by the step size.
    pub weight_decay: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// `r`: power of the step number in the weights of the average.
    pub average_power: f64,
    /// `q`: power of the largest learning rate so far in the weights of the average.
    pub average_lr_power: f64,
}

/// What the rule remembers beside its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Progress {
    steps: usize,
    largest_rate: f64,
    weight_sum: f64,
}

/// One step of the rule: the same for all parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    rule: ScheduleFreeAdamW,
    /// Length of the step.
    rate: f64,
    /// What `v` is divided by.
    correction: f64,
    /// `c`.
    share: f64,
}

impl ScheduleFreeAdamW {
    /// From the hyperparameters of the search spaces; `warmup` in steps.
    pub fn from_point(point: &Point, form: Form, warmup: u64) -> Result<Self, SubmissionError> {
        // x is recovered by a division by beta1.
        positive(point, "beta1")?;
        Ok(Self {
            form,
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

    /// By the names of the reference classes: `warmup_steps` (0 where missing), `r` (0, AlgoPerf's
    /// 0.75) and `weight_lr_power` (2).
    pub fn reference(point: &Point, form: Form) -> Result<Self, SubmissionError> {
        let or = |name, default| {
            Ok::<_, SubmissionError>(optional(point, name, non_negative)?.unwrap_or(default))
        };
        let power = if form == Form::AlgoPerf { 0.75 } else { 0.0 };
        let mut point = point.clone();
        let warmup = or("warmup_steps", 0.0)? as u64;
        let powers = [
            ("average_power", "r", power),
            ("average_lr_power", "weight_lr_power", 2.0),
        ];
        for (ours, theirs, default) in powers {
            let value = or(theirs, default)?;
            point.0.entry(ours.into()).or_insert(value);
        }
        Self::from_point(&point, form, warmup)
    }

    /// The next step, `scale` times the rate.
    fn advance(&self, progress: &mut Progress, scale: f64) -> Step {
        progress.steps += 1;
        let number = progress.steps as f64;
        let warm = if self.warmup == 0 {
            1.0
        } else {
            (number / self.warmup as f64).min(1.0)
        };
        let correction = bias_correction(self.beta2, progress.steps);
        let warm = scale * self.learning_rate * warm;
        let (rate, weighed, correction) = match self.form {
            Form::Package => (warm, warm, correction),
            Form::Paper => (warm * correction.sqrt(), warm * correction.sqrt(), 1.0),
            Form::AlgoPerf => (warm * correction.sqrt(), warm, 1.0),
        };
        progress.largest_rate = progress.largest_rate.max(weighed);
        let weight =
            number.powf(self.average_power) * progress.largest_rate.powf(self.average_lr_power);
        progress.weight_sum += weight;
        let share = if progress.weight_sum > 0.0 {
            weight / progress.weight_sum
        } else {
            0.0
        };
        Step {
            rule: *self,
            rate,
            correction,
            share,
        }
    }
}

/// `x` from `y` and `z`, flat.
pub(super) fn average(y: Tensor<1>, z: Tensor<1>, beta1: f64) -> Tensor<1> {
    (y - z.mul_scalar(1.0 - beta1)).div_scalar(beta1)
}

/// State: `z` and `v`. The entry is that of `y`.
impl Rule<2> for Step {
    fn rule<N: Number>(&self, _now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let Self {
            rule, share, rate, ..
        } = *self;
        let correction = self.correction.recip();
        let (keep, own) = (1.0 - share, rate * (1.0 - rule.beta1 * (1.0 - share)));
        let decay = rule.weight_decay;
        move |y, g, [z, v]| {
            let v = v.ema(g.clone().square(), rule.beta2);
            let mut d = g / ((v.clone() * correction).sqrt() + rule.epsilon);
            if decay != 0.0 {
                d = d + match rule.form {
                    Form::AlgoPerf => {
                        (y.clone() - z.clone() * (1.0 - rule.beta1)) * rule.beta1.recip()
                    }
                    Form::Package | Form::Paper => y.clone(),
                } * decay;
            }
            let new = y * keep + z.clone() * share - d.clone() * own;
            (new, [z - d * rate, v])
        }
    }
}

/// State of one trainable parameter, flat: `z` and `v`.
type Slot = [Tensor<1>; 2];

/// Starts again, at half the rate, once training has diverged: AlgoPerf's guard.
///
/// After a tenth of the step hint it looks at each new evaluation, from the fourth on. Training has
/// diverged when the metric is less than 0.01 better than at the first evaluation, and none of the
/// latest three evaluations improved it by 0.01.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Steps before it begins to look.
    after: f64,
    /// The initial weights, by parameter; `None` for frozen ones.
    start: Vec<Option<Tensor<1>>>,
    seen: GuardSeen,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct GuardSeen {
    evaluations: usize,
    restarts: u32,
}

impl Guard {
    /// For a run of `steps` steps that starts at the trainee's present weights.
    pub fn new(steps: u64, trainee: &Trainee) -> Self {
        let params = trainee.params();
        let values = params.iter().zip(trainee.values());
        Self {
            after: 0.1 * steps as f64,
            start: values
                .map(|(info, p)| info.trainable.then_some(p))
                .collect(),
            seen: GuardSeen::default(),
        }
    }

    /// Whether these evaluations, oldest first, show that training has diverged.
    pub fn diverged(evaluations: &[f64], direction: Direction) -> bool {
        const MARGIN: f64 = 0.01;
        let gain = |from: f64, to: f64| match direction {
            Direction::Minimize => from - to,
            Direction::Maximize => to - from,
        };
        let ([first, ..], [.., a, b, c, d]) = (evaluations, evaluations) else {
            return false;
        };
        [(first, d), (c, d), (b, c), (a, b)]
            .into_iter()
            .all(|(from, to)| gain(*from, *to) < MARGIN)
    }

    /// Whether to start again before this step.
    fn fires(&mut self, context: &StepContext) -> bool {
        let count = context.evaluations.len();
        if context.step as f64 <= self.after || count <= self.seen.evaluations {
            return false;
        }
        self.seen.evaluations = count;
        let fires = Self::diverged(&context.evaluations, context.direction);
        self.seen.restarts += u32::from(fires);
        fires
    }
}

/// [`ScheduleFreeAdamW`] at work in one trial.
pub struct ScheduleFree {
    rule: ScheduleFreeAdamW,
    options: PassOptions,
    progress: Progress,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<Slot>>,
    /// `None` where the training passes alone update running statistics.
    norm: Option<NormRefresh>,
    guard: Option<Guard>,
    held: Held,
}

impl ScheduleFree {
    /// Starts at the trainee's present weights, with running statistics kept at `x` and without a
    /// guard.
    pub fn new(rule: ScheduleFreeAdamW, options: PassOptions, trainee: &Trainee) -> Self {
        let params = trainee.params();
        let slots = params
            .iter()
            .zip(trainee.values())
            .map(|(info, z)| {
                let v = z.zeros_like();
                info.trainable.then_some([z, v])
            })
            .collect();
        Self {
            rule,
            options,
            progress: Progress::default(),
            slots,
            norm: Some(NormRefresh::new(trainee)),
            guard: None,
            held: Held::default(),
        }
    }

    /// Leaves running statistics to the training passes, at `y`.
    pub fn with_training_statistics(mut self) -> Self {
        self.norm = None;
        self
    }

    /// Adds a guard.
    pub fn with_guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// `x` of one parameter that has `y`; `y` itself where it is frozen.
    fn evaluated(&self, info: &ParamInfo, y: Tensor<1>) -> Tensor<1> {
        match self.slots.get(info.index) {
            Some(Some([z, _])) => average(y, z.clone(), self.rule.beta1),
            _ => y,
        }
    }

    /// Back to the initial weights, with nothing remembered.
    fn restart(&mut self, trainee: &mut Trainee) {
        let Some(guard) = &self.guard else {
            return;
        };
        for (slot, start) in self.slots.iter_mut().zip(&guard.start) {
            if let (Some([z, v]), Some(start)) = (slot, start) {
                *z = start.clone();
                *v = v.zeros_like();
            }
        }
        self.progress = Progress::default();
        trainee.map(|info, y| match guard.start.get(info.index) {
            Some(Some(start)) => start.clone(),
            _ => y,
        });
    }

    fn parts(&self, part: usize) -> impl Iterator<Item = &Tensor<1>> {
        self.slots
            .iter()
            .flatten()
            .filter_map(move |slot| slot.get(part))
    }

    fn parts_mut(&mut self, part: usize) -> impl Iterator<Item = &mut Tensor<1>> {
        let slots = self.slots.iter_mut().flatten();
        slots.filter_map(move |slot| slot.get_mut(part))
    }
}

impl Algorithm for ScheduleFree {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        self.held.refuse("a step")?;
        if self.guard.as_mut().is_some_and(|g| g.fires(context)) {
            self.restart(trainee);
        }
        let steps = self.progress.steps as u64;
        self.options.update_norm = self.norm.is_none_or(|norm| norm.in_training(steps));
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        let restarts = self.guard.as_ref().map_or(0, |g| g.seen.restarts);
        let halved = 0.5f64.powi(restarts as i32);
        let step = self.rule.advance(&mut self.progress, halved);
        let now = Now {
            lr: step.rate,
            time: self.progress.steps,
        };
        let slots = &mut self.slots;
        trainee.map(|info, y| {
            let slot = slots.get_mut(info.index);
            let (Some(slot), Some(g)) = (slot, gradients.get(info)) else {
                return y;
            };
            // Taken out, so that the pass can work in place.
            let Some(state) = slot.take() else {
                return y;
            };
            let (y, state) = fused::step(&step, now, y, g, state);
            *slot = Some(state);
            y
        });
        match self.norm {
            Some(norm) => {
                let x = |info: &ParamInfo, y| self.evaluated(info, y);
                norm.after_step(self.progress.steps as u64, trainee, batch, x)
            }
            None => Ok(()),
        }
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
        flat::save(state, "z", self.parts(0))?;
        flat::save(state, "v", self.parts(1))?;
        if let Some(guard) = &self.guard {
            state.put("guard", &guard.seen)?;
            flat::save(state, "start", guard.start.iter().flatten())?;
        }
        Ok(())
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let device = trainee.device();
        self.progress = state.get("progress")?;
        flat::load(state, "z", &device, self.parts_mut(0))?;
        flat::load(state, "v", &device, self.parts_mut(1))?;
        if let Some(guard) = &mut self.guard {
            guard.seen = state.get("guard")?;
            flat::load(state, "start", &device, guard.start.iter_mut().flatten())?;
        }
        Ok(())
    }
}

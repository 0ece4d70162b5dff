//! The rule of the paper, as packages have it: one second moment per tensor.
//!
//! With gradient `g`, step `t` from 1, parameter `p`, numbers `v` and `b` and momentum `m` from zero,
//! and `eta` = `sqrt(2 / fan_in)` for matrices, `sqrt(1 / channels_in)` for higher ranks, else 0.5:
//! ```text
//! v = beta v + (1 - beta) mean(g^2)
//! h = (v + epsilon) / (1 - beta^t)
//! a = lr^2 mean(g^2) / h / sqrt(1 + c sqrt(lr) b)
//! u = ((a - extra_l2) p / 2 + lr eta g / sqrt(h)) / (1 + d sqrt(lr eta) b)
//! b = b + a (1 + b)
//! m = momentum m + (1 - momentum) u                (u itself where momentum is 0)
//! p = p - m
//! ```
//! Sources: Tian and Parikh, arXiv 2210.11693. Checked against `Amos` of `pytorch_optimizer` 4.1.0.
//! It serves comparisons with that class; the submission races in the form of [`super::Amos`].

use crate::common::{fraction, non_negative, optional, positive};
use crate::flat;
use crate::optimizers::parts::{bias_correction, ema};
use crate::schedules::Schedule;
use burn::tensor::Tensor;
use velodrome_harness::contract::{
    Algorithm, Batch, ParamInfo, PassOptions, Point, State, StepContext, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaperAmos {
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta: f64,
    /// Share of the momentum in the step, in `[0, 1)`.
    pub momentum: f64,
    /// Strength of the extra regularisation.
    pub extra_l2: f64,
    /// How fast weight decay fades.
    pub c: f64,
    /// How fast the step size fades.
    pub d: f64,
    /// Added to the average of squared gradients.
    pub epsilon: f64,
}

impl PaperAmos {
    /// From `beta`, and `momentum`, `extra_l2`, `c`, `d` and `epsilon` where the point has them.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        let or = |name, default| {
            Ok::<_, SubmissionError>(optional(point, name, non_negative)?.unwrap_or(default))
        };
        Ok(Self {
            beta: fraction(point, "beta")?,
            momentum: optional(point, "momentum", fraction)?.unwrap_or(0.0),
            extra_l2: or("extra_l2", 0.0)?,
            c: or("c", 0.25)?,
            d: or("d", 0.25)?,
            epsilon: optional(point, "epsilon", positive)?.unwrap_or(1e-18),
        })
    }
}

/// Expected scale of a parameter's entries. The package reads the second axis of PyTorch's layout,
/// where a matrix is `[fan_out, fan_in]`.
fn eta(info: &ParamInfo) -> f64 {
    let second = || info.shape.get(1).copied().unwrap_or(1);
    let fan_in = info
        .fan_in_axis
        .and_then(|axis| info.shape.get(axis).copied());
    match info.shape.len() {
        0 | 1 => 0.5,
        2 => (2.0 / fan_in.unwrap_or_else(second) as f64).sqrt(),
        _ => (1.0 / second() as f64).sqrt(),
    }
}

/// State of one parameter: numbers of shape `[1]`.
struct Slot {
    eta: f64,
    v: Tensor<1>,
    b: Tensor<1>,
    /// Flat; `None` without momentum.
    m: Option<Tensor<1>>,
}

/// [`PaperAmos`] over a trainee.
pub struct PaperAmosRace {
    rule: PaperAmos,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    steps: usize,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<Slot>>,
}

impl PaperAmosRace {
    /// Starts at the trainee's present weights.
    pub fn new(
        rule: PaperAmos,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        trainee: &Trainee,
    ) -> Self {
        let params = trainee.params();
        let slots = params.iter().zip(trainee.values()).map(|(info, p)| {
            info.trainable.then(|| Slot {
                eta: eta(info),
                v: Tensor::zeros([1], &p.device()),
                b: Tensor::zeros([1], &p.device()),
                m: (rule.momentum > 0.0).then(|| p.zeros_like()),
            })
        });
        Self {
            rule,
            schedule: Box::new(schedule),
            options,
            steps: 0,
            slots: slots.collect(),
        }
    }

    fn step(
        rule: PaperAmos,
        lr: f64,
        time: usize,
        slot: &mut Slot,
        p: Tensor<1>,
        g: Tensor<1>,
    ) -> Tensor<1> {
        let square = g.clone().square().mean();
        slot.v = ema(Some(slot.v.clone()), square.clone(), rule.beta);
        let h = slot.v.clone().add_scalar(rule.epsilon);
        let h = h.div_scalar(bias_correction(rule.beta, time));
        let fade = slot
            .b
            .clone()
            .mul_scalar(rule.c * lr.sqrt())
            .add_scalar(1.0);
        let a = (square / h.clone() / fade.sqrt()).mul_scalar(lr * lr);
        let slower = slot.b.clone().mul_scalar(rule.d * (lr * slot.eta).sqrt());
        let pull = p.clone() * a.clone().sub_scalar(rule.extra_l2).mul_scalar(0.5);
        let push = g * h.sqrt().recip().mul_scalar(lr * slot.eta);
        let update = (pull + push) / slower.add_scalar(1.0);
        slot.b = slot.b.clone() + a.clone() * slot.b.clone().add_scalar(1.0);
        slot.m = slot
            .m
            .take()
            .map(|m| ema(Some(m), update.clone(), rule.momentum));
        p - slot.m.clone().unwrap_or(update)
    }
}

impl Algorithm for PaperAmosRace {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        self.steps += 1;
        let (rule, steps, lr) = (self.rule, self.steps, self.schedule.at(context.step));
        let slots = &mut self.slots;
        trainee.map(
            |info, p| match (slots.get_mut(info.index), gradients.get(info)) {
                (Some(Some(slot)), Some(g)) => Self::step(rule, lr, steps, slot, p, g),
                _ => p,
            },
        );
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        let slots = || self.slots.iter().flatten();
        state.put("paper_amos", &self.steps)?;
        flat::save(state, "v", slots().map(|s| &s.v))?;
        flat::save(state, "b", slots().map(|s| &s.b))?;
        flat::save(state, "m", slots().filter_map(|s| s.m.as_ref()))
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let device = trainee.device();
        self.steps = state.get("paper_amos")?;
        let slots = &mut self.slots;
        flat::load(
            state,
            "v",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.v),
        )?;
        flat::load(
            state,
            "b",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.b),
        )?;
        let ms = slots.iter_mut().flatten().filter_map(|s| s.m.as_mut());
        flat::load(state, "m", &device, ms)
    }
}

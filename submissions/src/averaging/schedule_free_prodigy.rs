//! Schedule-free Prodigy: no schedule, no learning rate.
//!
//! # Rule
//! Prodigy's estimate `d` of the distance ([`crate::optimizers::prodigy`]) sets the steps of `z` in
//! a schedule-free run ([`super::schedule_free_adamw`]). With `y = beta1 x + (1 - beta1) z`,
//! gradients `g` at `y`, initial weights `p0`, step `k` from 0, `W` warm-up steps,
//! `a = d lr min(1, (k + 1) / W)`, `b3 = sqrt(beta2)`, and `v`, `s`, `num` from zero:
//! ```text
//! num = b3 num + d a <g, p0 - z>
//! s   = b3 s + d a g
//! v   = beta2 v + (1 - beta2) d^2 g^2
//! d'  = max(d, d_coef num / |s|_1)
//! z   = z - a wd x - d' a g / (sqrt(v) + d' epsilon)
//! w   = (k + 1)^r,   c = w / (sum of all w so far)
//! x   = (1 - c) x + c z
//! d   = d'
//! ```
//! `<.,.>` and `|.|_1` sum over all parameters. The model holds `y`, and `x = (y - (1 - beta1) z) /
//! beta1` is evaluated. While all gradients are zero nothing moves.
//!
//! # Batch norm
//! Running statistics are kept at `x` by [`NormRefresh`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1 | fixed; a factor on `d` |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.9955 | complement 1e-3 to 2e-2, logarithmic |
//! | `epsilon` | 1e-8 | fixed; multiplied by `d'` |
//! | `weight_decay` | 0.1 | 0.3, 0.1, 0.03, 0.01, 0.003 |
//! | `d0` | 1e-6 | fixed; where `d` starts |
//! | `d_coef` | 1 | fixed |
//! | `average_power` | 0.75 | fixed; `r` |
//! | `warmup_factor` | 0.075 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Values and the list of decays are the AlgoPerf entry's, whose smoothing was always 0.2.
//!
//! # State
//! 16 bytes per parameter: `z`, `v`, `s` and `p0` in 32 bits.
//!
//! # Sources
//! Mishchenko and Defazio, arXiv 2306.06101; Defazio et al., arXiv 2405.15682. Checked against the
//! class of AlgoPerf v0.5's external-tuning submission, with its 16-bit state widened.
//!
//! # What differs
//! The submission computed each gradient twice, and threw the first one away: its clock paid for
//! two passes. It kept `v`, `s` and `p0` in 16 bits, and running statistics at `y`.

use super::held::{Held, NormRefresh};
use super::schedule_free::average;
use crate::common::{
    PRETRAIN, fraction, non_negative, optional, pass_options, positive, warmup_steps,
    with_regularisation,
};
use crate::flat;
use crate::optimizers::parts::ema;
use crate::optimizers::prodigy::{Distance, Sums};
use burn::tensor::Tensor;
use velodrome_harness::contract::{
    Algorithm, Batch, Description, ParamInfo, PassOptions, Point, SearchSpace, StartContext, State,
    StepContext, Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeProdigy {
    /// Factor on `d` behind the warm-up.
    pub learning_rate: f64,
    /// Share of `x` in `y`, above 0 and below 1.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Times `d`, added to the root of that average.
    pub epsilon: f64,
    /// Weight decay at `x`; multiplied by the step size.
    pub weight_decay: f64,
    /// Where `d` starts.
    pub d0: f64,
    /// Factor on the estimates of `d`.
    pub d_coef: f64,
    /// `r`: power of the step number in the weights of the average.
    pub average_power: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
}

impl ScheduleFreeProdigy {
    /// From the hyperparameters of the search space; `warmup` in steps. `average_power` may be
    /// called `r`, as in the reference; it and `d_coef` may be missing.
    pub fn from_point(point: &Point, warmup: u64) -> Result<Self, SubmissionError> {
        // x is recovered by a division by beta1.
        positive(point, "beta1")?;
        let power = match optional(point, "average_power", non_negative)? {
            Some(power) => power,
            None => optional(point, "r", non_negative)?.unwrap_or(0.75),
        };
        Ok(Self {
            learning_rate: positive(point, "learning_rate")?,
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            d0: positive(point, "d0")?,
            d_coef: optional(point, "d_coef", positive)?.unwrap_or(1.0),
            average_power: power,
            warmup,
        })
    }
}

/// State of one trainable parameter, flat.
#[derive(Debug, Clone)]
struct Slot {
    z: Tensor<1>,
    v: Tensor<1>,
    s: Tensor<1>,
    p0: Tensor<1>,
}

/// [`ScheduleFreeProdigy`] at work in one trial.
pub struct ScheduleFreeProdigyRace {
    rule: ScheduleFreeProdigy,
    options: PassOptions,
    distance: Distance,
    weight_sum: f64,
    /// Training steps, those on which nothing moved included: the warm-up counts them.
    passes: u64,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<Slot>>,
    norm: NormRefresh,
    held: Held,
}

impl ScheduleFreeProdigyRace {
    /// Starts at the trainee's present weights.
    pub fn new(rule: ScheduleFreeProdigy, options: PassOptions, trainee: &Trainee) -> Self {
        let params = trainee.params();
        let slots = params.iter().zip(trainee.values()).map(|(info, p)| {
            info.trainable.then(|| Slot {
                v: p.zeros_like(),
                s: p.zeros_like(),
                z: p.clone(),
                p0: p,
            })
        });
        Self {
            rule,
            options,
            distance: Distance::start(rule.d0),
            weight_sum: 0.0,
            passes: 0,
            slots: slots.collect(),
            norm: NormRefresh::new(trainee),
            held: Held::default(),
        }
    }

    /// The estimate so far.
    pub fn distance(&self) -> Distance {
        self.distance
    }

    /// `x` of one parameter that has `y`; `y` itself where it is frozen.
    fn evaluated(&self, info: &ParamInfo, y: Tensor<1>) -> Tensor<1> {
        match self.slots.get(info.index) {
            Some(Some(slot)) => average(y, slot.z.clone(), self.rule.beta1),
            _ => y,
        }
    }

    /// One step on these gradients, by parameter.
    fn step(
        &mut self,
        trainee: &mut Trainee,
        gradients: &[Option<Tensor<1>>],
    ) -> Result<(), SubmissionError> {
        let (rule, at) = (self.rule, self.distance);
        let d = at.d;
        let warm = self.passes as f64 / rule.warmup.max(1) as f64;
        let a = d * rule.learning_rate * warm.min(1.0);
        let b3 = rule.beta2.sqrt();
        let mut sums = Sums::default();
        for (slot, g) in self.slots.iter_mut().zip(gradients) {
            let (Some(slot), Some(g)) = (slot, g) else {
                continue;
            };
            slot.s = slot.s.clone().mul_scalar(b3) + g.clone().mul_scalar(d * a);
            let way = slot.p0.clone() - slot.z.clone();
            sums.add((way * g.clone()).sum(), slot.s.clone().abs().sum());
            let square = g.clone().mul_scalar(d).square();
            slot.v = ema(Some(slot.v.clone()), square, rule.beta2);
        }
        let (product, length) = sums.read()?;
        if length == 0.0 {
            return Ok(());
        }
        let numerator = b3 * at.numerator + d * a * product;
        let estimate = rule.d_coef * numerator / length;
        let new = d.max(estimate);
        self.distance = Distance {
            steps: at.steps + 1,
            d: new,
            largest: new,
            numerator,
        };
        let weight = (self.distance.steps as f64).powf(rule.average_power);
        self.weight_sum += weight;
        let c = weight / self.weight_sum;

        let slots = &mut self.slots;
        trainee.map(|info, y| {
            let slot = slots.get_mut(info.index).and_then(Option::as_mut);
            let (Some(slot), Some(Some(g))) = (slot, gradients.get(info.index)) else {
                return y;
            };
            let x = average(y, slot.z.clone(), rule.beta1);
            let root = slot.v.clone().sqrt().add_scalar(new * rule.epsilon);
            let z = slot.z.clone() - x.clone().mul_scalar(a * rule.weight_decay);
            slot.z = z - g.clone().mul_scalar(new * a) / root;
            let x = x.mul_scalar(1.0 - c) + slot.z.clone().mul_scalar(c);
            x.mul_scalar(rule.beta1) + slot.z.clone().mul_scalar(1.0 - rule.beta1)
        });
        Ok(())
    }
}

impl Algorithm for ScheduleFreeProdigyRace {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        _context: &StepContext,
    ) -> Result<(), SubmissionError> {
        self.held.refuse("a step")?;
        self.options.update_norm = self.norm.in_training(self.passes);
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        let params = gradients.params();
        let gradients: Vec<_> = params.iter().map(|p| gradients.get(p)).collect();
        self.passes += 1;
        self.step(trainee, &gradients)?;
        let x = |info: &ParamInfo, y| self.evaluated(info, y);
        self.norm.after_step(self.passes, trainee, batch, x)
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
        let slots = || self.slots.iter().flatten();
        state.put("distance", &self.distance)?;
        state.put("average", &(self.weight_sum, self.passes))?;
        flat::save(state, "z", slots().map(|s| &s.z))?;
        flat::save(state, "v", slots().map(|s| &s.v))?;
        flat::save(state, "s", slots().map(|s| &s.s))?;
        flat::save(state, "p0", slots().map(|s| &s.p0))
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let device = trainee.device();
        self.distance = state.get("distance")?;
        (self.weight_sum, self.passes) = state.get("average")?;
        let slots = &mut self.slots;
        flat::load(
            state,
            "z",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.z),
        )?;
        flat::load(
            state,
            "v",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.v),
        )?;
        flat::load(
            state,
            "s",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.s),
        )?;
        flat::load(
            state,
            "p0",
            &device,
            slots.iter_mut().flatten().map(|s| &mut s.p0),
        )
    }
}

/// The submission `schedule_free_prodigy`.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFreeProdigySubmission;

impl Submission for ScheduleFreeProdigySubmission {
    fn describe(&self) -> Description {
        Description {
            name: "schedule_free_prodigy",
            summary: "Prodigy's step size in a schedule-free run; evaluates the average",
            paper: "arXiv 2306.06101",
            reference: "AlgoPerf v0.5 external tuning, schedule_free_prodigy",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .fixed("learning_rate", 1.0)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .one_minus_log_uniform("beta2", 1e-3, 2e-2, 0.9955)
            .fixed("epsilon", 1e-8)
            .choice("weight_decay", &[0.3, 0.1, 0.03, 0.01, 0.003], 0.1)
            .fixed("d0", 1e-6)
            .fixed("d_coef", 1.0)
            .fixed("average_power", 0.75)
            .fixed("warmup_factor", 0.075);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(flat::bytes_per_entry(params, 4))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        non_negative(&context.point, "average_power")?;
        let rule = ScheduleFreeProdigy::from_point(&context.point, warmup_steps(context)?)?;
        let options = pass_options(&context.point)?;
        Ok(Box::new(ScheduleFreeProdigyRace::new(
            rule, options, trainee,
        )))
    }
}

//! Prodigy: Adam that finds its own step size from how far the weights have come.
//!
//! # Rule
//! All parameters share the estimate `d` of the distance to a solution. With gradients `g`, initial
//! weights `p0`, rate `lr` of the schedule, step `t` from 1, averages `m`, `v`, `s` and sum `num`
//! from zero, `b3 = sqrt(beta2)` and `a = d lr` (times `sqrt(1 - beta2^t) / (1 - beta1^t)` where
//! `use_bias_correction` is 1):
//! ```text
//! num = b3 num + (d / d0) a <g, p0 - p>
//! s   = b3 s + (d / d0) a g               (d instead of a with safeguard_warmup)
//! m   = beta1 m + (1 - beta1) d g
//! v   = beta2 v + (1 - beta2) d^2 g^2
//! e   = d_coef num / |s|_1
//! d'  = max(d, every e so far)            (before the first rise: max(d, e))
//! p   = (1 - a wd) p - a m / (sqrt(v) + d' epsilon)
//! d   = d'
//! ```
//! `<.,.>` and `|.|_1` sum over all parameters, so a step reads two numbers back before it moves
//! anything. With `beta1 = 0`, `d' g` takes the place of `m`, which is then not stored. With
//! `slice_p = k` the two sums run over every k-th entry of each parameter alone, which saves
//! memory; `p` depends on it through `d` only. A step at rate 0 changes nothing at all.
//!
//! All parameters alike. Schedule: cosine decay of `lr` from 1 ([`crate::schedules::WarmupCosine`]);
//! without a decay the weights do not settle.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1 | fixed; a factor on `d` |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.999 | complement 1e-3 to 5e-2, logarithmic |
//! | `epsilon` | 1e-8 | fixed; multiplied by `d'` |
//! | `weight_decay` | 0.01 | 1e-3 to 0.3, logarithmic |
//! | `d0` | 1e-6 | fixed; where `d` starts |
//! | `d_coef` | 1 | 0.5 to 2, logarithmic |
//! | `use_bias_correction` | 0 | fixed; 0 or 1 |
//! | `safeguard_warmup` | 0 | fixed; 0 or 1 |
//! | `slice_p` | 1 | fixed; whole number |
//! | `warmup_factor` | 0 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Points may also have `growth_rate` (`d` may grow by this factor per step; unbounded without it),
//! `beta3` (in place of `sqrt(beta2)`) and `decouple` (0 adds `wd p` to the gradient instead). The
//! defaults are the authors', apart from the decay (theirs is 0, and they advise 0.01).
//!
//! # State
//! 16 bytes per parameter: `m`, `v`, `s` and `p0` in 32 bits; 4 less with `beta1 = 0`. `s` and `p0`
//! shrink by `slice_p`.
//!
//! # Sources
//! Mishchenko and Defazio, arXiv 2306.06101. Checked against `Prodigy` of `prodigyopt` 1.1.2.
//!
//! # What differs
//! The authors store one zero in place of the `p0` of a tensor that starts at zero; here it is
//! stored in full, with the same result. Their rule is per group of parameters; here is one group.
//! In 32 bits the first steps of size 1e-6 are rounded on weights above 1, so that `d` rises a few
//! steps later there than in 64 bits.

use crate::common::{
    PRETRAIN, fraction, non_negative, optional, pass_options, positive, switch, whole,
    with_regularisation,
};
use crate::flat;
use crate::optimizers::parts::{bias_correction, decay, ema};
use crate::schedules::{Schedule, WarmupCosine};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ParamInfo, PassOptions, Point, SearchSpace, StartContext,
    State, StepContext, Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prodigy {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decay rate of what `d` is estimated from, in `[0, 1]`.
    pub beta3: f64,
    /// Times `d`, added to the root of the average of squares.
    pub epsilon: f64,
    /// Weight decay; multiplied by the step size.
    pub weight_decay: f64,
    /// Whether the decay acts on the weights; else on the gradient.
    pub decoupled: bool,
    /// Where `d` starts.
    pub d0: f64,
    /// Factor on the estimates of `d`.
    pub d_coef: f64,
    /// Largest growth of `d` in one step, as a factor; may be infinite.
    pub growth_rate: f64,
    /// Whether the step size corrects Adam's bias.
    pub bias_correction: bool,
    /// Whether the rate of the schedule is kept out of the denominator of the estimate.
    pub safeguard_warmup: bool,
    /// The estimate is computed from every such entry.
    pub slice: usize,
}

impl Prodigy {
    /// From the hyperparameters of the search space, and of those that the manual names beside it.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        let beta2 = fraction(point, "beta2")?;
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2,
            beta3: optional(point, "beta3", fraction)?.unwrap_or(beta2.sqrt()),
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            decoupled: optional(point, "decouple", switch)?.unwrap_or(true),
            d0: positive(point, "d0")?,
            d_coef: optional(point, "d_coef", positive)?.unwrap_or(1.0),
            growth_rate: optional(point, "growth_rate", positive)?.unwrap_or(f64::INFINITY),
            bias_correction: optional(point, "use_bias_correction", switch)?.unwrap_or(false),
            safeguard_warmup: optional(point, "safeguard_warmup", switch)?.unwrap_or(false),
            slice: optional(point, "slice_p", whole)?.unwrap_or(1),
        })
    }

    /// Every `slice`-th entry.
    fn sliced(&self, tensor: Tensor<1>) -> Tensor<1> {
        every(tensor, self.slice)
    }
}

/// Every `slice`-th entry of a flat tensor, the first included.
pub fn every(tensor: Tensor<1>, slice: usize) -> Tensor<1> {
    let n = tensor.dims()[0];
    if slice <= 1 || n == 0 {
        return tensor;
    }
    // Padded to whole rows, whose first column is what is asked for.
    let rows = n.div_ceil(slice);
    let missing = rows * slice - n;
    let full = if missing == 0 {
        tensor
    } else {
        let padding = Tensor::zeros([missing], &tensor.device());
        Tensor::cat(vec![tensor, padding], 0)
    };
    full.reshape([rows, slice]).narrow(1, 0, 1).reshape([rows])
}

/// The estimate of the distance, shared by all parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Steps taken.
    pub steps: usize,
    /// `d`.
    pub d: f64,
    /// The largest estimate so far.
    pub largest: f64,
    /// `num`.
    pub numerator: f64,
}

impl Distance {
    /// The estimate before the first step.
    pub fn start(d0: f64) -> Self {
        Self {
            steps: 0,
            d: d0,
            largest: d0,
            numerator: 0.0,
        }
    }
}

/// Sums over all parameters, on the device: products with the gradient, and lengths of `s`.
#[derive(Debug, Default)]
pub struct Sums {
    parts: Vec<Tensor<1>>,
}

impl Sums {
    /// Adds a parameter's: shapes `[1]`.
    pub fn add(&mut self, product: Tensor<1>, length: Tensor<1>) {
        self.parts.push(Tensor::cat(vec![product, length], 0));
    }

    /// Both sums, added in 64 bits. Waits for the device.
    pub fn read(self) -> Result<(f64, f64), SubmissionError> {
        if self.parts.is_empty() {
            return Ok((0.0, 0.0));
        }
        let data = Tensor::cat(self.parts, 0).into_data();
        let values = data
            .as_slice::<f32>()
            .map_err(|e| SubmissionError::Other(format!("prodigy: {e:?}")))?;
        let sum = |skip| {
            values
                .iter()
                .skip(skip)
                .step_by(2)
                .map(|&x| f64::from(x))
                .sum()
        };
        Ok((sum(0), sum(1)))
    }
}

/// State of one trainable parameter, flat.
#[derive(Debug, Clone)]
struct Slot {
    /// `None` where `beta1` is 0.
    m: Option<Tensor<1>>,
    v: Tensor<1>,
    s: Tensor<1>,
    p0: Tensor<1>,
}

/// [`Prodigy`] with its state, over any list of flat tensors.
#[derive(Debug, Clone)]
pub struct ProdigyState {
    rule: Prodigy,
    distance: Distance,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<Slot>>,
}

impl ProdigyState {
    /// Starts at `values`; `None` for a parameter that does not train.
    pub fn new(rule: Prodigy, values: impl IntoIterator<Item = Option<Tensor<1>>>) -> Self {
        let slot = |p: Tensor<1>| Slot {
            m: (rule.beta1 > 0.0).then(|| p.zeros_like()),
            v: p.zeros_like(),
            s: rule.sliced(p.zeros_like()),
            p0: rule.sliced(p),
        };
        Self {
            rule,
            distance: Distance::start(rule.d0),
            slots: values.into_iter().map(|p| p.map(slot)).collect(),
        }
    }

    /// The estimate so far.
    pub fn distance(&self) -> Distance {
        self.distance
    }

    /// One step at the rate of the schedule: changes `values`. `gradients` has `None` where there is
    /// no gradient.
    pub fn step(
        &mut self,
        rate: f64,
        values: &mut [Tensor<1>],
        gradients: &[Option<Tensor<1>>],
    ) -> Result<(), SubmissionError> {
        if rate <= 0.0 {
            return Ok(());
        }
        let (rule, at) = (self.rule, self.distance);
        let bias = if rule.bias_correction {
            bias_correction(rule.beta2, at.steps + 1).sqrt()
                / bias_correction(rule.beta1, at.steps + 1)
        } else {
            1.0
        };
        let d = at.d;
        let a = d * rate * bias;
        let s_rate = d / rule.d0 * if rule.safeguard_warmup { d } else { a };
        let coupled = if rule.decoupled {
            0.0
        } else {
            rule.weight_decay
        };
        let gradient = |p: &Tensor<1>, g: &Tensor<1>| match coupled {
            0.0 => g.clone(),
            decay => g.clone() + p.clone().mul_scalar(decay),
        };

        let mut sums = Sums::default();
        for ((slot, p), g) in self.slots.iter_mut().zip(values.iter()).zip(gradients) {
            let (Some(slot), Some(g)) = (slot, g) else {
                continue;
            };
            let g = gradient(p, g);
            let some = rule.sliced(g.clone());
            let way = slot.p0.clone() - rule.sliced(p.clone());
            slot.s = slot.s.clone().mul_scalar(rule.beta3) + some.clone().mul_scalar(s_rate);
            sums.add((way * some).sum(), slot.s.clone().abs().sum());
            slot.v = ema(
                Some(slot.v.clone()),
                g.clone().mul_scalar(d).square(),
                rule.beta2,
            );
            slot.m = slot
                .m
                .take()
                .map(|m| ema(Some(m), g.mul_scalar(d), rule.beta1));
        }
        let (product, length) = sums.read()?;
        if length == 0.0 {
            return Ok(());
        }
        let numerator = rule.beta3 * at.numerator + d / rule.d0 * a * product;
        let estimate = rule.d_coef * numerator / length;
        let base = if d == rule.d0 { d.max(estimate) } else { d };
        let largest = at.largest.max(estimate);
        let new = largest.min(base * rule.growth_rate);
        self.distance = Distance {
            steps: at.steps + 1,
            d: new,
            largest,
            numerator,
        };

        for ((slot, p), g) in self.slots.iter().zip(values.iter_mut()).zip(gradients) {
            let (Some(slot), Some(g)) = (slot, g) else {
                continue;
            };
            let step = match &slot.m {
                Some(m) => m.clone(),
                None => gradient(p, g).mul_scalar(new),
            } / slot.v.clone().sqrt().add_scalar(new * rule.epsilon);
            let kept = if rule.decoupled {
                decay(p.clone(), a, rule.weight_decay)
            } else {
                p.clone()
            };
            *p = kept - step.mul_scalar(a);
        }
        Ok(())
    }

    /// Saves the state.
    pub fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        let slots = || self.slots.iter().flatten();
        state.put("distance", &self.distance)?;
        flat::save(state, "m", slots().filter_map(|s| s.m.as_ref()))?;
        flat::save(state, "v", slots().map(|s| &s.v))?;
        flat::save(state, "s", slots().map(|s| &s.s))?;
        flat::save(state, "p0", slots().map(|s| &s.p0))
    }

    /// Restores what [`Self::save`] stored.
    pub fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let device = trainee.device();
        self.distance = state.get("distance")?;
        let slots = &mut self.slots;
        let ms = slots.iter_mut().flatten().filter_map(|s| s.m.as_mut());
        flat::load(state, "m", &device, ms)?;
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

/// [`Prodigy`] at work in one trial.
pub struct ProdigyRace {
    state: ProdigyState,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
}

impl ProdigyRace {
    /// Starts at the trainee's present weights.
    pub fn new(
        rule: Prodigy,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        trainee: &Trainee,
    ) -> Self {
        let params = trainee.params();
        let values = params.iter().zip(trainee.values());
        let trained = values.map(|(info, p)| info.trainable.then_some(p));
        Self {
            state: ProdigyState::new(rule, trained),
            schedule: Box::new(schedule),
            options,
        }
    }

    /// The estimate so far.
    pub fn distance(&self) -> Distance {
        self.state.distance()
    }
}

impl Algorithm for ProdigyRace {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        let gradients: Vec<_> = gradients
            .params()
            .iter()
            .map(|p| gradients.get(p))
            .collect();
        let mut values = trainee.values();
        let rate = self.schedule.at(context.step);
        self.state.step(rate, &mut values, &gradients)?;
        trainee.set_values(&values)
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        self.state.save(state)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.state.load(state, trainee)
    }
}

/// The submission `prodigy`.
#[derive(Debug, Clone, Copy)]
pub struct ProdigySubmission;

impl Submission for ProdigySubmission {
    fn describe(&self) -> Description {
        Description {
            name: "prodigy",
            summary: "Adam whose step size is estimated from the distance travelled, cosine decay",
            paper: "arXiv 2306.06101",
            reference: "prodigyopt 1.1.2 Prodigy",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .fixed("learning_rate", 1.0)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .one_minus_log_uniform("beta2", 1e-3, 5e-2, 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 1e-3, 0.3, 0.01)
            .fixed("d0", 1e-6)
            .log_uniform("d_coef", 0.5, 2.0, 1.0)
            .fixed("use_bias_correction", 0.0)
            .fixed("safeguard_warmup", 0.0)
            .fixed("slice_p", 1.0)
            .fixed("warmup_factor", 0.0);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = Prodigy::from_point(point).ok()?;
        let full = if rule.beta1 > 0.0 { 2 } else { 1 };
        let trainable = params.iter().filter(|p| p.trainable);
        let entries = trainable.map(|p| full * p.len() + 2 * p.len().div_ceil(rule.slice));
        Some(4 * entries.sum::<usize>() as u64)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![
            Claim {
                statement: "On |x| from x = 10, d rises from 1e-6 to 6.52 within 50 steps, and never falls.",
                check: d_finds_the_distance,
            },
            Claim {
                statement: "Gradients 1024 times as large give the same trajectory.",
                check: scale_does_not_matter,
            },
        ]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = Prodigy::from_point(&context.point)?;
        let schedule = WarmupCosine::start(context)?;
        let options = pass_options(&context.point)?;
        Ok(Box::new(ProdigyRace::new(rule, schedule, options, trainee)))
    }
}

/// `d` and `x` after each of `steps` steps on `scale |x|` from 10 at the authors' defaults.
fn absolute_value(scale: f64, steps: usize) -> Result<Vec<(f64, f64)>, SubmissionError> {
    let rule = Prodigy {
        beta1: 0.9,
        beta2: 0.999,
        beta3: 0.999f64.sqrt(),
        epsilon: 1e-8,
        weight_decay: 0.0,
        decoupled: true,
        d0: 1e-6,
        d_coef: 1.0,
        growth_rate: f64::INFINITY,
        bias_correction: false,
        safeguard_warmup: false,
        slice: 1,
    };
    let mut x = [Tensor::<1>::from_floats([10.0], &Device::flex())];
    let mut state = ProdigyState::new(rule, [Some(x[0].clone())]);
    let mut path = Vec::new();
    for _ in 0..steps {
        let g = x[0].clone().sign().mul_scalar(scale);
        state.step(1.0, &mut x, &[Some(g)])?;
        let at = f64::from(x[0].clone().into_scalar::<f32>());
        path.push((state.distance().d, at));
    }
    Ok(path)
}

fn d_finds_the_distance() -> Result<(bool, String), SubmissionError> {
    let path = absolute_value(1.0, 60)?;
    let rises = path.is_sorted_by(|a, b| a.0 <= b.0);
    let at = |n: usize| path.get(n - 1).map_or(f64::NAN, |p| p.0);
    let found = (at(50) / 6.5223631 - 1.0).abs() < 1e-2;
    let found = rises && found && at(1) == 1e-6;
    let note = format!("d: {:.4} at step 10, {:.4} at step 50", at(10), at(50));
    Ok((found, note))
}

fn scale_does_not_matter() -> Result<(bool, String), SubmissionError> {
    let (small, large) = (absolute_value(1.0, 60)?, absolute_value(1024.0, 60)?);
    let apart = small.iter().zip(&large).map(|(a, b)| (a.1 - b.1).abs());
    let worst = apart.fold(0.0, f64::max);
    Ok((worst < 1e-2, format!("at most {worst:.1e} apart")))
}

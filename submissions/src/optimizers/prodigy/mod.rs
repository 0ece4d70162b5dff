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

mod state;

pub use state::{Distance, ProdigyState, Sums, every};

use crate::common::{
    PRETRAIN, fraction, non_negative, optional, pass_options, positive, switch, whole,
    with_regularisation,
};
use crate::schedules::{Schedule, WarmupCosine};
use burn::tensor::{Device, Tensor};
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

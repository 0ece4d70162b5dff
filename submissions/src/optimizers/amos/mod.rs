//! Amos: Adam whose step size and weight decay follow from the scale that each parameter should have
//! in the end.
//!
//! # Rule
//! Each parameter has an expected scale `eta` of its entries and a reduced shape: a matrix of an
//! embedding has one group per row, every other parameter is one group. `k` is the size of a group,
//! `mean` runs over a group, and `b` (one number per group) says how far the decay of the step size
//! has come. With gradients `g` clipped to a global norm of 1, step `t` from 1, parameter `p`,
//! averages `m`, `v` and number `b` from zero, `u = v (1 - beta2) / (1 - beta2^(t-1))`:
//! ```text
//! g   = g / sqrt(max(1, (1 - beta2) g^2 / u))          (where u > 0)
//! m   = beta1 m + (1 - beta1) g
//! v   = beta2 v + g^2,   h = v (1 - beta2) / (1 - beta2^t)
//! q   = (1 + beta1) / (1 - beta1) mean(m^2) / mean(h)
//! s   = sqrt(1 + b)
//! a   = xi^2 / max(q, s)
//! lp  = 1 + l2 ((1 + tau / 2)^2 - 1)^2
//! lq  = 1 + l2 b^2
//! f   = (2 s / (1 + sqrt(1 + 2 s / (2 + tau))))^2 - 1
//! lr  = (1 + l2 b f) / (1 + l2 lq / lp)
//! p   = p - (a (lp / lq q + l2) p / 2 + eta xi m / sqrt(h)) / (1 + eta s lr f)
//! b   = b + a (q / sqrt(k) + b)
//! ```
//! Here `tau = Q ln(sqrt(k) (1 + Q)^2)` with `Q = sqrt(1 - 1 / sqrt(k))`. The rate `xi` rises
//! linearly over the warm-up to `sqrt(2 (tau(K) + sqrt(2) - 1) / (converge (T - 2 W / 3)))`, for the
//! largest group size `K`, the step hint `T` and `W` warm-up steps, and stays there: the decay of
//! the step size is in the rule.
//!
//! `eta`: `sqrt(2 / fan_in)` for linear maps, `sqrt(1 / fan_in)` for convolutions (kernel size
//! included), 1 for embeddings, positions and scales of norms, 0.5 for biases and shifts; other
//! tensors count as linear maps from their first axis, or as biases.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `beta1` | 0.95 | 0.9, 0.95 |
//! | `beta2` | 0.999 | 0.98, 0.995, 0.999 |
//! | `converge` | 0.65 | 0.5 to 1, uniform; share of the step hint until convergence |
//! | `l2` | 0.0028 | 1e-3 to 1.2e-2, logarithmic |
//! | `warmup_factor` | 0.02 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! There is no learning rate. Ranges and defaults cover AlgoPerf's list of five points.
//!
//! # State
//! 8 bytes per parameter, `m` and `v` in 32 bits, and 4 bytes per group for `b`.
//!
//! # Sources
//! Tian and Parikh, arXiv 2210.11693, in the form of AlgoPerf's external-tuning submission with
//! style `adam`, run as the reference.
//!
//! # What differs
//! The paper's own rule, which packages have, keeps one second moment per tensor and no momentum by
//! default: [`paper`] computes it. The AlgoPerf submission also has one group per attention head for
//! queries, keys and values, with `eta = sqrt(1 / fan_in)`; a submission cannot tell them from other
//! linear maps here.

pub mod paper;
mod rule;

pub use rule::{Amos, AmosParam, AmosState, base_rate, tau};

use crate::common::{
    PRETRAIN, fraction, non_negative, pass_options, positive, warmup_steps, with_regularisation,
};
use crate::flat;
use crate::schedules::Schedule;
use rule::WarmUp;
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ParamInfo, PassOptions, Point, SearchSpace, StartContext,
    State, StepContext, Submission, SubmissionError, Trainee,
};

/// Largest global norm of the gradients.
const CLIP_NORM: f64 = 1.0;

impl Amos {
    /// From `beta1`, `beta2` and `l2`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            l2: non_negative(point, "l2")?,
        })
    }
}

/// [`Amos`] at work in one trial.
pub struct AmosRace {
    rule: Amos,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    clip_norm: Option<f64>,
    steps: usize,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<(AmosParam, AmosState)>>,
}

impl AmosRace {
    /// Starts at the trainee's present weights. `schedule` gives `xi` of a step.
    pub fn new(
        rule: Amos,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        clip_norm: Option<f64>,
        trainee: &Trainee,
    ) -> Self {
        let params = trainee.params();
        let slots = params.iter().zip(trainee.values()).map(|(info, p)| {
            info.trainable.then(|| {
                let param = AmosParam::of(info);
                let state = AmosState::start(&param, p);
                (param, state)
            })
        });
        Self {
            rule,
            schedule: Box::new(schedule),
            options,
            clip_norm,
            steps: 0,
            slots: slots.collect(),
        }
    }
}

impl Algorithm for AmosRace {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let mut gradients = trainee.gradients(batch, &self.options)?.gradients;
        if let Some(norm) = self.clip_norm {
            gradients.clip_global_norm(norm);
        }
        self.steps += 1;
        let (rule, steps, xi) = (self.rule, self.steps, self.schedule.at(context.step));
        let slots = &mut self.slots;
        trainee.map(|info, p| {
            let slot = slots.get_mut(info.index);
            match (slot, gradients.get(info)) {
                (Some(Some((param, state))), Some(g)) => rule.step(xi, steps, param, p, g, state),
                _ => p,
            }
        });
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        let slots = || self.slots.iter().flatten().map(|(_, state)| state);
        state.put("amos", &self.steps)?;
        flat::save(state, "m", slots().map(|s| &s.m))?;
        flat::save(state, "v", slots().map(|s| &s.v))?;
        flat::save(state, "b", slots().map(|s| &s.b))
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let device = trainee.device();
        self.steps = state.get("amos")?;
        macro_rules! load {
            ($name:literal, $field:ident) => {
                let slots = self.slots.iter_mut().flatten();
                flat::load(state, $name, &device, slots.map(|(_, s)| &mut s.$field))?;
            };
        }
        load!("m", m);
        load!("v", v);
        load!("b", b);
        Ok(())
    }
}

/// The submission `amos`.
#[derive(Debug, Clone, Copy)]
pub struct AmosSubmission;

impl Submission for AmosSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "amos",
            summary: "Adam with step sizes and weight decay from the expected scale of each parameter",
            paper: "arXiv 2210.11693",
            reference: "AlgoPerf v0.5 external tuning, amos (style adam)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .choice("beta1", &[0.9, 0.95], 0.95)
            .choice("beta2", &[0.98, 0.995, 0.999], 0.999)
            .uniform("converge", 0.5, 1.0, 0.65)
            .log_uniform("l2", 1e-3, 1.2e-2, 0.0028)
            .fixed("warmup_factor", 0.02);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        let trainable = params.iter().filter(|p| p.trainable);
        let groups = trainable.map(|p| 4 * AmosParam::of(p).groups as u64);
        Some(flat::bytes_per_entry(params, 2) + groups.sum::<u64>())
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "Weights that start far too large or too small reach 0.4 to 2.5 times their expected scale on gradients of pure noise.",
            check: rule::scales_are_reached,
        }]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = Amos::from_point(&context.point)?;
        let warmup = warmup_steps(context)?;
        let converge = positive(&context.point, "converge")?;
        let length = (context.hints.steps as f64 - warmup as f64 * 2.0 / 3.0).max(1.0);
        let schedule = WarmUp {
            peak: base_rate(&trainee.params(), converge * length),
            warmup,
        };
        let options = pass_options(&context.point)?;
        let clip = Some(CLIP_NORM);
        Ok(Box::new(AmosRace::new(
            rule, schedule, options, clip, trainee,
        )))
    }
}

//! SAM: AdamW on the gradient at a nearby point of higher loss, in AlgoPerf's baseline form.
//!
//! # Rule
//! With gradient `g` of a batch at the weights `p`, over all parameters together:
//! ```text
//! e = rho g / |g|
//! h = gradient of the same batch at p + e
//! ```
//! and AdamW takes its step from `p` with `h` in the place of the gradient. Both gradients are on the
//! clock and count as work. Running normalisation statistics are updated by the first pass alone; the
//! weights come back from `p + e` bit for bit. Where all gradients are zero, `e` is zero. Schedule:
//! [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.05 to 0.43, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 1e-2 to 0.2, logarithmic |
//! | `rho` | 0.05 | 0.01, 0.02, 0.05 |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per trainable parameter, as AdamW; and during a step a copy of the weights, 4 bytes.
//!
//! # Sources
//! Foret et al., arXiv 2010.01412; form and search space: AlgoPerf, arXiv 2306.07179. Checked
//! against the closed form on a quadratic, and AdamW at `rho = 0`.
//!
//! # What differs
//! The budget counts examples through a gradient, so that SAM takes half as many steps in it as
//! AdamW. The second pass draws dropout anew. AlgoPerf's paper draws the label smoothing from 0.1 and
//! 0.2 only.

use super::adamw::AdamW;
use crate::bowl;
use crate::common::{PRETRAIN, non_negative, pass_options, with_regularisation};
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::schedules::{Constant, Schedule, WarmupCosine};
use burn::optim::ModuleOptimizer;
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ParamInfo, PassOptions, Point, SearchSpace, StartContext,
    State, StepContext, Submission, SubmissionError, Trainee,
};

/// Name of the optimizer's entry in the saved state.
const OPTIMIZER: &str = "optimizer";

/// SAM around any optimizer.
pub struct Sam {
    base: ModuleOptimizer,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    rho: f64,
}

impl Sam {
    /// `base` steps with gradients taken `rho` away from the weights.
    pub fn new(
        base: impl Into<ModuleOptimizer>,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        rho: f64,
    ) -> Self {
        Self {
            base: base.into(),
            schedule: Box::new(schedule),
            options,
            rho,
        }
    }
}

impl Algorithm for Sam {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let first = trainee.gradients(batch, &self.options)?.gradients;
        let norm = first.global_norm();
        // A norm that is no number must make the step one too: a diverged run must not look sound.
        let scale = if norm == 0.0 { 0.0 } else { self.rho / norm };
        let weights = trainee.values();
        trainee.map(|info, p| match first.get(info) {
            Some(g) => p + g.mul_scalar(scale),
            None => p,
        });
        let options = PassOptions {
            update_norm: false,
            ..self.options.clone()
        };
        let second = trainee.gradients(batch, &options)?.gradients;
        trainee.set_values(&weights)?;
        let learning_rate = self.schedule.at(context.step);
        trainee.step(&mut self.base, learning_rate, second);
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer(OPTIMIZER, &self.base)
    }

    fn load(&mut self, state: &State, _trainee: &Trainee) -> Result<(), SubmissionError> {
        self.base = state.get_optimizer(OPTIMIZER, self.base.clone())?;
        Ok(())
    }
}

/// Plain gradient descent at rate 1 subtracts the second gradient, which is `A (x + rho g / |g|)`.
fn second_gradient() -> Result<(bool, String), SubmissionError> {
    let descent = super::heavy_ball::HeavyBall {
        momentum: 0.0,
        weight_decay: 0.0,
    };
    let mut sam = Sam::new(Fused(descent), Constant(1.0), PassOptions::default(), 0.05);
    let mut trainee = bowl::trainee(&[1.0, 1.0]);
    let batch = bowl::batch(&[1.0, 0.0, 0.0, 10.0], 2);
    sam.update(&mut trainee, &batch, &StepContext::new(0, 1))?;
    let length = 101f64.sqrt();
    let expected = [1.0 + 0.05 / length, 10.0 * (1.0 + 0.5 / length)];
    let apart = bowl::position(&trainee)
        .into_iter()
        .zip(expected)
        .map(|(x, g)| (1.0 - x - g).abs())
        .fold(0.0, f64::max);
    let work = trainee.counters().work;
    let found = format!("gradients apart by {apart:.1e}; {work} examples of work");
    Ok((apart < 2e-6 && work == 2, found))
}

/// The submission `sam`.
#[derive(Debug, Clone, Copy)]
pub struct SamSubmission;

impl Submission for SamSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "sam",
            summary: "AdamW on the gradient at a nearby point of higher loss; two gradients a step",
            paper: "arXiv 2010.01412",
            reference: "AlgoPerf baseline (arXiv 2306.07179); closed form on a quadratic",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.05, 0.43, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 1e-2, 0.2, 0.1)
            .choice("rho", &[0.01, 0.02, 0.05], 0.05)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "the step uses the gradient at p + rho g / |g|, and both gradients count",
            check: second_gradient,
        }]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        Ok(Box::new(Sam::new(
            Fused(AdamW::from_point(point)?),
            WarmupCosine::start(context)?,
            pass_options(point)?,
            non_negative(point, "rho")?,
        )))
    }
}

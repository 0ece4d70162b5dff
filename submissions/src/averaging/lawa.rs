//! LAWA: NAdamW, evaluated at an average of its latest weights; with a queue and as a moving
//! average.
//!
//! # Rule
//! NAdamW trains, untouched by the averaging. With `T` the step hint, from step `ceil(burn_in_factor
//! T)` (steps count from 0) the weights after each step that is a multiple of `ceil(every_factor T)`
//! become a snapshot. What is evaluated:
//! ```text
//! lawa_queue   mean of the latest `queue_length` snapshots; the training weights before there are
//!              so many
//! lawa_ema     e, where e = first snapshot, then e = ema_beta e + (1 - ema_beta) snapshot; the
//!              training weights before the first
//! ```
//! Schedule: [`WarmupCosine`](crate::schedules::WarmupCosine). As soon as an average is evaluated,
//! running normalisation statistics are kept at it by [`NormRefresh`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.004 to 0.1, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `burn_in_factor` | 0.02 | fixed; share of the step hint |
//! | `every_factor` | 0.002, `lawa_ema` 0.005 | fixed; share of the step hint |
//! | `queue_length` | 10 | fixed; `lawa_queue` only |
//! | `ema_beta` | 0.2 | fixed; `lawa_ema` only |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The optimizer's ranges are `nadamw`'s, the averages' settings those of the competition entries.
//!
//! # State
//! `lawa_queue`: `8 + 4 queue_length` bytes per trainable parameter: NAdamW's two averages, and the
//! queue, whose places hold the initial weights until they are filled. `lawa_ema`: 12 bytes.
//!
//! # Sources
//! Kaddour, arXiv 2209.14981 (latest weight averaging); AlgoPerf's competition, arXiv 2502.15015,
//! external tuning, entries LAWA Queue and LAWA EMA. Checked against a computation in 64 bits.
//!
//! # What differs
//! The released LAWA EMA rounds `ema_beta` down to a whole number, 0, and so evaluates its latest
//! snapshot; the average is computed here as it was meant (0 gives the released behaviour). The
//! entries take several steps per call, keep the queue in main memory, and leave normalisation
//! statistics at the training weights.

use super::held::{Held, NormRefresh};
use super::snapshots::{Cadence, Form, Snapshots, placed, trainable};
use crate::common::{PRETRAIN, fraction, whole, with_regularisation};
use crate::flat;
use crate::fused::Fused;
use crate::optimizers::nadamw::NAdamW;
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::WarmupCosine;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ParamInfo, Point, SearchSpace, StartContext, State,
    StepContext, Submission, SubmissionError, Trainee,
};

/// What is saved beside tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    taken: usize,
    steps: u64,
}

/// An optimizer whose latest weights are averaged for evaluations.
pub struct Lawa {
    inner: ScheduledOptimizer,
    cadence: Cadence,
    snapshots: Snapshots,
    /// Steps taken.
    steps: u64,
    norm: NormRefresh,
    held: Held,
}

impl Lawa {
    /// `inner` trains; snapshots of its weights are averaged in this form.
    pub fn new(inner: ScheduledOptimizer, cadence: Cadence, form: Form, trainee: &Trainee) -> Self {
        Self {
            inner,
            cadence,
            snapshots: Snapshots::new(form, trainable(trainee)),
            steps: 0,
            norm: NormRefresh::new(trainee),
            held: Held::default(),
        }
    }
}

impl Algorithm for Lawa {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        self.held.refuse("a step")?;
        let averaged = self.snapshots.ready();
        self.inner
            .set_update_norm(!averaged || self.norm.in_training(self.steps));
        self.inner.update(trainee, batch, context)?;
        self.steps += 1;
        if self.cadence.takes(context.step) {
            self.snapshots.push(trainable(trainee));
        }
        if self.norm.due(self.steps)
            && let Some(average) = self.snapshots.average()
        {
            self.norm
                .after_step(self.steps, trainee, batch, placed(average))?;
        }
        Ok(())
    }

    fn prepare_for_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        if let Some(average) = self.snapshots.average() {
            self.held.put(trainee, placed(average));
        }
        Ok(())
    }

    fn after_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        self.held.put_back(trainee)
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        self.held.refuse("the state")?;
        let progress = Progress {
            taken: self.snapshots.taken(),
            steps: self.steps,
        };
        state.put("progress", &progress)?;
        flat::save(state, "snapshots", self.snapshots.tensors())?;
        self.inner.save(state)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.inner.load(state, trainee)?;
        let progress: Progress = state.get("progress")?;
        self.steps = progress.steps;
        let places = self.snapshots.restore(progress.taken);
        flat::load(state, "snapshots", &trainee.device(), places)
    }
}

/// Hyperparameters of NAdamW and of the cadence.
fn base_space(every_factor: f64) -> SearchSpace {
    SearchSpace::new()
        .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
        .one_minus_log_uniform("beta1", 0.004, 0.1, 0.9)
        .fixed("beta2", 0.999)
        .fixed("epsilon", 1e-8)
        .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
        .fixed("warmup_factor", 0.05)
        .fixed("burn_in_factor", 0.02)
        .fixed("every_factor", every_factor)
}

fn start(
    form: Form,
    trainee: &Trainee,
    context: &StartContext,
) -> Result<Box<dyn Algorithm>, SubmissionError> {
    let rule = NAdamW::from_point(&context.point)?;
    let inner = ScheduledOptimizer::racing(Fused(rule), WarmupCosine::start(context)?, context)?;
    let cadence = Cadence::from_point(&context.point, context.hints.steps)?;
    Ok(Box::new(Lawa::new(inner, cadence, form, trainee)))
}

/// Feeds the weights 1, 2, .. and gives what is evaluated after each.
fn evaluated(form: Form, steps: usize) -> Result<Vec<Option<f64>>, SubmissionError> {
    let weight = |w: f32| {
        let data = TensorData::new(vec![w], [1]);
        vec![Tensor::<1>::from_data(data, &Device::flex())]
    };
    let mut snapshots = Snapshots::new(form, weight(100.0));
    let mut seen = Vec::new();
    for n in 1..=steps {
        snapshots.push(weight(n as f32));
        let average = snapshots.average().and_then(|a| a.into_iter().next());
        seen.push(average.map(|a| f64::from(a.into_scalar::<f32>())));
    }
    Ok(seen)
}

fn queue_holds_the_latest() -> Result<(bool, String), SubmissionError> {
    let seen = evaluated(Form::Queue(10), 25)?;
    let mut worst = 0.0f64;
    for (i, value) in seen.iter().enumerate() {
        // Weights i - 8 to i + 1.
        match (i >= 9, value) {
            (true, Some(v)) => worst = worst.max((v - (i as f64 - 3.5)).abs()),
            (false, None) => {}
            _ => return Ok((false, format!("after snapshot {}: {value:?}", i + 1))),
        }
    }
    Ok((worst < 1e-5, format!("25 snapshots; apart by {worst:.1e}")))
}

fn ema_starts_at_the_first() -> Result<(bool, String), SubmissionError> {
    let seen = evaluated(Form::Ema(0.2), 12)?;
    let (mut expected, mut worst) = (1.0, 0.0f64);
    for (i, value) in seen.iter().enumerate() {
        if i > 0 {
            expected = 0.2 * expected + 0.8 * (i + 1) as f64;
        }
        worst = value.map_or(f64::INFINITY, |v| worst.max((v - expected).abs()));
    }
    Ok((worst < 1e-5, format!("12 snapshots; apart by {worst:.1e}")))
}

/// The submission `lawa_queue`.
#[derive(Debug, Clone, Copy)]
pub struct LawaQueueSubmission;

impl Submission for LawaQueueSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "lawa_queue",
            summary: "NAdamW, evaluated at the mean of its ten latest snapshots",
            paper: "arXiv 2209.14981; arXiv 2502.15015 (LAWA Queue)",
            reference: "AlgoPerf v0.5 entry LAWA Queue, in 64 bits",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        with_regularisation(base_space(0.002).fixed("queue_length", 10.0))
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let length = whole(point, "queue_length").ok()? as u64;
        Some(flat::bytes_per_entry(params, 2 + length))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "the evaluation weights are the mean of the latest 10 snapshots, and the \
                        training weights before there are 10",
            check: queue_holds_the_latest,
        }]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        start(
            Form::Queue(whole(&context.point, "queue_length")?),
            trainee,
            context,
        )
    }
}

/// The submission `lawa_ema`.
#[derive(Debug, Clone, Copy)]
pub struct LawaEmaSubmission;

impl Submission for LawaEmaSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "lawa_ema",
            summary: "NAdamW, evaluated at a moving average of its snapshots",
            paper: "arXiv 2209.14981; arXiv 2502.15015 (LAWA EMA)",
            reference: "AlgoPerf v0.5 entry LAWA EMA, in 64 bits",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        with_regularisation(base_space(0.005).fixed("ema_beta", 0.2))
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(flat::bytes_per_entry(params, 3))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "the evaluation weights are the moving average of the snapshots, from the \
                        first",
            check: ema_starts_at_the_first,
        }]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let beta = fraction(&context.point, "ema_beta")?;
        start(Form::Ema(beta), trainee, context)
    }
}

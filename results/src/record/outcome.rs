//! What a trial came to: its seconds, counts and metrics.

use super::Target;
use crate::measures;
use serde::{Deserialize, Serialize};

/// Where the wall time of a trial went, in seconds. [`Self::on_clock`] is the submission's time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ClockParts {
    /// Opening data, building the model (off the clock).
    pub setup: f64,
    /// The submission's start (on the clock).
    pub start: f64,
    /// `select` and `update` (on the clock).
    pub training: f64,
    /// `prepare_for_eval` and `after_eval` (on the clock).
    pub prepare: f64,
    /// Work that the submission did in other threads while the clock stood (on the clock).
    pub background: f64,
    /// Waiting for the input queue (off the clock).
    pub input_wait: f64,
    /// Evaluations (off the clock).
    pub evaluation: f64,
    /// Records and events (off the clock).
    pub logging: f64,
    /// Writing and reading checkpoints (off the clock).
    pub checkpoint: f64,
    /// Wall time of the whole trial, measured apart from the parts.
    pub total: f64,
    /// The part of [`Self::training`] spent in the first steps (kernel compilation, autotuning).
    pub warm_up: f64,
}

impl ClockParts {
    /// Seconds on the submission clock.
    pub fn on_clock(&self) -> f64 {
        self.start + self.training + self.prepare + self.background
    }

    /// Sum of the disjoint parts of the wall time (`background` overlaps with other parts and
    /// `warm_up` is a part of `training`, so neither is added).
    pub fn accounted(&self) -> f64 {
        self.setup
            + self.start
            + self.training
            + self.prepare
            + self.input_wait
            + self.evaluation
            + self.logging
            + self.checkpoint
    }

    /// Share of the wall time that no part accounts for; the record's closure check.
    pub fn unaccounted_share(&self) -> f64 {
        if self.total > 0.0 {
            (self.total - self.accounted()) / self.total
        } else {
            0.0
        }
    }
}

/// Counts that do not depend on the machine's mood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Training steps taken.
    pub steps: u64,
    /// Examples through a gradient.
    pub work: u64,
    /// Tokens (or the workload's own unit) through a gradient.
    pub tokens: u64,
    /// Forward passes, in batches.
    pub forward_passes: u64,
    /// Backward passes, in batches.
    pub backward_passes: u64,
    /// Evaluations by the harness.
    pub evaluations: u64,
}

/// Distribution of the step times, in seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepSummary {
    /// Steps counted (the warm-up steps are not).
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// 5th, 25th, 50th, 75th and 95th percentiles, from the histogram.
    pub quantiles: [f64; 5],
    /// Shortest step.
    pub min: f64,
    /// Longest step.
    pub max: f64,
    /// Histogram: lower edge of each filled bucket and its count; edges grow by 5 %.
    pub histogram: Vec<(f64, u64)>,
}

/// Something worth a reader's attention that is not a failure of the trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable short name, for example `background_work`.
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// Loss on held-out pretraining data, in the workload's own unit: what fine-tuning forgot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Retained {
    /// With the pretrained weights.
    #[serde(with = "measures::real")]
    pub before: f64,
    /// With the weights at the end of the trial.
    #[serde(with = "measures::real")]
    pub after: f64,
}

impl Retained {
    /// How much the loss has grown: positive is worse.
    pub fn forgetting(self) -> f64 {
        self.after - self.before
    }
}

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Clock at the first evaluation that met the validation target.
    pub time_to_target: Option<f64>,
    /// Steps at that evaluation.
    pub steps_to_target: Option<u64>,
    /// Work at that evaluation.
    pub work_to_target: Option<u64>,
    /// Clock at the first evaluation that met the test target (never stops the trial).
    pub time_to_test_target: Option<f64>,
    /// Best validation metric seen.
    pub best_validation: Option<f64>,
    /// Test metric at the evaluation with the best validation metric.
    pub test_at_best: Option<f64>,
    /// Where the wall time went.
    pub clock: ClockParts,
    /// Counts.
    pub counters: Counters,
    /// Step times.
    pub step_times: StepSummary,
    /// Bytes of the submission's state (optimizer moments and the like) at the end.
    pub state_bytes: u64,
    /// Trainable parameters at the end (adapters included, frozen ones not).
    pub trainable_parameters: u64,
    /// All parameters of the model, without buffers.
    pub parameters: u64,
    /// What was kept of the pretraining; `None` where the workload begins from random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<Retained>,
    /// Peak resident memory of the trial's process in bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
    /// Work at the last evaluation.
    pub last_eval_work: u64,
    /// SHA-256 of the weights at the end, where they are kept beside the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    /// How often the trial was resumed from a checkpoint.
    pub resumes: u32,
}

impl Outcome {
    /// Bytes of a file of the trained parameters in 32 bits: what an adapter takes beside the weights
    /// that it belongs to.
    pub fn adapter_bytes(&self) -> u64 {
        self.trainable_parameters.saturating_mul(4)
    }

    /// Keeps the best validation metric seen, and the test metric beside it. Non-finite values
    /// are never the best.
    pub fn observe(&mut self, target: &Target, validation: f64, test: f64) {
        let best = self.best_validation.unwrap_or(f64::NAN);
        if validation.is_finite() && target.direction.better(validation, best) {
            self.best_validation = Some(validation);
            self.test_at_best = Some(test).filter(|t| t.is_finite());
        }
    }
}

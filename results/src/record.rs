//! The records: what one trial, one evaluation and one run leave behind.
//!
//! Times are seconds, memory is bytes, work is examples through a gradient. Steps count from 1;
//! an evaluation at step 0 precedes training.

use crate::error::RecordError;
pub use crate::files::{
    Versioned, is_plain_name, read_versioned, write_atomic, write_json, write_shared,
    write_versioned,
};
use crate::measures::{self, Measures};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The `format` field of a `trial.json` that this version reads and writes.
pub const TRIAL_FORMAT: &str = "velodrome-trial/1";
/// The `format` field of a `run.json` that this version reads and writes.
pub const RUN_FORMAT: &str = "velodrome-run/1";

/// How a trial stands. A failure is a status in a row, never a missing row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Met the validation target.
    Reached,
    /// Spent its budget without meeting the target.
    Missed,
    /// Loss or metric became NaN or infinite.
    Diverged,
    /// The submission returned an error or panicked, or its process died.
    Crashed,
    /// Used more memory than the trial is allowed, or than there was.
    OutOfMemory,
    /// Made no progress for longer than the stall limit.
    TimedOut,
    /// Planned, but not raced (the suite or the rules say why).
    Skipped,
    /// Started and not ended: racing now, or interrupted and to be resumed.
    Running,
}

impl Status {
    /// All statuses, in the order of the documentation.
    pub const ALL: [Status; 8] = [
        Status::Reached,
        Status::Missed,
        Status::Diverged,
        Status::Crashed,
        Status::OutOfMemory,
        Status::TimedOut,
        Status::Skipped,
        Status::Running,
    ];

    /// The word that records and tables use.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Reached => "reached",
            Status::Missed => "missed",
            Status::Diverged => "diverged",
            Status::Crashed => "crashed",
            Status::OutOfMemory => "out_of_memory",
            Status::TimedOut => "timed_out",
            Status::Skipped => "skipped",
            Status::Running => "running",
        }
    }

    /// Whether the trial has ended and will not be raced again by a resume.
    pub fn is_final(self) -> bool {
        self != Status::Running
    }

    /// Whether something broke, as opposed to an honest `reached` or `missed`.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Status::Diverged | Status::Crashed | Status::OutOfMemory | Status::TimedOut
        )
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What ended a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The target was met.
    Target,
    /// The work budget was spent.
    WorkBudget,
    /// The budget of submission seconds was spent.
    TimeBudget,
    /// A non-finite loss or metric.
    Divergence,
    /// An error, a panic, a signal, or a limit.
    Failure,
}

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Smaller is better (loss, error rate).
    Minimize,
    /// Larger is better (accuracy, BLEU).
    Maximize,
}

impl Direction {
    /// Whether `value` meets `target` (equality counts; NaN never does).
    pub fn meets(self, value: f64, target: f64) -> bool {
        match self {
            Direction::Minimize => value <= target,
            Direction::Maximize => value >= target,
        }
    }

    /// Whether `a` is strictly better than `b`; anything is better than NaN.
    pub fn better(self, a: f64, b: f64) -> bool {
        if b.is_nan() {
            return !a.is_nan();
        }
        match self {
            Direction::Minimize => a < b,
            Direction::Maximize => a > b,
        }
    }
}

/// The metric values to reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Name of the metric, a key of the evaluation's measures.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
    /// Value to reach on the validation split; this one stops the clock. Infinite (the wrong way)
    /// in a race that only looks for what can be reached.
    #[serde(with = "measures::real")]
    pub validation: f64,
    /// Value to reach on the test split; recorded beside it.
    #[serde(with = "measures::real")]
    pub test: f64,
    /// The largest number of trainable elements (adapters included) over the elements of the model
    /// that the workload gives; a submission that trains more is not raced. `None` where all may
    /// train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainable_share: Option<f64>,
}

impl Target {
    /// The target's metric among `measures`; NaN where it is missing.
    pub fn value_in(&self, measures: &Measures) -> f64 {
        measures.get(&self.metric).copied().unwrap_or(f64::NAN)
    }
}

/// The most that a trial may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Examples through a gradient.
    pub work: u64,
    /// Seconds on the submission clock.
    pub seconds: f64,
}

/// Seeds of one trial, one per axis, so that one axis can be varied with the others fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeds {
    /// Order of the training examples.
    pub data: u64,
    /// Initial parameters.
    pub model: u64,
    /// Everything random in the submission, dropout included.
    pub algorithm: u64,
}

/// The machine and build that raced a trial.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Processor model, as the system names it.
    pub cpu: String,
    /// Logical processors that the process may use.
    pub cores: usize,
    /// Instruction-set flags that change kernels (`avx2`, `avx512f`, …).
    pub cpu_flags: Vec<String>,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Accelerator and driver, where the device is one.
    pub accelerator: Option<String>,
    /// Operating system and kernel.
    pub os: String,
    /// Device that trained (`flex`, `ndarray`, `cuda:0`).
    pub device: String,
    /// Cargo features of the build that matter to results.
    pub features: Vec<String>,
    /// Threads of the compute pool.
    pub threads: usize,
    /// Compiler version.
    pub rustc: String,
    /// Versions of velodrome and burn.
    pub versions: BTreeMap<String, String>,
    /// Commit of the build, with `-dirty` where the tree had changes; `unknown` outside git.
    pub commit: String,
    /// SHA-256 of the executable.
    pub executable: String,
}

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

/// One trial: the plan entry, the machine, and how it went (`trial.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// [`TRIAL_FORMAT`].
    pub format: String,
    /// `WORKLOAD.SUBMISSION.study-N.trial-N`; also the name of the trial's folder.
    pub id: String,
    /// Content hash over everything that can change the outcome.
    pub hash: String,
    /// Workload, a variant's own name for a variant.
    pub workload: String,
    /// The workload's version: times between versions are not comparable.
    #[serde(default = "first_version")]
    pub workload_version: u32,
    /// The workload that a variant belongs to; the workload itself otherwise.
    pub base: String,
    /// Submission.
    pub submission: String,
    /// `external` or `self-tuning`.
    pub ruleset: String,
    /// Study, from 1.
    pub study: u32,
    /// Trial within the study, from 1.
    pub trial: u32,
    /// Effective hyperparameters.
    pub point: BTreeMap<String, f64>,
    /// Seeds.
    pub seeds: Seeds,
    /// Device asked for.
    pub device: String,
    /// Threads of the compute pool.
    pub threads: usize,
    /// Target.
    pub target: Target,
    /// Budget.
    pub budget: Budget,
    /// Steps that the submission was told to expect, where the suite says other than the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_hint: Option<u64>,
    /// Work between evaluations (cadence `work`), or 0.
    pub eval_every_work: u64,
    /// Seconds between evaluations (cadence `clock`), or 0.
    pub eval_every_seconds: f64,
    /// Machine and build.
    pub fingerprint: Fingerprint,
    /// When it was started first: seconds since the beginning of 1970 (UTC), by the system's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<f64>,
    /// How it stands.
    pub status: Status,
    /// What ended it.
    pub ended_by: Option<EndedBy>,
    /// Why, in one sentence, for a failure or a skip.
    pub reason: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// Warnings.
    pub findings: Vec<Finding>,
}

/// One evaluation: one line of `evals.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    /// Number of the evaluation, from 0.
    pub n: u64,
    /// Training steps taken so far.
    pub step: u64,
    /// Work so far.
    pub work: u64,
    /// Seconds on the submission clock so far.
    pub clock: f64,
    /// Wall seconds of the trial so far.
    pub wall: f64,
    /// Measures on the training batches since the last evaluation (mean loss).
    #[serde(with = "measures::map")]
    pub train: Measures,
    /// Measures on the validation split.
    #[serde(with = "measures::map")]
    pub validation: Measures,
    /// Measures on the test split.
    #[serde(with = "measures::map")]
    pub test: Measures,
}

/// A run: what one `run` command races into one folder (`run.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`RUN_FORMAT`].
    pub format: String,
    /// Name of the suite.
    pub suite: String,
    /// `external` or `self-tuning`.
    pub ruleset: String,
    /// `work` or `clock`.
    pub cadence: String,
    /// Seed of the suite.
    pub seed: u64,
    /// Held-out workloads: variants that a submission must also solve for its time on their base to
    /// count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<String>,
    /// Ids and hashes of the planned trials, in racing order.
    pub trials: Vec<(String, String)>,
}

/// An id names the trial's folder, and must not lead out of the run's.
fn id_fault(field: &str, id: &str) -> Option<String> {
    let message = || format!("field `{field}`: \"{id}\" cannot be the name of a trial's folder");
    (!is_plain_name(id)).then(message)
}

/// What records say that have no version.
fn first_version() -> u32 {
    1
}

impl Versioned for TrialRecord {
    const FORMAT: &'static str = TRIAL_FORMAT;

    fn format(&self) -> &str {
        &self.format
    }

    fn fault(&self) -> Option<String> {
        id_fault("id", &self.id)
    }
}

impl TrialRecord {
    /// Reads a `trial.json`. Errors name the file; an unknown `format` is refused by name.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        read_versioned(path)
    }

    /// Writes `trial.json` whole or not at all (temporary file, sync, rename).
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        write_versioned(path, self)
    }
}

impl Versioned for RunRecord {
    const FORMAT: &'static str = RUN_FORMAT;

    fn format(&self) -> &str {
        &self.format
    }

    fn fault(&self) -> Option<String> {
        let mut ids = self.trials.iter();
        ids.find_map(|(id, _)| id_fault("trials", id))
    }
}

impl RunRecord {
    /// Reads a `run.json`. Errors name the file; an unknown `format` is refused by name.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        read_versioned(path)
    }

    /// Writes `run.json` whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        write_versioned(path, self)
    }
}

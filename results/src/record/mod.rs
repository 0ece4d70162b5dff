//! The records: what one trial, one evaluation and one run leave behind.
//!
//! Times are seconds, memory is bytes, work is examples through a gradient. Steps count from 1;
//! an evaluation at step 0 precedes training.

mod outcome;
mod status;
mod target;

use crate::error::RecordError;
pub use crate::files::{
    Versioned, is_plain_name, read_versioned, write_atomic, write_json, write_shared,
    write_versioned,
};
use crate::measures::{self, Measures};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

pub use outcome::{ClockParts, Counters, Finding, Outcome, Retained, StepSummary};
pub use status::{EndedBy, Status};
pub use target::{Budget, Direction, Target};

/// The `format` field of a `trial.json` that this version reads and writes.
pub const TRIAL_FORMAT: &str = "velodrome-trial/1";
/// The `format` field of a `run.json` that this version reads and writes.
pub const RUN_FORMAT: &str = "velodrome-run/1";

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

//! Suite files: what one command races.

use super::spaces::RangeEntry;
use crate::contract::Ruleset;
use crate::registry::nearest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// When a trial is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    /// Every so many examples through a gradient: the same steps on every machine.
    #[default]
    Work,
    /// Every so many seconds on the submission clock, as AlgoPerf does.
    Clock,
}

impl Cadence {
    /// `work` or `clock`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cadence::Work => "work",
            Cadence::Clock => "clock",
        }
    }
}

/// Limits that guard the machine; they change no number of a trial that keeps within them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds without progress after which a trial has `timed_out`.
    pub stall_seconds: f64,
    /// Bytes of memory that a trial may hold; 80 % of the machine's where absent.
    pub memory_bytes: Option<u64>,
    /// Seconds between two checkpoints of a trial, at least.
    pub checkpoint_seconds: f64,
    /// Whether a trial that ended leaves its weights beside its record (`weights.burnpack`).
    pub keep_weights: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stall_seconds: 120.0,
            memory_bytes: None,
            checkpoint_seconds: 10.0,
            keep_weights: false,
        }
    }
}

/// What a suite changes in one workload's protocol. Targets cannot be changed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// Work budget.
    pub budget_work: Option<u64>,
    /// Budget of submission seconds.
    pub budget_seconds: Option<f64>,
    /// Steps that submissions are told to expect, for their schedules.
    pub step_hint: Option<u64>,
    /// Work between evaluations.
    pub eval_every_work: Option<u64>,
    /// Seconds between evaluations, for cadence `clock`.
    pub eval_every_seconds: Option<f64>,
}

/// A suite.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name, also of the run directory.
    pub name: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Workloads, in order.
    pub workloads: Vec<Spanned<String>>,
    /// Submissions, in order.
    pub submissions: Vec<Spanned<String>>,
    /// Ruleset.
    #[serde(default = "default_ruleset")]
    pub ruleset: Ruleset,
    /// Studies: repetitions with other seeds.
    #[serde(default = "one")]
    pub studies: u32,
    /// Trials per study under the external ruleset.
    #[serde(default = "one")]
    pub trials: u32,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Seed of a held-out draw: one variant for each data set is raced beside the workloads, and a
    /// time counts only where the submission solves the drawn variant too. None where absent.
    #[serde(default)]
    pub held_out: Option<u64>,
    /// Device.
    #[serde(default = "default_device")]
    pub device: String,
    /// Threads of the compute pool; all processors where absent.
    #[serde(default)]
    pub threads: Option<usize>,
    /// When trials are evaluated.
    #[serde(default)]
    pub cadence: Cadence,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// Changes by workload.
    #[serde(default)]
    pub overrides: BTreeMap<Spanned<String>, Override>,
    /// Fixed hyperparameter points by submission, instead of drawn ones; missing names take the
    /// default.
    #[serde(default)]
    pub points: BTreeMap<Spanned<String>, Vec<BTreeMap<Spanned<String>, f64>>>,
    /// Ranges by submission and hyperparameter, in place of the submission's own.
    #[serde(default)]
    pub spaces: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, RangeEntry>>,
    /// Race every trial to the end of its budget, as if no target could be reached: for setting
    /// targets. Not a key of suite files.
    #[serde(skip)]
    pub without_target: bool,
    /// The file that the suite was read from.
    #[serde(skip)]
    pub path: PathBuf,
    #[serde(skip)]
    text: String,
}

fn default_ruleset() -> Ruleset {
    Ruleset::SelfTuning
}

fn default_device() -> String {
    "flex".into()
}

fn one() -> u32 {
    1
}

/// Why a suite cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file's content is wrong at a line.
    #[error("{path}, line {line}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong, naming the key.
        message: String,
    },
}

impl Suite {
    /// Reads a suite file.
    pub fn read(path: &Path) -> Result<Self, SuiteError> {
        let text = std::fs::read_to_string(path).map_err(|source| SuiteError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads a suite from `text`; `path` is what errors name.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SuiteError> {
        let mut suite: Suite = toml::from_str(text).map_err(|e| SuiteError::Invalid {
            path: path.to_path_buf(),
            line: e.span().map_or(1, |s| line_of(text, s.start)),
            message: explain(e.message()),
        })?;
        suite.path = path.to_path_buf();
        suite.text = text.to_string();
        for (field, value) in [("studies", suite.studies), ("trials", suite.trials)] {
            if value == 0 {
                return Err(suite.fault(
                    suite.offset_of(field),
                    format!("`{field}` must be at least 1"),
                ));
            }
        }
        if suite.threads == Some(0) {
            return Err(suite.fault(
                suite.offset_of("threads"),
                "`threads` must be at least 1".into(),
            ));
        }
        Ok(suite)
    }

    /// An error at a byte offset of the suite's text.
    pub(crate) fn fault(&self, offset: usize, message: String) -> SuiteError {
        SuiteError::Invalid {
            path: self.path.clone(),
            line: line_of(&self.text, offset),
            message,
        }
    }

    pub(super) fn offset_of(&self, key: &str) -> usize {
        self.text.find(key).unwrap_or(0)
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}

/// Adds the nearest valid key to the parser's message about an unknown one.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(found) = quoted.next() else {
        return message.to_string();
    };
    let message = message.replace('\n', " ");
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        match nearest(found, quoted) {
            Some(near) => format!("{message}; did you mean `{near}`?"),
            None => message,
        }
    } else {
        message
    }
}

//! The official AlgoPerf logs: read, scored as the official procedure scores them, and judged
//! beyond it.
//!
//! ```text
//! LOGS/[RULESET/]SUBMISSION/study_N/WORKLOAD_FRAMEWORK/trial_N/eval_measurements.csv
//! ```
//!
//! [`Logs::read`] reads a tree with a [`Targets`] file; everything that is wrong with it becomes a
//! [`LogFinding`] with its path, and costs nothing but itself. [`Logs::score`] gives a [`LogScore`]
//! from which [`board`](LogScore::board), [`text`](LogScore::text) and [`json`](LogScore::json) are
//! made. [`Logs::run`] turns the logs into the same records that our own trials leave, and
//! [`export`] writes our own records in the official layout.
//!
//! Procedure: "AlgoPerf: Training Algorithms" competition rules and scoring code,
//! github.com/mlcommons/submissions_algorithms at commit 12c8e4ea (Apache-2.0); see
//! `docs/algoperf.md` for where this reader differs.

mod board;
mod csv;
mod export;
mod finding;
mod json;
mod records;
mod score;
mod sensitivity;
mod targets;
mod text;
mod tree;
mod trial;
mod warnings;

pub use export::{ExportOptions, Exported, export};
pub use finding::{FindingKind, LogFinding};
pub use records::write_run;
pub use score::{LogScore, LogScoreOptions, SpeedUp};
pub use sensitivity::{LeftOut, Variation};
pub use targets::{Budgets, Targets, WorkloadTarget, direction};
pub use tree::{FRAMEWORKS, TrialFolder};
pub use trial::{EVALS, HPARAMS, LogTrial, METADATA, Metadata};

use crate::error::RecordError;
use crate::score::ScoreError;
use rayon::prelude::*;
use std::fmt;
use std::path::{Path, PathBuf};

/// Which rules the logs were made under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruleset {
    /// Five trials per study, drawn from the submission's search space.
    External,
    /// One trial per study, with a longer budget.
    SelfTuning,
}

impl Ruleset {
    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::SelfTuning => "self-tuning",
        }
    }

    /// The name of its folder in a log tree.
    pub fn folder(self) -> &'static str {
        match self {
            Self::External => "external_tuning",
            Self::SelfTuning => "self_tuning",
        }
    }

    /// Trials per study.
    pub fn trials(self) -> usize {
        match self {
            Self::External => 5,
            Self::SelfTuning => 1,
        }
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why logs cannot be scored at all.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The targets or budgets file does not fit.
    #[error("{path}: {message}")]
    Targets {
        /// The file.
        path: PathBuf,
        /// What is wrong, naming the field.
        message: String,
    },
    /// No submission was found.
    #[error("{path}: no submission with `study_N` folders was found here{}; give the folder that \
             holds the submissions, or one above it",
        ruleset.map(|r| format!(" for the ruleset {r}")).unwrap_or_default())]
    NoLogs {
        /// The folder.
        path: PathBuf,
        /// The ruleset asked for.
        ruleset: Option<Ruleset>,
    },
    /// Several folders hold submissions.
    #[error("{path} holds several comparison sets: {}; give one of them, or name a ruleset",
        found.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))]
    SeveralRulesets {
        /// The folder.
        path: PathBuf,
        /// The folders in it that hold submissions.
        found: Vec<PathBuf>,
    },
    /// A submission that is not in the logs was named.
    #[error("submission \"{name}\" is not in the logs; there are: {known}")]
    Submission {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Our own records that cannot be put into the official layout.
    #[error("{path}: {message}")]
    Export {
        /// The record or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The scorer refused a setting.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

/// A log tree, read.
///
/// A trial is `reached` or `missed` as in the official procedure; a trial that did not reach its
/// target is `crashed` where it left no evaluation or ended well before its budget, and `diverged`
/// where its last evaluation is NaN. That is for readers: to the score all three are the same.
#[derive(Debug, Clone)]
pub struct Logs {
    /// The folder whose folders are the submissions.
    pub root: PathBuf,
    /// The ruleset.
    pub ruleset: Ruleset,
    /// The targets.
    pub targets: Targets,
    /// The budgets.
    pub budgets: Budgets,
    /// Names of the submissions, in order.
    pub submissions: Vec<String>,
    /// The trials of workloads that are scored or held out, in order of their folders. Those whose
    /// evaluations could not be read are here too, as crashed, but are absent from every time.
    pub trials: Vec<LogTrial>,
    /// What is wrong or remarkable, in order of the paths.
    pub findings: Vec<LogFinding>,
    /// What was assumed, in sentences.
    pub assumed: Vec<String>,
}

impl Logs {
    /// Reads the tree at `logs`: a folder of submissions, a folder of rulesets, or one above them.
    ///
    /// # Errors
    /// [`LogError`] when a folder cannot be listed, or there is not exactly one comparison set.
    pub fn read(
        logs: &Path,
        targets: Targets,
        budgets: Budgets,
        ruleset: Option<Ruleset>,
    ) -> Result<Self, LogError> {
        let place = tree::find(logs, ruleset)?;
        let mut assumed = place.assumed.clone();
        let tree = tree::walk(&place, &targets)?;
        if tree.submissions.is_empty() {
            return Err(LogError::NoLogs {
                path: logs.to_path_buf(),
                ruleset: None,
            });
        }
        let most = tree.trials.iter().map(|t| t.trial).max().unwrap_or(0);
        let guess = if most > 1 {
            Ruleset::External
        } else {
            Ruleset::SelfTuning
        };
        let ruleset = ruleset.or(place.ruleset).unwrap_or(guess);
        assumed.push(match place.ruleset {
            Some(found) if found == ruleset => {
                format!("Ruleset {ruleset}, from the folder's name.")
            }
            Some(found) => {
                format!("Ruleset {ruleset}, as asked for; the folder's name says {found}.")
            }
            None if ruleset == guess => {
                format!("Ruleset {ruleset}; trial numbers go up to {most}.")
            }
            None => format!("Ruleset {ruleset}, as asked for; trial numbers go up to {most}."),
        });
        let version = budgets
            .version(targets.version.as_deref())
            .map(str::to_string);
        match (&version, &targets.version) {
            (Some(v), wanted) if Budgets::fits(wanted.as_deref(), v) => {
                assumed.push(format!(
                    "Budgets of AlgoPerf {v}, to tell a crash from a miss."
                ));
            }
            (Some(v), _) => assumed.push(format!(
                "Budgets of AlgoPerf {v}, to tell a crash from a miss; the targets file names no \
                 version with budgets of its own."
            )),
            (None, _) => assumed.push("No budgets: a crash looks like a miss.".into()),
        }
        let mut logs = Self {
            root: place.root.clone(),
            ruleset,
            targets,
            budgets,
            submissions: tree.submissions,
            trials: Vec::new(),
            findings: tree.findings,
            assumed,
        };
        let read: Vec<(LogTrial, Vec<LogFinding>)> = tree
            .trials
            .into_par_iter()
            .with_min_len(16)
            .map(|folder| {
                let budget = logs.budget(folder.workload);
                trial::read(folder, &logs.targets, budget)
            })
            .collect();
        for (trial, findings) in read {
            logs.trials.push(trial);
            logs.findings.extend(findings);
        }
        let warnings = warnings::all(&logs);
        logs.findings.extend(warnings);
        logs.findings.sort();
        if logs.trials.iter().all(|t| t.metadata.is_none()) {
            logs.assumed
                .push("One kind of machine for all trials: no metadata says otherwise.".into());
        }
        Ok(logs)
    }

    /// The runtime budget of a workload in seconds on the submission clock, where it is known. A
    /// held-out workload has that of its base.
    pub fn budget(&self, workload: usize) -> Option<f64> {
        let base = &self.targets.workloads[self.targets.base_of(workload)].name;
        let version = self.budgets.version(self.targets.version.as_deref())?;
        let self_tuning = self.ruleset == Ruleset::SelfTuning;
        self.budgets.seconds(version, base, self_tuning)
    }

    /// The findings that `--strict` refuses.
    pub fn refused(&self) -> impl Iterator<Item = &LogFinding> {
        self.findings.iter().filter(|f| f.kind.is_refused())
    }
}

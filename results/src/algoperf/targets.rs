//! Targets and budgets: what a score depends on beside the logs.

use super::LogError;
use crate::record::Direction;
use crate::score::HeldOut;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The budgets that AlgoPerf published, in seconds on the submission clock, by version and base
/// workload; from the metadata that the runs themselves recorded
/// (github.com/mlcommons/submissions_algorithms, commit 12c8e4ea, Apache-2.0).
const PUBLISHED: &str = include_str!("budgets.json");

/// Directions of AlgoPerf's metrics.
const MINIMISED: [&str; 7] = [
    "loss",
    "ctc_loss",
    "ce_loss",
    "l1_loss",
    "wer",
    "ppl",
    "error_rate",
];
const MAXIMISED: [&str; 4] = ["accuracy", "ssim", "bleu", "mean_average_precision"];

/// Which way a metric of the official logs improves; `None` for a name that the official procedure
/// does not know.
pub fn direction(metric: &str) -> Option<Direction> {
    if MINIMISED.contains(&metric) {
        Some(Direction::Minimize)
    } else if MAXIMISED.contains(&metric) {
        Some(Direction::Maximize)
    } else {
        None
    }
}

/// One workload of a targets file.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadTarget {
    /// Name, without a framework.
    pub name: String,
    /// Metric, without the split.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
    /// Value to reach on the validation split.
    pub target: f64,
    /// Steps that the workload's authors expect.
    pub step_hint: Option<u64>,
}

/// A targets file.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets {
    /// The benchmark's version, where the file names one.
    pub version: Option<String>,
    /// The workloads that are scored, in order, then the held-out ones.
    pub workloads: Vec<WorkloadTarget>,
    /// How many of them are scored.
    pub base: usize,
    /// The held-out workloads and their bases, as positions.
    pub held_out: Vec<HeldOut>,
    /// Names that have a target, but are neither scored nor held out.
    pub others: Vec<String>,
}

#[derive(Deserialize)]
struct TargetsFile {
    #[serde(default)]
    benchmark_version: Option<String>,
    base_workloads: Vec<String>,
    #[serde(default)]
    held_out_workloads: Vec<String>,
    workloads: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    target_metric_name: String,
    validation_target_value: f64,
    #[serde(default)]
    step_hint: Option<f64>,
}

impl Targets {
    /// Reads a targets file.
    ///
    /// # Errors
    /// [`LogError::Record`] when it cannot be read; [`LogError::Targets`] when a field is missing,
    /// a workload has no target, a metric has no known direction, or a held-out workload has no
    /// base.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let text =
            std::fs::read_to_string(path).map_err(|e| crate::RecordError::io(path, "read", e))?;
        Self::parse(&text, path)
    }

    /// The same from text; `path` appears in errors.
    ///
    /// # Errors
    /// [`LogError::Targets`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, LogError> {
        let refuse = |message: String| LogError::Targets {
            path: path.to_path_buf(),
            message,
        };
        let file: TargetsFile = serde_json::from_str(text).map_err(|e| refuse(e.to_string()))?;
        if file.base_workloads.is_empty() {
            return Err(refuse("field `base_workloads` is empty".into()));
        }
        let mut workloads: Vec<WorkloadTarget> = Vec::new();
        for name in file.base_workloads.iter().chain(&file.held_out_workloads) {
            if workloads.iter().any(|w| w.name == *name) {
                return Err(refuse(format!("workload \"{name}\" is listed twice")));
            }
            let entry = file.workloads.get(name).ok_or_else(|| {
                refuse(format!(
                    "field `workloads.{name}` is missing: the workload is listed"
                ))
            })?;
            workloads.push(entry.target(name).map_err(refuse)?);
        }
        let base = file.base_workloads.len();
        let mut held_out = Vec::new();
        for (i, name) in file.held_out_workloads.iter().enumerate() {
            let found = file.base_workloads.iter().position(|b| name.contains(b));
            held_out.push(HeldOut {
                workload: base + i,
                base: found.ok_or_else(|| {
                    refuse(format!(
                        "held-out workload \"{name}\" has no base: no name in `base_workloads` is \
                         a part of it"
                    ))
                })?,
            });
        }
        let listed = |name: &String| workloads.iter().any(|w| w.name == *name);
        let others = file
            .workloads
            .keys()
            .filter(|n| !listed(n))
            .cloned()
            .collect();
        Ok(Self {
            version: file.benchmark_version,
            workloads,
            base,
            held_out,
            others,
        })
    }

    /// Position of the workload `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.workloads.iter().position(|w| w.name == name)
    }

    /// Position of the base of the workload at `position` (itself, where it is scored).
    pub fn base_of(&self, position: usize) -> usize {
        let held = self.held_out.iter().find(|h| h.workload == position);
        held.map_or(position, |h| h.base)
    }

    /// Names of all workloads, in order.
    pub fn names(&self) -> Vec<String> {
        self.workloads.iter().map(|w| w.name.clone()).collect()
    }
}

impl Entry {
    fn target(&self, name: &str) -> Result<WorkloadTarget, String> {
        let metric = self.target_metric_name.as_str();
        let metric = metric.strip_prefix("validation/").unwrap_or(metric);
        let direction = direction(metric).ok_or_else(|| {
            format!(
                "field `workloads.{name}.target_metric_name` is \"{metric}\", of which it is not \
                 known whether less or more is better; known are: {}, {}",
                MINIMISED.join(", "),
                MAXIMISED.join(", ")
            )
        })?;
        Ok(WorkloadTarget {
            name: name.to_string(),
            metric: metric.to_string(),
            direction,
            target: self.validation_target_value,
            step_hint: self.step_hint.map(|s| s as u64),
        })
    }
}

/// Runtime budgets in seconds on the submission clock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Budgets {
    /// By version, then by base workload, for external tuning.
    external_tuning: BTreeMap<String, BTreeMap<String, f64>>,
    /// How many times as long a self-tuning trial may take, by version.
    self_tuning_factor: BTreeMap<String, f64>,
}

impl Budgets {
    /// AlgoPerf's own.
    ///
    /// # Errors
    /// [`LogError::Targets`], if the table in this library were damaged.
    pub fn published() -> Result<Self, LogError> {
        Self::parse(PUBLISHED, Path::new("budgets.json"))
    }

    /// Reads a budgets file in the form of `budgets.json`: `external_tuning` by version and
    /// workload, and `self_tuning_factor` by version.
    ///
    /// # Errors
    /// [`LogError::Record`] or [`LogError::Targets`].
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let text =
            std::fs::read_to_string(path).map_err(|e| crate::RecordError::io(path, "read", e))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, LogError> {
        serde_json::from_str(text).map_err(|e| LogError::Targets {
            path: path.to_path_buf(),
            message: e.to_string(),
        })
    }

    /// The version of the table that fits a benchmark version (`0.6` fits `0.6-8base`); the newest
    /// where none does.
    pub fn version<'a>(&'a self, wanted: Option<&str>) -> Option<&'a str> {
        let fits = |key: &&String| Self::fits(wanted, key);
        let found = self.external_tuning.keys().rev().find(fits);
        found
            .or(self.external_tuning.keys().next_back())
            .map(String::as_str)
    }

    /// Whether a benchmark version is the version `key` of the table, or a variant of it.
    pub(super) fn fits(wanted: Option<&str>, key: &str) -> bool {
        let rest = wanted.and_then(|w| w.strip_prefix(key));
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// The budget of a base workload.
    pub fn seconds(&self, version: &str, workload: &str, self_tuning: bool) -> Option<f64> {
        let budget = *self.external_tuning.get(version)?.get(workload)?;
        if !self_tuning {
            return Some(budget);
        }
        Some(budget * self.self_tuning_factor.get(version)?)
    }

    /// What stands for a time that was not reached in a speed-up: one second more than the oldest
    /// version's budget, three times that budget under self-tuning, whatever version was raced.
    /// So the official code has it.
    pub fn penalty(&self, workload: &str, self_tuning: bool) -> Option<f64> {
        let budget = *self.external_tuning.values().next()?.get(workload)?;
        let factor = if self_tuning { 3.0 } else { 1.0 };
        Some(budget * factor + 1.0)
    }
}

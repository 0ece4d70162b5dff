//! Targets, budgets, cadence and hints of the workloads: data, not code (`targets.toml`).

use serde::Deserialize;
use std::collections::BTreeMap;
use velodrome_harness::contract::{DataSource, Hints, Track, WorkloadSpec};
use velodrome_results::{Budget, Direction, Target};

/// Name of the file in messages.
const FILE: &str = "workloads/targets.toml";

/// Why `targets.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// It is not the TOML that is expected.
    #[error("{FILE}: {0}")]
    Parse(String),
    /// A workload has no table in it.
    #[error("{FILE}: there is no table [{0}]; run the target-setting procedure and add it")]
    Missing(String),
    /// A value makes no sense.
    #[error("{FILE}: table [{table}], field `{field}`: {message}")]
    Value {
        /// The workload.
        table: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// What `targets.toml` says of one workload.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetEntry {
    /// Name of the metric, one of the model's measures.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
    /// Value to reach on the validation split.
    pub validation: f64,
    /// Value to reach on the test split.
    pub test: f64,
    /// The most examples through a gradient.
    pub budget_work: u64,
    /// The most seconds on the submission clock.
    pub budget_seconds: f64,
    /// Work between two evaluations.
    pub eval_every_work: u64,
    /// Examples per batch in evaluations.
    pub eval_batch_size: usize,
    /// Steps that a well-tuned baseline needs at the suggested batch size.
    pub step_hint: u64,
    /// Suggested examples per batch.
    pub batch_size: usize,
    /// How the values were set.
    pub provenance: String,
}

/// The words of a workload that its own file writes; the numbers come from a [`TargetEntry`].
pub(crate) struct Words<'a> {
    pub name: &'a str,
    pub base: &'a str,
    pub change: Option<&'a str>,
    pub summary: &'a str,
    pub data: DataSource,
    pub model: String,
    pub loss: &'a str,
    pub unit: &'a str,
    pub split_sizes: [usize; 3],
}

impl TargetEntry {
    /// A workload's description: its `words` and these numbers.
    pub(crate) fn describe(self, words: Words<'_>) -> WorkloadSpec {
        WorkloadSpec {
            name: words.name.to_string(),
            base: words.base.to_string(),
            change: words.change.map(str::to_string),
            summary: words.summary.to_string(),
            track: Track::Pretrain,
            data: words.data,
            model: words.model,
            loss: words.loss.to_string(),
            unit: words.unit.to_string(),
            split_sizes: words.split_sizes,
            target: Target {
                metric: self.metric,
                direction: self.direction,
                validation: self.validation,
                test: self.test,
            },
            target_provenance: self.provenance.trim().to_string(),
            budget: Budget {
                work: self.budget_work,
                seconds: self.budget_seconds,
            },
            eval_every_work: self.eval_every_work,
            hints: Hints {
                steps: self.step_hint,
                batch_size: self.batch_size,
            },
            eval_batch_size: self.eval_batch_size,
        }
    }

    fn check(&self, table: &str) -> Result<(), TargetsError> {
        let fault = |field, message: &str| {
            Err(TargetsError::Value {
                table: table.to_string(),
                field,
                message: message.to_string(),
            })
        };
        for (field, value) in [("validation", self.validation), ("test", self.test)] {
            if !value.is_finite() {
                return fault(field, "must be a finite number");
            }
        }
        if !(self.budget_seconds > 0.0 && self.budget_seconds.is_finite()) {
            return fault("budget_seconds", "must be a positive number");
        }
        for (field, value) in [
            ("eval_every_work", self.eval_every_work),
            ("step_hint", self.step_hint),
            ("batch_size", self.batch_size as u64),
            ("eval_batch_size", self.eval_batch_size as u64),
        ] {
            if value == 0 {
                return fault(field, "must be at least 1");
            }
        }
        if self.budget_work < self.eval_every_work {
            return fault("budget_work", "must be at least `eval_every_work`");
        }
        if self.provenance.trim().is_empty() {
            return fault("provenance", "must say how the values were set");
        }
        Ok(())
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets(BTreeMap<String, TargetEntry>);

impl Targets {
    /// Reads and checks the text of a `targets.toml`.
    pub fn parse(text: &str) -> Result<Self, TargetsError> {
        let tables: BTreeMap<String, TargetEntry> =
            toml::from_str(text).map_err(|e| TargetsError::Parse(e.to_string()))?;
        for (table, entry) in &tables {
            entry.check(table)?;
        }
        Ok(Self(tables))
    }

    /// The file that this build carries.
    pub fn embedded() -> Result<Self, TargetsError> {
        Self::parse(include_str!("../targets.toml"))
    }

    /// What is said of the workload `name`.
    pub fn entry(&self, name: &str) -> Result<TargetEntry, TargetsError> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| TargetsError::Missing(name.to_string()))
    }

    /// Names of the tables, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_describes_exactly_the_workloads_of_the_table() {
        let targets = Targets::embedded().unwrap();
        let mut names: Vec<&str> = crate::names().collect();
        names.sort_unstable();
        assert_eq!(targets.names().collect::<Vec<_>>(), names);
    }

    #[test]
    fn faults_are_named() {
        let text = include_str!("../targets.toml");
        let missing = Targets::parse(text).unwrap().entry("nothing").unwrap_err();
        assert!(missing.to_string().contains("[nothing]"), "{missing}");

        let misspelt = text.replacen("batch_size", "batchsize", 1);
        let error = Targets::parse(&misspelt).unwrap_err().to_string();
        assert!(error.contains("batchsize"), "{error}");

        let zero = with_value(text, "eval_every_work = ", "0");
        let error = Targets::parse(&zero).unwrap_err().to_string();
        assert!(error.contains("`eval_every_work`"), "{error}");

        let nan = with_value(text, "\nvalidation = ", "nan");
        let error = Targets::parse(&nan).unwrap_err().to_string();
        assert!(error.contains("`validation`"), "{error}");
    }

    /// Replaces the value behind the first `key` by `value`.
    fn with_value(text: &str, key: &str, value: &str) -> String {
        let at = text.find(key).unwrap() + key.len();
        let end = at + text[at..].find('\n').unwrap();
        format!("{}{value}{}", &text[..at], &text[end..])
    }
}

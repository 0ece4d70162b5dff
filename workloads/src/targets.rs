//! Targets, budgets, cadence and hints of the workloads: data, not code (`workloads/targets/`, one
//! file for each base workload with its variants).

use serde::Deserialize;
use std::collections::BTreeMap;
use velodrome_harness::contract::{DataSource, Hints, Size, Track, WorkloadSpec};
use velodrome_results::{Budget, Direction, Target};

/// Why a file of targets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// It is not the TOML that is expected.
    #[error("{file}: {message}")]
    Parse {
        /// The file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// A workload has no table in it.
    #[error("{file}: there is no table [{table}]; run the target-setting procedure and add it")]
    Missing {
        /// The file.
        file: String,
        /// The workload.
        table: String,
    },
    /// A value makes no sense.
    #[error("{file}: table [{table}], field `{field}`: {message}")]
    Value {
        /// The file.
        file: String,
        /// The workload.
        table: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// What a file of targets says of one workload.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetEntry {
    /// The workload's version, from 1.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Name of the metric, one of the model's measures.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
    /// Value to reach on the validation split.
    pub validation: f64,
    /// Value to reach on the test split.
    pub test: f64,
    /// The largest share of the model's elements that may train, above 0 and at most 1; all where
    /// absent.
    #[serde(default)]
    pub trainable_share: Option<f64>,
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

fn first_version() -> u32 {
    1
}

/// The words of a workload that its own file writes; the numbers come from a [`TargetEntry`].
pub(crate) struct Words<'a> {
    pub name: &'a str,
    pub base: &'a str,
    pub change: Option<&'a str>,
    pub drawn: bool,
    pub kind: &'a str,
    pub size: Size,
    pub summary: &'a str,
    pub data: DataSource,
    pub model: String,
    pub parameters: usize,
    pub loss: &'a str,
    pub unit: &'a str,
    pub split_sizes: [usize; 3],
}

impl TargetEntry {
    /// A workload's description: its `words` and these numbers.
    pub(crate) fn describe(self, words: Words<'_>) -> WorkloadSpec {
        WorkloadSpec {
            name: words.name.to_string(),
            version: self.version,
            base: words.base.to_string(),
            change: words.change.map(str::to_string),
            drawn: words.drawn,
            kind: words.kind.to_string(),
            size: words.size,
            summary: words.summary.to_string(),
            track: Track::Pretrain,
            data: words.data,
            model: words.model,
            parameters: words.parameters,
            loss: words.loss.to_string(),
            unit: words.unit.to_string(),
            split_sizes: words.split_sizes,
            target: Target {
                metric: self.metric,
                direction: self.direction,
                validation: self.validation,
                test: self.test,
                trainable_share: self.trainable_share,
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

    fn check(&self, file: &str, table: &str) -> Result<(), TargetsError> {
        let fault = |field, message: &str| {
            Err(TargetsError::Value {
                file: file.to_string(),
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
            ("version", u64::from(self.version)),
            ("eval_every_work", self.eval_every_work),
            ("step_hint", self.step_hint),
            ("batch_size", self.batch_size as u64),
            ("eval_batch_size", self.eval_batch_size as u64),
        ] {
            if value == 0 {
                return fault(field, "must be at least 1");
            }
        }
        if self.trainable_share.is_some_and(|s| !(s > 0.0 && s <= 1.0)) {
            return fault("trainable_share", "must be above 0 and at most 1");
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

/// A whole file: a base workload and its variants.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets {
    file: String,
    tables: BTreeMap<String, TargetEntry>,
}

impl Targets {
    /// Reads and checks `text`, the file of the base workload `base`.
    pub fn parse(base: &str, text: &str) -> Result<Self, TargetsError> {
        let file = format!("targets/{base}.toml");
        let tables: BTreeMap<String, TargetEntry> =
            toml::from_str(text).map_err(|e| TargetsError::Parse {
                file: file.clone(),
                message: e.to_string(),
            })?;
        for (table, entry) in &tables {
            entry.check(&file, table)?;
        }
        Ok(Self { file, tables })
    }

    /// What is said of the workload `name`.
    pub fn entry(&self, name: &str) -> Result<TargetEntry, TargetsError> {
        let missing = || TargetsError::Missing {
            file: self.file.clone(),
            table: name.to_string(),
        };
        self.tables.get(name).cloned().ok_or_else(missing)
    }

    /// Names of the tables, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_describes_exactly_the_workloads_of_its_family() {
        for family in crate::TABLE {
            let targets = family.targets().unwrap();
            let mut names = family.names();
            names.sort_unstable();
            assert_eq!(targets.names().collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn faults_are_named() {
        let text = include_str!("../targets/digits_mlp.toml");
        let parse = |text: &str| Targets::parse("digits_mlp", text);
        let missing = parse(text).unwrap().entry("nothing").unwrap_err();
        assert!(missing.to_string().contains("[nothing]"), "{missing}");

        let misspelt = text.replacen("batch_size", "batchsize", 1);
        let error = parse(&misspelt).unwrap_err().to_string();
        assert!(error.contains("batchsize"), "{error}");
        assert!(error.contains("targets/digits_mlp.toml"), "{error}");

        let zero = with_value(text, "eval_every_work = ", "0");
        let error = parse(&zero).unwrap_err().to_string();
        assert!(error.contains("`eval_every_work`"), "{error}");

        let nan = with_value(text, "\nvalidation = ", "nan");
        let error = parse(&nan).unwrap_err().to_string();
        assert!(error.contains("`validation`"), "{error}");
    }

    /// Replaces the value behind the first `key` by `value`.
    fn with_value(text: &str, key: &str, value: &str) -> String {
        let at = text.find(key).unwrap() + key.len();
        let end = at + text[at..].find('\n').unwrap();
        format!("{}{value}{}", &text[..at], &text[end..])
    }
}

//! Hyperparameters: points and the spaces that they are drawn from.

use super::error::SubmissionError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One choice of hyperparameters, by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Point(pub BTreeMap<String, f64>);

impl Point {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Result<f64, SubmissionError> {
        self.0
            .get(name)
            .copied()
            .ok_or_else(|| SubmissionError::Hyperparameter {
                name: name.to_string(),
                message: "is not in the point; the submission's search space must list it".into(),
            })
    }
}

/// How one hyperparameter is drawn from a number `u` in `[0, 1)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scale")]
pub enum Range {
    /// `low + u (high - low)`.
    Uniform {
        /// Low end.
        low: f64,
        /// High end.
        high: f64,
    },
    /// `low (high / low)^u`; both ends positive.
    LogUniform {
        /// Low end.
        low: f64,
        /// High end.
        high: f64,
    },
    /// `1 - low (high / low)^u`: the usual scale for decay rates such as beta1, where `low` and
    /// `high` bound the complement `1 - beta`.
    OneMinusLogUniform {
        /// Low end of the complement.
        low: f64,
        /// High end of the complement.
        high: f64,
    },
    /// One of the values, each with the same probability.
    Choice {
        /// The values.
        values: Vec<f64>,
    },
    /// Not tuned: always the default.
    Fixed,
}

/// One hyperparameter of a search space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// Its name.
    pub name: String,
    /// How it is drawn.
    pub range: Range,
    /// Its value in the default point.
    pub default: f64,
}

/// The hyperparameters of a submission, in order, each with its range and default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchSpace(pub Vec<Dimension>);

impl SearchSpace {
    /// An empty space: nothing to tune.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &str, range: Range, default: f64) -> Self {
        self.0.push(Dimension {
            name: name.to_string(),
            range,
            default,
        });
        self
    }

    /// Adds a hyperparameter drawn uniformly from `low..high`.
    pub fn uniform(self, name: &str, low: f64, high: f64, default: f64) -> Self {
        self.with(name, Range::Uniform { low, high }, default)
    }

    /// Adds a hyperparameter drawn log-uniformly from `low..high`.
    pub fn log_uniform(self, name: &str, low: f64, high: f64, default: f64) -> Self {
        self.with(name, Range::LogUniform { low, high }, default)
    }

    /// Adds a hyperparameter whose complement `1 - x` is drawn log-uniformly from `low..high`.
    pub fn one_minus_log_uniform(self, name: &str, low: f64, high: f64, default: f64) -> Self {
        self.with(name, Range::OneMinusLogUniform { low, high }, default)
    }

    /// Adds a hyperparameter drawn from a list of values.
    pub fn choice(self, name: &str, values: &[f64], default: f64) -> Self {
        let values = values.to_vec();
        self.with(name, Range::Choice { values }, default)
    }

    /// Adds a hyperparameter that is not tuned.
    pub fn fixed(self, name: &str, value: f64) -> Self {
        self.with(name, Range::Fixed, value)
    }

    /// The point of all defaults.
    pub fn default_point(&self) -> Point {
        Point(self.0.iter().map(|d| (d.name.clone(), d.default)).collect())
    }

    /// Names of all hyperparameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|d| d.name.as_str())
    }

    /// Checks names (no repeats), ranges (ordered, positive where logarithmic) and defaults
    /// (finite). Returns one sentence per fault.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (i, d) in self.0.iter().enumerate() {
            if self.0[..i].iter().any(|other| other.name == d.name) {
                faults.push(format!("hyperparameter `{}` is listed twice", d.name));
            }
            if !d.default.is_finite() {
                faults.push(format!("default of `{}` is not finite", d.name));
            }
            let ordered = |low: f64, high: f64| low < high && low.is_finite() && high.is_finite();
            let sound = match &d.range {
                Range::Uniform { low, high } => ordered(*low, *high),
                Range::LogUniform { low, high } => *low > 0.0 && ordered(*low, *high),
                Range::OneMinusLogUniform { low, high } => {
                    *low > 0.0 && *high <= 1.0 && ordered(*low, *high)
                }
                Range::Choice { values } => {
                    !values.is_empty() && values.iter().all(|v| v.is_finite())
                }
                Range::Fixed => true,
            };
            if !sound {
                faults.push(format!("range of `{}` is not sound: {:?}", d.name, d.range));
            }
        }
        faults
    }
}

impl Range {
    /// The value for `u` in `[0, 1)`; `default` is what a fixed range gives.
    pub fn at(&self, u: f64, default: f64) -> f64 {
        let log = |low: f64, high: f64| low * (high / low).powf(u);
        match self {
            Range::Uniform { low, high } => low + u * (high - low),
            Range::LogUniform { low, high } => log(*low, *high),
            Range::OneMinusLogUniform { low, high } => 1.0 - log(*low, *high),
            Range::Choice { values } => {
                let i = (u * values.len() as f64) as usize;
                values.get(i).or(values.last()).copied().unwrap_or(default)
            }
            Range::Fixed => default,
        }
    }
}

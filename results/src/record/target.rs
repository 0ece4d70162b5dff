//! What a trial is to reach, and what it may use for it.

use crate::measures::{self, Measures};
use serde::{Deserialize, Serialize};

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

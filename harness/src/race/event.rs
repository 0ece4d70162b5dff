//! What happens in a race, as data. The runner emits events; reporters consume them.

use serde::{Deserialize, Serialize};
use velodrome_results::Status;

/// One event of a run. As JSON, one object per line with the member `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins (or continues).
    RunStarted {
        /// Suite.
        suite: String,
        /// Run directory.
        path: String,
        /// Planned trials.
        trials: usize,
        /// Trials that were complete before.
        complete: usize,
    },
    /// A trial begins (or continues).
    TrialStarted {
        /// Trial.
        id: String,
        /// Its number in the plan, from 1.
        number: usize,
        /// Planned trials.
        of: usize,
        /// Whether it continues from a checkpoint.
        resumed: bool,
    },
    /// A trial is alive; sent at most some times a second.
    Progress {
        /// Trial.
        id: String,
        /// Steps so far.
        step: u64,
        /// Work so far.
        work: u64,
        /// Work budget.
        budget_work: u64,
        /// Seconds on the submission clock.
        clock: f64,
    },
    /// An evaluation ended.
    Evaluated {
        /// Trial.
        id: String,
        /// Steps so far.
        step: u64,
        /// Work so far.
        work: u64,
        /// Seconds on the submission clock.
        clock: f64,
        /// Metric of the target.
        metric: String,
        /// Its value on the validation split.
        #[serde(with = "velodrome_results::measures::real")]
        value: f64,
        /// The validation target.
        #[serde(with = "velodrome_results::measures::real")]
        target: f64,
    },
    /// Something worth a reader's attention.
    Warning {
        /// Trial.
        id: String,
        /// One sentence.
        message: String,
    },
    /// A trial ended.
    TrialEnded {
        /// Trial.
        id: String,
        /// Its number in the plan, from 1.
        number: usize,
        /// Planned trials.
        of: usize,
        /// How.
        status: Status,
        /// Seconds to target, where reached.
        time_to_target: Option<f64>,
        /// Steps to target, where reached.
        steps_to_target: Option<u64>,
        /// Best validation metric.
        best: Option<f64>,
        /// Why, for a failure.
        reason: Option<String>,
    },
    /// The run ended; what is in the directory now.
    RunEnded {
        /// Run directory.
        path: String,
        /// Trials by status.
        counts: Vec<(Status, usize)>,
        /// Whether it was interrupted; the same command continues it.
        interrupted: bool,
    },
}

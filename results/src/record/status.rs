//! How a trial stands, and what ended it.

use serde::{Deserialize, Serialize};

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

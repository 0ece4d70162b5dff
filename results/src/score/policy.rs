//! The named choices that a scoring procedure leaves open.

use std::fmt;
use std::str::FromStr;

/// Which trial of a study counts, among those that reached the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// The shortest time to target (the rule as AlgoPerf's text states it).
    #[default]
    MinTime,
    /// The fewest evaluations to target (what AlgoPerf's code does); ties go to the shortest time.
    EvalIndexTieMinTime,
    /// The fewest evaluations to target; ties go to the lowest trial number.
    EvalIndexTieLowestTrial,
    /// The fewest evaluations to target; ties go to the longest time.
    EvalIndexTieMaxTime,
}

impl Policy {
    /// All policies.
    pub const ALL: [Policy; 4] = [
        Policy::MinTime,
        Policy::EvalIndexTieMinTime,
        Policy::EvalIndexTieLowestTrial,
        Policy::EvalIndexTieMaxTime,
    ];

    /// The name on the command line and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::MinTime => "min_time",
            Policy::EvalIndexTieMinTime => "eval_index_tie_min_time",
            Policy::EvalIndexTieLowestTrial => "eval_index_tie_lowest_trial",
            Policy::EvalIndexTieMaxTime => "eval_index_tie_max_time",
        }
    }

    /// The policy in words, for the text under a board.
    pub fn in_words(self) -> &'static str {
        match self {
            Policy::MinTime => "the fastest trial of a study counts",
            Policy::EvalIndexTieMinTime => {
                "the trial with the fewest evaluations to target counts, the fastest among equals"
            }
            Policy::EvalIndexTieLowestTrial => {
                "the trial with the fewest evaluations to target counts, the lowest number among \
                 equals"
            }
            Policy::EvalIndexTieMaxTime => {
                "the trial with the fewest evaluations to target counts, the slowest among equals"
            }
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = UnknownName;

    fn from_str(s: &str) -> Result<Self, UnknownName> {
        Policy::ALL
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or_else(|| UnknownName {
                kind: "policy",
                found: s.to_string(),
                known: Policy::ALL.map(Policy::as_str).join(", "),
            })
    }
}

/// How the area under the performance profile is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Integration {
    /// The integral of the step function itself.
    #[default]
    Exact,
    /// The trapezoid rule on so many evenly spaced points (AlgoPerf's code uses 100). Per
    /// workload it differs from the exact value by at most 1 / (2 (N - 1)) of that workload's
    /// share of the score.
    Trapezoid(usize),
}

impl fmt::Display for Integration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Integration::Exact => f.pad("exact"),
            Integration::Trapezoid(points) => write!(f, "trapezoid:{points}"),
        }
    }
}

impl FromStr for Integration {
    type Err = UnknownName;

    fn from_str(s: &str) -> Result<Self, UnknownName> {
        if s == "exact" {
            return Ok(Integration::Exact);
        }
        s.strip_prefix("trapezoid:")
            .and_then(|n| n.parse().ok())
            .filter(|n| *n >= 2)
            .map(Integration::Trapezoid)
            .ok_or_else(|| UnknownName {
                kind: "integration",
                found: s.to_string(),
                known: "exact, trapezoid:N with N of at least 2".to_string(),
            })
    }
}

/// A name that is not one of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} \"{found}\"; known are: {known}")]
pub struct UnknownName {
    /// What was named.
    pub kind: &'static str,
    /// The name that was given.
    pub found: String,
    /// The names that exist.
    pub known: String,
}

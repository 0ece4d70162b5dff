//! Two runs of one plan, before and after a change: has training got worse, slower or hungrier?
//!
//! A trial decomposes into *steps to target*, which seed and device determine, and *time per step*,
//! which is a distribution. So three questions are answered apart, for each row (workload, submission
//! and hyperparameter point) and for the whole:
//!
//! - **learning**: steps to target, or the best metric where targets are missed;
//! - **speed**: seconds per step;
//! - **memory**: bytes of the submission's state, and the peak of the process.
//!
//! `docs/comparison.md` has the noise model behind the numbers.

mod claims;
mod drift;
mod judge;
mod junit;
mod looks;
mod pairs;
mod ride;
pub mod simulate;
pub mod stats;

pub use junit::junit;
pub use looks::Looks;
pub use pairs::{CompareError, Note};

use crate::run::Run;
use crate::trace::Evaluation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a comparison says of a row or of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The candidate is as good, within the threshold.
    Same,
    /// It is better, by more than chance and the threshold.
    Improved,
    /// There are too few runs, or they scatter too much, to say.
    Inconclusive,
    /// It is worse, by more than chance and the threshold.
    Regressed,
}

impl Verdict {
    /// The word that tables and JSON use.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Improved => "improved",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Regressed => "regressed",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Steps to target, or the best metric.
    Learning,
    /// Seconds per step.
    Speed,
    /// Bytes.
    Memory,
}

impl Question {
    /// All questions, in the order of tables.
    pub const ALL: [Question; 3] = [Question::Learning, Question::Speed, Question::Memory];

    /// The word that tables and JSON use.
    pub fn as_str(self) -> &'static str {
        match self {
            Question::Learning => "learning",
            Question::Speed => "speed",
            Question::Memory => "memory",
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What counts as a change, and how sure one must be of it. Shares are of the base: 0.05 is 5 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CompareOptions {
    /// Probability that an unchanged candidate gets any `regressed` at all, over all rows and
    /// questions; the same for `improved`.
    pub family_error: f64,
    /// Coverage of the intervals.
    pub confidence: f64,
    /// More steps to target, or a worse best metric, by this share are a change.
    pub learning: f64,
    /// A longer step by this share is a change.
    pub speed: f64,
    /// How much the machine may have drifted between two runs that were not interleaved; a change
    /// of speed counts only beyond it. 0 for interleaved trials.
    pub drift: f64,
    /// More bytes of state by this share are a change.
    pub memory: f64,
    /// A higher peak of the process by this share is a change.
    pub peak: f64,
    /// Compare runs of different machines: learning and memory alone are judged then.
    pub allow_mixed: bool,
    /// Seed of sampled permutations.
    pub seed: u64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            family_error: 0.01,
            confidence: 0.95,
            learning: 0.05,
            speed: 0.03,
            drift: 0.1,
            memory: 0.01,
            peak: 0.1,
            allow_mixed: false,
            seed: 0,
        }
    }
}

impl CompareOptions {
    /// Whether each option lies in its range.
    ///
    /// # Errors
    /// [`CompareError::Option`], which names the first that does not.
    pub fn check(&self) -> Result<(), CompareError> {
        let between = |option, found: f64| {
            if found > 0.0 && found < 1.0 {
                return Ok(());
            }
            let expected = "between 0 and 1";
            Err(CompareError::Option {
                option,
                found,
                expected,
            })
        };
        between("family_error", self.family_error)?;
        between("confidence", self.confidence)?;
        for (option, found) in [
            ("learning", self.learning),
            ("speed", self.speed),
            ("drift", self.drift),
            ("memory", self.memory),
            ("peak", self.peak),
        ] {
            if !(found >= 0.0 && found.is_finite()) {
                let expected = "a share of at least 0";
                return Err(CompareError::Option {
                    option,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// The answer to one question about a row, or about all rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Verdict.
    pub verdict: Verdict,
    /// What was measured ("steps to target", "seconds per step"…).
    pub measure: String,
    /// Pairs, or runs of the smaller side where the sides share no seeds.
    pub runs: usize,
    /// Candidate over base: above 1 is worse. `None` where nothing can be compared.
    pub ratio: Option<f64>,
    /// Interval of [`Self::ratio`] with the stated coverage; `None` where there are too few runs.
    pub interval: Option<(f64, f64)>,
    /// Probability of so much worse a candidate if nothing had changed, adjusted for the number of
    /// tests; `None` where nothing was left to chance.
    pub p_worse: Option<f64>,
    /// The same for better.
    pub p_better: Option<f64>,
    /// Why, in one sentence.
    pub reason: String,
}

impl Answer {
    /// [`Self::ratio`] as a change, for example `+5.0 %`; a dash where there is none.
    pub fn change(&self) -> String {
        self.ratio.map_or("-".into(), change)
    }

    /// [`Self::interval`] as changes, for example `+1.0 % to +9.0 %`; a dash where there is none.
    pub fn interval_words(&self) -> String {
        let Some((low, high)) = self.interval else {
            return "-".into();
        };
        let (low, high) = (change(low), change(high));
        if low == high {
            low
        } else {
            format!("{low} to {high}")
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (change, interval) = (self.change(), self.interval_words());
        write!(f, "{} ({} runs): {change}", self.measure, self.runs)?;
        match self.interval {
            Some(_) => write!(f, ", interval {interval}"),
            None => Ok(()),
        }
    }
}

/// A ratio as a change in per cent: 1.05 is `+5.0 %`.
pub fn change(ratio: f64) -> String {
    format!("{:+.1} %", 100.0 * (ratio - 1.0))
}

/// One workload, submission and hyperparameter point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Workload.
    pub workload: String,
    /// Submission.
    pub submission: String,
    /// Hyperparameters.
    pub point: BTreeMap<String, f64>,
    /// The worst of the answers.
    pub verdict: Verdict,
    /// Whether any trial with equal seeds went otherwise, by however little. `None` where no seeds
    /// are shared.
    pub changed: Option<bool>,
    /// The answers; a question that was not judged is not there.
    pub answers: BTreeMap<Question, Answer>,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The verdict on the whole: the worst answer of the whole.
    pub verdict: Verdict,
    /// The answers of all rows together: regressed where any row is, else those of all rows as one
    /// sample.
    pub answers: BTreeMap<Question, Answer>,
    /// The rows, by workload, submission and point.
    pub rows: Vec<Row>,
    /// What else the reader must know: trials without a partner, settings that differ, failures.
    pub notes: Vec<Note>,
    /// The drift beyond which a change of speed counted: the option, or what the runs themselves show
    /// where that is more.
    pub drift: f64,
    /// The settings.
    pub options: CompareOptions,
}

impl Comparison {
    /// Adds a note.
    pub fn note(&mut self, code: &str, message: String) {
        self.notes.push(Note::new(code, message));
    }

    /// Names of the rows, in their order: submission and workload, and the point where several rows
    /// share both.
    pub fn names(&self) -> Vec<String> {
        let mut count: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for row in &self.rows {
            *count.entry((&row.submission, &row.workload)).or_default() += 1;
        }
        let name = |row: &Row| {
            let name = format!("{} on {}", row.submission, row.workload);
            if count[&(row.submission.as_str(), row.workload.as_str())] == 1 {
                return name;
            }
            let point = row.point.iter().map(|(k, v)| format!("{k} {v:.4e}"));
            format!("{name} ({})", point.collect::<Vec<_>>().join(", "))
        };
        self.rows.iter().map(name).collect()
    }
}

/// Compares two runs; of the evaluations it needs the traces alone (`Run::<Trace>::read_as`).
///
/// # Errors
/// [`CompareError`] where the runs cannot be compared: a setting out of range, damaged trials, other
/// workloads' settings, other machines (unless allowed), the same seeds twice, or nothing in common.
pub fn compare<E: Evaluation>(
    base: &Run<E>,
    candidate: &Run<E>,
    options: &CompareOptions,
) -> Result<Comparison, CompareError> {
    options.check()?;
    let paired = pairs::pair(base, candidate, options)?;
    Ok(judge::judge(paired, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_signed_shares() {
        assert_eq!(change(1.05), "+5.0 %");
        assert_eq!(change(0.5), "-50.0 %");
        assert_eq!(change(1.0), "+0.0 %");
    }
}

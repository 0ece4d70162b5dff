//! The plain table of trials, and the times of its studies.

use super::{Cell, Matrix, Policy};
use crate::record::Status;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Why a table cannot be scored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScoreError {
    /// A trial names a submission or workload that the table does not list.
    #[error(
        "a trial names {kind} number {found}, but the table lists only {known}; numbers count from 0"
    )]
    Index {
        /// "submission" or "workload".
        kind: &'static str,
        /// The number that the trial names.
        found: usize,
        /// How many the table lists.
        known: usize,
    },
    /// The same trial is there twice.
    #[error("{place} is in the table twice; a trial counts once")]
    Duplicate {
        /// Submission, workload, study and trial in words.
        place: String,
    },
    /// A time that is NaN, negative, or infinite where a finite one is due.
    #[error("{place}: the time to target is {time}; it must be a number of seconds from 0 up")]
    Time {
        /// The trial or cell in words.
        place: String,
        /// The time.
        time: f64,
    },
    /// The rows of a matrix differ in length.
    #[error("submission {submission} has {found} workloads, but the first one has {expected}")]
    Shape {
        /// Row of the submission, from 0.
        submission: usize,
        /// Cells in its row.
        found: usize,
        /// Cells in the first row.
        expected: usize,
    },
    /// A setting outside its range.
    #[error("{setting} is {found}, but it must be {expected}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The value given.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
}

/// When a trial reached its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Seconds on the submission clock at the first evaluation that met the target.
    pub time: f64,
    /// Number of that evaluation, from 0.
    pub index: u64,
    /// Training steps taken by then, where known.
    pub steps: Option<u64>,
}

/// One trial that was raced and could be read. A trial that is not in the table is absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialRow {
    /// Position in [`Table::submissions`].
    pub submission: usize,
    /// Position in [`Table::workloads`].
    pub workload: usize,
    /// Study number.
    pub study: u32,
    /// Trial number within the study.
    pub trial: u32,
    /// How it ended.
    pub status: Status,
    /// When it reached the target; `None` when it never did (an infinite time).
    pub reached: Option<Reach>,
}

/// Trials of some submissions on some workloads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Names of the submissions, in order.
    pub submissions: Vec<String>,
    /// Names of the workloads, in order, held-out ones included.
    pub workloads: Vec<String>,
    /// The trials, in any order.
    pub trials: Vec<TrialRow>,
}

/// The time of one study of one submission on one workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StudyTime {
    /// Study number.
    pub study: u32,
    /// Seconds; infinite when no trial of the study reached the target.
    pub time: f64,
    /// The trial that counts, as a position in [`Table::trials`]; `None` when none reached it.
    pub row: Option<usize>,
}

/// The study times of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StudyTimes {
    /// By submission, then workload: the studies that exist, in order of their numbers.
    pub cells: Vec<Vec<Vec<StudyTime>>>,
}

impl Table {
    /// Selects, in every study, the trial that counts.
    ///
    /// # Errors
    /// [`ScoreError`] when a trial is listed twice, names a submission or workload that is not
    /// listed, or has a time that is not a number of seconds.
    pub fn study_times(&self, policy: Policy) -> Result<StudyTimes, ScoreError> {
        let mut studies: BTreeMap<(usize, usize, u32), Vec<usize>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (i, row) in self.trials.iter().enumerate() {
            self.check(row)?;
            if !seen.insert((row.submission, row.workload, row.study, row.trial)) {
                return Err(ScoreError::Duplicate {
                    place: self.place(row),
                });
            }
            studies
                .entry((row.submission, row.workload, row.study))
                .or_default()
                .push(i);
        }
        let mut cells = vec![vec![Vec::new(); self.workloads.len()]; self.submissions.len()];
        for ((submission, workload, study), rows) in studies {
            let selected = rows
                .iter()
                .filter_map(|&i| Some((i, self.trials[i].trial, self.trials[i].reached?)))
                .min_by(|a, b| order(policy, (a.1, a.2), (b.1, b.2)));
            cells[submission][workload].push(StudyTime {
                study,
                time: selected.map_or(f64::INFINITY, |(_, _, reach)| reach.time),
                row: selected.map(|(i, _, _)| i),
            });
        }
        Ok(StudyTimes { cells })
    }

    /// Submission, workload, study and trial of a row in words.
    fn place(&self, row: &TrialRow) -> String {
        let name = |names: &[String], i: usize| names.get(i).cloned().unwrap_or_default();
        format!(
            "{} on {}, study {}, trial {}",
            name(&self.submissions, row.submission),
            name(&self.workloads, row.workload),
            row.study,
            row.trial
        )
    }

    fn check(&self, row: &TrialRow) -> Result<(), ScoreError> {
        for (kind, found, known) in [
            ("submission", row.submission, self.submissions.len()),
            ("workload", row.workload, self.workloads.len()),
        ] {
            if found >= known {
                return Err(ScoreError::Index { kind, found, known });
            }
        }
        match row.reached {
            Some(reach) if !(reach.time.is_finite() && reach.time >= 0.0) => {
                Err(ScoreError::Time {
                    place: self.place(row),
                    time: reach.time,
                })
            }
            _ => Ok(()),
        }
    }
}

/// Which of two trials that reached the target comes first under `policy`.
fn order(policy: Policy, a: (u32, Reach), b: (u32, Reach)) -> Ordering {
    let time = a.1.time.total_cmp(&b.1.time);
    let index = a.1.index.cmp(&b.1.index);
    let trial = a.0.cmp(&b.0);
    match policy {
        Policy::MinTime => time.then(trial),
        Policy::EvalIndexTieMinTime => index.then(time).then(trial),
        Policy::EvalIndexTieLowestTrial => index.then(trial),
        Policy::EvalIndexTieMaxTime => index.then(time.reverse()).then(trial),
    }
}

impl StudyTimes {
    /// The study numbers that occur anywhere, in order.
    pub fn studies(&self) -> Vec<u32> {
        let all: BTreeSet<u32> = self
            .cells
            .iter()
            .flatten()
            .flatten()
            .map(|s| s.study)
            .collect();
        all.into_iter().collect()
    }

    /// Median over the studies that exist in each cell, in seconds. There is no padding: a cell
    /// with two studies has the median of two.
    pub fn medians(&self) -> Matrix {
        self.map(|studies| median(studies.iter().map(|s| s.time).collect()))
    }

    /// The same over a draw of study numbers, in which a number may occur several times; a number
    /// that a cell lacks is left out of that cell's median.
    pub fn medians_of(&self, draw: &[u32]) -> Matrix {
        self.map(|studies| {
            let times = draw.iter().filter_map(|n| {
                let at = studies.binary_search_by_key(n, |s| s.study).ok()?;
                Some(studies[at].time)
            });
            median(times.collect())
        })
    }

    fn map(&self, f: impl Fn(&[StudyTime]) -> Cell) -> Matrix {
        self.cells
            .iter()
            .map(|row| row.iter().map(|studies| f(studies)).collect())
            .collect()
    }
}

/// Median: the middle value, or the mean of the two middle ones (so one infinite among two gives
/// infinity); `None` of nothing.
pub fn median(mut values: Vec<f64>) -> Cell {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[middle - 1] + upper) / 2.0)
}

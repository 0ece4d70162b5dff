//! The history of a program: what each of its commits needed, as one Parquet file that only grows.
//!
//! One row per run, workload and submission, with the medians of its trials. A series is what one
//! workload and submission needed under one ruleset, commit after commit; all of it comes from one
//! machine and one set of rules, or its steps would say nothing of the program.

mod change;
mod table;

pub use change::{Change, changes};
pub use table::read;

use crate::assemble::{Value, machine_fields, setting_fields};
use crate::compare::Verdict;
use crate::compare::stats::median;
use crate::error::RecordError;
use crate::record::{Outcome, Status, TrialRecord};
use crate::run::Run;
use crate::tables::TableError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a history could not be read or may not grow.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file or a record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The table could not be encoded.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Trials without an end, or damaged ones.
    #[error("{run} is not whole: {trial} {what}; finish it first")]
    Unfinished {
        /// The run.
        run: PathBuf,
        /// The trial.
        trial: String,
        /// What is wrong with it.
        what: String,
    },
    /// The same trials once more.
    #[error("{run} is in the history already, as commit {commit}")]
    Twice {
        /// The run.
        run: PathBuf,
        /// The commit that it was added as.
        commit: String,
    },
    /// Another machine, or other rules, in one series.
    #[error(
        "{series}: field `{field}` is {found}, but {held} in the history; keep one file for each \
         machine and each set of rules"
    )]
    OtherSeries {
        /// Submission and workload.
        series: String,
        /// The field.
        field: String,
        /// Its value in the run, and the run.
        found: String,
        /// Its value in the history.
        held: String,
    },
}

/// What is kept of a run's trials on one workload, by one submission. Medians are over trials; a target
/// that was missed counts as infinite, so that a median is absent where half of the trials missed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The commit.
    pub commit: String,
    /// When it was added: seconds since the beginning of 1970 (UTC).
    pub added: f64,
    /// Hashes of the run's trials, in short: the same run is not added twice.
    pub run: String,
    /// What `compare` said of the commit, where that is known.
    pub verdict: Option<Verdict>,
    /// Workload.
    pub workload: String,
    /// Submission.
    pub submission: String,
    /// `external` or `self-tuning`.
    pub ruleset: String,
    /// What must be equal in a series, by field: machine and rules.
    pub conditions: BTreeMap<String, String>,
    /// Trials.
    pub trials: u64,
    /// Trials that reached the target.
    pub reached: u64,
    /// Medians, by metric: see [`METRICS`].
    pub medians: BTreeMap<String, f64>,
}

/// A function of an outcome.
type Measure = fn(&Outcome) -> Option<f64>;

/// The metrics of a history, with their units: name, unit, value of a trial.
pub const METRICS: [(&str, &str, Measure); 6] = [
    ("steps_to_target", "steps", |o| {
        Some(infinite(o.steps_to_target.map(|s| s as f64)))
    }),
    ("time_to_target", "seconds", |o| {
        Some(infinite(o.time_to_target))
    }),
    ("seconds_per_step", "seconds", |o| {
        Some(o.step_times.mean).filter(|s| *s > 0.0)
    }),
    ("best_validation", "as the target", |o| o.best_validation),
    (STATE, "bytes", |o| Some(o.state_bytes as f64)),
    ("peak_memory_bytes", "bytes", |o| {
        o.peak_memory_bytes.map(|b| b as f64)
    }),
];

/// The metric that chance has no part in.
const STATE: &str = "state_bytes";

fn infinite(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::INFINITY)
}

/// What a run adds to a history, one entry for each workload and submission.
///
/// # Errors
/// [`HistoryError::Unfinished`], and [`HistoryError::OtherSeries`] where trials of one row differ in
/// machine or rules.
pub fn entries(
    run: &Run,
    commit: &str,
    added: f64,
    verdict: Option<Verdict>,
) -> Result<Vec<Entry>, HistoryError> {
    let unfinished = |trial: &str, what: String| HistoryError::Unfinished {
        run: run.path.clone(),
        trial: trial.into(),
        what,
    };
    if let Some((trial, error)) = run.damaged.first() {
        return Err(unfinished(trial, format!("is damaged ({error})")));
    }
    if let Some(trial) = run.missing.first() {
        return Err(unfinished(trial, "has no record".into()));
    }
    let running = |s: Status| !s.is_final();
    if let Some(trial) = run.trials.iter().find(|t| running(t.record.status)) {
        return Err(unfinished(&trial.record.id, "has not ended".into()));
    }
    let mut rows: BTreeMap<(&str, &str, &str), Vec<&TrialRecord>> = BTreeMap::new();
    for record in run.trials.iter().map(|t| &t.record) {
        if record.status != Status::Skipped {
            let key = (&*record.workload, &*record.submission, &*record.ruleset);
            rows.entry(key).or_default().push(record);
        }
    }
    let name = identity(run);
    let mut entries = Vec::new();
    for ((workload, submission, ruleset), records) in rows {
        let conditions = conditions(records[0]);
        let entry = Entry {
            commit: commit.into(),
            added,
            run: name.clone(),
            verdict,
            workload: workload.into(),
            submission: submission.into(),
            ruleset: ruleset.into(),
            trials: records.len() as u64,
            reached: records
                .iter()
                .filter(|r| r.status == Status::Reached)
                .count() as u64,
            medians: medians(&records),
            conditions,
        };
        for record in &records[1..] {
            same_series(&entry, &self::conditions(record), &run.path)?;
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn medians(records: &[&TrialRecord]) -> BTreeMap<String, f64> {
    let of = |(name, _, measure): &(&str, &str, Measure)| {
        let mut values: Vec<f64> = records.iter().filter_map(|r| measure(&r.outcome)).collect();
        let middle = median(&mut values).filter(|m| m.is_finite())?;
        Some((name.to_string(), middle))
    };
    METRICS.iter().filter_map(of).collect()
}

/// Machine and rules of a trial. Versions of the programs may differ along a history.
fn conditions(record: &TrialRecord) -> BTreeMap<String, String> {
    let machine = machine_fields(&record.fingerprint).into_iter();
    let machine = machine.filter(|(field, _)| !field.contains("versions"));
    let fields = machine.chain(setting_fields(record));
    let words = |(field, value): (&str, Value<'_>)| (field.to_string(), value.to_string());
    fields.map(words).collect()
}

/// A short name for the content of a run.
fn identity(run: &Run) -> String {
    let mut hash = crc32fast::Hasher::new();
    let mut total = 0.0;
    for trial in &run.trials {
        hash.update(trial.record.hash.as_bytes());
        hash.update(trial.record.id.as_bytes());
        // Two runs of one plan differ in their times.
        hash.update(&trial.record.outcome.clock.total.to_le_bytes());
        total += trial.record.outcome.clock.total;
    }
    format!("{:08x}-{}-{total:.6}", hash.finalize(), run.trials.len())
}

fn same_series(
    entry: &Entry,
    found: &BTreeMap<String, String>,
    run: &Path,
) -> Result<(), HistoryError> {
    let none = || "absent".to_string();
    let fields = entry.conditions.keys().chain(found.keys());
    for field in fields {
        let (held, found) = (entry.conditions.get(field), found.get(field));
        if held != found {
            let found = found.cloned().unwrap_or_else(none);
            return Err(HistoryError::OtherSeries {
                series: format!("{} on {}", entry.submission, entry.workload),
                field: field.clone(),
                found: format!("{found} in {}", run.display()),
                held: held.cloned().unwrap_or_else(none),
            });
        }
    }
    Ok(())
}

/// Adds a run to the history in `path`, which is made where it is missing. What is there is never
/// changed. One writer at a time: the file is written anew, whole or not at all.
///
/// # Errors
/// [`HistoryError`]; then the file is as it was.
pub fn append(
    path: &Path,
    run: &Run,
    commit: &str,
    added: f64,
    verdict: Option<Verdict>,
) -> Result<Vec<Entry>, HistoryError> {
    let mut history = if path.exists() {
        read(path)?
    } else {
        Vec::new()
    };
    let fresh = entries(run, commit, added, verdict)?;
    for entry in &fresh {
        if let Some(twin) = history.iter().find(|e| e.run == entry.run) {
            return Err(HistoryError::Twice {
                run: run.path.clone(),
                commit: twin.commit.clone(),
            });
        }
        if let Some(last) = history.iter().rfind(|e| e.series() == entry.series()) {
            same_series(last, &entry.conditions, &run.path)?;
        }
    }
    history.extend(fresh.iter().cloned());
    table::write(path, &history)?;
    Ok(fresh)
}

impl Entry {
    /// The series that the entry belongs to: submission, workload and ruleset.
    pub fn series(&self) -> (&str, &str, &str) {
        (&self.submission, &self.workload, &self.ruleset)
    }
}

/// One metric of one series, in the order of the history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Submission.
    pub submission: String,
    /// Workload.
    pub workload: String,
    /// Ruleset.
    pub ruleset: String,
    /// Commits and values, without those that have none.
    pub points: Vec<(String, f64)>,
    /// Where it changed.
    pub changes: Vec<Change>,
}

/// The series of `metric`, with the steps where it changed at `level` (0.01: one series in a hundred
/// that did not change shows a step).
pub fn series(history: &[Entry], metric: &str, level: f64) -> Vec<Series> {
    let mut found: Vec<Series> = Vec::new();
    for entry in history {
        let own = |s: &Series| (&*s.submission, &*s.workload, &*s.ruleset) == entry.series();
        let at = found.iter().position(own).unwrap_or_else(|| {
            found.push(Series {
                submission: entry.submission.clone(),
                workload: entry.workload.clone(),
                ruleset: entry.ruleset.clone(),
                points: Vec::new(),
                changes: Vec::new(),
            });
            found.len() - 1
        });
        if let Some(value) = entry.medians.get(metric) {
            found[at].points.push((entry.commit.clone(), *value));
        }
    }
    for series in &mut found {
        let values: Vec<f64> = series.points.iter().map(|p| p.1).collect();
        series.changes = changes(&values, level, metric == STATE);
    }
    found
}

//! A run directory as a whole.
//!
//! ```text
//! RUN/run.json               what was planned
//! RUN/trials/ID/trial.json   one record per trial
//! RUN/trials/ID/evals.jsonl  its evaluations
//! RUN/trials/ID/checkpoint   while it runs
//! RUN/trials/ID/stderr.log   what its process wrote to standard error
//! RUN/tables, RUN/charts, RUN/board.md, RUN/report.html   made from the records, at any time
//! ```

use crate::error::RecordError;
use crate::record::{EvalRecord, RunRecord, Status, TrialRecord};
use crate::trace::Evaluation;
use crate::{archive, log};
use rayon::prelude::*;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A trial with its evaluations, in full or as their traces.
#[derive(Debug, Clone)]
pub struct Trial<E = EvalRecord> {
    /// Where it lies.
    pub path: PathBuf,
    /// `trial.json`.
    pub record: TrialRecord,
    /// `evals.jsonl`, in order.
    pub evals: Vec<E>,
}

/// A run directory, read back.
#[derive(Debug)]
pub struct Run<E = EvalRecord> {
    /// The directory.
    pub path: PathBuf,
    /// `run.json`.
    pub record: RunRecord,
    /// The trials that have a record, in planned order.
    pub trials: Vec<Trial<E>>,
    /// Planned trials that have no record yet.
    pub missing: Vec<String>,
    /// Trials whose files are damaged, each with its error.
    pub damaged: Vec<(String, RecordError)>,
}

/// Folder of the trial `id` in the run directory `run`.
pub fn trial_dir(run: &Path, id: &str) -> PathBuf {
    run.join("trials").join(id)
}

impl Trial {
    /// Reads the trial in `path`.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        Self::read_as(path)
    }
}

impl<E: Evaluation> Trial<E> {
    /// [`Trial::read`], with evaluations in full or as their traces.
    fn read_as(path: &Path) -> Result<Self, RecordError> {
        let record = TrialRecord::read(&path.join("trial.json"))?;
        let evals_path = path.join("evals.jsonl");
        let evals = match std::fs::read(&evals_path) {
            Err(e)
                if e.kind() == ErrorKind::NotFound && record.outcome.counters.evaluations == 0 =>
            {
                Vec::new()
            }
            Err(e) => return Err(RecordError::io(&evals_path, "read", e)),
            Ok(text) if record.status == Status::Running || record.status.is_failure() => {
                log::parse_running(&evals_path, &text)?
            }
            Ok(text) => log::parse(&evals_path, &text)?,
        };
        Self::new(path.to_path_buf(), record, evals)
    }

    /// A trial of parts that were read already; refuses evaluations that are not as many as the
    /// record says.
    pub(crate) fn new(
        path: PathBuf,
        record: TrialRecord,
        evals: Vec<E>,
    ) -> Result<Self, RecordError> {
        if record.status.is_final() && record.outcome.counters.evaluations != evals.len() as u64 {
            return Err(RecordError::damaged(
                path.join("evals.jsonl"),
                None,
                format!(
                    "the file has {} evaluations, but field `outcome.counters.evaluations` of \
                     trial.json says {}",
                    evals.len(),
                    record.outcome.counters.evaluations
                ),
            ));
        }
        Ok(Self {
            path,
            record,
            evals,
        })
    }
}

/// The trial of the folder `id`, which must say that it is that one.
fn named<E>(id: &str, trial: Trial<E>) -> Result<Trial<E>, RecordError> {
    if trial.record.id == id {
        return Ok(trial);
    }
    let message = format!(
        "field `id` is \"{}\" in the folder of {id}",
        trial.record.id
    );
    Err(RecordError::damaged(
        trial.path.join("trial.json"),
        None,
        message,
    ))
}

impl Run {
    /// Reads a run directory. A damaged trial does not hide the others: it is listed in
    /// [`Self::damaged`]. Only a missing or damaged `run.json` is an error.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        Self::read_as(path)
    }
}

impl<E: Evaluation> Run<E> {
    /// [`Run::read`], with evaluations in full or as their traces, as `E` says.
    ///
    /// # Errors
    /// Those of [`Run::read`].
    pub fn read_as(path: &Path) -> Result<Self, RecordError> {
        let record = RunRecord::read(&path.join("run.json"))?;
        // A run of thousands of trials is thousands of files: all processors read.
        let found = record.trials.par_iter().map(|(id, _)| {
            let found = Trial::read_as(&trial_dir(path, id)).and_then(|t| named(id, t));
            match found {
                Err(RecordError::Io { path, source, .. })
                    if source.kind() == ErrorKind::NotFound && path.ends_with("trial.json") =>
                {
                    None
                }
                found => Some(found),
            }
        });
        let found: Vec<Option<Result<Trial<E>, RecordError>>> = found.collect();
        let mut run = Self {
            path: path.to_path_buf(),
            record,
            trials: Vec::with_capacity(found.len()),
            missing: Vec::new(),
            damaged: Vec::new(),
        };
        for ((id, _), found) in run.record.trials.iter().zip(found) {
            match found {
                None => run.missing.push(id.clone()),
                Some(Ok(trial)) => run.trials.push(trial),
                Some(Err(error)) => run.damaged.push((id.clone(), error)),
            }
        }
        Ok(run)
    }
}

/// Reads runs: folders, or archives (see [`archive`]). All processors read; an error is that of the first
/// path that has one.
///
/// # Errors
/// Those of [`Run::read`] and [`archive::read`].
pub fn read_all<E: Evaluation>(paths: &[PathBuf]) -> Result<Vec<Run<E>>, RecordError> {
    let runs = paths.par_iter().map(|path| match path.is_file() {
        true => archive::read_as(path),
        false => Run::read_as(path),
    });
    let runs: Vec<Result<Run<E>, RecordError>> = runs.collect();
    runs.into_iter().collect()
}

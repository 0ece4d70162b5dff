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
use crate::log;
use crate::record::{EvalRecord, RunRecord, Status, TrialRecord};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A trial with its evaluations.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Where it lies.
    pub path: PathBuf,
    /// `trial.json`.
    pub record: TrialRecord,
    /// `evals.jsonl`, in order.
    pub evals: Vec<EvalRecord>,
}

/// A run directory, read back.
#[derive(Debug)]
pub struct Run {
    /// The directory.
    pub path: PathBuf,
    /// `run.json`.
    pub record: RunRecord,
    /// The trials that have a record, in planned order.
    pub trials: Vec<Trial>,
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
        let record = TrialRecord::read(&path.join("trial.json"))?;
        let evals_path = path.join("evals.jsonl");
        let evals = if !evals_path.exists() && record.outcome.counters.evaluations == 0 {
            Vec::new()
        } else if record.status == Status::Running || record.status.is_failure() {
            log::read_running(&evals_path)?
        } else {
            log::read(&evals_path)?
        };
        Self::new(path.to_path_buf(), record, evals)
    }

    /// A trial of parts that were read already; refuses evaluations that are not as many as the
    /// record says.
    pub(crate) fn new(
        path: PathBuf,
        record: TrialRecord,
        evals: Vec<EvalRecord>,
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

impl Run {
    /// Reads a run directory. A damaged trial does not hide the others: it is listed in
    /// [`Self::damaged`]. Only a missing or damaged `run.json` is an error.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let record = RunRecord::read(&path.join("run.json"))?;
        let mut run = Self {
            path: path.to_path_buf(),
            record,
            trials: Vec::new(),
            missing: Vec::new(),
            damaged: Vec::new(),
        };
        // A run of thousands of trials is thousands of files: all processors read.
        let found = run.record.trials.par_iter().map(|(id, _)| {
            let dir = trial_dir(path, id);
            dir.join("trial.json").exists().then(|| Trial::read(&dir))
        });
        let found: Vec<Option<Result<Trial, RecordError>>> = found.collect();
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

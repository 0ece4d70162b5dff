//! A run as one Parquet file: small enough to commit, and read back as the run that it was.
//!
//! One row per trial, behind a first row for the run itself (`kind` is `run` or `trial`). Columns
//! for other tools: `id`, `workload`, `submission`, `study`, `trial`, `status`, `time_to_target`
//! (seconds), `steps_to_target`, `best_validation`, `state_bytes`. The records stand in `record`
//! (the text of `run.json` or `trial.json`) and `evals` (the text of `evals.jsonl`, with the
//! checksum of each line), so that nothing is lost or rounded.

use crate::error::RecordError;
use crate::files::{parse_versioned, write_shared};
use crate::log;
use crate::record::{RunRecord, TrialRecord};
use crate::run::{Run, Trial, trial_dir};
use crate::tables::{Frame, TableError};
use crate::trace::Evaluation;
use polars::prelude::{DataFrame, ParquetCompression, ParquetReader, ParquetWriter, SerReader};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Name of the table in errors.
const TABLE: &str = "records";

struct Row<'a> {
    trial: Option<&'a TrialRecord>,
    record: String,
    evals: Option<String>,
}

/// Writes `run` to `path`, whole or not at all. A run with damaged trials is refused: mend or race
/// them first.
///
/// # Errors
/// [`TableError`]; [`RecordError::Damaged`] inside it where the run is not whole.
pub fn write(run: &Run, path: &Path) -> Result<(), TableError> {
    if let Some((id, error)) = run.damaged.first() {
        let message = format!("trial {id} is damaged: {error}");
        return Err(RecordError::damaged(&run.path, None, message).into());
    }
    let mut rows = vec![Row {
        trial: None,
        record: serde_json::to_string(&run.record)?,
        evals: None,
    }];
    for trial in &run.trials {
        let lines: Result<Vec<String>, _> = trial.evals.iter().map(log::encode).collect();
        rows.push(Row {
            trial: Some(&trial.record),
            record: serde_json::to_string(&trial.record)?,
            evals: Some(lines?.join("\n")),
        });
    }
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .finish(&mut frame(&rows)?)
        .map_err(TableError::encode(TABLE))?;
    Ok(write_shared(path, &bytes)?)
}

fn frame(rows: &[Row<'_>]) -> Result<DataFrame, TableError> {
    let mut frame = Frame::new(rows);
    let word = |get: fn(&TrialRecord) -> &str| move |r: &Row<'_>| r.trial.map(|t| get(t).into());
    frame.text("kind", |r| if r.trial.is_some() { "trial" } else { "run" });
    frame.words("id", word(|t| &t.id));
    frame.words("workload", word(|t| &t.workload));
    frame.words("submission", word(|t| &t.submission));
    frame.maybe_count("study", |r| r.trial.map(|t| t.study.into()));
    frame.maybe_count("trial", |r| r.trial.map(|t| t.trial.into()));
    frame.words("status", word(|t| t.status.as_str()));
    let outcome = |r: &Row<'_>| r.trial.map(|t| &t.outcome).cloned();
    frame.maybe_real("time_to_target", |r| outcome(r)?.time_to_target);
    frame.maybe_count("steps_to_target", |r| outcome(r)?.steps_to_target);
    frame.maybe_real("best_validation", |r| outcome(r)?.best_validation);
    frame.maybe_count("state_bytes", |r| Some(outcome(r)?.state_bytes));
    frame.text("record", |r| &r.record);
    frame.words("evals", |r| r.evals.clone());
    frame.finish(TABLE)
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// [`RecordError`], which names the file, and the row and column where something is wrong.
pub fn read(path: &Path) -> Result<Run, RecordError> {
    read_as(path)
}

/// [`read`], with evaluations in full or as their traces, as `E` says.
///
/// # Errors
/// Those of [`read`].
pub fn read_as<E: Evaluation>(path: &Path) -> Result<Run<E>, RecordError> {
    let file = File::open(path).map_err(|e| RecordError::io(path, "read", e))?;
    let unreadable =
        |e| RecordError::damaged(path, None, format!("not a Parquet file of records: {e}"));
    let names = ["kind", "record", "evals"];
    let table = ParquetReader::new(file)
        .with_columns(Some(names.map(String::from).to_vec()))
        .finish()
        .map_err(unreadable)?;
    let texts = |name| table.column(name).and_then(|c| c.str());
    let [kinds, records, evals] = names.map(texts);
    let kinds = kinds.map_err(unreadable)?.iter();
    let records = records.map_err(unreadable)?.iter();
    let evals = evals.map_err(unreadable)?.iter();
    let rows: Vec<_> = kinds.zip(records).zip(evals).collect();
    let parsed = rows.into_par_iter().enumerate();
    let parsed: Vec<Result<Part<E>, RecordError>> = parsed
        .map(|(n, ((kind, record), evals))| {
            let (record, evals) = (record.unwrap_or_default(), evals.unwrap_or_default());
            part(path, n, kind, record, evals)
        })
        .collect();
    let (mut run, mut trials) = (None, HashMap::new());
    for part in parsed {
        match part? {
            Part::Run(record) => run = Some(*record),
            Part::Trial(trial) => {
                trials.insert(trial.record.id.clone(), *trial);
            }
        }
    }
    let record: RunRecord =
        run.ok_or_else(|| RecordError::damaged(path, None, "there is no row for the run"))?;
    let mut run = Run {
        path: path.to_path_buf(),
        record,
        trials: Vec::new(),
        missing: Vec::new(),
        damaged: Vec::new(),
    };
    for (id, _) in &run.record.trials {
        match trials.remove(id) {
            Some(trial) => run.trials.push(trial),
            None => run.missing.push(id.clone()),
        }
    }
    if let Some(stranger) = trials.into_keys().min() {
        let message = format!("trial {stranger} is not in the run's plan");
        return Err(RecordError::damaged(path, None, message));
    }
    Ok(run)
}

/// What one row holds.
enum Part<E> {
    Run(Box<RunRecord>),
    Trial(Box<Trial<E>>),
}

fn part<E: Evaluation>(
    path: &Path,
    n: usize,
    kind: Option<&str>,
    record: &str,
    evals: &str,
) -> Result<Part<E>, RecordError> {
    // Errors of a row point into the file as into a folder.
    let place = path.join(format!("row {n}"));
    match kind {
        Some("run") => {
            let record = parse_versioned(&place.join("record"), record)?;
            Ok(Part::Run(Box::new(record)))
        }
        Some("trial") => {
            let record: TrialRecord = parse_versioned(&place.join("record"), record)?;
            let evals = log::parse(&place.join("evals"), evals.as_bytes())?;
            let trial = Trial::new(trial_dir(path, &record.id), record, evals)?;
            Ok(Part::Trial(Box::new(trial)))
        }
        other => {
            let message = format!("column `kind` is {other:?}, not `run` or `trial`");
            Err(RecordError::damaged(&place, None, message))
        }
    }
}

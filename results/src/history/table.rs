//! The file of a history.

use super::{Entry, HistoryError};
use crate::error::RecordError;
use crate::files::write_shared;
use crate::tables::{Frame, TableError, to_parquet};
use polars::prelude::{ParquetReader, SerReader};
use std::fs::File;
use std::path::Path;

/// The word in the column `format` that this version reads and writes.
const FORMAT: &str = "velodrome-history/1";
/// Name of the table in errors.
const TABLE: &str = "history";

/// Writes the whole history. Beside columns for other tools, `entry` holds each row as JSON, so that
/// nothing is lost or rounded.
pub(super) fn write(path: &Path, history: &[Entry]) -> Result<(), HistoryError> {
    let json: Result<Vec<String>, _> = history.iter().map(serde_json::to_string).collect();
    let json = json.map_err(TableError::from)?;
    let rows: Vec<(&Entry, String)> = history.iter().zip(json).collect();
    let mut frame = Frame::new(&rows);
    frame.text("format", |_| FORMAT);
    frame.text("commit", |r| &r.0.commit);
    frame.real("added", |r| r.0.added);
    frame.text("run", |r| &r.0.run);
    frame.words("verdict", |r| r.0.verdict.map(|v| v.to_string()));
    frame.text("workload", |r| &r.0.workload);
    frame.text("submission", |r| &r.0.submission);
    frame.text("ruleset", |r| &r.0.ruleset);
    frame.count("trials", |r| r.0.trials);
    frame.count("reached", |r| r.0.reached);
    for (name, _, _) in super::METRICS {
        frame.maybe_real(name, |r| r.0.medians.get(name).copied());
    }
    frame.text("entry", |r| &r.1);
    let bytes = to_parquet(TABLE, &mut frame.finish(TABLE)?)?;
    Ok(write_shared(path, &bytes)?)
}

/// Reads a history, in the order in which it grew.
///
/// # Errors
/// [`RecordError`], which names the file, and the row where something is wrong.
pub fn read(path: &Path) -> Result<Vec<Entry>, RecordError> {
    let file = File::open(path).map_err(|e| RecordError::io(path, "read", e))?;
    let damaged =
        |e| RecordError::damaged(path, None, format!("not a Parquet file of history: {e}"));
    let table = ParquetReader::new(file).finish().map_err(damaged)?;
    let column = |name: &str| {
        table
            .column(name)
            .and_then(|c| c.str().cloned())
            .map_err(damaged)
    };
    let (formats, entries) = (column("format")?, column("entry")?);
    let rows = formats.iter().zip(entries.iter()).enumerate();
    rows.map(|(n, (format, entry))| {
        let format = format.unwrap_or_default();
        if format != FORMAT {
            return Err(RecordError::Version {
                path: path.to_path_buf(),
                found: format.into(),
                expected: FORMAT,
            });
        }
        let place = path.join(format!("row {n}"));
        serde_json::from_str(entry.unwrap_or_default())
            .map_err(|e| RecordError::damaged(place, None, format!("column `entry`: {e}")))
    })
    .collect()
}

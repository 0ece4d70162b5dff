//! The records as flat tables, for other tools: `trials`, `evals`, `board`, each as Parquet and
//! CSV.
//!
//! Columns carry the names of the record's fields, nested ones with a point: `clock.training`,
//! `target.validation`, `validation.loss`, `hp.learning_rate`. Units are those of the records:
//! seconds, bytes, examples. An empty cell (null) means that there is no such value: a time that
//! was not reached, a hyperparameter that this submission does not have. NaN and infinity are
//! values (a diverged loss) and stay apart from null. Lists (the step-time histogram, processor
//! flags) stay in `trial.json`.

mod board;
mod evals;
mod frame;
mod trials;

pub use board::board_frame;
pub use evals::evals_frame;
pub use trials::trials_frame;

pub(crate) use frame::Frame;

use crate::board::Board;
use crate::error::RecordError;
use crate::record::write_shared;
use crate::run::Run;
use polars::prelude::{CsvWriter, DataFrame, ParquetWriter, PolarsError, SerWriter};
use std::path::{Path, PathBuf};

/// Why a table could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table could not be built or encoded.
    #[error("table {table}: {source}")]
    Encode {
        /// Name of the table.
        table: &'static str,
        /// The library's own error.
        source: PolarsError,
    },
    /// A record or the board could not be written as JSON.
    #[error("as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The file could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl TableError {
    pub(crate) fn encode(table: &'static str) -> impl FnOnce(PolarsError) -> Self {
        move |source| Self::Encode { table, source }
    }
}

/// A table as a Parquet file's bytes. `name` appears in errors.
///
/// # Errors
/// [`TableError::Encode`].
pub fn to_parquet(name: &'static str, table: &mut DataFrame) -> Result<Vec<u8>, TableError> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .finish(table)
        .map_err(TableError::encode(name))?;
    Ok(bytes)
}

/// A table as CSV text: a header row, `.` as decimal point, numbers in full precision.
///
/// # Errors
/// [`TableError::Encode`].
pub fn to_csv(name: &'static str, table: &mut DataFrame) -> Result<Vec<u8>, TableError> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes)
        .finish(table)
        .map_err(TableError::encode(name))?;
    Ok(bytes)
}

/// Writes `trials`, `evals` and `board`, each as `.parquet` and `.csv`, into `folder` (created
/// where missing), every file whole or not at all. Returns the paths.
///
/// # Errors
/// [`TableError::Encode`], or [`TableError::Record`] when the folder refuses the write.
pub fn write_tables(
    folder: &Path,
    runs: &[Run],
    board: &Board,
) -> Result<Vec<PathBuf>, TableError> {
    std::fs::create_dir_all(folder).map_err(|e| RecordError::io(folder, "create", e))?;
    let mut paths = Vec::new();
    for (name, mut table) in [
        ("trials", trials_frame(runs)?),
        ("evals", evals_frame(runs)?),
        ("board", board_frame(board)?),
    ] {
        for (ending, bytes) in [
            ("parquet", to_parquet(name, &mut table)?),
            ("csv", to_csv(name, &mut table)?),
        ] {
            let path = folder.join(format!("{name}.{ending}"));
            write_shared(&path, &bytes)?;
            paths.push(path);
        }
    }
    Ok(paths)
}

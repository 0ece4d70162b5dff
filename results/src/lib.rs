//! What a race leaves behind, and what can be read from it.
//!
//! This crate knows nothing of burn: it reads and writes records, scores them, and draws the
//! board, the charts and the report. It can therefore be built quickly, and used on logs that
//! another harness wrote.
//!
//! - [`record`]: one trial's record (`trial.json`) and one evaluation (`evals.jsonl`).
//! - [`log`]: the append-only, self-checking evaluation log.
//! - [`run`]: a run directory as a whole, read back with every fault named.
//! - [`archive`]: a run as one Parquet file, to commit and to read back.
//! - [`trace`]: an evaluation reduced to what a comparison asks of it.
//! - [`board`]: the scored table as data.
//! - [`score`], [`bootstrap`]: from times to scores, ranks and their intervals.
//! - [`assemble`]: from runs to a board.
//! - [`algoperf`]: the official AlgoPerf logs, read and scored; our records in their layout.
//! - [`compare`]: two runs, before and after a change, and the verdict.
//! - [`history`]: what each commit needed, and where that changed.
//! - [`tables`], [`render`]: Parquet and CSV tables; the board as text.
//! - [`charts`]: performance profile, times to target and validation curves, as PNG and SVG.
//! - [`report`]: one self-contained HTML page.

pub mod algoperf;
pub mod archive;
pub mod assemble;
pub mod board;
pub mod bootstrap;
pub mod charts;
pub mod compare;
pub mod error;
mod files;
pub mod history;
pub mod log;
pub mod measures;
pub mod record;
pub mod render;
pub mod report;
pub mod run;
pub mod score;
pub mod tables;
mod timeless;
pub mod trace;
mod xml;

pub use error::RecordError;
pub use record::{
    Budget, ClockParts, Counters, Direction, EndedBy, EvalRecord, Finding, Fingerprint, Outcome,
    Retained, RunRecord, Seeds, Status, StepSummary, Target, TrialRecord,
};

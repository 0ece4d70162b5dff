//! The board: a scored table of submissions, as data. Renderers and charts read it.

use crate::record::{Direction, Status};
use serde::{Deserialize, Serialize};

/// A scored table of submissions over workloads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Board {
    /// Name of the suite (or of the log tree).
    pub title: String,
    /// `external` or `self-tuning`.
    pub ruleset: String,
    /// How the score was computed, in words that can stand under the table.
    pub method: String,
    /// The workloads that count, in order.
    pub workloads: Vec<BoardWorkload>,
    /// One row per submission, best score first; ties keep the suite's order.
    pub rows: Vec<BoardRow>,
    /// What a reader must know: comparison set, mixed machines, missing cells, cadence.
    pub notes: Vec<String>,
}

/// One workload of a board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardWorkload {
    /// Name.
    pub name: String,
    /// Metric of the target.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
    /// Validation target.
    pub target: f64,
    /// Shortest time to target of the comparison set in seconds; `None` when nobody reached it.
    pub best_time: Option<f64>,
}

/// One submission's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardRow {
    /// Submission.
    pub submission: String,
    /// Rank by score, from 1; equal scores share a rank.
    pub rank: usize,
    /// Benchmark score in 0..=1: the normalised area under the performance profile.
    pub score: f64,
    /// Bootstrap interval of the score over studies (low, high); `None` with fewer than 2 studies.
    pub score_interval: Option<(f64, f64)>,
    /// Bootstrap interval of the rank over studies.
    pub rank_interval: Option<(usize, usize)>,
    /// Ranks (best, worst) that the row takes when any one other submission is left out, in the
    /// numbering of this board (where one ahead leaves, its place stays empty); (rank, rank) means
    /// that the order does not depend on the others. `None` for a lone submission.
    pub rank_leave_one_out: Option<(usize, usize)>,
    /// One cell per workload, in the board's order.
    pub cells: Vec<BoardCell>,
}

/// One submission on one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardCell {
    /// Median over studies of the study times, in seconds; `None` when it is infinite.
    pub time: Option<f64>,
    /// `time` over the best time of the workload; `None` when infinite.
    pub ratio: Option<f64>,
    /// Steps to target of the same trials (median over studies), where reached.
    pub steps: Option<f64>,
    /// The studies behind the cell.
    pub studies: Vec<StudyResult>,
    /// How many trials ended how.
    pub statuses: Vec<(Status, usize)>,
    /// What fine-tuning took; `None` where the workload begins from random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
}

/// What fine-tuning took in one cell: medians over the trials that count, one for each study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Trained elements.
    pub trained: f64,
    /// Trained elements over all of the model's, adapters included, in 0..=1.
    pub share: f64,
    /// Bytes of the trained elements in 32 bits.
    pub adapter_bytes: f64,
    /// Highest resident memory in bytes, where the system told.
    pub peak_memory_bytes: Option<f64>,
    /// How much the loss on held-out pretraining data has grown, in the workload's unit; positive is
    /// worse. `None` where it is not a number.
    pub forgetting: Option<f64>,
}

/// One study of one cell: its fastest trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyResult {
    /// Study, from 1.
    pub study: u32,
    /// The trial that counts; the one with the best metric where none reached the target.
    pub trial: u32,
    /// Its time to target in seconds.
    pub time: Option<f64>,
    /// Its steps to target.
    pub steps: Option<u64>,
    /// Its status.
    pub status: Status,
}

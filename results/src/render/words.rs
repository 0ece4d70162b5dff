//! How single values read: times, ratios, and words for what has no number.

use crate::board::{BoardCell, BoardRow, BoardWorkload};
use crate::record::Status;

/// How a cell stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellState {
    /// The median over studies is a finite time.
    Reached,
    /// It is infinite; the status is that of most of the studies that did not reach the target.
    NotReached(Status),
    /// No trial has ended yet, and at least one is running or was interrupted.
    Running,
    /// There is no usable record at all.
    NoRecord,
}

impl CellState {
    /// The state of a cell.
    pub fn of(cell: &BoardCell) -> Self {
        if cell.time.is_some() {
            return CellState::Reached;
        }
        let without: Vec<Status> = cell
            .studies
            .iter()
            .filter(|s| s.time.is_none())
            .map(|s| s.status)
            .collect();
        let count = |status: Status| without.iter().filter(|s| **s == status).count();
        let mut most: Option<Status> = None;
        for status in Status::ALL {
            if count(status) > most.map_or(0, count) {
                most = Some(status);
            }
        }
        match most {
            Some(status) => CellState::NotReached(status),
            None if cell.statuses.iter().any(|(s, _)| *s == Status::Running) => CellState::Running,
            None => CellState::NoRecord,
        }
    }

    /// The word that tables use.
    pub fn as_str(self) -> &'static str {
        match self {
            CellState::Reached => "reached",
            CellState::NotReached(status) => status.as_str(),
            CellState::Running => "running",
            CellState::NoRecord => "no_record",
        }
    }
}

/// A number with 3 significant digits and no exponent: 0.0123, 1.23, 123, 12300.
pub fn digits3(x: f64) -> String {
    if !x.is_finite() {
        return x.to_string();
    }
    let scientific = format!("{x:.2e}");
    let exponent: i32 = scientific
        .split_once('e')
        .and_then(|(_, e)| e.parse().ok())
        .unwrap_or(0);
    let rounded: f64 = scientific.parse().unwrap_or(x);
    let decimals = usize::try_from(2 - exponent).unwrap_or(0);
    format!("{rounded:.decimals$}")
}

/// Words for a status, as a reader says them.
pub fn status_words(status: Status) -> &'static str {
    match status {
        Status::OutOfMemory => "out of memory",
        Status::TimedOut => "timed out",
        other => other.as_str(),
    }
}

/// The raw time of a cell in seconds with its spread over the studies that reached the
/// target, or words.
pub fn time(cell: &BoardCell) -> String {
    let mut reached: Vec<f64> = cell.studies.iter().filter_map(|s| s.time).collect();
    reached.sort_by(f64::total_cmp);
    let failed = failures(cell);
    match (cell.time, CellState::of(cell)) {
        (Some(time), _) if cell.studies.len() < 2 => digits3(time),
        (Some(time), _) => {
            let low = digits3(reached.first().copied().unwrap_or(time));
            let high = digits3(reached.last().copied().unwrap_or(time));
            let failed = if failed.is_empty() {
                failed
            } else {
                format!("; {failed}")
            };
            format!("{} ({low} to {high}{failed})", digits3(time))
        }
        (None, CellState::Running) => "running".to_string(),
        (None, CellState::NoRecord) => "no record".to_string(),
        (None, _) if reached.is_empty() => failed,
        (None, _) => {
            let times: Vec<String> = reached.iter().map(|t| digits3(*t)).collect();
            format!("{failed} (others: {})", times.join(", "))
        }
    }
}

/// The studies of a cell that did not reach the target, by status: `missed`, or `2 missed, 1
/// crashed` where they differ, or where only some of the studies failed.
fn failures(cell: &BoardCell) -> String {
    let of = |status: Status| {
        let failed = cell.studies.iter().filter(|s| s.time.is_none());
        failed.filter(|s| s.status == status).count()
    };
    let counts: Vec<(Status, usize)> = Status::ALL
        .into_iter()
        .map(|status| (status, of(status)))
        .filter(|(_, n)| *n > 0)
        .collect();
    match counts.as_slice() {
        [(status, n)] if *n == cell.studies.len() => status_words(*status).to_string(),
        several => several
            .iter()
            .map(|(status, n)| format!("{n} {}", status_words(*status)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The ratio of a cell. A time that the rules turned into "not reached" (over the limit, or a
/// held-out workload not solved) keeps its number and is marked `out`.
pub fn ratio(cell: &BoardCell, workload: &BoardWorkload) -> String {
    match (cell.ratio, cell.time, workload.best_time) {
        (Some(ratio), _, _) => format!("{ratio:.2}"),
        (None, Some(time), Some(best)) if best > 0.0 => format!("{:.2} out", time / best),
        (None, Some(_), _) => "out".to_string(),
        (None, None, _) => match CellState::of(cell) {
            CellState::NotReached(status) => status_words(status).to_string(),
            CellState::Running => "running".to_string(),
            CellState::Reached | CellState::NoRecord => "no record".to_string(),
        },
    }
}

/// An interval, or why there is none.
pub fn score_interval(row: &BoardRow) -> String {
    row.score_interval.map_or_else(
        || "too few studies".to_string(),
        |(low, high)| format!("{low:.4} to {high:.4}"),
    )
}

/// A range of ranks; one number where both ends are equal.
pub fn rank_range(range: Option<(usize, usize)>, without: &str) -> String {
    match range {
        Some((a, b)) if a == b => a.to_string(),
        Some((a, b)) => format!("{a} to {b}"),
        None => without.to_string(),
    }
}

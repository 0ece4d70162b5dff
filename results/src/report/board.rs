//! The board's tables.

use super::format::{NONE, number, or_none};
use super::word;
use crate::board::{Board, BoardCell, BoardRow};
use crate::charts::share_within;
use crate::record::Direction;
use crate::render::{TUNING, tuning_rows};
use minijinja::context;
use minijinja::value::Value;

/// The multiples of the fastest time that the profile table shows.
const TAUS: [f64; 4] = [1.0, 1.5, 2.0, 4.0];

/// Raw times in seconds: a row per submission, a column per workload.
pub(super) fn times(board: &Board) -> Value {
    let columns: Vec<Value> = board
        .workloads
        .iter()
        .map(|w| {
            let sign = match w.direction {
                Direction::Minimize => "≤",
                Direction::Maximize => "≥",
            };
            context! { name => &w.name, target => format!("{} {sign} {}", w.metric, w.target) }
        })
        .collect();
    let rows = body(board, |cell, i| match cell.time {
        Some(time) => {
            let best = board.workloads[i].best_time == Some(time);
            let steps = cell.steps.map(|s| format!("{s} steps"));
            let broken = cell
                .statuses
                .iter()
                .filter(|(status, _)| status.is_failure());
            let broken = broken.map(|(status, n)| format!("{n} {}", word(*status)));
            let note = steps
                .into_iter()
                .chain(broken)
                .collect::<Vec<_>>()
                .join(", ");
            context! { text => number(time), note, best, failed => false }
        }
        None => without_time(cell),
    });
    context! { columns, rows }
}

/// Ratios to the fastest time.
pub(super) fn ratios(board: &Board) -> Value {
    let columns: Vec<Value> = board
        .workloads
        .iter()
        .map(|w| {
            let best = or_none(w.best_time, |t| format!("fastest {} s", number(t)));
            context! { name => &w.name, target => best }
        })
        .collect();
    let rows = body(board, |cell, _| match cell.ratio {
        Some(ratio) => {
            let text = if ratio.is_finite() {
                format!("{ratio:.3}")
            } else {
                number(ratio)
            };
            context! { text, note => "", best => ratio <= 1.0, failed => false }
        }
        None => context! { text => "∞", note => "", best => false, failed => true },
    });
    context! { columns, rows }
}

/// A cell whose median is infinite says how its trials ended.
fn without_time(cell: &BoardCell) -> Value {
    let parts: Vec<String> = cell
        .statuses
        .iter()
        .map(|(status, n)| format!("{n} {}", word(*status)))
        .collect();
    let note = if parts.is_empty() {
        "not raced".to_string()
    } else {
        parts.join(", ")
    };
    context! { text => "∞", note, best => false, failed => true }
}

fn body(board: &Board, cell: impl Fn(&BoardCell, usize) -> Value) -> Vec<Value> {
    board
        .rows
        .iter()
        .map(|row| {
            let cells: Vec<Value> = (0..board.workloads.len())
                .map(|i| match row.cells.get(i) {
                    Some(c) => cell(c, i),
                    None => context! { text => NONE, note => "not raced", best => false, failed => true },
                })
                .collect();
            context! { name => &row.submission, cells }
        })
        .collect()
}

/// What fine-tuning took; no rows where nothing was fine-tuned.
pub(super) fn tuning(board: &Board) -> Value {
    context! { header => TUNING.to_vec(), rows => tuning_rows(board) }
}

/// Rank, score and profile.
pub(super) fn scores(board: &Board) -> Value {
    let rows: Vec<Value> = board.rows.iter().map(|row| score(board, row)).collect();
    context! { taus => TAUS.map(|t| t.to_string()).to_vec(), rows }
}

fn score(board: &Board, row: &BoardRow) -> Value {
    let ranks = |(best, worst): (usize, usize)| {
        if best == worst {
            best.to_string()
        } else {
            format!("{best} to {worst}")
        }
    };
    let shares: Vec<String> = TAUS
        .iter()
        .map(|tau| format!("{:.2}", share_within(board, row, *tau)))
        .collect();
    context! {
        rank => row.rank,
        name => &row.submission,
        score => format!("{:.4}", row.score),
        interval => or_none(row.score_interval, |(lo, hi)| format!("{lo:.3} to {hi:.3}")),
        rank_interval => or_none(row.rank_interval, ranks),
        leave_one_out => or_none(row.rank_leave_one_out, ranks),
        shares,
    }
}

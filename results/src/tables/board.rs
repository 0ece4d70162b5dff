//! The table `board`: one row per submission and workload.

use super::TableError;
use super::frame::Frame;
use crate::board::{Board, BoardCell, BoardRow, BoardWorkload};
use crate::record::Direction;
use crate::render::CellState;
use polars::prelude::DataFrame;

struct Row<'a> {
    row: &'a BoardRow,
    workload: &'a BoardWorkload,
    cell: &'a BoardCell,
}

/// The board in long form: one row per submission and workload, best submission first, with the
/// submission's score and rank repeated. `result` says in one word how the cell stands
/// (`reached`, `missed`, `crashed`, …, `running`, `no_record`); `time_s` and `ratio` are empty
/// where there is no finite value. `studies_reached` and `studies` count the studies.
///
/// # Errors
/// [`TableError::Encode`].
pub fn board_frame(board: &Board) -> Result<DataFrame, TableError> {
    let rows: Vec<Row<'_>> = board
        .rows
        .iter()
        .flat_map(|row| {
            let cells = board.workloads.iter().zip(&row.cells);
            cells.map(move |(workload, cell)| Row {
                row,
                workload,
                cell,
            })
        })
        .collect();
    let mut frame = Frame::new(&rows);
    frame.text("submission", |r| &r.row.submission);
    frame.count("rank", |r| r.row.rank as u64);
    frame.real("score", |r| r.row.score);
    frame.maybe_real("score_low", |r| r.row.score_interval.map(|i| i.0));
    frame.maybe_real("score_high", |r| r.row.score_interval.map(|i| i.1));
    frame.maybe_count("rank_low", |r| r.row.rank_interval.map(|i| i.0 as u64));
    frame.maybe_count("rank_high", |r| r.row.rank_interval.map(|i| i.1 as u64));
    let left_out = |r: &Row<'_>| r.row.rank_leave_one_out;
    frame.maybe_count("rank_left_out_best", |r| left_out(r).map(|i| i.0 as u64));
    frame.maybe_count("rank_left_out_worst", |r| left_out(r).map(|i| i.1 as u64));
    frame.text("workload", |r| &r.workload.name);
    frame.text("metric", |r| &r.workload.metric);
    frame.text("direction", |r| match r.workload.direction {
        Direction::Minimize => "minimize",
        Direction::Maximize => "maximize",
    });
    frame.real("target", |r| r.workload.target);
    frame.maybe_real("best_time_s", |r| r.workload.best_time);
    frame.text("result", |r| CellState::of(r.cell).as_str());
    frame.maybe_real("time_s", |r| r.cell.time);
    let reached = |c: &BoardCell| -> Vec<f64> { c.studies.iter().filter_map(|s| s.time).collect() };
    frame.maybe_real("fastest_study_s", |r| {
        reached(r.cell).into_iter().min_by(f64::total_cmp)
    });
    frame.maybe_real("slowest_reached_study_s", |r| {
        reached(r.cell).into_iter().max_by(f64::total_cmp)
    });
    frame.maybe_real("ratio", |r| r.cell.ratio);
    frame.maybe_real("steps", |r| r.cell.steps);
    frame.count("studies_reached", |r| reached(r.cell).len() as u64);
    frame.count("studies", |r| r.cell.studies.len() as u64);
    frame.words("trials", |r| {
        let statuses = r.cell.statuses.iter();
        let counts: Vec<String> = statuses.map(|(s, n)| format!("{s}={n}")).collect();
        Some(counts.join(";"))
    });
    frame.finish("board")
}

//! The files that are made from a run's records: board, tables, charts, report.

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use std::path::Path;
use velodrome_results::board::Board;
use velodrome_results::record::write_shared;
use velodrome_results::report::{self, Report};
use velodrome_results::run::{Run, Trial};
use velodrome_results::{charts, render, tables};

/// Writes the board (`board.md`, `.csv`, `.json`), `tables/` and `charts/` into `directory`.
/// Returns the list of them in words.
pub(crate) fn write_board(
    directory: &Path,
    runs: &[Run],
    board: &Board,
) -> Result<String, Failure> {
    std::fs::create_dir_all(directory).map_err(|e| Failure::io(directory, "create", e))?;
    write_shared(
        &directory.join("board.md"),
        render::markdown(board).as_bytes(),
    )?;
    write_shared(&directory.join("board.csv"), &render::csv(board)?)?;
    write_shared(
        &directory.join("board.json"),
        render::json(board)?.as_bytes(),
    )?;
    tables::write_tables(&directory.join("tables"), runs, board)?;
    let trials: Vec<&Trial> = runs.iter().flat_map(|r| &r.trials).collect();
    charts::write_all(board, &trials, &directory.join("charts"))?;
    Ok(format!(
        "Files in {}:\n\
         \x20 board.md, board.csv, board.json   the board\n\
         \x20 charts/                           profile, times, curves, each as PNG and SVG\n\
         \x20 tables/                           trials, evaluations, board as Parquet and CSV\n",
        directory.display()
    ))
}

/// Writes everything that `run` leaves beside the records, `report.html` included. `command` is
/// the command line that races the same again. Returns the list in words.
pub(crate) fn write_all(
    directory: &Path,
    runs: &[Run],
    board: &Board,
    command: &str,
) -> Result<String, Failure> {
    let mut files = write_board(directory, runs, board)?;
    write_report(&directory.join("report.html"), runs, board, command)?;
    files += "  report.html                       everything on one page\n\
              \x20 trials/                           the records\n";
    Ok(files)
}

/// Writes the HTML report to `path`.
pub(crate) fn write_report(
    path: &Path,
    runs: &[Run],
    board: &Board,
    command: &str,
) -> Result<(), Failure> {
    let page = report::render(&Report {
        board,
        runs,
        command: command.to_string(),
    })?;
    Ok(write_shared(path, page.as_bytes())?)
}

/// Tells of damaged trials, each with its error. Returns the exit code that they make.
pub(crate) fn tell_damaged(runs: &[Run], console: &mut Console) -> Exit {
    let mut exit = Exit::Ok;
    for (id, error) in runs.iter().flat_map(|r| &r.damaged) {
        console.note(format!("error: trial {id} is left out: {error}"));
        exit = Exit::Damaged;
    }
    exit
}

//! `velodrome score`.

use super::read_runs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::outputs;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::board::Board;
use velodrome_results::render;
use velodrome_results::run::Run;
use velodrome_results::score::Policy;

/// Score runs and print the board
///
/// Several runs form one comparison set, for example the parts of a sharded race.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome score runs/quick-1a2b3c4d
  velodrome score runs/tuned-*-part-* --format markdown > BOARD.md
  velodrome score runs/quick-1a2b3c4d --format parquet > board.parquet
  velodrome score runs/a runs/b --out boards/both")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) scoring: Scoring,
    /// Also write board, tables and charts into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Form of the board on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: BoardFormat,
}

/// Which runs make a board, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Scoring {
    /// Run folders
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Which trial of a study counts
    #[arg(
        long,
        default_value = Policy::MinTime.as_str(),
        value_parser = PossibleValuesParser::new(Policy::ALL.map(Policy::as_str)).map(policy)
    )]
    policy: Policy,
    /// Score runs of different machines, builds, targets or budgets together; the board says so
    #[arg(long)]
    allow_mixed: bool,
}

/// The forms of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BoardFormat {
    /// Tables for a terminal
    Text,
    /// Markdown
    Markdown,
    /// One row per submission and workload, as CSV
    Csv,
    /// JSON
    Json,
    /// One row per submission and workload, as a Parquet file
    Parquet,
}

fn policy(word: String) -> Policy {
    Policy::ALL
        .into_iter()
        .find(|p| p.as_str() == word)
        .unwrap_or_default()
}

impl Scoring {
    /// Reads the runs and makes their board. Damaged trials are told and left out; the exit code
    /// says whether there were any.
    pub(crate) fn board(&self, console: &mut Console) -> Result<(Vec<Run>, Board, Exit), Failure> {
        let runs = read_runs(&self.runs)?;
        let exit = outputs::tell_damaged(&runs, console);
        let options = AssembleOptions {
            policy: self.policy,
            allow_mixed: self.allow_mixed,
            ..AssembleOptions::default()
        };
        let board = assemble(&runs, &options)?;
        Ok((runs, board, exit))
    }
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    if arguments.format == BoardFormat::Parquet && console.out_is_terminal() {
        return Err(Failure::Usage(
            "--format parquet is not for a terminal: redirect it to a file".into(),
        ));
    }
    let (runs, board, exit) = arguments.scoring.board(console)?;
    if let Some(directory) = &arguments.out {
        let files = outputs::write_board(directory, &runs, &board)?;
        console.note(files.trim_end());
    }
    match arguments.format {
        BoardFormat::Text => console.print(render::terminal(&board, console.width)),
        BoardFormat::Markdown => console.print(render::markdown(&board)),
        BoardFormat::Csv => console.print(render::csv(&board)?),
        BoardFormat::Json => console.print(render::json(&board)?),
        BoardFormat::Parquet => console.print(render::parquet(&board)?),
    }?;
    Ok(exit)
}

//! `velodrome score`.

use super::algoperf::LogArguments;
use super::read_runs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::outputs;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use velodrome_results::algoperf::Logs;
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::board::Board;
use velodrome_results::render;
use velodrome_results::run::Run;
use velodrome_results::score::{Integration, Policy};

/// Score runs and print the board
///
/// Several runs form one comparison set, for example the parts of a sharded race. With --algoperf,
/// the official AlgoPerf logs are scored instead of runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome score runs/quick-1a2b3c4d
  velodrome score runs/tuned-*-part-* --format markdown > BOARD.md
  velodrome score runs/quick-1a2b3c4d --format parquet > board.parquet
  velodrome score runs/a runs/b --out boards/both
  velodrome score --algoperf logs/external_tuning --targets targets.json
  velodrome score --algoperf logs --targets targets.json --ruleset self-tuning --format json")]
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
    #[arg(required_unless_present = "algoperf", value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Which trial of a study counts
    #[arg(
        long,
        default_value = Policy::MinTime.as_str(),
        value_parser = PossibleValuesParser::new(Policy::ALL.map(Policy::as_str)).map(policy)
    )]
    policy: Policy,
    /// How the area under the profile is computed: exact, or trapezoid:N on N points [default:
    /// exact; with --algoperf trapezoid:100, as in the official scorer]
    #[arg(long, value_name = "RULE")]
    integration: Option<Integration>,
    /// Score runs of different machines, builds, targets or budgets together; the board says so
    #[arg(long)]
    allow_mixed: bool,
    #[command(flatten)]
    logs: LogArguments,
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
    /// Whether official logs are scored instead of runs.
    pub(crate) fn is_foreign(&self) -> bool {
        self.logs.is_given()
    }

    /// Reads the runs and makes their board. Damaged trials are told and left out; the exit code
    /// says whether there were any.
    pub(crate) fn board(&self, console: &mut Console) -> Result<(Vec<Run>, Board, Exit), Failure> {
        if let Some(logs) = self.logs.read()? {
            let score = self.logs.score(&logs, self.policy, self.integration)?;
            let board = score.board();
            return Ok((vec![logs.run()], board, self.logs.exit(&logs, console)));
        }
        let runs = read_runs(&self.runs)?;
        let exit = outputs::tell_damaged(&runs, console);
        let options = AssembleOptions {
            policy: self.policy,
            integration: self.integration.unwrap_or_default(),
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
    let scoring = &arguments.scoring;
    if let Some(logs) = scoring.logs.read()? {
        return execute_logs(&arguments, &logs, console);
    }
    let (runs, board, exit) = scoring.board(console)?;
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

/// Scores official logs. Their board says more than that of our own runs, so the text forms and
/// JSON are others.
fn execute_logs(
    arguments: &Arguments,
    logs: &Logs,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let scoring = &arguments.scoring;
    let score = scoring
        .logs
        .score(logs, scoring.policy, scoring.integration)?;
    if let Some(directory) = &arguments.out {
        let files = outputs::write_board(directory, &[logs.run()], &score.board())?;
        console.note(files.trim_end());
    }
    scoring.logs.write_records(logs, console)?;
    let in_text = matches!(arguments.format, BoardFormat::Text | BoardFormat::Markdown);
    if !in_text {
        LogArguments::tell(logs, console);
    }
    match arguments.format {
        BoardFormat::Text => console.print(score.text(console.width)),
        BoardFormat::Markdown => console.print(score.markdown()),
        BoardFormat::Csv => console.print(render::csv(&score.board())?),
        BoardFormat::Json => console.print(score.json()?),
        BoardFormat::Parquet => console.print(render::parquet(&score.board())?),
    }?;
    Ok(scoring.logs.exit(logs, console))
}

//! `velodrome report`.

use super::score::Scoring;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::outputs;
use std::path::PathBuf;

/// Write one self-contained HTML page about runs
///
/// The page holds the board, the charts and every trial; it opens without a network.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome report runs/quick-1a2b3c4d
  velodrome report runs/a runs/b --out both.html")]
pub(crate) struct Arguments {
    #[command(flatten)]
    scoring: Scoring,
    /// The page [default: report.html, in the run folder where there is only one]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    let (runs, board, exit) = arguments.scoring.board(console)?;
    let path = arguments.out.unwrap_or_else(|| match runs.as_slice() {
        // The folder of foreign logs is not ours to write into.
        [run] if !arguments.scoring.is_foreign() => run.path.join("report.html"),
        _ => PathBuf::from("report.html"),
    });
    outputs::write_report(&path, &runs, &board, "")?;
    console.print(format!("{}\n", path.display()))?;
    Ok(exit)
}

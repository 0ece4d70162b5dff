//! `velodrome run`.

use super::{Format, plan};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reporters::{self, Events};
use crate::selection::{self, Selection};
use crate::{interrupt, outputs};
use std::path::{Path, PathBuf};
use velodrome_harness::race::{self, RunOptions};
use velodrome_harness::registry::Registry;
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::{render, run::Run};

/// Race a suite, then print its board
///
/// The same command continues an interrupted race, and reads back a finished one. After racing,
/// the board, charts, tables and an HTML report lie in the run folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome run                                the suite `quick`
  velodrome run smoke --seed 7 --studies 3     the suite `smoke`, three times, from another seed
  velodrome run -w digits_mlp -s adamw         one pair
  velodrome run my_suite.toml --out runs/mine  a suite file
  velodrome run laptop --held-out 20261125     the suite `laptop` and one drawn variant for each data set
  velodrome run tuned --shard 1/4              the first quarter of the trials, for one of four
                                               machines; `velodrome score` takes the four folders")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Repetitions with other seeds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    studies: Option<u32>,
    /// Run folder [default: runs/SUITE-HASH, the hash being that of the plan]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Race only part I of N parts of the plan
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Print the plan and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Race trials again that diverged, crashed, ran out of memory or timed out
    #[arg(long)]
    retry_failed: bool,
    /// Write records alone: no board, tables, charts and report
    #[arg(long)]
    records_only: bool,
    /// End with exit code 3 when a trial of the finished race has failed
    #[arg(long)]
    strict: bool,
    /// How progress is told on standard error; auto takes bars on a terminal and plain elsewhere
    #[arg(long, value_enum, default_value = "auto")]
    events: Events,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// One part of a plan: number (from 1) and count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    index: u32,
    of: u32,
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(index, of)| {
        let (index, of) = (index.parse().ok()?, of.parse().ok()?);
        (1 <= index && index <= of).then_some(Shard { index, of })
    });
    parts.ok_or_else(|| "give part and count, for example 1/4 for the first of four".into())
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    command: &str,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let suite = arguments.selection.suite(arguments.studies, registry)?;
    let whole = race::plan(&suite, registry)?;
    let directory = arguments.directory(&whole.suite, &whole.hash());
    let plan = match arguments.shard {
        Some(Shard { index, of }) => whole.shard(index, of),
        None => whole,
    };
    if arguments.dry_run {
        return plan::print(&plan, &directory, arguments.format, console);
    }

    let options = RunOptions {
        retry_failed: arguments.retry_failed,
    };
    let summary = {
        let mut reporter = reporters::start(arguments.events, console);
        let mut report = |event: &race::Event| reporter.report(event);
        race::run(&plan, &directory, &options, interrupt::flag(), &mut report)?
    };
    if summary.interrupted {
        return Ok(Exit::Interrupted);
    }
    let mut exit = Exit::Ok;
    if !arguments.records_only {
        exit = show(&arguments, &directory, command, console)?;
    }
    let failed: usize = summary
        .counts
        .iter()
        .filter(|(status, _)| status.is_failure())
        .map(|(_, count)| count)
        .sum();
    if arguments.strict && failed > 0 && exit == Exit::Ok {
        console.note(format!("{failed} trial(s) failed (--strict)"));
        return Ok(Exit::TrialsFailed);
    }
    Ok(exit)
}

/// The board and the files that are made from the records.
fn show(
    arguments: &Arguments,
    directory: &Path,
    command: &str,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let runs = vec![Run::read(directory)?];
    let exit = outputs::tell_damaged(&runs, console);
    let board = assemble(&runs, &AssembleOptions::default())?;
    let files = outputs::write_all(directory, &runs, &board, command)?;
    match arguments.format {
        Format::Text => {
            console.print(render::terminal(&board, console.width))?;
            console.print(format!("\n{files}"))?;
        }
        Format::Json => {
            console.print(render::json(&board)?)?;
            // Standard error belongs to the events where they are for a program.
            if arguments.events != Events::Json {
                console.note(files.trim_end());
            }
        }
    }
    Ok(exit)
}

impl Arguments {
    /// The run folder. It depends on the plan alone, so that the same command finds it again.
    fn directory(&self, suite: &str, hash: &str) -> PathBuf {
        if let Some(out) = &self.out {
            return out.clone();
        }
        let part = match self.shard {
            Some(Shard { index, of }) => format!("-part-{index}-of-{of}"),
            None => String::new(),
        };
        PathBuf::from("runs").join(selection::folder_name(suite, &[hash]) + &part)
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

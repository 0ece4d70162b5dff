//! `velodrome export`.

use super::read_runs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::outputs;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use velodrome_results::algoperf::{ExportOptions, FRAMEWORKS, export};
use velodrome_results::archive;

/// Write runs as one Parquet file, or as official AlgoPerf logs
///
/// The Parquet file holds all records of one run; `score` and `report` take it in place of the
/// folder. The AlgoPerf folder gets the layout that the official scorer reads, and a targets file
/// beside it.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("form").required(true).multiple(true)),
    after_help = "\
Examples:
  velodrome export runs/quick-1a2b3c4d --records records.parquet
  velodrome score records.parquet
  velodrome export runs/quick-1a2b3c4d --algoperf logs
  velodrome score --algoperf logs --targets logs/targets.json"
)]
pub(crate) struct Arguments {
    /// Run folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write all records of the run into this Parquet file
    #[arg(long, value_name = "FILE", group = "form")]
    records: Option<PathBuf>,
    /// Write official AlgoPerf logs into this new folder
    #[arg(long, value_name = "DIR", group = "form")]
    algoperf: Option<PathBuf>,
    /// Framework that workload folders are named after; the official scorer knows no other
    #[arg(
        long,
        default_value = "pytorch",
        value_parser = PossibleValuesParser::new(FRAMEWORKS)
            .map(|name| FRAMEWORKS.into_iter().find(|f| *f == name).unwrap_or("pytorch"))
    )]
    framework: &'static str,
    /// List this workload as held out in the targets file (may be given several times)
    #[arg(long, value_name = "WORKLOAD")]
    held_out: Vec<String>,
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    let runs = read_runs(&arguments.runs)?;
    let exit = outputs::tell_damaged(&runs, console);
    if let Some(path) = &arguments.records {
        let [run] = runs.as_slice() else {
            return Err(Failure::Usage("--records takes one run".into()));
        };
        archive::write(run, path)?;
        console.print(format!("{}\n", path.display()))?;
    }
    let Some(folder) = &arguments.algoperf else {
        return Ok(exit);
    };
    let options = ExportOptions {
        framework: arguments.framework,
        held_out: arguments.held_out,
    };
    let exported = export(&runs, folder, &options)?;
    for note in &exported.notes {
        console.note(format!("note: {note}"));
    }
    let (trials, empty) = (exported.trials, exported.empty);
    console.note(format!(
        "{trials} trials with evaluations, and {empty} empty folders of trials that left none"
    ));
    for path in exported.logs.iter().chain([&exported.targets]) {
        console.print(format!("{}\n", path.display()))?;
    }
    Ok(exit)
}

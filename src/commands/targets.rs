//! `velodrome targets`.

mod entry;

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use crate::reporters::{self, Events};
use entry::Entry;
use std::collections::BTreeMap;
use std::path::PathBuf;
use velodrome_harness::race;
use velodrome_harness::registry::Registry;
use velodrome_harness::targets::{Bench, Finding, Procedure, Winner, set_target};

/// Set the targets of workloads by the stated procedure
///
/// Each baseline algorithm trains at its default point and at quasi-random points of its search
/// space, with a schedule over half of the step hint; the best point is repeated from fresh seeds. The validation
/// target is the median of the repetitions' best values, the test target the worst test value of
/// those that reach it; cadence and budgets follow from the same runs. On a variant whose base is named
/// before it, each algorithm tries the point that was its best on the base.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome targets digits_mlp digits_mlp_tanh --out runs/targets
  velodrome targets shakespeare_gpt --trials 10 --seeds 5 --write workloads/targets")]
pub(crate) struct Arguments {
    /// Workloads, a base before its variants
    #[arg(required = true, value_name = "WORKLOAD")]
    workloads: Vec<String>,
    /// Baseline algorithms; may be repeated
    #[arg(long = "algorithm", value_name = "NAME", default_values = ["adamw", "nadamw", "nesterov", "heavy_ball"])]
    algorithms: Vec<String>,
    /// Points that each algorithm tries beside its default
    #[arg(long, value_name = "N", default_value_t = 4)]
    trials: u32,
    /// Fresh seeds that the winner repeats
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// Seed of the procedure
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compute threads of a trial [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
    /// Folder of the runs; the same folder continues
    #[arg(long, value_name = "DIR", default_value = "runs/targets")]
    out: PathBuf,
    /// Folder of target files: put each result into BASE.toml there, and the records that it follows
    /// from into records/
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// How progress is told on standard error
    #[arg(long, value_enum, default_value = "auto")]
    events: Events,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let procedure = Procedure {
        algorithms: arguments.algorithms.clone(),
        trials: arguments.trials,
        seeds: arguments.seeds,
        seed: arguments.seed,
        threads: arguments.threads.map(|n| n as usize),
    };
    let bench = Bench {
        registry,
        dir: &arguments.out,
        interrupted: interrupt::flag(),
    };
    let mut best: BTreeMap<String, Vec<Winner>> = BTreeMap::new();
    let mut findings: Vec<Finding> = Vec::new();
    for workload in &arguments.workloads {
        let spec = registry.workload(workload)?.spec();
        let outcome = {
            let mut reporter = reporters::start(arguments.events, console);
            let mut report = |event: &race::Event| reporter.report(event);
            let given = best.get(&spec.base).map_or(&[][..], Vec::as_slice);
            set_target(&bench, &procedure, workload, given, &mut report)?
        };
        let given = best.get(&spec.base).is_some_and(|_| spec.base != *workload);
        best.insert(workload.clone(), outcome.best.clone());
        let entry = Entry {
            spec: &spec,
            finding: &outcome.finding,
            procedure: &procedure,
            given,
        };
        if let Some(folder) = &arguments.write {
            let files = entry.write(folder, &outcome)?;
            console.note(files.trim_end());
        }
        if arguments.format == Format::Text {
            console.print(entry.text())?;
        }
        findings.push(outcome.finding);
    }
    if arguments.format == Format::Json {
        console.print_json(&findings)?;
    }
    Ok(Exit::Ok)
}

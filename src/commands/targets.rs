//! `velodrome targets`.

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use crate::reporters::{self, Events};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use velodrome_harness::contract::Point;
use velodrome_harness::race;
use velodrome_harness::registry::Registry;
use velodrome_harness::targets::{Bench, Finding, Procedure, set_target};

/// Set the targets of workloads by the stated procedure
///
/// Each baseline algorithm trains at its default point and at quasi-random points of its search
/// space to the end of the step hint; the best point is repeated from fresh seeds; the target is what all repetitions
/// reach. A variant takes its base's point, when the base is named before it, and is repeated
/// with its own seeds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome targets digits_mlp digits_mlp_tanh --out runs/targets
  velodrome targets shakespeare_gpt --trials 10 --seeds 5")]
pub(crate) struct Arguments {
    /// Workloads, a base before its variants
    #[arg(required = true, value_name = "WORKLOAD")]
    workloads: Vec<String>,
    /// Baseline algorithms; may be repeated
    #[arg(long = "algorithm", value_name = "NAME", default_values = ["adamw", "nesterov"])]
    algorithms: Vec<String>,
    /// Points that each algorithm tries beside its default
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// Fresh seeds that the winner repeats
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// Seed of the procedure
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder of the runs; the same folder continues
    #[arg(long, value_name = "DIR", default_value = "runs/targets")]
    out: PathBuf,
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
    };
    let bench = Bench {
        registry,
        dir: &arguments.out,
        interrupted: interrupt::flag(),
    };
    let mut found: BTreeMap<String, (String, Point)> = BTreeMap::new();
    let mut findings = Vec::new();
    for workload in &arguments.workloads {
        let base = registry.workload(workload)?.spec().base;
        let given = found.get(&base).map(|(a, p)| (a.clone(), p.clone()));
        let finding = {
            let mut reporter = reporters::start(arguments.events, console);
            let mut report = |event: &race::Event| reporter.report(event);
            let given = given.as_ref().map(|(a, p)| (a.as_str(), p));
            set_target(&bench, &procedure, workload, given, &mut report)?
        };
        let won = (finding.algorithm.clone(), finding.point.clone());
        found.insert(workload.clone(), won);
        findings.push(finding);
    }
    match arguments.format {
        Format::Text => {
            for finding in &findings {
                console.print(entry(finding, &procedure))?;
            }
        }
        Format::Json => {
            let json = serde_json::to_string_pretty(&findings)
                .map_err(|e| Failure::Internal(e.to_string()))?;
            console.print(format!("{json}\n"))?;
        }
    }
    Ok(Exit::Ok)
}

/// The lines of a file in `workloads/targets/` that a finding gives.
fn entry(finding: &Finding, procedure: &Procedure) -> String {
    let mut text = format!(
        "[{}]\nvalidation = {}\ntest = {}\nprovenance = \"\"\"\n",
        finding.workload, finding.validation, finding.test
    );
    let short = |x: f64| format!("{x:.4}");
    // Writing to a string cannot fail.
    let _ = if finding.searched.is_empty() {
        writeln!(
            text,
            "The point that won on the base workload ({}), {} fresh seeds.",
            finding.algorithm, procedure.seeds
        )
    } else {
        writeln!(
            text,
            "Search: {} at the default and {} quasi-random points each, seed {}; {} won.",
            procedure.algorithms.join(" and "),
            procedure.trials,
            procedure.seed,
            finding.algorithm
        )
    };
    let point: Vec<String> = finding
        .point
        .0
        .iter()
        .map(|(name, value)| format!("{name} {value:.4e}"))
        .collect();
    let _ = writeln!(text, "Point: {}.", point.join(", "));
    for algorithm in &procedure.algorithms {
        let values: Vec<String> = finding
            .searched
            .iter()
            .filter(|(a, _, _)| a == algorithm)
            .map(|(_, _, v)| v.map_or("none".into(), short))
            .collect();
        if !values.is_empty() {
            let _ = writeln!(
                text,
                "Best validation of {algorithm}: {}.",
                values.join(", ")
            );
        }
    }
    let list = |f: fn(&(f64, f64)) -> f64| -> String {
        let values: Vec<String> = finding.repeated.iter().map(|r| short(f(r))).collect();
        values.join(", ")
    };
    let _ = writeln!(
        text,
        "Repetitions, best validation: {}; test beside it: {}.\nThe targets are the worst of \
         these.\"\"\"\n",
        list(|r| r.0),
        list(|r| r.1)
    );
    text
}

//! `velodrome audit`.

use super::{Format, read_runs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use crate::reporters::{self, Events};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use velodrome_harness::race::audit::{Doubt, again, check, differences};
use velodrome_harness::race::{self, PlanError, RunOptions};
use velodrome_harness::registry::Registry;
use velodrome_harness::seed::derive;
use velodrome_results::run::{Run, Trial};

/// Audit a run: hold each record against its plan and its evaluations, and race a random study again
///
/// A trial that is raced again by the same program on the same machine gives the same evaluations, bit for
/// bit. Which studies are raced again follows from the seed, which nobody can know before: the time of day,
/// unless it is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome audit runs/quick-0a1b2c3d                  all records, and one study again
  velodrome audit runs/quick-0a1b2c3d --studies 0      the records alone
  velodrome audit records.parquet --studies 5 --seed 7 five studies of a published run")]
pub(crate) struct Arguments {
    /// The run: a folder, or a file that `velodrome export --records` wrote
    run: PathBuf,
    /// How many studies to race again, each of one submission on one workload
    #[arg(long, value_name = "N", default_value_t = 1)]
    studies: usize,
    /// Chooses the studies [default: the time of day]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How progress is told on standard error
    #[arg(long, value_enum, default_value = "auto")]
    events: Events,
    /// Form of the result
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let runs = read_runs(std::slice::from_ref(&arguments.run))?;
    let [run] = runs.as_slice() else {
        return Err(Failure::Internal("one path gave other than one run".into()));
    };
    let executable = race::executable_hash().map_err(PlanError::Executable)?;
    let mut doubts = check(run, registry, &executable);
    let seed = arguments.seed.unwrap_or_else(time_of_day);
    let chosen = choose(run, arguments.studies, seed);
    let others = chosen
        .iter()
        .filter(|t| t.record.fingerprint.executable != executable);
    if others.count() > 0 {
        console.note(
            "another build of the program raced this: where the two differ in an algorithm, so do their \
             numbers",
        );
    }
    if !chosen.is_empty() {
        let scratch = TempDir::with_prefix("velodrome-audit-");
        let scratch =
            scratch.map_err(|e| Failure::io(std::env::temp_dir(), "create a folder in", e))?;
        let plan = again(run, &chosen, &executable);
        let summary = {
            let mut reporter = reporters::start(arguments.events, console);
            let mut report = |event: &race::Event| reporter.report(event);
            let options = RunOptions::default();
            race::run(
                &plan,
                scratch.path(),
                &options,
                interrupt::flag(),
                &mut report,
            )?
        };
        if summary.interrupted {
            return Ok(Exit::Interrupted);
        }
        let raced = Run::read(scratch.path())?;
        for trial in &chosen {
            let twin = raced.trials.iter().find(|t| t.record.id == trial.record.id);
            doubts.extend(
                twin.map(|twin| differences(trial, twin))
                    .into_iter()
                    .flatten(),
            );
        }
    }
    tell(&arguments, run, &chosen, seed, &doubts, console)?;
    Ok(if doubts.is_empty() {
        Exit::Ok
    } else {
        Exit::CheckFailed
    })
}

fn time_of_day() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |t| t.as_nanos() as u64)
}

/// The trials of so many studies that are complete and were raced.
fn choose(run: &Run, studies: usize, seed: u64) -> Vec<&Trial> {
    let mut all: BTreeMap<(&str, &str, u32), Vec<&Trial>> = BTreeMap::new();
    for trial in &run.trials {
        let record = &trial.record;
        let study = (&*record.workload, &*record.submission, record.study);
        all.entry(study).or_default().push(trial);
    }
    all.retain(|_, trials| trials.iter().all(|t| t.record.status.is_final()));
    all.retain(|_, trials| trials.iter().any(|t| !t.evals.is_empty()));
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|((workload, submission, study), _)| {
        derive(seed, &["audit", workload, submission, &study.to_string()])
    });
    let chosen = all.into_iter().take(studies);
    chosen.flat_map(|(_, trials)| trials).collect()
}

fn tell(
    arguments: &Arguments,
    run: &Run,
    again: &[&Trial],
    seed: u64,
    doubts: &[Doubt],
    console: &mut Console,
) -> Result<(), Failure> {
    let ids: Vec<&str> = again.iter().map(|t| &*t.record.id).collect();
    match arguments.format {
        Format::Json => console.print_json(&json!({
            "records": run.trials.len(),
            "seed": seed,
            "raced_again": ids,
            "doubts": doubts,
        }))?,
        Format::Text => {
            let rows = doubts.iter().map(|doubt| {
                let code = doubt.code.to_string();
                vec![doubt.trial.clone(), code, doubt.message.clone()]
            });
            if !doubts.is_empty() {
                let table = console.table(&["trial", "check", "finding"], rows.collect());
                console.print(table)?;
            }
            let raced = match ids.as_slice() {
                [] => "none was raced again".to_string(),
                ids => format!("raced again (seed {seed}): {}", ids.join(", ")),
            };
            let found = match doubts.len() {
                0 => "all hold".to_string(),
                n => format!("{n} finding(s)"),
            };
            console.print(format!("{} record(s): {found}; {raced}", run.trials.len()))?;
        }
    }
    Ok(())
}

//! `velodrome run`.

use super::{Format, plan};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reporters::{self, Events};
use crate::{interrupt, outputs, suites};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use toml::Spanned;
use velodrome_harness::contract::Ruleset;
use velodrome_harness::race::{self, RunOptions, Suite};
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
    /// A built-in suite (see `velodrome list suites`) or the path of a suite file [default: quick]
    #[arg(value_name = "SUITE")]
    suite: Option<String>,
    /// The suite, as an option
    #[arg(long = "suite", value_name = "SUITE", conflicts_with = "suite")]
    suite_option: Option<String>,
    /// Race on this workload instead of the suite's; may be repeated
    #[arg(long = "workload", short = 'w', value_name = "NAME")]
    workloads: Vec<String>,
    /// Race this submission instead of the suite's; may be repeated
    #[arg(long = "submission", short = 's', value_name = "NAME")]
    submissions: Vec<String>,
    /// How hyperparameters are chosen
    #[arg(long, value_parser = PossibleValuesParser::new(["external", "self-tuning"]).map(ruleset))]
    ruleset: Option<Ruleset>,
    /// Where to train: flex (CPU), ndarray, cuda or cuda:N, as far as the build has them
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Repetitions with other seeds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    studies: Option<u32>,
    /// Trials per study (ruleset external)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    trials: Option<u32>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Draw one variant for each data set with this seed, race it too, and count a time only where
    /// the submission solves the drawn variant as well
    #[arg(long, value_name = "SEED")]
    held_out: Option<u64>,
    /// Compute threads of a trial [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
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

fn ruleset(word: String) -> Ruleset {
    if word == Ruleset::External.as_str() {
        Ruleset::External
    } else {
        Ruleset::SelfTuning
    }
}

pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    command: &str,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let wanted = arguments.suite.as_deref();
    let wanted = wanted.or(arguments.suite_option.as_deref());
    let mut suite = suites::load(wanted.unwrap_or("quick"))?;
    arguments.adjust(&mut suite, registry)?;
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

    let runs = vec![Run::read(&directory)?];
    let exit = outputs::tell_damaged(&runs, console);
    let board = assemble(&runs, &AssembleOptions::default())?;
    let files = outputs::write_all(&directory, &runs, &board, command)?;
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

impl Arguments {
    /// Puts the options into the suite.
    fn adjust(&self, suite: &mut Suite, registry: &Registry) -> Result<(), Failure> {
        let named = |names: &[String]| -> Vec<Spanned<String>> {
            names
                .iter()
                .map(|n| Spanned::new(0..0, n.clone()))
                .collect()
        };
        // Checked here, since an error of the plan would name a line of the suite file.
        for name in &self.workloads {
            registry.workload(name)?;
        }
        for name in &self.submissions {
            registry.submission(name)?;
        }
        if !self.workloads.is_empty() {
            suite.workloads = named(&self.workloads);
            // What the suite says of workloads that are left out has no use; a name that does
            // not exist is left for the plan to refuse.
            suite.overrides.retain(|name, _| {
                self.workloads.contains(name.get_ref())
                    || registry.workload(name.get_ref()).is_err()
            });
        }
        if !self.submissions.is_empty() {
            suite.submissions = named(&self.submissions);
            let of_use = |name: &str| {
                self.submissions.iter().any(|s| s == name) || registry.submission(name).is_err()
            };
            suite.points.retain(|name, _| of_use(name.get_ref()));
            suite.spaces.retain(|name, _| of_use(name.get_ref()));
        }
        if let Some(ruleset) = self.ruleset {
            if ruleset == Ruleset::SelfTuning {
                // A suite's number of trials is for its own ruleset.
                suite.trials = 1;
                suite.spaces.clear();
            }
            suite.ruleset = ruleset;
        }
        match self.trials {
            Some(trials) if trials > 1 && suite.ruleset == Ruleset::SelfTuning => {
                return Err(Failure::Usage(format!(
                    "--trials {trials}: a study has one trial under the ruleset self-tuning; add \
                     --ruleset external, or use --studies {trials} for repetitions"
                )));
            }
            Some(trials) => suite.trials = trials,
            None => {}
        }
        suite.device = self
            .device
            .clone()
            .unwrap_or(std::mem::take(&mut suite.device));
        suite.studies = self.studies.unwrap_or(suite.studies);
        suite.seed = self.seed.unwrap_or(suite.seed);
        suite.held_out = self.held_out.or(suite.held_out);
        suite.threads = self.threads.map(|n| n as usize).or(suite.threads);
        Ok(())
    }

    /// The run folder. It depends on the plan alone, so that the same command finds it again.
    fn directory(&self, suite: &str, hash: &str) -> PathBuf {
        if let Some(out) = &self.out {
            return out.clone();
        }
        let safe = |c: char| {
            if c.is_alphanumeric() || "-_".contains(c) {
                c
            } else {
                '_'
            }
        };
        let suite: String = suite.chars().map(safe).collect();
        let hash: String = hash.chars().take(8).collect();
        let part = match self.shard {
            Some(Shard { index, of }) => format!("-part-{index}-of-{of}"),
            None => String::new(),
        };
        PathBuf::from("runs").join(format!("{suite}-{hash}{part}"))
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

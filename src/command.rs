//! The command line: parsing, registration, dispatch.

use crate::commands::{
    adapter, audit, bench, compare, completions, data, export, history, list, new, race, report,
    run, score, targets, trial, verify,
};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use velodrome_harness::contract::{Submission, Workload};
use velodrome_harness::registry::{Registry, RegistryError};
use velodrome_workloads::family::Members;

const EXAMPLES: &str = "\
Examples:
  velodrome run                          race the suite `quick`, then print its board
  velodrome run --dry-run                show what would be raced
  velodrome run smoke -s adamw -s lion   two submissions on the smallest workload
  velodrome list submissions             what there is
  velodrome verify adamw                 does a submission keep its contract?

Results go to standard output, progress and messages to standard error.";

/// Time trials for training algorithms: submissions race to a target on fixed workloads.
#[derive(Debug, Parser)]
#[command(name = "velodrome", version, propagate_version = true)]
struct Line {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Run(run::Arguments),
    Score(score::Arguments),
    Compare(compare::Arguments),
    Race(race::Arguments),
    History(history::Arguments),
    Report(report::Arguments),
    Export(export::Arguments),
    List(list::Arguments),
    Audit(audit::Arguments),
    Bench(bench::Arguments),
    Verify(verify::Arguments),
    New(new::Arguments),
    Adapter(adapter::Arguments),
    Data(data::Arguments),
    Targets(targets::Arguments),
    Completions(completions::Arguments),
    #[command(name = "__trial", hide = true)]
    Trial(trial::Arguments),
}

/// The `velodrome` command with its built-in workloads and submissions, and what a binary adds to
/// them.
#[derive(Default)]
pub struct Command {
    workloads: Vec<Arc<dyn Workload>>,
    families: Vec<&'static dyn Members>,
    submissions: Vec<Arc<dyn Submission>>,
}

impl Command {
    /// The command as built in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a submission. A name that is taken is an error when the command runs.
    pub fn submission(mut self, submission: impl Submission + 'static) -> Self {
        self.submissions.push(Arc::new(submission));
        self
    }

    /// Adds a workload. A name that is taken is an error when the command runs.
    pub fn workload(mut self, workload: impl Workload + 'static) -> Self {
        self.workloads.push(Arc::new(workload));
        self
    }

    /// Adds a base workload with its variants. A name that is taken, and a workload without targets,
    /// are errors when the command runs.
    pub fn family(mut self, family: &'static dyn Members) -> Self {
        self.families.push(family);
        self
    }

    /// Runs the command line of this process. Meant as the last line of `main`.
    pub fn run(self) -> ExitCode {
        self.run_with(std::env::args_os(), &mut Console::standard())
            .into()
    }

    /// Runs the command line `arguments`, of which the first is the name of the program.
    pub(crate) fn run_with(
        self,
        arguments: impl IntoIterator<Item = OsString>,
        console: &mut Console,
    ) -> Exit {
        let born = Instant::now();
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let line = match parse(&arguments) {
            Ok(line) => line,
            Err(error) => {
                // Help and version go to standard output, errors to standard error; clap knows.
                let _ = error.print();
                return match error.exit_code() {
                    0 => Exit::Ok,
                    _ => Exit::Usage,
                };
            }
        };
        let outcome = self
            .registry()
            .map_err(Failure::from)
            .and_then(|registry| act(line.action, &registry, &arguments, born, console));
        outcome.unwrap_or_else(|failure| {
            let exit = failure.exit();
            if exit != Exit::Ok {
                console.note(format!("error: {failure}"));
            }
            exit
        })
    }

    fn registry(self) -> Result<Registry, RegistryError> {
        let mut registry = Registry::new();
        velodrome_workloads::register(&mut registry)?;
        velodrome_submissions::register(&mut registry)?;
        for workload in self.workloads {
            registry.add_workload(workload)?;
        }
        for family in self.families {
            velodrome_workloads::register_family(&mut registry, family)?;
        }
        for submission in self.submissions {
            registry.add_submission(submission)?;
        }
        Ok(registry)
    }
}

/// The parser, with the parts of its help that are made at run time.
pub(crate) fn parser() -> clap::Command {
    Line::command().after_help(format!("{EXAMPLES}\n\n{}", Exit::table()))
}

fn parse(arguments: &[OsString]) -> Result<Line, clap::Error> {
    let matches = parser().try_get_matches_from(arguments)?;
    Line::from_arg_matches(&matches)
}

fn act(
    action: Action,
    registry: &Registry,
    arguments: &[OsString],
    born: Instant,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match action {
        Action::Run(a) => run::execute(a, registry, &words(arguments), console),
        Action::Score(a) => score::execute(a, console),
        Action::Compare(a) => compare::execute(a, console),
        Action::Race(a) => race::execute(a, console),
        Action::History(a) => history::execute(a, console),
        Action::Report(a) => report::execute(a, console),
        Action::Export(a) => export::execute(a, console),
        Action::List(a) => list::execute(a, registry, console),
        Action::Audit(a) => audit::execute(a, registry, console),
        Action::Bench(a) => bench::execute(a, registry, console),
        Action::Verify(a) => verify::execute(a, registry, console),
        Action::New(a) => new::execute(a, registry, console),
        Action::Adapter(a) => adapter::execute(a, registry, console),
        Action::Data(a) => data::execute(a, registry, console),
        Action::Targets(a) => targets::execute(a, registry, console),
        Action::Completions(a) => completions::execute(a, &program(arguments), console),
        Action::Trial(a) => trial::execute(a, registry, born),
    }
}

/// The name by which this program was called, without its folder.
fn program(arguments: &[OsString]) -> String {
    arguments
        .first()
        .and_then(|a| std::path::Path::new(a).file_stem())
        .map_or_else(
            || "velodrome".into(),
            |name| name.to_string_lossy().into_owned(),
        )
}

/// The command line in words that a shell takes back.
fn words(arguments: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    let mut words = vec![program(arguments)];
    for argument in arguments.iter().skip(1) {
        let text = argument.to_string_lossy();
        words.push(if !text.is_empty() && text.chars().all(plain) {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        });
    }
    words.join(" ")
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;

//! What `score` and `report` need for official AlgoPerf logs.

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use velodrome_results::algoperf::{
    Budgets, LogScore, LogScoreOptions, Logs, Ruleset, Targets, write_run,
};
use velodrome_results::score::{Integration, Policy};

/// Where official logs lie, and how they are read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Official AlgoPerf logs")]
pub(crate) struct LogArguments {
    /// Score the official AlgoPerf logs in this folder: of submissions, of rulesets, or one above
    #[arg(long, value_name = "LOGS", requires = "targets", conflicts_with_all = ["runs", "allow_mixed"])]
    algoperf: Option<PathBuf>,
    /// Targets file: workloads, metrics and targets
    #[arg(long, value_name = "FILE", requires = "algoperf")]
    targets: Option<PathBuf>,
    /// Ruleset of the logs [default: from the folder's name, else from the trials]
    #[arg(
        long,
        value_name = "RULESET",
        requires = "algoperf",
        value_parser = PossibleValuesParser::new([
            PossibleValue::new("external").alias("external_tuning"),
            PossibleValue::new("self-tuning").alias("self_tuning"),
        ])
            .map(|name| Ruleset::named(&name).unwrap_or(Ruleset::External))
    )]
    ruleset: Option<Ruleset>,
    /// Budgets file [default: AlgoPerf's published budgets]
    #[arg(long, value_name = "FILE", requires = "algoperf")]
    budgets: Option<PathBuf>,
    /// Submission to which speed-ups are related [default: baseline, where there is one]
    #[arg(long, value_name = "SUBMISSION", requires = "algoperf")]
    reference: Option<String>,
    /// End with exit code 10 when the logs hold anything that the rules forbid
    #[arg(long, requires = "algoperf")]
    strict: bool,
    /// Also write the logs as records of Velodrome's own into this folder
    #[arg(long, value_name = "DIR", requires = "algoperf")]
    records: Option<PathBuf>,
}

impl LogArguments {
    /// Whether the command line names logs.
    pub(crate) fn is_given(&self) -> bool {
        self.algoperf.is_some()
    }

    /// Reads the logs; `None` where the command line names none.
    pub(crate) fn read(&self) -> Result<Option<Logs>, Failure> {
        let (Some(logs), Some(targets)) = (&self.algoperf, &self.targets) else {
            return Ok(None);
        };
        let targets = Targets::read(targets)?;
        let budgets = match &self.budgets {
            Some(file) => Budgets::read(file)?,
            None => Budgets::published()?,
        };
        Ok(Some(Logs::read(logs, targets, budgets, self.ruleset)?))
    }

    /// Scores the logs.
    pub(crate) fn score<'a>(
        &self,
        logs: &'a Logs,
        policy: Policy,
        integration: Option<Integration>,
    ) -> Result<LogScore<'a>, Failure> {
        let default = LogScoreOptions::default();
        Ok(logs.score(&LogScoreOptions {
            policy,
            integration: integration.unwrap_or(default.integration),
            reference: self.reference.clone(),
            ..default
        })?)
    }

    /// Writes the records that `--records` asks for.
    pub(crate) fn write_records(&self, logs: &Logs, console: &mut Console) -> Result<(), Failure> {
        if let Some(folder) = &self.records {
            let run = logs.run();
            write_run(&run, folder)?;
            let trials = run.trials.len();
            console.note(format!("{trials} trials written to {}", folder.display()));
        }
        Ok(())
    }

    /// Tells what was assumed and found, for the forms that have no place for it.
    pub(crate) fn tell(logs: &Logs, console: &mut Console) {
        for line in &logs.assumed {
            console.note(format!("assumed: {line}"));
        }
        for finding in &logs.findings {
            console.note(format!("finding: {finding}"));
        }
    }

    /// The exit code, and why it is not 0.
    pub(crate) fn exit(&self, logs: &Logs, console: &mut Console) -> Exit {
        let refused = logs.refused().count();
        if !self.strict || refused == 0 {
            return Exit::Ok;
        }
        let first = logs
            .refused()
            .next()
            .map(ToString::to_string)
            .unwrap_or_default();
        console.note(format!(
            "error: --strict: the rules forbid {refused} of the findings, the first: {first}"
        ));
        Exit::Forbidden
    }
}

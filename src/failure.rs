//! Why a subcommand could not do what was asked, and the exit code that says so.

use crate::exit::Exit;
use std::io;
use std::path::PathBuf;
use velodrome_harness::contract::{ModelError, SubmissionError, WorkloadError};
use velodrome_harness::race::{
    ChildError, DeviceError, LockError, PlanError, RaceError, SuiteError,
};
use velodrome_harness::registry::RegistryError;
use velodrome_harness::targets::TargetError;
use velodrome_results::RecordError;
use velodrome_results::algoperf::LogError;
use velodrome_results::assemble::AssembleError;
use velodrome_results::charts::ChartError;
use velodrome_results::compare::CompareError;
use velodrome_results::history::HistoryError;
use velodrome_results::report::ReportError;
use velodrome_results::tables::TableError;
use velodrome_submissions::adapters::interchange::InterchangeError;
use velodrome_workloads::data::fetched::FetchError;

/// An error of a subcommand.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that is not there or makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A suite file.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// A name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A suite that cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A race that could not start or go on.
    #[error(transparent)]
    Race(#[from] RaceError),
    /// A trial's own process.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Runs without a board.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// Runs without a verdict.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A program that could not race its side.
    #[error("{}: {message}", program.display())]
    Side {
        /// The program.
        program: PathBuf,
        /// What its exit code stands for.
        exit: Exit,
        /// What it said.
        message: String,
    },
    /// A git revision that does not build.
    #[error(
        "revision {revision} does not build; its sources are in {}. Where crates are missing, run \
         `cargo fetch` there, or set CARGO_NET_OFFLINE=false: no command but `data fetch` downloads \
         anything unasked", place.display()
    )]
    Build {
        /// The revision.
        revision: String,
        /// Its working tree.
        place: PathBuf,
    },
    /// Official logs.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The target-setting procedure.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// An adapter.
    #[error(transparent)]
    Adapter(#[from] InterchangeError),
    /// A workload's data or model.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A model that did not compute, or did not take its weights.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A submission that did not start.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// A device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Standard output.
    #[error("standard output: cannot write: {0}")]
    Output(io::Error),
    /// A data set.
    #[error(transparent)]
    Data(#[from] FetchError),
    /// Data sets that could not be fetched; the first reason. All have been told.
    #[error("not everything could be fetched; what is whole stays, and the same command goes on")]
    Unfetched(#[source] FetchError),
    /// A fault in Velodrome itself.
    #[error("{0} (a fault in Velodrome; please report it)")]
    Internal(String),
}

impl Failure {
    /// An error of reading or writing `path`.
    pub(crate) fn io(
        path: impl AsRef<std::path::Path>,
        action: &'static str,
        source: io::Error,
    ) -> Self {
        Self::Record(RecordError::io(path, action, source))
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) | Failure::Suite(_) | Failure::Registry(_) => Exit::Usage,
            Failure::Plan(error) => plan(error),
            Failure::Race(error) => race(error),
            Failure::Target(error) => match error {
                TargetError::Registry(_) | TargetError::Suite(_) => Exit::Usage,
                TargetError::Plan(error) => plan(error),
                TargetError::Race(error) => race(error),
                TargetError::Record(error) => record(error),
                TargetError::Interrupted => Exit::Interrupted,
                TargetError::Failed { .. } => Exit::TrialsFailed,
            },
            Failure::Data(error) | Failure::Unfetched(error) => match error {
                FetchError::Unknown { .. } => Exit::Usage,
                FetchError::Checksum { .. }
                | FetchError::Other { .. }
                | FetchError::Content { .. } => Exit::Damaged,
                FetchError::Busy { .. } => Exit::Busy,
                FetchError::Missing { .. }
                | FetchError::Io { .. }
                | FetchError::Client { .. }
                | FetchError::Space { .. } => Exit::Io,
            },
            Failure::Adapter(error) => match error {
                InterchangeError::Io { .. } => Exit::Io,
                InterchangeError::OtherModel { .. } | InterchangeError::Method { .. } => {
                    Exit::Usage
                }
                _ => Exit::Damaged,
            },
            Failure::Workload(_) | Failure::Model(_) => Exit::Damaged,
            Failure::Submission(_) => Exit::Usage,
            Failure::Device(error) => device(error),
            Failure::Child(_) => Exit::TrialProcess,
            Failure::Record(error) => record(error),
            Failure::Compare(error) => match error {
                CompareError::Option { .. } => Exit::Usage,
                CompareError::Damaged { .. } => Exit::Damaged,
                _ => Exit::Incomparable,
            },
            Failure::History(error) => match error {
                HistoryError::Record(error) => record(error),
                HistoryError::Table(TableError::Record(error)) => record(error),
                HistoryError::Table(_) => Exit::Internal,
                HistoryError::Unfinished { .. }
                | HistoryError::Twice { .. }
                | HistoryError::OtherSeries { .. } => Exit::Incomparable,
            },
            Failure::Side { exit, .. } => *exit,
            Failure::Build { .. } => Exit::Incomparable,
            Failure::Assemble(_) => Exit::NoBoard,
            Failure::Logs(error) => logs(error),
            Failure::Table(TableError::Record(error)) => record(error),
            Failure::Chart(error) => chart(error),
            Failure::Report(ReportError::Chart(error)) => chart(error),
            // A reader that has seen enough (`| head`) is not an error.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Failure::Output(_) => Exit::Io,
            Failure::Table(_) | Failure::Report(_) | Failure::Internal(_) => Exit::Internal,
        }
    }
}

fn plan(error: &PlanError) -> Exit {
    match error {
        PlanError::Suite(_) => Exit::Usage,
        PlanError::Device(error) => device(error),
        PlanError::Executable(_) => Exit::Io,
    }
}

fn race(error: &RaceError) -> Exit {
    match error {
        RaceError::Lock(LockError::Busy { .. }) => Exit::Busy,
        RaceError::Lock(LockError::Io(error)) | RaceError::Record(error) => record(error),
        RaceError::Lock(LockError::Refused { .. }) => Exit::Io,
        RaceError::Damaged(_) => Exit::Damaged,
        RaceError::OtherPlan { .. } => Exit::OtherPlan,
        RaceError::Spawn { .. } | RaceError::Trial { .. } => Exit::Io,
    }
}

fn record(error: &RecordError) -> Exit {
    match error {
        RecordError::Io { .. } => Exit::Io,
        RecordError::Damaged { .. } | RecordError::Version { .. } => Exit::Damaged,
    }
}

fn logs(error: &LogError) -> Exit {
    match error {
        LogError::Record(error) => record(error),
        LogError::Targets { .. } | LogError::SeveralRulesets { .. } => Exit::Usage,
        LogError::Submission { .. } => Exit::Usage,
        LogError::NoLogs { .. } | LogError::Export { .. } | LogError::Score(_) => Exit::NoBoard,
    }
}

fn chart(error: &ChartError) -> Exit {
    match error {
        ChartError::Write(error) => record(error),
        _ => Exit::Internal,
    }
}

fn device(error: &DeviceError) -> Exit {
    match error {
        DeviceError::Unknown { .. } => Exit::Usage,
        _ => Exit::Device,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_map_to_their_codes() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::io("x", "write", full()).exit(), Exit::Io);
        let damaged = || RecordError::damaged("evals.jsonl", 3, "cut short");
        assert_eq!(Failure::from(damaged()).exit(), Exit::Damaged);
        let race = Failure::Race(RaceError::Damaged(vec![damaged(), damaged()]));
        assert_eq!(race.exit(), Exit::Damaged);
        let busy = LockError::Busy {
            path: "runs/x".into(),
            pid: "7".into(),
        };
        assert_eq!(Failure::Race(RaceError::Lock(busy)).exit(), Exit::Busy);
        let unknown = DeviceError::Unknown { name: "tpu".into() };
        assert_eq!(
            Failure::Plan(PlanError::Device(unknown)).exit(),
            Exit::Usage
        );
        let absent = DeviceError::NotBuilt {
            name: "cuda".into(),
            feature: "cuda",
        };
        assert_eq!(
            Failure::Plan(PlanError::Device(absent)).exit(),
            Exit::Device
        );
        assert_eq!(Failure::Output(full()).exit(), Exit::Io);
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::Output(pipe).exit(), Exit::Ok);
    }
}

//! One file per subcommand.

pub(crate) mod adapter;
pub(crate) mod algoperf;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod plan;
pub(crate) mod race;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod score;
pub(crate) mod targets;
pub(crate) mod trial;
pub(crate) mod verify;

use crate::failure::Failure;
use clap::ValueEnum;
use std::path::PathBuf;
use velodrome_results::run::{Run, read_all};
use velodrome_results::trace::Evaluation;

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Reads runs: folders, or archives that `velodrome export --records` wrote; evaluations in full or as
/// their traces. Says what to do where one is neither.
pub(crate) fn read_runs<E: Evaluation>(paths: &[PathBuf]) -> Result<Vec<Run<E>>, Failure> {
    for path in paths {
        if !path.is_file() && !path.join("run.json").exists() {
            return Err(Failure::Usage(format!(
                "{} is not a run folder: it has no run.json; give a folder that `velodrome run` \
                 wrote, or a file that `velodrome export --records` wrote",
                path.display()
            )));
        }
    }
    Ok(read_all(paths)?)
}

//! `velodrome __trial`: one trial in its own process. The race starts it; nobody else needs it.

use crate::exit::Exit;
use crate::failure::Failure;
use std::path::PathBuf;
use std::time::Instant;
use velodrome_harness::race;
use velodrome_harness::registry::Registry;

/// Race one trial (started by `run`).
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder of the trial
    #[arg(long)]
    dir: PathBuf,
    /// What the race tells the trial, as JSON
    #[arg(long)]
    arguments: String,
}

/// `born` is when the process started: a trial's wall time counts from there.
pub(crate) fn execute(
    arguments: Arguments,
    registry: &Registry,
    born: Instant,
) -> Result<Exit, Failure> {
    race::child(registry, &arguments.dir, &arguments.arguments, born)?;
    Ok(Exit::Ok)
}

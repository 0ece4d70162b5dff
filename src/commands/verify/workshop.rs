//! A folder for the races of `velodrome verify`, gone when the command ends.

use crate::failure::Failure;
use crate::interrupt;
use tempfile::TempDir;
use velodrome_harness::conformance::{Check, check_processes};
use velodrome_harness::contract::{Submission, Track};
use velodrome_harness::registry::Registry;

/// The workload of the checks, the smallest, and steps between two evaluations.
fn race(track: Track) -> (&'static str, u64) {
    match track {
        Track::Pretrain => ("digits_mlp", 8),
        Track::Finetune => ("garments_vit", 4),
    }
}

/// The folder.
pub(super) struct Workshop {
    dir: TempDir,
}

impl Workshop {
    /// Makes it, in the system's folder for temporary files.
    pub(super) fn open() -> Result<Self, Failure> {
        let dir = TempDir::with_prefix("velodrome-verify-");
        let dir = dir.map_err(|e| Failure::io(std::env::temp_dir(), "create a folder in", e))?;
        Ok(Self { dir })
    }

    /// Races `submission` there.
    pub(super) fn check(&self, registry: &Registry, submission: &dyn Submission) -> Vec<Check> {
        let race = race(submission.describe().track);
        check_processes(
            registry,
            race,
            submission,
            self.dir.path(),
            interrupt::flag(),
        )
    }
}

//! A folder for the races of `velodrome verify`, gone when the command ends.

use crate::failure::Failure;
use crate::interrupt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
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
    dir: PathBuf,
}

impl Workshop {
    /// Makes it, in the system's folder for temporary files.
    pub(super) fn open() -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let name = format!(
            "velodrome-verify-{}-{}",
            std::process::id(),
            now.map_or(0, |t| t.as_nanos())
        );
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).map_err(|e| Failure::io(&dir, "create", e))?;
        Ok(Self { dir })
    }

    /// Races `submission` there.
    pub(super) fn check(&self, registry: &Registry, submission: &dyn Submission) -> Vec<Check> {
        let race = race(submission.describe().track);
        check_processes(registry, race, submission, &self.dir, interrupt::flag())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

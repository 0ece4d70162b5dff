//! The process of one trial.
//!
//! The runner starts it with the trial's folder, keeps its standard input open and reads events,
//! one JSON object per line, from its standard output. When standard input closes, the runner is
//! gone, and the process ends at once: what it has written is enough to continue.

use super::device::{DeviceError, device};
use super::event::Event;
use super::lock::{Lock, LockError};
use super::time::SystemTime;
use super::trial::{Drill, Stop, Trial, TrialSetup};
use crate::registry::{Registry, RegistryError};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use velodrome_results::{RecordError, TrialRecord};

/// What the runner tells a trial's process beside the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildArguments {
    /// Least wall seconds between two checkpoints.
    pub checkpoint_seconds: f64,
    /// Whether the weights stay at the end.
    pub keep_weights: bool,
    /// What `verify` makes the trial go through; nothing in a race.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
}

/// Why a trial's process could not do its work. The trial stays `running`.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The arguments are not what the runner writes.
    #[error("arguments of the trial's process: {0}")]
    Arguments(serde_json::Error),
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Another process races this trial.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The record names what this program does not have.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Exit code of a trial's process that could not do its work for a reason outside the trial.
pub const CHILD_ERROR: i32 = 75;

/// The last line of a process that could not do its work. It goes the way of the events, since a full disk
/// has no room for it in `stderr.log`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fault {
    /// The error.
    pub fault: String,
}

/// Races the trial in `dir`. `born` is when the process started.
pub fn child(
    registry: &Registry,
    dir: &Path,
    arguments: &str,
    born: Instant,
) -> Result<(), ChildError> {
    end_with_runner();
    race(registry, dir, arguments, born).inspect_err(|error| {
        tell(&Fault {
            fault: error.to_string(),
        });
    })
}

fn race(registry: &Registry, dir: &Path, arguments: &str, born: Instant) -> Result<(), ChildError> {
    let arguments: ChildArguments =
        serde_json::from_str(arguments).map_err(ChildError::Arguments)?;
    // A killed runner's trial may take a moment to notice.
    let _lock = Lock::acquire(dir, Duration::from_secs(10))?;
    let path = dir.join("trial.json");
    let planned = TrialRecord::read(&path)?;
    if planned.status.is_final() {
        // The process of a runner that was killed has ended the trial since this one's runner looked.
        return Ok(());
    }
    let workload = registry.workload(&planned.workload)?;
    let submission = registry.submission(&planned.submission)?;
    let setup = TrialSetup {
        workload: workload.as_ref(),
        submission: submission.as_ref(),
        device: device(&planned.device)?,
        dir,
        checkpoint_seconds: arguments.checkpoint_seconds,
        keep_weights: arguments.keep_weights,
        time: Arc::new(SystemTime::since(born).with_pulse()),
    };
    let mut emit = |event: Event| tell(&event);
    let mut trial = Trial::new(setup, planned, &mut emit).with_drill(arguments.drill);
    let result = catch_unwind(AssertUnwindSafe(|| trial.run())).unwrap_or_else(|panic| {
        let message = format!("the submission panicked: {}", panic_message(&*panic));
        Err(Stop::Submission(message.into()))
    });
    if let Err(Stop::Halted) = result {
        return Ok(());
    }
    let record = trial.finish(result)?;
    let checkpoint = Trial::checkpoint_path(dir);
    // What a kill left of a checkpoint that was being written; best effort, it is only room on the disk.
    let _ = std::fs::remove_file(checkpoint.with_extension("tmp"));
    record.write(&path)?;
    if checkpoint.exists() {
        std::fs::remove_file(&checkpoint).map_err(|e| RecordError::io(&checkpoint, "remove", e))?;
    }
    Ok(())
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// Sends an event or a fault to the runner. When nobody listens the runner is gone, and so is the reason to
/// go on.
fn tell(message: &impl Serialize) {
    let Ok(mut line) = serde_json::to_string(message) else {
        return;
    };
    line.push('\n');
    let mut out = std::io::stdout().lock();
    if out
        .write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(CHILD_ERROR);
    }
}

/// Ends this process as soon as standard input closes.
fn end_with_runner() {
    std::thread::spawn(|| {
        let mut sink = [0; 64];
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut sink), Ok(n) if n > 0) {}
        std::process::exit(CHILD_ERROR);
    });
}

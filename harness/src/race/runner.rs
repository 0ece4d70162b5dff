//! The runner: one process per trial, watched, and a record for every one.

use super::child::ChildArguments;
use super::event::Event;
use super::lock::{Lock, LockError};
use super::plan::Plan;
use super::runner_scan::{Standing, merge_run_record, scan};
use super::trial::Trial;
use super::watch::{End, Watch};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use velodrome_results::log;
use velodrome_results::run::trial_dir;
use velodrome_results::{EndedBy, RecordError, Status, TrialRecord};

/// Why a race could not go on. Nothing that was recorded is lost.
#[derive(Debug, thiserror::Error)]
pub enum RaceError {
    /// Another process races into the folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Files in the run directory are damaged.
    #[error(
        "{} damaged file(s); nothing was changed. Remove a damaged trial's folder to race it \
         again:\n{}", .0.len(), .0.iter().map(|e| format!("  {e}")).collect::<Vec<_>>().join("\n")
    )]
    Damaged(Vec<RecordError>),
    /// The folder holds the run of another plan.
    #[error("{path} holds another run: {difference}; choose another folder with --out")]
    OtherPlan {
        /// The folder.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// A trial's process cannot be started.
    #[error("cannot start a process for trial {id}: {source}")]
    Spawn {
        /// The trial.
        id: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A trial's process ended for a reason outside the trial (a full disk, say).
    #[error("trial {id} could not go on: {message}")]
    Trial {
        /// The trial.
        id: String,
        /// What its process said.
        message: String,
    },
}

/// Choices of one race that are not part of the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Race failed trials (crashed, diverged, out of memory, timed out) again.
    pub retry_failed: bool,
}

/// What a race left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Trials of the plan by status.
    pub counts: Vec<(Status, usize)>,
    /// Whether it was interrupted before the end.
    pub interrupted: bool,
}

/// Races `plan` into `dir`. Trials that are complete there are kept, a trial that was running
/// continues from its checkpoint, and nothing is asked. Set `interrupted` to stop soon.
pub fn run(
    plan: &Plan,
    dir: &Path,
    options: &RunOptions,
    interrupted: &AtomicBool,
    report: &mut dyn FnMut(&Event),
) -> Result<RunSummary, RaceError> {
    std::fs::create_dir_all(dir).map_err(|e| RecordError::io(dir, "create", e))?;
    let _lock = Lock::acquire(dir, Duration::ZERO)?;
    let run_record = merge_run_record(plan, dir)?;
    let standing = scan(plan, dir)?;
    run_record.write(&dir.join("run.json"))?;
    let complete = |s: &Standing| match s {
        Standing::Final(status) => !(options.retry_failed && status.is_failure()),
        _ => false,
    };
    report(&Event::RunStarted {
        suite: plan.suite.clone(),
        path: dir.display().to_string(),
        trials: plan.trials.len(),
        complete: standing.iter().filter(|s| complete(s)).count(),
    });
    let mut statuses: Vec<Status> = Vec::new();
    for (i, (planned, stands)) in plan.trials.iter().zip(&standing).enumerate() {
        if let Standing::Final(status) = stands
            && complete(stands)
        {
            // A kill between the record and its end leaves a checkpoint that nobody needs.
            let left = Trial::checkpoint_path(&trial_dir(dir, &planned.id));
            let _ = std::fs::remove_file(left);
            statuses.push(*status);
            continue;
        }
        if interrupted.load(Ordering::SeqCst) {
            statuses.push(Status::Running);
            continue;
        }
        let seat = Seat {
            dir: trial_dir(dir, &planned.id),
            number: i + 1,
            of: plan.trials.len(),
        };
        let fresh = !matches!(stands, Standing::Interrupted);
        statuses.push(race_one(plan, planned, &seat, fresh, interrupted, report)?);
    }
    let counts: Vec<(Status, usize)> = Status::ALL
        .into_iter()
        .map(|s| (s, statuses.iter().filter(|&&t| t == s).count()))
        .filter(|(_, n)| *n > 0)
        .collect();
    let summary = RunSummary {
        interrupted: statuses.contains(&Status::Running),
        counts,
    };
    report(&Event::RunEnded {
        path: dir.display().to_string(),
        counts: summary.counts.clone(),
        interrupted: summary.interrupted,
    });
    Ok(summary)
}

/// Where a trial is raced.
struct Seat {
    dir: PathBuf,
    number: usize,
    of: usize,
}

fn race_one(
    plan: &Plan,
    planned: &TrialRecord,
    seat: &Seat,
    fresh: bool,
    interrupted: &AtomicBool,
    report: &mut dyn FnMut(&Event),
) -> Result<Status, RaceError> {
    let record_path = seat.dir.join("trial.json");
    if fresh {
        remove_trial(&seat.dir)?;
        std::fs::create_dir_all(&seat.dir).map_err(|e| RecordError::io(&seat.dir, "create", e))?;
        let mut record = planned.clone();
        record.started = unix_seconds();
        record.write(&record_path)?;
    }
    let resumed = Trial::checkpoint_path(&seat.dir).exists();
    report(&Event::TrialStarted {
        id: planned.id.clone(),
        number: seat.number,
        of: seat.of,
        resumed,
    });
    let arguments = ChildArguments {
        checkpoint_seconds: plan.limits.checkpoint_seconds,
        keep_weights: plan.limits.keep_weights,
        drill: None,
    };
    let began = Instant::now();
    let watch = Watch::start(planned, &seat.dir, &arguments)?;
    let (end, last) = watch.until_end(&plan.limits, interrupted, report);
    let status = match end {
        End::Interrupted => return Ok(Status::Running),
        End::Exited(0) => TrialRecord::read(&record_path)?.status,
        End::Fault(message) => {
            return Err(RaceError::Trial {
                id: planned.id.clone(),
                message: match message.is_empty() {
                    true => stderr_tail(&seat.dir),
                    false => message,
                },
            });
        }
        End::Signal(signal) if file_too_large(signal) => {
            return Err(RaceError::Trial {
                id: planned.id.clone(),
                message: format!(
                    "a file in {} outgrew the limit on the size of files (`ulimit -f`)",
                    seat.dir.display()
                ),
            });
        }
        End::Exited(code) => {
            let said = stderr_tail(&seat.dir);
            let reason = format!("the trial's process ended with exit code {code}: {said}");
            close(&seat.dir, Status::Crashed, reason, began.elapsed(), last)?
        }
        End::Signal(signal) => {
            let said = stderr_tail(&seat.dir);
            let (status, reason) = if said.contains("memory allocation of") {
                (Status::OutOfMemory, said)
            } else {
                let reason = format!("the trial's process was ended by signal {signal}. {said}");
                (Status::Crashed, reason)
            };
            close(&seat.dir, status, reason, began.elapsed(), last)?
        }
        End::OutOfMemory(reason) => close(
            &seat.dir,
            Status::OutOfMemory,
            reason,
            began.elapsed(),
            last,
        )?,
        End::Stalled => {
            let reason = format!(
                "no progress for {} s (limits.stall_seconds)",
                plan.limits.stall_seconds
            );
            close(&seat.dir, Status::TimedOut, reason, began.elapsed(), last)?
        }
    };
    if status == Status::Running {
        return Err(RaceError::Trial {
            id: planned.id.clone(),
            message: "its process ended well but left the record unfinished".into(),
        });
    }
    let record = TrialRecord::read(&record_path)?;
    report(&Event::TrialEnded {
        id: planned.id.clone(),
        number: seat.number,
        of: seat.of,
        status,
        time_to_target: record.outcome.time_to_target,
        steps_to_target: record.outcome.steps_to_target,
        best: record.outcome.best_validation,
        reason: record.reason,
    });
    Ok(status)
}

/// Removes what a trial left, its record first: whatever else a kill leaves of the folder is then no trial.
fn remove_trial(dir: &Path) -> Result<(), RecordError> {
    let record = dir.join("trial.json");
    if record.exists() {
        std::fs::remove_file(&record).map_err(|e| RecordError::io(&record, "remove", e))?;
    }
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(|e| RecordError::io(dir, "remove", e))?;
    }
    Ok(())
}

/// Whether a signal says that a file outgrew the process's limit: no fault of the submission's, as little as a
/// full disk.
fn file_too_large(signal: i32) -> bool {
    #[cfg(unix)]
    {
        signal == nix::sys::signal::Signal::SIGXFSZ as i32
    }
    #[cfg(not(unix))]
    {
        let _ = signal;
        false
    }
}

/// The time, to the millisecond; `None` where the system's clock stands before 1970.
fn unix_seconds() -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_millis() as f64 / 1000.0)
}

/// Closes the record of a trial whose process could not do it itself, from what it left.
fn close(
    dir: &Path,
    status: Status,
    reason: String,
    wall: Duration,
    last: Option<(u64, u64)>,
) -> Result<Status, RaceError> {
    let path = dir.join("trial.json");
    let mut record = TrialRecord::read(&path)?;
    if record.status.is_final() {
        // It died between its last word and its end; the record stands.
        return Ok(record.status);
    }
    record.status = status;
    record.ended_by = Some(EndedBy::Failure);
    record.reason = Some(reason);
    record.outcome.clock.total = wall.as_secs_f64();
    let evals_path = dir.join("evals.jsonl");
    let evals = if evals_path.exists() {
        log::read_running(&evals_path)?
    } else {
        Vec::new()
    };
    let outcome = &mut record.outcome;
    outcome.counters.evaluations = evals.len() as u64;
    let (step, work) = last.unwrap_or_default();
    outcome.counters.steps = step.max(evals.last().map_or(0, |e| e.step));
    outcome.counters.work = work.max(evals.last().map_or(0, |e| e.work));
    for eval in &evals {
        let target = &record.target;
        outcome.observe(
            target,
            target.value_in(&eval.validation),
            target.value_in(&eval.test),
        );
    }
    record.write(&path)?;
    Ok(status)
}

/// The last lines that a trial's process wrote to standard error.
pub(crate) fn stderr_tail(dir: &Path) -> String {
    let text = std::fs::read(dir.join("stderr.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(3);
    lines[from..].join(" | ")
}

//! One trial, in this process: workload, submission and clock in, log and record out.

mod evaluate;
mod share;
mod start;

use super::checkpoint::{Checkpoint, Header};
use super::clock::{Clock, Phase};
use super::event::Event;
use super::fingerprint::hex;
use super::histogram::Histogram;
use super::input::InputQueue;
use super::pool;
use super::time::TimeSource;
use crate::contract::{
    Algorithm, Dataset, ModelError, Queue, Splits, State, StepContext, Submission, SubmissionError,
    Trainee, Workload, WorkloadError, WorkloadSpec,
};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use share::Begun;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use velodrome_results::log::EvalLog;
use velodrome_results::record::write_atomic;
use velodrome_results::{EndedBy, Outcome, RecordError, Status, TrialRecord};

/// The first steps, whose time is booked as warm-up too and left out of the step summary.
const WARM_UP_STEPS: u64 = 5;
/// So many training losses in a row that are not finite end a trial as `diverged`.
const BAD_LOSSES: u32 = 10;
/// Least time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Why a trial ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The submission returned an error.
    #[error("the submission failed: {0}")]
    Submission(#[from] SubmissionError),
    /// The workload could not be opened or built.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The harness's own use of the model failed.
    #[error("evaluation failed: {0}")]
    Model(#[from] ModelError),
    /// A record could not be read or written: not the submission's fault, so the trial stays
    /// `running` and continues once the cause is gone.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Loss or metric became non-finite.
    #[error("{0}")]
    Diverged(String),
    /// The device failed.
    #[error("device: {0}")]
    Device(String),
    /// The rules of the workload do not let it race.
    #[error("{0}")]
    Barred(String),
    /// A [`Drill`] asked for it: the trial stays `running`.
    #[error("stopped at a checkpoint, as asked")]
    Halted,
}

/// What `verify` makes a trial go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drill {
    /// Stop, unfinished, at the first checkpoint with this much work done.
    HaltAtWork(u64),
    /// Make all weights NaN before this step (from 0).
    SpoilAtStep(u64),
}

/// What the race gives a trial beside its plan.
pub struct TrialSetup<'a> {
    /// Workload.
    pub workload: &'a dyn Workload,
    /// Submission.
    pub submission: &'a dyn Submission,
    /// Device, without autodiff.
    pub device: Device,
    /// Folder for log and checkpoint.
    pub dir: &'a Path,
    /// Least wall seconds between two checkpoints.
    pub checkpoint_seconds: f64,
    /// Whether the weights at the end are written beside the record.
    pub keep_weights: bool,
    /// Time source; its origin is where the trial's wall time begins.
    pub time: Arc<dyn TimeSource>,
}

/// The file of the weights at the end of a trial, where they are kept: burn's format.
pub const WEIGHTS: &str = "weights.burnpack";

/// A trial at work.
pub struct Trial<'a> {
    setup: TrialSetup<'a>,
    spec: WorkloadSpec,
    record: TrialRecord,
    clock: Clock,
    steps: Histogram,
    metrics: Arc<Vec<f64>>,
    emit: &'a mut dyn FnMut(Event),
    last_progress: Option<Duration>,
    last_checkpoint: f64,
    last_eval_clock: f64,
    bad_losses: u32,
    loss_sum: f64,
    loss_count: u64,
    drill: Option<Drill>,
}

/// The parts that a running trial works with, apart from its own books.
struct Race {
    trainee: Trainee,
    algorithm: Box<dyn Algorithm>,
    queue: InputQueue,
    log: EvalLog,
    splits: Splits,
    /// Held-out pretraining data, where the workload begins from pretrained weights.
    retained: Option<Arc<dyn Dataset>>,
    /// Where the target limits what may be trained.
    begun: Option<Begun>,
}

impl<'a> Trial<'a> {
    /// A trial of the planned `record`. Events go to `emit`.
    pub fn new(
        setup: TrialSetup<'a>,
        mut record: TrialRecord,
        emit: &'a mut dyn FnMut(Event),
    ) -> Self {
        // What an earlier segment left counts only as far as a checkpoint restores it.
        record.outcome = Outcome::default();
        record.findings.clear();
        let clock = Clock::new(setup.time.clone(), Duration::ZERO);
        let spec = setup.workload.spec();
        Self {
            setup,
            spec,
            record,
            clock,
            steps: Histogram::default(),
            metrics: Arc::default(),
            emit,
            last_progress: None,
            last_checkpoint: 0.0,
            last_eval_clock: 0.0,
            bad_losses: 0,
            loss_sum: 0.0,
            loss_count: 0,
            drill: None,
        }
    }

    /// The trial with a drill.
    pub fn with_drill(mut self, drill: Option<Drill>) -> Self {
        self.drill = drill;
        self
    }

    /// Where the checkpoint of the trial in `dir` lies.
    pub fn checkpoint_path(dir: &Path) -> PathBuf {
        dir.join("checkpoint")
    }

    /// Races to the end. Afterwards [`Self::finish`] gives the record.
    pub fn run(&mut self) -> Result<EndedBy, Stop> {
        let since_origin = self.clock.time().now();
        self.clock.book(Phase::Setup, since_origin);
        let mut race = self.start()?;
        if race.trainee.counters().evaluations == 0 && self.evaluate(&mut race)? {
            return self.end(race, EndedBy::Target);
        }
        loop {
            self.step(&mut race)?;
            let counters = *race.trainee.counters();
            let spent = counters.work >= self.record.budget.work;
            if self.is_due(&race) || spent {
                if self.evaluate(&mut race)? {
                    return self.end(race, EndedBy::Target);
                }
                if !spent {
                    self.checkpoint_if_due(&mut race)?;
                    let halt = |d| matches!(d, Drill::HaltAtWork(work) if counters.work >= work);
                    if self.drill.is_some_and(halt) {
                        return Err(Stop::Halted);
                    }
                }
            }
            if spent {
                return self.end(race, EndedBy::WorkBudget);
            }
            if self.clock.on_clock() >= self.record.budget.seconds {
                return self.end(race, EndedBy::TimeBudget);
            }
        }
    }

    /// One training step, its time and its books.
    fn step(&mut self, race: &mut Race) -> Result<(), Stop> {
        let step = race.trainee.counters().steps;
        let context = StepContext {
            step,
            clock: self.last_eval_clock,
            evaluations: self.metrics.clone(),
            direction: self.record.target.direction,
            seed: self.record.seeds.algorithm,
        };
        if self.drill == Some(Drill::SpoilAtStep(step)) {
            race.trainee.map(|_, value| value.mul_scalar(f32::NAN));
        }
        let time = self.clock.time().clone();
        let start = time.now();
        let batch = race.algorithm.select(&mut race.queue, &context)?;
        race.algorithm.update(&mut race.trainee, &batch, &context)?;
        sync(&self.setup.device)?;
        let stop = time.now();
        check_seal(&race.trainee)?;
        let waited = race.queue.take_waited();
        self.clock.charge(race.queue.take_background());
        let warm_up = step < WARM_UP_STEPS;
        let own = self
            .clock
            .book_step(stop.saturating_sub(start), waited, warm_up);
        if !warm_up {
            self.steps.add(own.as_secs_f64());
        }
        race.trainee.counters_mut().steps += 1;
        if let Some(loss) = race.trainee.take_last_loss() {
            let loss = f64::from(loss.into_scalar::<f32>());
            self.loss_sum += loss;
            self.loss_count += 1;
            self.bad_losses = if loss.is_finite() {
                0
            } else {
                self.bad_losses + 1
            };
        }
        self.record.outcome.counters = *race.trainee.counters();
        self.progress(stop);
        self.clock
            .book(Phase::Logging, time.now().saturating_sub(stop));
        if self.bad_losses >= BAD_LOSSES {
            return Err(Stop::Diverged(format!(
                "the training loss was not finite for {BAD_LOSSES} steps in a row, up to step {}",
                step + 1
            )));
        }
        Ok(())
    }

    /// Tells that the trial is alive, at most every [`PROGRESS_EVERY`].
    fn progress(&mut self, now: Duration) {
        if self
            .last_progress
            .is_some_and(|last| now.saturating_sub(last) < PROGRESS_EVERY)
        {
            return;
        }
        self.last_progress = Some(now);
        let counters = self.record.outcome.counters;
        (self.emit)(Event::Progress {
            id: self.record.id.clone(),
            step: counters.steps,
            work: counters.work,
            budget_work: self.record.budget.work,
            clock: self.clock.on_clock(),
        });
    }

    fn is_due(&self, race: &Race) -> bool {
        let every = self.record.eval_every_work;
        if every == 0 {
            return self.clock.on_clock() - self.last_eval_clock >= self.record.eval_every_seconds;
        }
        // Due when the work crossed a multiple of the interval since the last evaluation.
        let work = race.trainee.counters().work;
        work / every > self.record.outcome.last_eval_work / every
    }

    fn checkpoint_if_due(&mut self, race: &mut Race) -> Result<(), Stop> {
        if self.clock.wall() - self.last_checkpoint < self.setup.checkpoint_seconds {
            return Ok(());
        }
        let start = self.clock.time().now();
        let mut state = State::new();
        race.algorithm.save(&mut state)?;
        race.log.sync()?;
        self.note_standstill();
        let header = Header {
            hash: self.record.hash.clone(),
            clock: self.clock.parts(),
            counters: *race.trainee.counters(),
            steps: self.steps.clone(),
            position: race.queue.position(),
            batch_size: race.queue.batch_size(),
            log_bytes: race.log.bytes(),
            outcome: self.record.outcome.clone(),
            findings: self.record.findings.clone(),
            bad_losses: self.bad_losses,
            last_eval_clock: self.last_eval_clock,
        };
        Checkpoint {
            header,
            model: race.trainee.save()?,
            state,
        }
        .write(&Self::checkpoint_path(self.setup.dir))?;
        let elapsed = self.clock.time().now().saturating_sub(start);
        self.clock.book(Phase::Checkpoint, elapsed);
        self.last_checkpoint = self.clock.wall();
        Ok(())
    }

    /// Counts what only the live objects know, and lets go of them.
    fn end(&mut self, mut race: Race, by: EndedBy) -> Result<EndedBy, Stop> {
        let outcome = &mut self.record.outcome;
        self.clock.measure(Phase::Logging, || -> Result<_, Stop> {
            let mut state = State::new();
            race.algorithm.save(&mut state)?;
            outcome.state_bytes = state.tensor_bytes();
            outcome.parameters = race.trainee.parameters();
            outcome.trainable_parameters = race.trainee.trainable_parameters();
            Ok(race.log.sync()?)
        })?;
        if race.retained.is_some() || self.setup.keep_weights {
            // The race is over: nothing of this is the submission's time.
            self.clock.measure(Phase::Evaluation, || {
                race.algorithm.prepare_for_eval(&mut race.trainee)
            })?;
            self.measure_forgetting(&race)?;
        }
        let outcome = &mut self.record.outcome;
        self.clock.measure(Phase::Logging, || -> Result<_, Stop> {
            if self.setup.keep_weights {
                let weights = race.trainee.save()?;
                write_atomic(&self.setup.dir.join(WEIGHTS), &weights)?;
                outcome.weights_sha256 = Some(hex(&Sha256::digest(&weights)));
            }
            // Freeing a model takes time too.
            drop(race);
            Ok(by)
        })
    }

    /// The record after [`Self::run`] ended with `result`; `panic` is the message of a caught
    /// panic.
    pub fn finish(mut self, result: Result<EndedBy, Stop>) -> Result<TrialRecord, RecordError> {
        let (status, by, reason) = match result {
            Ok(EndedBy::Target) => (Status::Reached, Some(EndedBy::Target), None),
            Ok(by) => (Status::Missed, Some(by), None),
            Err(Stop::Record(error)) => return Err(error),
            Err(stop @ Stop::Diverged(_)) => (
                Status::Diverged,
                Some(EndedBy::Divergence),
                Some(stop.to_string()),
            ),
            Err(Stop::Barred(why)) => (Status::Skipped, None, Some(why)),
            Err(stop) => (
                Status::Crashed,
                Some(EndedBy::Failure),
                Some(stop.to_string()),
            ),
        };
        self.record.status = status;
        self.record.ended_by = by;
        self.record.reason = reason;
        self.record.outcome.clock = self.clock.parts();
        self.record.outcome.step_times = self.steps.summary();
        self.record.outcome.peak_memory_bytes = peak_memory();
        self.note_standstill();
        super::findings::add(&mut self.record);
        Ok(self.record)
    }

    fn note_standstill(&mut self) {
        let stood = self.clock.time().take_standstill();
        self.record
            .findings
            .extend(super::findings::standstill(stood));
    }
}

/// Waits for the device.
fn sync(device: &Device) -> Result<(), Stop> {
    device.sync().map_err(|e| Stop::Device(e.to_string()))
}

/// Fails where the submission put a trainee of its own, whose counters and measures it could choose, in the
/// place of the trial's.
fn check_seal(trainee: &Trainee) -> Result<(), Stop> {
    match trainee.is_sealed() {
        true => Ok(()),
        false => Err(SubmissionError::Foreign.into()),
    }
}

/// Waits for the device and for everything queued in the compute pool, so that no work of the
/// submission is left for the time after the clock stops.
fn fence(device: &Device) -> Result<(), Stop> {
    sync(device)?;
    pool::drain();
    Ok(())
}

/// Peak resident memory of this process in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let peak = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
        // Kilobytes on Linux, bytes on macOS.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        u64::try_from(peak).ok().map(|p| p * unit)
    }
    #[cfg(not(unix))]
    {
        None
    }
}

//! The start of a trial: data, model, queue, submission, and what a checkpoint restores.

use super::super::checkpoint::{Checkpoint, Header};
use super::super::clock::Phase;
use super::super::input::InputQueue;
use super::share::Begun;
use super::{Race, Stop, Trial, check_seal, fence};
use crate::contract::{Hints, Point, Ruleset, StartContext, SubmissionError, Trainee};
use std::path::Path;
use std::sync::Arc;
use velodrome_results::log::{self, EvalLog};
use velodrome_results::{Finding, RecordError};

impl Trial<'_> {
    /// Opens, builds, starts, and restores a checkpoint where there is one.
    pub(super) fn start(&mut self) -> Result<Race, Stop> {
        let saved_path = Self::checkpoint_path(self.setup.dir);
        let saved = self.clock.measure(Phase::Checkpoint, || {
            saved_path
                .exists()
                .then(|| Checkpoint::read(&saved_path))
                .transpose()
        })?;
        if let Some(saved) = &saved
            && saved.header.hash != self.record.hash
        {
            return Err(RecordError::damaged(
                &saved_path,
                None,
                format!(
                    "header: field `hash` is {}, but the trial's is {}",
                    saved.header.hash, self.record.hash
                ),
            )
            .into());
        }
        let (workload, device) = (self.setup.workload, self.setup.device.clone());
        let seeds = self.record.seeds;
        let (splits, retained, model) =
            self.clock.measure(Phase::Setup, || -> Result<_, Stop> {
                let splits = workload.open()?;
                let retained = workload.retained()?;
                device.seed(seeds.model);
                let model = workload.build(&device.clone().autodiff())?;
                Ok((splits, retained, model))
            })?;
        // A checkpoint brings its findings along, these among them.
        if saved.is_none() {
            for skipped in &splits.skipped {
                self.record.findings.push(Finding {
                    code: "skipped_examples".into(),
                    message: format!("{} examples left out: {}", skipped.examples, skipped.reason),
                });
            }
        }
        let mut trainee = Trainee::new(model, device.clone(), seeds.algorithm)
            .with_new_head(workload.new_head())
            .sealed();
        // A checkpoint brings this along too.
        if let Some(data) = retained.as_ref().filter(|_| saved.is_none()) {
            self.measure_retained(&trainee, data)?;
        }
        let (position, batch_size) = saved.as_ref().map_or((0, self.spec.hints.batch_size), |c| {
            (c.header.position, c.header.batch_size)
        });
        let time = self.clock.time().clone();
        let train = splits.train.clone();
        let queue = self.clock.measure(Phase::Setup, || {
            let queue = InputQueue::start(
                train,
                seeds.data,
                position,
                batch_size,
                device.clone(),
                time.clone(),
            );
            // Every thread that the harness needs exists now; later ones are the submission's.
            rayon::broadcast(|_| ());
            time.adopt_threads();
            queue
        });
        let queue = queue.map_err(|e| SubmissionError::Queue(e.to_string()))?;
        let context = StartContext {
            point: Point(self.record.point.clone()),
            hints: Hints {
                steps: self.record.step_hint.unwrap_or(self.spec.hints.steps),
                ..self.spec.hints
            },
            ruleset: if self.record.ruleset == Ruleset::External.as_str() {
                Ruleset::External
            } else {
                Ruleset::SelfTuning
            },
            seed: seeds.algorithm,
        };
        let submission = self.setup.submission;
        let mut algorithm = self.clock.measure(Phase::Start, || -> Result<_, Stop> {
            let algorithm = submission.start(&mut trainee, &context)?;
            fence(&device)?;
            Ok(algorithm)
        })?;
        check_seal(&trainee)?;
        // Before a checkpoint is loaded: the start is the same in every segment.
        let limited = self.record.target.trainable_share.is_some();
        let begun = limited.then(|| Begun::of(&trainee));
        let log_path = self.setup.dir.join("evals.jsonl");
        let log = match saved {
            None => self
                .clock
                .measure(Phase::Logging, || EvalLog::open(&log_path, 0))?,
            Some(saved) => {
                let header = saved.header.clone();
                let log = self
                    .clock
                    .measure(Phase::Checkpoint, || -> Result<_, Stop> {
                        trainee.load(&saved.model, header.counters)?;
                        algorithm.load(&saved.state, &trainee)?;
                        Ok(EvalLog::open(&log_path, header.log_bytes)?)
                    })?;
                self.restore(header, &log_path)?;
                log
            }
        };
        self.last_checkpoint = self.clock.wall();
        Ok(Race {
            trainee,
            algorithm,
            queue,
            log,
            splits,
            retained,
            begun,
        })
    }

    /// Puts the books back to where the checkpoint was taken.
    fn restore(&mut self, header: Header, log_path: &Path) -> Result<(), Stop> {
        self.clock.continue_from(header.clock);
        self.steps = header.steps;
        self.record.outcome = header.outcome;
        self.record.outcome.resumes += 1;
        self.record.findings = header.findings;
        self.bad_losses = header.bad_losses;
        self.last_eval_clock = header.last_eval_clock;
        let evals = log::read(log_path)?;
        let metrics = evals
            .iter()
            .map(|e| self.record.target.value_in(&e.validation));
        self.metrics = Arc::new(metrics.collect());
        Ok(())
    }
}

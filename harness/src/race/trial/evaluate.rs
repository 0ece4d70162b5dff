//! Evaluations: prepared by the submission, made and booked by the harness.

use super::super::clock::Phase;
use super::super::event::Event;
use super::{PROGRESS_EVERY, Race, Stop, Trial, check_seal, fence};
use crate::contract::{Batch, Dataset, Trainee, WorkloadError};
use std::sync::Arc;
use velodrome_results::measures::Measures;
use velodrome_results::{EvalRecord, Retained};

impl Trial<'_> {
    /// One evaluation; says whether the target is met.
    pub(super) fn evaluate(&mut self, race: &mut Race) -> Result<bool, Stop> {
        let device = self.setup.device.clone();
        self.clock.measure(Phase::Prepare, || -> Result<_, Stop> {
            race.algorithm.prepare_for_eval(&mut race.trainee)?;
            fence(&device)
        })?;
        check_seal(&race.trainee)?;
        self.check_share(race)?;
        let at = self.clock.on_clock();
        let validation = self.measure(&race.trainee, &race.splits.validation)?;
        let test = self.measure(&race.trainee, &race.splits.test)?;
        let met = self.book_evaluation(race, at, validation, test)?;
        self.clock.measure(Phase::Prepare, || -> Result<_, Stop> {
            race.algorithm.after_eval(&mut race.trainee)?;
            fence(&device)
        })?;
        Ok(met)
    }

    /// Loss on the pretraining data before anything was trained, off the clock.
    pub(super) fn measure_retained(
        &mut self,
        trainee: &Trainee,
        data: &Arc<dyn Dataset>,
    ) -> Result<(), Stop> {
        let before = self.retained_loss(trainee, data)?;
        self.record.outcome.retained = Some(Retained {
            before,
            after: before,
        });
        Ok(())
    }

    /// The same at the end, with the weights that are evaluated.
    pub(super) fn measure_forgetting(&mut self, race: &Race) -> Result<(), Stop> {
        let Some(data) = race.retained.clone() else {
            return Ok(());
        };
        let after = self.retained_loss(&race.trainee, &data)?;
        if let Some(retained) = &mut self.record.outcome.retained {
            retained.after = after;
        }
        Ok(())
    }

    fn retained_loss(&mut self, trainee: &Trainee, data: &Arc<dyn Dataset>) -> Result<f64, Stop> {
        let measures = self.measure(trainee, data)?;
        Ok(measures.get("loss").copied().unwrap_or(f64::NAN))
    }

    /// Measures of one split, off the clock.
    fn measure(&mut self, trainee: &Trainee, data: &Arc<dyn Dataset>) -> Result<Measures, Stop> {
        let time = self.clock.time().clone();
        let (size, device) = (self.spec.eval_batch_size.max(1), self.setup.device.clone());
        let (emit, id) = (&mut *self.emit, self.record.id.clone());
        let (counters, budget_work) = (self.record.outcome.counters, self.record.budget.work);
        let clock_now = self.clock.on_clock();
        let last = &mut self.last_progress;
        let mut unreadable = None;
        let measures = self.clock.measure(Phase::Evaluation, || {
            let mut batches = (0..data.len()).step_by(size).map_while(|from| {
                // An evaluation is progress too: a long one must not look like a stall.
                let now = time.now();
                if last.is_none_or(|l| now.saturating_sub(l) >= PROGRESS_EVERY) {
                    *last = Some(now);
                    emit(Event::Progress {
                        id: id.clone(),
                        step: counters.steps,
                        work: counters.work,
                        budget_work,
                        clock: clock_now,
                    });
                }
                let ids: Vec<usize> = (from..(from + size).min(data.len())).collect();
                match data.load(&ids, None) {
                    Ok(batch) => Some(Batch::from_host(batch, ids, &device)),
                    Err(fault) => {
                        unreadable = Some(fault);
                        None
                    }
                }
            });
            trainee.evaluate(&mut batches)
        });
        match unreadable {
            Some(fault) => Err(WorkloadError::Data {
                workload: self.spec.name.clone(),
                message: fault,
            }
            .into()),
            None => Ok(measures?),
        }
    }

    /// Logs an evaluation and says whether it met the target.
    fn book_evaluation(
        &mut self,
        race: &mut Race,
        at: f64,
        validation: Measures,
        test: Measures,
    ) -> Result<bool, Stop> {
        let start = self.clock.time().now();
        let target = self.record.target.clone();
        let (value, test_value) = (target.value_in(&validation), target.value_in(&test));
        let mean_loss = self.loss_sum / self.loss_count as f64;
        let train: Measures = if self.loss_count > 0 {
            [("loss".to_string(), mean_loss)].into()
        } else {
            Measures::new()
        };
        (self.loss_sum, self.loss_count) = (0.0, 0);
        let counters = *race.trainee.counters();
        let eval = EvalRecord {
            n: counters.evaluations,
            step: counters.steps,
            work: counters.work,
            clock: at,
            wall: self.clock.wall(),
            train,
            validation,
            test,
        };
        race.log.append(&eval)?;
        race.trainee.counters_mut().evaluations += 1;
        Arc::make_mut(&mut self.metrics).push(value);
        self.last_eval_clock = at;
        let outcome = &mut self.record.outcome;
        outcome.counters = *race.trainee.counters();
        outcome.last_eval_work = counters.work;
        outcome.observe(&target, value, test_value);
        if target.direction.meets(test_value, target.test) {
            outcome.time_to_test_target.get_or_insert(at);
        }
        let met = target.direction.meets(value, target.validation);
        if met {
            outcome.time_to_target = Some(at);
            outcome.steps_to_target = Some(counters.steps);
            outcome.work_to_target = Some(counters.work);
        }
        (self.emit)(Event::Evaluated {
            id: self.record.id.clone(),
            step: counters.steps,
            work: counters.work,
            clock: at,
            metric: target.metric.clone(),
            value,
            target: target.validation,
        });
        let elapsed = self.clock.time().now().saturating_sub(start);
        self.clock.book(Phase::Logging, elapsed);
        if !value.is_finite() {
            return Err(Stop::Diverged(format!(
                "{} on the validation split is {value} at step {}",
                target.metric, counters.steps
            )));
        }
        Ok(met)
    }
}

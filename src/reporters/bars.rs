//! Progress bars with the time left, for a terminal.

use super::{Reporter, words};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};
use velodrome_harness::race::Event;

const RUN: &str = "{bar:24} {pos}/{len} trials, {elapsed} so far{msg}";
const TRIAL: &str = "{bar:24} {percent:>3} % of budget, {prefix}{msg}";

/// Two bars: the run (in trials) and the running trial (in its work budget). Lines about trials
/// that ended scroll away above them.
pub(crate) struct Bars {
    screen: MultiProgress,
    run: ProgressBar,
    started: Instant,
    /// Trials that ended since the start.
    ended: u32,
    trial: Option<Trial>,
}

struct Trial {
    bar: ProgressBar,
    started: Instant,
    /// Work at the first event, which is not 0 after a resume.
    first_work: Option<u64>,
    metric: String,
    left: String,
}

impl Bars {
    pub(crate) fn on_stderr() -> Self {
        Self::new(ProgressDrawTarget::stderr())
    }

    fn new(target: ProgressDrawTarget) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        let run = screen.add(ProgressBar::new(0));
        run.set_style(style(RUN));
        Self {
            screen,
            run,
            started: Instant::now(),
            ended: 0,
            trial: None,
        }
    }

    fn tell(&self, event: &Event) {
        if let Some(line) = words::line(event) {
            let _ = self.screen.println(line);
        }
    }

    /// Trials still to race, times the mean time of those that ended.
    fn run_left(&self) -> String {
        let left = self
            .run
            .length()
            .unwrap_or(0)
            .saturating_sub(self.run.position());
        if self.ended == 0 || left == 0 {
            return String::new();
        }
        let elapsed = self.started.elapsed().as_secs_f64();
        let running = self
            .trial
            .as_ref()
            .map_or(0.0, |t| t.started.elapsed().as_secs_f64());
        // Trials of another workload may take much longer than those that have ended: the running
        // one says so as soon as it does.
        let each = ((elapsed - running) / f64::from(self.ended)).max(running);
        let seconds = (each * left as f64 - running).max(0.0);
        format!(", about {} left", words::duration(seconds))
    }
}

impl Reporter for Bars {
    fn report(&mut self, event: &Event) {
        match event {
            Event::RunStarted {
                trials, complete, ..
            } => {
                self.tell(event);
                self.run.set_length(*trials as u64);
                self.run.set_position(*complete as u64);
                self.run.enable_steady_tick(Duration::from_millis(500));
                self.started = Instant::now();
            }
            Event::TrialStarted { id, .. } => {
                let bar = self.screen.add(ProgressBar::new(0));
                bar.set_style(style(TRIAL));
                bar.set_prefix(id.clone());
                self.trial = Some(Trial {
                    bar,
                    started: Instant::now(),
                    first_work: None,
                    metric: String::new(),
                    left: String::new(),
                });
            }
            Event::Progress {
                work, budget_work, ..
            } => {
                if let Some(trial) = &mut self.trial {
                    trial.progress(*work, *budget_work);
                }
                self.run.set_message(self.run_left());
            }
            Event::Evaluated {
                metric,
                value,
                target,
                ..
            } => {
                if let Some(trial) = &mut self.trial {
                    trial.metric = format!(
                        ", {metric} {} (target {})",
                        words::value(*value),
                        words::value(*target)
                    );
                    trial.show();
                }
            }
            Event::Warning { .. } => self.tell(event),
            Event::TrialEnded { .. } => {
                if let Some(trial) = self.trial.take() {
                    trial.bar.finish_and_clear();
                    self.screen.remove(&trial.bar);
                }
                self.tell(event);
                self.ended += 1;
                self.run.inc(1);
                self.run.set_message(self.run_left());
            }
            Event::RunEnded { .. } => {
                if let Some(trial) = self.trial.take() {
                    trial.bar.finish_and_clear();
                }
                self.run.finish_and_clear();
                self.tell(event);
            }
        }
    }
}

/// An error ends the race without an event: the bars must not stay on the screen.
impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(trial) = self.trial.take() {
            trial.bar.finish_and_clear();
        }
        self.run.finish_and_clear();
    }
}

impl Trial {
    fn progress(&mut self, work: u64, budget: u64) {
        self.bar.set_length(budget);
        self.bar.set_position(work);
        let first = *self.first_work.get_or_insert(work);
        if work > first {
            let per_example = self.started.elapsed().as_secs_f64() / (work - first) as f64;
            let left = per_example * budget.saturating_sub(work) as f64;
            // At most: the trial ends where it meets the target.
            self.left = format!(", at most {} left", words::duration(left));
        }
        self.show();
    }

    fn show(&self) {
        self.bar
            .set_message(format!("{}{}", self.metric, self.left));
    }
}

/// The templates are constants; a wrong one would cost the look, not the race.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn bars_follow_the_race() {
        let mut bars = Bars::new(ProgressDrawTarget::hidden());
        for event in sample::race() {
            bars.report(&event);
            if let Event::Progress { .. } = event {
                let trial = bars.trial.as_ref().unwrap();
                assert_eq!(
                    (trial.bar.position(), trial.bar.length()),
                    (8000, Some(32000))
                );
                assert_eq!(trial.bar.message(), ", error 0.4 (target 0.05)");
                assert_eq!((bars.run.position(), bars.run.length()), (1, Some(3)));
                bars.report(&Event::Progress {
                    id: sample::ID.into(),
                    step: 260,
                    work: 9000,
                    budget_work: 32000,
                    clock: 10.1,
                });
                let message = bars.trial.as_ref().unwrap().bar.message();
                assert!(message.contains("at most"), "{message}");
            }
        }
        assert!(bars.trial.is_none());
        assert_eq!(bars.run.position(), 3);
        assert!(bars.run.is_finished());
    }

    #[test]
    fn the_templates_are_valid() {
        for template in [RUN, TRIAL] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

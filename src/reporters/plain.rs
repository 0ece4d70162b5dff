//! Plain lines, for pipes and log files.

use super::{Reporter, words};
use std::io::Write;
use velodrome_harness::race::Event;

/// Seconds on the submission clock between two lines about one trial.
const EVERY: f64 = 10.0;

/// Writes a line when a trial starts, ends or warns, and at times in between.
pub(crate) struct Plain<'a> {
    to: &'a mut dyn Write,
    /// The running trial: its clock at its last line, and its share of the budget.
    told: f64,
    share: Option<f64>,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(to: &'a mut dyn Write) -> Self {
        Self {
            to,
            told: 0.0,
            share: None,
        }
    }
}

impl Reporter for Plain<'_> {
    fn report(&mut self, event: &Event) {
        let line = match event {
            Event::TrialStarted { .. } => {
                (self.told, self.share) = (0.0, None);
                words::line(event)
            }
            Event::Progress {
                work, budget_work, ..
            } => {
                self.share = Some(*work as f64 / (*budget_work).max(1) as f64);
                None
            }
            Event::Evaluated {
                id,
                step,
                clock,
                metric,
                value,
                target,
                ..
            } if *clock >= self.told + EVERY => {
                self.told = *clock;
                let share = self.share.map_or_else(String::new, |share| {
                    format!(", {:.0} % of the budget", 100.0 * share)
                });
                Some(format!(
                    "  {id} at {}, step {step}{share}: {metric} {} (target {})",
                    words::duration(*clock),
                    words::value(*value),
                    words::value(*target),
                ))
            }
            other => words::line(other),
        };
        if let Some(line) = line {
            let _ = writeln!(self.to, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_race_reads_well() {
        let mut text = Vec::new();
        let mut reporter = Plain::new(&mut text);
        for event in sample::race() {
            reporter.report(&event);
        }
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "racing smoke in runs/smoke-1a2b3c4d: 3 trials, 1 complete already\n\
             [2/3] digits_mlp.adamw.study-1.trial-1 starts\n\
             \x20 digits_mlp.adamw.study-1.trial-1 at 12.2 s, step 300, 25 % of the budget: \
             error NaN (target 0.05)\n\
             warning: digits_mlp.adamw.study-1.trial-1: the input queue was starved\n\
             [2/3] digits_mlp.adamw.study-1.trial-1 reached the target in 14.0 s, 350 steps\n\
             [3/3] digits_mlp.broken.study-1.trial-1 continues\n\
             [3/3] digits_mlp.broken.study-1.trial-1 crashed: panicked at step 7\n\
             finished: 2 reached, 1 crashed\n"
        );
    }

    #[test]
    fn evaluations_are_told_at_most_every_ten_seconds() {
        let mut text = Vec::new();
        let mut reporter = Plain::new(&mut text);
        for step in 0..100 {
            reporter.report(&sample::evaluated(step, step as f64 * 0.5, 0.4));
        }
        assert_eq!(String::from_utf8(text).unwrap().lines().count(), 4);
    }
}

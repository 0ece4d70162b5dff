//! Warnings that a trial's own record can tell.

use std::time::Duration;
use velodrome_results::{Finding, TrialRecord};

/// Most of the wall time that may stay unaccounted for.
const CLOSURE: f64 = 0.01;

/// Adds what is worth a reader's attention to the record.
pub fn add(record: &mut TrialRecord) {
    let clock = record.outcome.clock;
    let mut found = Vec::new();
    if clock.unaccounted_share().abs() > CLOSURE {
        found.push(Finding {
            code: "clock_closure".into(),
            message: format!(
                "{:.1} % of the wall time is in no part of the clock",
                clock.unaccounted_share() * 100.0
            ),
        });
    }
    if clock.background > 0.01 * clock.on_clock() && clock.background > 0.01 {
        found.push(Finding {
            code: "background_work".into(),
            message: format!(
                "the submission worked for {:.3} s in other threads while the clock stood; that \
                 time was added to its clock",
                clock.background
            ),
        });
    }
    if clock.input_wait > 0.05 * clock.on_clock() && clock.input_wait > 0.1 {
        found.push(Finding {
            code: "input_wait".into(),
            message: format!(
                "{:.2} s were spent waiting for input (not on the clock)",
                clock.input_wait
            ),
        });
    }
    record.findings.extend(found);
}

/// The warning that a trial's process stood still for some of its time, which may have been on the clock.
pub fn standstill(time: Duration) -> Option<Finding> {
    (!time.is_zero()).then(|| Finding {
        code: "standstill".into(),
        message: format!(
            "its process stood still for {:.1} s (stopped, or without a processor), and the clock went on",
            time.as_secs_f64()
        ),
    })
}

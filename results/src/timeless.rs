//! Records without what may differ between two runs of one trial.

use crate::record::{EvalRecord, Outcome, Status, TrialRecord};

impl EvalRecord {
    /// Without seconds.
    pub fn timeless(&self) -> Self {
        Self {
            clock: 0.0,
            wall: 0.0,
            ..self.clone()
        }
    }
}

impl TrialRecord {
    /// As it was planned: without how it went.
    pub fn as_planned(&self) -> Self {
        Self {
            started: None,
            status: Status::Running,
            ended_by: None,
            reason: None,
            outcome: Outcome::default(),
            findings: Vec::new(),
            ..self.clone()
        }
    }

    /// Without what depends on seconds, memory and interruptions: two runs of one trial by one program on
    /// one machine agree in the rest, bit for bit.
    pub fn timeless(&self) -> Self {
        let mut record = self.clone();
        record.started = None;
        let outcome = &mut record.outcome;
        outcome.clock = Default::default();
        outcome.step_times = Default::default();
        outcome.peak_memory_bytes = None;
        outcome.resumes = 0;
        outcome.time_to_target = outcome.time_to_target.map(|_| 0.0);
        outcome.time_to_test_target = outcome.time_to_test_target.map(|_| 0.0);
        record.findings.clear();
        record
    }
}

//! The clock of a trial: who pays for which second.
//!
//! | phase | on the submission clock |
//! |---|---|
//! | setup, input wait, evaluation, logging, checkpoint | no |
//! | start, training, prepare | yes |
//!
//! Whatever phase is off the clock, processor time that threads of the submission use meanwhile is
//! charged to the submission (`background`), so that nothing is won by working in another thread. What it left
//! to the pool is waited for before such a phase begins.

use super::time::TimeSource;
use std::sync::Arc;
use std::time::Duration;
use velodrome_results::ClockParts;

/// What a stretch of wall time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening data, building the model.
    Setup,
    /// The submission's start.
    Start,
    /// `select` and `update`.
    Training,
    /// `prepare_for_eval` and `after_eval`.
    Prepare,
    /// Waiting for the input queue.
    InputWait,
    /// Evaluations.
    Evaluation,
    /// Records and events.
    Logging,
    /// Checkpoints.
    Checkpoint,
}

impl Phase {
    /// Whether the submission pays for it.
    pub fn on_clock(self) -> bool {
        matches!(self, Phase::Start | Phase::Training | Phase::Prepare)
    }
}

/// Foreign processor time below this, or below [`NOISE_SHARE`] of a phase, is measurement noise:
/// readings of several clocks are microseconds apart.
const NOISE: Duration = Duration::from_micros(50);
/// See [`NOISE`].
const NOISE_SHARE: f64 = 0.02;

/// Runs `f` while the clock stands. Gives the wall time that it took, and the processor time that foreign
/// threads used meanwhile where that is more than noise.
pub(crate) fn off_clock<R>(
    time: &dyn TimeSource,
    f: impl FnOnce() -> R,
) -> (R, Duration, Duration) {
    let start = time.now();
    // Reading the processor times takes microseconds, which belong to what is measured.
    let before = time.foreign_cpu();
    let result = f();
    let after = time.foreign_cpu();
    let elapsed = time.now().saturating_sub(start);
    let work = match (before, after) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => Duration::ZERO,
    };
    let noise = NOISE.max(elapsed.mul_f64(NOISE_SHARE));
    let work = if work > noise { work } else { Duration::ZERO };
    (result, elapsed, work)
}

/// Adds up where a trial's wall time goes.
pub struct Clock {
    time: Arc<dyn TimeSource>,
    parts: ClockParts,
    /// Wall time of earlier segments of a resumed trial.
    earlier: f64,
    /// Where this segment began on the time source.
    began: Duration,
}

impl Clock {
    /// A clock that runs from `began` (a reading of `time`).
    pub fn new(time: Arc<dyn TimeSource>, began: Duration) -> Self {
        Self {
            time,
            parts: ClockParts::default(),
            earlier: 0.0,
            began,
        }
    }

    /// The time source.
    pub fn time(&self) -> &Arc<dyn TimeSource> {
        &self.time
    }

    /// Runs `f` and books its wall time on `phase`. Off the clock, foreign processor time is
    /// charged as background work.
    pub fn measure<R>(&mut self, phase: Phase, f: impl FnOnce() -> R) -> R {
        if phase.on_clock() {
            let start = self.time.now();
            let result = f();
            self.book(phase, self.time.now().saturating_sub(start));
            return result;
        }
        let (result, elapsed, work) = off_clock(&*self.time, f);
        self.book(phase, elapsed);
        self.charge(work);
        result
    }

    /// Charges processor time that threads of the submission used while the clock stood.
    pub fn charge(&mut self, work: Duration) {
        self.parts.background += work.as_secs_f64();
    }

    /// Books `elapsed` on `phase`.
    pub fn book(&mut self, phase: Phase, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let part = match phase {
            Phase::Setup => &mut self.parts.setup,
            Phase::Start => &mut self.parts.start,
            Phase::Training => &mut self.parts.training,
            Phase::Prepare => &mut self.parts.prepare,
            Phase::InputWait => &mut self.parts.input_wait,
            Phase::Evaluation => &mut self.parts.evaluation,
            Phase::Logging => &mut self.parts.logging,
            Phase::Checkpoint => &mut self.parts.checkpoint,
        };
        *part += seconds;
    }

    /// Books a training step: `elapsed` minus the part spent waiting for input. Returns the
    /// step's own time.
    pub fn book_step(&mut self, elapsed: Duration, waited: Duration, warm_up: bool) -> Duration {
        let own = elapsed.saturating_sub(waited);
        self.book(Phase::InputWait, waited.min(elapsed));
        self.book(Phase::Training, own);
        if warm_up {
            self.parts.warm_up += own.as_secs_f64();
        }
        own
    }

    /// Seconds on the submission clock so far.
    pub fn on_clock(&self) -> f64 {
        self.parts.on_clock()
    }

    /// Wall seconds so far, earlier segments included.
    pub fn wall(&self) -> f64 {
        self.earlier + self.time.now().saturating_sub(self.began).as_secs_f64()
    }

    /// The parts, with the total measured apart from them.
    pub fn parts(&self) -> ClockParts {
        ClockParts {
            total: self.wall(),
            ..self.parts
        }
    }

    /// Continues from the parts of a checkpoint: what this segment has booked so far (setting up
    /// and reading the checkpoint, all off the clock) is added to them.
    pub fn continue_from(&mut self, saved: ClockParts) {
        let here = self.parts;
        self.earlier = saved.total;
        self.parts = saved;
        self.parts.setup += here.setup;
        self.parts.checkpoint += here.checkpoint;
        // The submission's start was paid for in the first segment; repeating it restores a
        // structure and is booked with the checkpoint.
        self.parts.checkpoint += here.start;
        self.parts.logging += here.logging;
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::FakeTime;
    use super::*;

    fn second() -> Duration {
        Duration::from_secs(1)
    }

    #[test]
    fn every_phase_is_booked_once_and_only_three_are_on_the_clock() {
        let time = Arc::new(FakeTime::default());
        let mut clock = Clock::new(time.clone(), Duration::ZERO);
        let phases = [
            Phase::Setup,
            Phase::Start,
            Phase::Training,
            Phase::Prepare,
            Phase::InputWait,
            Phase::Evaluation,
            Phase::Logging,
            Phase::Checkpoint,
        ];
        for phase in phases {
            clock.measure(phase, || time.advance(second()));
        }
        assert_eq!(clock.on_clock(), 3.0);
        let parts = clock.parts();
        assert_eq!(parts.accounted(), 8.0);
        assert_eq!(parts.total, 8.0);
        assert_eq!(parts.unaccounted_share(), 0.0);
    }

    #[test]
    fn time_that_no_phase_books_shows_in_the_closure() {
        let time = Arc::new(FakeTime::default());
        let mut clock = Clock::new(time.clone(), Duration::ZERO);
        clock.measure(Phase::Training, || time.advance(second()));
        time.advance(second());
        assert_eq!(clock.parts().unaccounted_share(), 0.5);
    }

    #[test]
    fn background_work_is_charged_off_the_clock_only() {
        let time = Arc::new(FakeTime::default());
        let mut clock = Clock::new(time.clone(), Duration::ZERO);
        clock.measure(Phase::Training, || time.work_in_background(second()));
        assert_eq!(clock.on_clock(), 0.0);
        clock.measure(Phase::Evaluation, || time.work_in_background(second()));
        assert_eq!(clock.on_clock(), 1.0);
        assert_eq!(clock.parts().background, 1.0);
    }

    #[test]
    fn waiting_inside_a_step_is_taken_off_it() {
        let time = Arc::new(FakeTime::default());
        let mut clock = Clock::new(time, Duration::ZERO);
        let own = clock.book_step(3 * second(), second(), true);
        assert_eq!(own, 2 * second());
        let parts = clock.parts();
        assert_eq!(
            (parts.training, parts.input_wait, parts.warm_up),
            (2.0, 1.0, 2.0)
        );
    }

    #[test]
    fn a_resumed_clock_continues_where_it_was() {
        let time = Arc::new(FakeTime::default());
        let mut clock = Clock::new(time.clone(), Duration::ZERO);
        clock.measure(Phase::Start, || time.advance(second()));
        clock.measure(Phase::Training, || time.advance(second()));
        let saved = clock.parts();
        let mut next = Clock::new(time.clone(), time.now());
        next.measure(Phase::Setup, || time.advance(second()));
        next.measure(Phase::Start, || time.advance(second()));
        next.continue_from(saved);
        assert_eq!(next.on_clock(), 2.0);
        assert_eq!(next.wall(), 4.0);
        assert_eq!(next.parts().unaccounted_share(), 0.0);
    }
}

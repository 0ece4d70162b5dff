//! Reporters: what the race tells while it goes on, on standard error.

mod bars;
mod json;
mod plain;
pub(crate) mod words;

use crate::console::Console;
use clap::ValueEnum;
use velodrome_harness::race::Event;

/// How events are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Events {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Progress bars with the time left
    Bars,
    /// A line when a trial begins, ends, or has something to tell
    Plain,
    /// One JSON object per event and line
    Json,
}

/// Tells of events. A stream that cannot be written to is not worth the race.
pub(crate) trait Reporter {
    fn report(&mut self, event: &Event);
}

/// The reporter for `events` on the console's standard error.
pub(crate) fn start(events: Events, console: &mut Console) -> Box<dyn Reporter + '_> {
    match events {
        Events::Auto if console.err_is_terminal => Box::new(bars::Bars::on_stderr()),
        Events::Bars => Box::new(bars::Bars::on_stderr()),
        Events::Auto | Events::Plain => Box::new(plain::Plain::new(&mut console.err)),
        Events::Json => Box::new(json::Json::new(&mut console.err)),
    }
}

#[cfg(test)]
pub(crate) mod sample {
    //! A short race.

    use velodrome_harness::race::Event;
    use velodrome_results::Status;

    pub(crate) const ID: &str = "digits_mlp.adamw.study-1.trial-1";

    pub(crate) fn evaluated(step: u64, clock: f64, value: f64) -> Event {
        Event::Evaluated {
            id: ID.into(),
            step,
            work: step * 32,
            clock,
            metric: "error".into(),
            value,
            target: 0.05,
        }
    }

    pub(crate) fn race() -> Vec<Event> {
        let other = "digits_mlp.broken.study-1.trial-1";
        vec![
            Event::RunStarted {
                suite: "smoke".into(),
                path: "runs/smoke-1a2b3c4d".into(),
                trials: 3,
                complete: 1,
            },
            Event::TrialStarted {
                id: ID.into(),
                number: 2,
                of: 3,
                resumed: false,
            },
            evaluated(0, 0.0, 0.9),
            evaluated(100, 4.0, 0.4),
            Event::Progress {
                id: ID.into(),
                step: 250,
                work: 8000,
                budget_work: 32000,
                clock: 10.0,
            },
            evaluated(300, 12.25, f64::NAN),
            Event::Warning {
                id: ID.into(),
                message: "the input queue was starved".into(),
            },
            Event::TrialEnded {
                id: ID.into(),
                number: 2,
                of: 3,
                status: Status::Reached,
                time_to_target: Some(14.04),
                steps_to_target: Some(350),
                best: Some(0.049),
                reason: None,
            },
            Event::TrialStarted {
                id: other.into(),
                number: 3,
                of: 3,
                resumed: true,
            },
            Event::TrialEnded {
                id: other.into(),
                number: 3,
                of: 3,
                status: Status::Crashed,
                time_to_target: None,
                steps_to_target: None,
                best: None,
                reason: Some("panicked at step 7".into()),
            },
            Event::RunEnded {
                path: "runs/smoke-1a2b3c4d".into(),
                counts: vec![(Status::Reached, 2), (Status::Crashed, 1)],
                interrupted: false,
            },
        ]
    }
}

//! Events in words: what plain lines and bars share.

use velodrome_harness::race::Event;
use velodrome_results::Status;

/// Seconds for people: `0.053 s`, `12.3 s`, `2 min 05 s`, `1 h 03 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown time".into();
    }
    let whole = seconds.round() as u64;
    if seconds < 0.9995 {
        format!("{seconds:.3} s")
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        let minutes = (whole + 30) / 60;
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// A metric's value: four significant digits.
pub(crate) fn value(x: f64) -> String {
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    rounded.to_string()
}

/// A status with spaces.
fn status_word(status: Status) -> String {
    status.as_str().replace('_', " ")
}

/// The line that an event is worth in any form of plain text; `None` for the frequent ones.
pub(crate) fn line(event: &Event) -> Option<String> {
    match event {
        Event::RunStarted {
            suite,
            path,
            trials,
            complete,
        } => Some(match complete {
            0 => format!("racing {suite} in {path}: {trials} trials"),
            n => format!("racing {suite} in {path}: {trials} trials, {n} complete already"),
        }),
        Event::TrialStarted {
            id,
            number,
            of,
            resumed,
        } => {
            let verb = if *resumed { "continues" } else { "starts" };
            Some(format!("[{number}/{of}] {id} {verb}"))
        }
        Event::Progress { .. } | Event::Evaluated { .. } => None,
        Event::Warning { id, message } => Some(format!("warning: {id}: {message}")),
        Event::TrialEnded {
            id,
            number,
            of,
            status,
            time_to_target,
            steps_to_target,
            best,
            reason,
        } => {
            let mut text = format!("[{number}/{of}] {id} {}", status_word(*status));
            if let Some(time) = time_to_target {
                text += &format!(" the target in {}", duration(*time));
            }
            if let Some(steps) = steps_to_target {
                text += &format!(", {steps} steps");
            }
            if let (None, Some(best)) = (time_to_target, best) {
                text += &format!(", best {}", value(*best));
            }
            if let Some(reason) = reason {
                text += &format!(": {reason}");
            }
            Some(text)
        }
        Event::RunEnded {
            path,
            counts,
            interrupted,
        } => {
            let counts: Vec<String> = counts
                .iter()
                .filter(|(_, n)| *n > 0)
                .map(|(status, n)| format!("{n} {}", status_word(*status)))
                .collect();
            let counts = if counts.is_empty() {
                "no trials".into()
            } else {
                counts.join(", ")
            };
            Some(if *interrupted {
                format!("interrupted ({counts}); the same command continues in {path}")
            } else {
                format!("finished: {counts}")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_for_people() {
        let cases = [
            (0.0532, "0.053 s"),
            (0.9997, "1.0 s"),
            (59.94, "59.9 s"),
            (59.96, "1 min 00 s"),
            (125.4, "2 min 05 s"),
            (3599.6, "1 h 00 min"),
            (7384.0, "2 h 03 min"),
            (f64::INFINITY, "unknown time"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn an_interrupted_run_says_how_to_go_on() {
        let event = Event::RunEnded {
            path: "runs/x".into(),
            counts: vec![(Status::Reached, 1), (Status::Running, 1)],
            interrupted: true,
        };
        assert_eq!(
            line(&event).unwrap(),
            "interrupted (1 reached, 1 running); the same command continues in runs/x"
        );
    }
}

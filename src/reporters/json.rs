//! One JSON object per event and line.

use super::Reporter;
use std::io::Write;
use velodrome_harness::race::Event;

/// Writes events as JSON lines.
pub(crate) struct Json<'a> {
    to: &'a mut dyn Write,
}

impl<'a> Json<'a> {
    pub(crate) fn new(to: &'a mut dyn Write) -> Self {
        Self { to }
    }
}

impl Reporter for Json<'_> {
    fn report(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            let _ = writeln!(self.to, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_event_is_one_line_that_reads_back() {
        let mut text = Vec::new();
        let mut reporter = Json::new(&mut text);
        for event in sample::race() {
            reporter.report(&event);
        }
        let text = String::from_utf8(text).unwrap();
        let back: Vec<Event> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        // Compared as text, since NaN does not equal itself.
        assert_eq!(format!("{back:?}"), format!("{:?}", sample::race()));
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["event"], "run_started");
        assert_eq!(first["trials"], 3);
    }
}

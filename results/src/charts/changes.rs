//! The changes of a comparison: for each row the estimate, its interval, and the threshold.

use super::axis::Scale;
use super::frame::{Frame, empty, heading};
use super::palette::{INK, Look, MUTED, Marker, Rgb, STRIP};
use super::pen::{Align, LARGE, NORMAL, Pen, SMALL, Stroke, fit, text_width};
use super::picture::Picture;
use crate::compare::{Answer, Comparison, Question, Verdict};
use plotters::prelude::DrawingBackend;

const ROW: f64 = 24.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 60.0;
const PLOT: f64 = 480.0;
/// Most rows that are drawn: those of the worst verdicts and largest changes.
const MOST: usize = 60;
/// Changes beyond this many per cent are drawn at the edge.
const FURTHEST: f64 = 400.0;

/// One row of the chart.
struct Line {
    name: String,
    verdict: Verdict,
    /// Per cent.
    change: Option<f64>,
    interval: Option<(f64, f64)>,
    words: String,
}

/// The picture.
pub(super) struct Changes {
    question: Question,
    lines: Vec<Line>,
    left_out: usize,
    /// The changes that do not count, per cent: as far down as up in logarithms.
    grey: (f64, f64),
    names: f64,
    words: f64,
}

fn per_cent(ratio: f64) -> f64 {
    100.0 * (ratio - 1.0)
}

fn line(name: String, answer: &Answer) -> Line {
    Line {
        name,
        verdict: answer.verdict,
        change: answer.ratio.map(per_cent).filter(|c| c.is_finite()),
        interval: answer
            .interval
            .map(|(low, high)| (per_cent(low), per_cent(high))),
        words: format!("{} {}", answer.change(), answer.verdict),
    }
}

fn colour(verdict: Verdict) -> Rgb {
    match verdict {
        Verdict::Regressed => (0xD5, 0x5E, 0x00),
        Verdict::Improved => (0x00, 0x72, 0xB2),
        Verdict::Same => (0x00, 0x9E, 0x73),
        Verdict::Inconclusive => MUTED,
    }
}

impl Changes {
    /// The answers to `question`: the whole first, then the rows, the worst ones above.
    pub fn new(found: &Comparison, question: Question) -> Self {
        let names = found.names();
        let rows = found.rows.iter().zip(names);
        let of_row = |(row, name): (&crate::compare::Row, String)| {
            row.answers.get(&question).map(|a| line(name, a))
        };
        let mut rows: Vec<Line> = rows.filter_map(of_row).collect();
        let size = |l: &Line| l.change.map_or(0.0, f64::abs);
        rows.sort_by(|a, b| (b.verdict.cmp(&a.verdict)).then(size(b).total_cmp(&size(a))));
        let left_out = rows.len().saturating_sub(MOST);
        rows.truncate(MOST);
        let whole = found.answers.get(&question);
        let mut lines: Vec<Line> = whole
            .map(|a| line("all rows".into(), a))
            .into_iter()
            .collect();
        lines.append(&mut rows);
        let options = &found.options;
        let threshold = match question {
            Question::Learning => options.learning,
            Question::Speed => options.speed.max(found.drift),
            Question::Memory => options.memory,
        };
        let width = |text: &dyn Fn(&Line) -> &str, size: f64| {
            let widths = lines.iter().map(|l| text_width(text(l), size));
            widths.fold(70.0, f64::max).min(300.0)
        };
        Self {
            question,
            left_out,
            grey: (
                per_cent((1.0 + threshold).recip()),
                per_cent(1.0 + threshold),
            ),
            names: width(&|l| &l.name, NORMAL),
            words: width(&|l| &l.words, SMALL) + 20.0,
            lines,
        }
    }

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn scale(&self) -> Scale {
        let ends = self.lines.iter().flat_map(|l| {
            let (low, high) = l.interval.unzip();
            [l.change, low, high]
        });
        let edges = ((2.0 * self.grey.0).max(-100.0), 2.0 * self.grey.1);
        let (low, high) = ends.flatten().fold(edges, |(low, high), x| {
            (low.min(x), high.max(x.min(FURTHEST)))
        });
        let room = 0.04 * (high - low);
        Scale::linear(low - room, high + room)
    }
}

impl Picture for Changes {
    fn size(&self) -> (u32, u32) {
        let width = 20.0 + self.names + 16.0 + PLOT + 14.0 + self.words;
        let height = TOP + BOTTOM + ROW * self.lines.len().max(4) as f64;
        (width as u32, height as u32)
    }

    fn describe(&self) -> String {
        let lines = self
            .lines
            .iter()
            .map(|l| format!("{}: {}", l.name, l.words));
        format!(
            "Change of {} in per cent of the base, more is worse; {}",
            self.question,
            lines.collect::<Vec<_>>().join("; ")
        )
    }

    fn draw<DB: DrawingBackend>(&self, pen: &mut Pen<'_, DB>) -> Result<(), String> {
        let (width, height) = self.size();
        let (width, height) = (f64::from(width), f64::from(height));
        let title = heading("Candidate over base", self.question.as_str(), width);
        pen.text(&title, (20.0, 28.0), LARGE, Align::Left)?;
        if self.is_empty() {
            return empty(
                pen,
                (width, height),
                "Nothing to draw: no row was compared.",
            );
        }
        let mut note =
            "Mark: estimate. Line: interval. Grey: changes that do not count.".to_string();
        if self.left_out > 0 {
            note += &format!(" {} more rows are not shown.", self.left_out);
        }
        pen.note(&note, (20.0, 48.0), SMALL, Align::Left)?;
        let frame = Frame {
            left: 20.0 + self.names + 16.0,
            right: 20.0 + self.names + 16.0 + PLOT,
            top: TOP,
            bottom: height - BOTTOM,
            x: self.scale(),
            y: Scale::linear(0.0, 1.0),
        };
        pen.rectangle(
            (frame.x_at(self.grey.0), frame.top),
            (frame.x_at(self.grey.1), frame.bottom),
            STRIP,
        )?;
        frame.x_grid(pen, 7)?;
        let zero = frame.x_at(0.0);
        pen.line(
            (zero, frame.top),
            (zero, frame.bottom),
            Stroke::solid(INK, 1.4),
        )?;
        frame.x_title(pen, "change in per cent (right is worse)")?;
        for (i, line) in self.lines.iter().enumerate() {
            let y = frame.top + (i as f64 + 0.5) * ROW;
            let look = Look {
                colour: colour(line.verdict),
                marker: if i == 0 {
                    Marker::Diamond
                } else {
                    Marker::Circle
                },
                dash: &[],
            };
            let name = fit(&line.name, NORMAL, self.names);
            pen.text(&name, (frame.left - 14.0, y + 4.5), NORMAL, Align::Right)?;
            if let Some((low, high)) = line.interval {
                let (from, to) = ((frame.x_at(low), y), (frame.x_at(high), y));
                pen.line(from, to, Stroke::solid(look.colour, 2.0))?;
            }
            if let Some(change) = line.change {
                pen.mark((frame.x_at(change), y), 4.8, look)?;
            }
            let words = fit(&line.words, SMALL, self.words);
            pen.text(&words, (frame.right + 14.0, y + 4.3), SMALL, Align::Left)?;
        }
        Ok(())
    }
}

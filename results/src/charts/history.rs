//! A metric over commits, and the steps where it changed.

use super::axis::Scale;
use super::frame::{Frame, empty, heading};
use super::palette::{GRID, INK, MUTED, Palette};
use super::pen::{Align, LARGE, NORMAL, Pen, SMALL, Stroke, fit, text_width};
use super::picture::Picture;
use crate::compare::change;
use crate::history::Series;
use plotters::prelude::DrawingBackend;

const WIDTH: f64 = 760.0;
/// Space for the names of commits, which read upwards.
const BOTTOM: f64 = 108.0;
/// Most commits that are named.
const NAMED: usize = 30;

/// The picture.
pub(super) struct History {
    metric: String,
    unit: String,
    series: Vec<Series>,
    palette: Palette,
    /// Commits in order of their first value.
    commits: Vec<String>,
    legend: f64,
}

fn name(series: &Series) -> String {
    format!("{} on {}", series.submission, series.workload)
}

impl History {
    pub fn new(series: &[Series], metric: &str, unit: &str) -> Self {
        let series: Vec<Series> = series
            .iter()
            .filter(|s| !s.points.is_empty())
            .cloned()
            .collect();
        let mut commits: Vec<String> = Vec::new();
        for (commit, _) in series.iter().flat_map(|s| &s.points) {
            if !commits.contains(commit) {
                commits.push(commit.clone());
            }
        }
        let names: Vec<String> = series.iter().map(name).collect();
        let widths = names.iter().map(|n| text_width(n, NORMAL));
        Self {
            metric: metric.into(),
            unit: unit.into(),
            legend: widths.fold(80.0, f64::max).min(300.0) + 50.0,
            palette: Palette::of(names),
            commits,
            series,
        }
    }

    /// Several series have different sizes: each is shown as a share of its first value.
    fn value(&self, series: &Series, value: f64) -> f64 {
        if self.series.len() == 1 {
            value
        } else {
            100.0 * value / series.points[0].1
        }
    }

    fn place(&self, commit: &str) -> f64 {
        let at = self.commits.iter().position(|c| c == commit);
        at.unwrap_or(0) as f64
    }
}

impl Picture for History {
    fn size(&self) -> (u32, u32) {
        let rows = 22.0 * self.series.len() as f64 + 90.0 + BOTTOM;
        ((WIDTH + self.legend) as u32, rows.max(440.0) as u32)
    }

    fn describe(&self) -> String {
        let steps = self.series.iter().flat_map(|s| {
            s.changes
                .iter()
                .map(move |c| format!("{}: {} at {}", name(s), change(c.ratio), s.points[c.at].0))
        });
        let steps: Vec<String> = steps.collect();
        format!(
            "{} over {} commits; steps: {}",
            self.metric,
            self.commits.len(),
            if steps.is_empty() {
                "none".into()
            } else {
                steps.join(", ")
            }
        )
    }

    fn draw<DB: DrawingBackend>(&self, pen: &mut Pen<'_, DB>) -> Result<(), String> {
        let (width, height) = self.size();
        let (width, height) = (f64::from(width), f64::from(height));
        let title = heading("History", &self.metric, width);
        pen.text(&title, (20.0, 28.0), LARGE, Align::Left)?;
        if self.series.is_empty() {
            return empty(
                pen,
                (width, height),
                "Nothing to draw: no entry has this metric.",
            );
        }
        let note = "Upright strokes: steps that chance hardly explains.";
        pen.note(note, (20.0, 48.0), SMALL, Align::Left)?;
        let values = self
            .series
            .iter()
            .flat_map(|s| s.points.iter().map(|p| self.value(s, p.1)));
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        // A wiggle of a thousandth must not fill the picture.
        let room = (0.1 * (high - low)).max(0.02 * high.abs());
        let frame = Frame {
            left: 96.0,
            right: WIDTH - 10.0,
            top: 70.0,
            bottom: height - BOTTOM,
            x: Scale::linear(-0.5, self.commits.len() as f64 - 0.5),
            y: Scale::linear(low - room, high + room),
        };
        frame.y_grid(pen, 6)?;
        let unit = if self.series.len() == 1 {
            self.unit.as_str()
        } else {
            "% of the first"
        };
        frame.y_title(pen, &format!("{} ({unit})", self.metric))?;
        let axis = Stroke::solid(MUTED, 1.0);
        pen.line(
            (frame.left, frame.bottom),
            (frame.right, frame.bottom),
            axis,
        )?;
        let every = self.commits.len().div_ceil(NAMED);
        for (i, commit) in self.commits.iter().enumerate().step_by(every.max(1)) {
            let x = frame.x_at(i as f64);
            let grid = Stroke::solid(GRID, 1.0);
            pen.line((x, frame.top), (x, frame.bottom), grid)?;
            let short: String = commit.chars().take(9).collect();
            pen.upright(
                &fit(&short, SMALL, 70.0),
                (x + 4.0, frame.bottom + 44.0),
                SMALL,
            )?;
        }
        let middle = f64::midpoint(frame.left, frame.right);
        pen.text("commit", (middle, height - 12.0), NORMAL, Align::Centre)?;
        for (i, series) in self.series.iter().enumerate() {
            let look = self.palette.look(&name(series));
            let at = |(commit, value): &(String, f64)| {
                frame.at(self.place(commit), self.value(series, *value))
            };
            let points: Vec<_> = series.points.iter().map(at).collect();
            let stroke = Stroke {
                dash: look.dash,
                ..Stroke::solid(look.colour, 1.8)
            };
            pen.path(&points, stroke)?;
            for point in &points {
                pen.mark(*point, 3.6, look)?;
            }
            for found in &series.changes {
                let x = f64::midpoint(points[found.at - 1].0, points[found.at].0);
                let stroke = Stroke {
                    dash: &[4.0, 3.0],
                    ..Stroke::solid(look.colour, 1.6)
                };
                pen.line((x, frame.top), (x, frame.bottom), stroke)?;
                let top = frame.top + 14.0 + 15.0 * i as f64;
                pen.text(&change(found.ratio), (x + 4.0, top), SMALL, Align::Left)?;
            }
            let y = frame.top + 8.0 + 22.0 * i as f64;
            pen.mark((WIDTH + 14.0, y - 4.5), 4.6, look)?;
            let name = fit(&name(series), NORMAL, self.legend - 50.0);
            pen.text(&name, (WIDTH + 30.0, y), NORMAL, Align::Left)?;
        }
        pen.line(
            (frame.left, frame.top),
            (frame.left, frame.bottom),
            Stroke::solid(INK, 1.0),
        )
    }
}

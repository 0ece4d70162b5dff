//! Time to target: every study, their median, and what has no time.

use super::axis::{Scale, seconds};
use super::frame::{Frame, empty, heading};
use super::palette::{INK, Look, MUTED, Palette, STRIP};
use super::pen::{Align, LARGE, NORMAL, Pen, SMALL, Stroke, fit, text_width};
use super::picture::Picture;
use crate::board::{Board, BoardCell};
use crate::record::Status;
use plotters::prelude::DrawingBackend;

const ROW: f64 = 24.0;
/// Height of a panel beside its rows: heading, tick labels, space.
const PANEL: f64 = 74.0;
const TOP: f64 = 66.0;
/// Space for the axis title under the last panel.
const BOTTOM: f64 = 18.0;
/// Width of the strip for studies without a time, and the most of the column of words.
const EDGE: f64 = 64.0;
const MOST_WORDS: f64 = 230.0;

/// One submission in one panel.
struct Row {
    name: String,
    look: Look,
    /// Times of the studies that reached the target, in seconds.
    times: Vec<f64>,
    median: Option<f64>,
    /// Statuses of the studies that have no time.
    without: Vec<Status>,
}

impl Row {
    fn words(&self) -> String {
        let mut parts: Vec<String> = self.median.map(seconds).into_iter().collect();
        for status in Status::ALL {
            let n = self.without.iter().filter(|s| **s == status).count();
            let word = status.as_str().replace('_', " ");
            match n {
                0 => {}
                1 => parts.push(word),
                n => parts.push(format!("{n} {word}")),
            }
        }
        if parts.is_empty() {
            "not raced".to_string()
        } else {
            parts.join(", ")
        }
    }
}

/// One workload.
struct Panel {
    name: String,
    target: String,
    rows: Vec<Row>,
}

/// The picture.
pub(super) struct Times {
    title: String,
    panels: Vec<Panel>,
    /// Widths of the columns of names and of words.
    names: f64,
    words: f64,
}

fn finite(time: Option<f64>) -> Option<f64> {
    time.filter(|t| t.is_finite() && *t >= 0.0)
}

fn row(name: &str, look: Look, cell: Option<&BoardCell>) -> Row {
    let studies = cell.map_or(&[][..], |c| &c.studies);
    Row {
        name: name.to_string(),
        look,
        times: studies.iter().filter_map(|s| finite(s.time)).collect(),
        median: cell.and_then(|c| finite(c.time)),
        without: studies
            .iter()
            .filter(|s| finite(s.time).is_none())
            .map(|s| s.status)
            .collect(),
    }
}

impl Times {
    pub fn new(board: &Board, palette: &Palette) -> Self {
        let panels: Vec<Panel> = board
            .workloads
            .iter()
            .enumerate()
            .map(|(i, workload)| Panel {
                name: workload.name.clone(),
                target: super::curves::target_words(
                    &workload.metric,
                    workload.direction,
                    workload.target,
                ),
                rows: board
                    .rows
                    .iter()
                    .map(|r| row(&r.submission, palette.look(&r.submission), r.cells.get(i)))
                    .collect(),
            })
            .collect();
        let widest = board.rows.iter().map(|r| text_width(&r.submission, NORMAL));
        let rows = panels.iter().flat_map(|p| &p.rows);
        let words = rows
            .map(|r| text_width(&r.words(), SMALL))
            .fold(60.0, f64::max);
        Self {
            title: board.title.clone(),
            words: words.min(MOST_WORDS) + 28.0,
            panels,
            names: widest.fold(70.0, f64::max).min(240.0),
        }
    }
}

impl Picture for Times {
    fn size(&self) -> (u32, u32) {
        let rows: usize = self.panels.iter().map(|p| p.rows.len()).sum();
        let height = TOP + BOTTOM + self.panels.len() as f64 * PANEL + rows as f64 * ROW;
        let width = 20.0 + self.names + 16.0 + 480.0 + EDGE + self.words;
        (
            width as u32,
            height.clamp(if rows == 0 { 240.0 } else { 0.0 }, 1e6) as u32,
        )
    }

    fn describe(&self) -> String {
        let workloads: Vec<&str> = self.panels.iter().map(|p| p.name.as_str()).collect();
        format!(
            "Time to target in seconds, every study and the median, on {}",
            workloads.join(", ")
        )
    }

    fn draw<DB: DrawingBackend>(&self, pen: &mut Pen<'_, DB>) -> Result<(), String> {
        let (width, height) = self.size();
        let (width, height) = (f64::from(width), f64::from(height));
        let title = heading("Time to target", &self.title, width);
        pen.text(&title, (20.0, 28.0), LARGE, Align::Left)?;
        if self.panels.iter().all(|p| p.rows.is_empty()) {
            return empty(
                pen,
                (width, height),
                "Nothing to draw: the board has no results yet.",
            );
        }
        pen.note(
            "Small marks: one study each. Large mark and upright stroke: their median. \
             Further left is better.",
            (20.0, 48.0),
            SMALL,
            Align::Left,
        )?;
        let mut top = TOP;
        let mut last = None;
        for panel in &self.panels {
            let bottom = top + 30.0 + panel.rows.len() as f64 * ROW;
            let times = panel
                .rows
                .iter()
                .flat_map(|r| r.times.iter().copied().chain(r.median));
            let frame = Frame {
                left: 20.0 + self.names + 16.0,
                right: width - EDGE - self.words,
                top: top + 30.0,
                bottom,
                x: Scale::of_times(times),
                y: Scale::linear(0.0, 1.0),
            };
            draw_panel(pen, panel, &frame, (self.names, self.words))?;
            last = Some(frame);
            top += PANEL + panel.rows.len() as f64 * ROW;
        }
        match last {
            Some(frame) => frame.x_title(pen, "time to target (seconds on the submission clock)"),
            None => Ok(()),
        }
    }
}

fn draw_panel<DB: DrawingBackend>(
    pen: &mut Pen<'_, DB>,
    panel: &Panel,
    frame: &Frame,
    (names, words): (f64, f64),
) -> Result<(), String> {
    let baseline = frame.top - 8.0;
    let nobody = panel
        .rows
        .iter()
        .all(|r| r.times.is_empty() && r.median.is_none());
    let mut heading = format!("{} ({})", panel.name, panel.target);
    if frame.x.is_log() {
        heading.push_str(", log scale");
    }
    pen.text(
        &fit(&heading, NORMAL, frame.right - 20.0),
        (20.0, baseline),
        NORMAL,
        Align::Left,
    )?;
    pen.note(
        "no time",
        (frame.right + EDGE / 2.0, baseline),
        SMALL,
        Align::Centre,
    )?;
    pen.note(
        "median",
        (frame.right + EDGE + 12.0, baseline),
        SMALL,
        Align::Left,
    )?;

    pen.rectangle(
        (frame.right + 6.0, frame.top),
        (frame.right + EDGE, frame.bottom),
        STRIP,
    )?;
    if nobody {
        let axis = Stroke::solid(MUTED, 1.0);
        pen.line(
            (frame.left, frame.bottom),
            (frame.right, frame.bottom),
            axis,
        )?;
        let middle = (
            f64::midpoint(frame.left, frame.right),
            frame.top + ROW * 0.5 + 4.3,
        );
        pen.note("nobody reached the target", middle, NORMAL, Align::Centre)?;
    } else {
        frame.x_grid(pen, 7)?;
    }
    for (i, row) in panel.rows.iter().enumerate() {
        let y = frame.top + (i as f64 + 0.5) * ROW;
        let name = fit(&row.name, NORMAL, names);
        pen.text(&name, (frame.left - 14.0, y + 4.5), NORMAL, Align::Right)?;
        let ends = row.times.iter().fold(None, |ends: Option<(f64, f64)>, t| {
            Some(ends.map_or((*t, *t), |(a, b)| (a.min(*t), b.max(*t))))
        });
        if let Some((first, last)) = ends {
            let stroke = Stroke {
                alpha: 0.7,
                ..Stroke::solid(row.look.colour, 1.6)
            };
            pen.line((frame.x_at(first), y), (frame.x_at(last), y), stroke)?;
        }
        for time in &row.times {
            pen.faint_mark((frame.x_at(*time), y), 3.2, row.look)?;
        }
        if let Some(median) = row.median {
            let x = frame.x_at(median);
            pen.line(
                (x, y - 10.5),
                (x, y + 10.5),
                Stroke::solid(row.look.colour, 2.0),
            )?;
            pen.mark((x, y), 4.8, row.look)?;
        }
        draw_edge(pen, row, frame.right + 6.0, y)?;
        let result = fit(&row.words(), SMALL, words - 26.0);
        pen.text(
            &result,
            (frame.right + EDGE + 12.0, y + 4.3),
            SMALL,
            Align::Left,
        )?;
    }
    Ok(())
}

/// A cross for each failure and an open mark for each other study without a time.
fn draw_edge<DB: DrawingBackend>(
    pen: &mut Pen<'_, DB>,
    row: &Row,
    left: f64,
    y: f64,
) -> Result<(), String> {
    let room = EDGE - 6.0;
    let step = (room / (row.without.len() as f64 + 1.0)).min(14.0);
    let first = left + room / 2.0 - step * (row.without.len() as f64 - 1.0) / 2.0;
    for (i, status) in row.without.iter().enumerate() {
        let at = (first + step * i as f64, y);
        if status.is_failure() {
            pen.cross(at, 3.6, INK)?;
        } else {
            pen.open_mark(at, 4.4, row.look)?;
        }
    }
    Ok(())
}

//! Validation curves: the target's metric against the submission clock.

use super::axis::{LOG_FROM, Scale};
use super::clip::within;
use super::frame::{Frame, empty};
use super::lines::{End, Line, line, median_trial, y_axis};
use super::palette::{INK, Look, MUTED, Marker, Palette};
use super::pen::{Align, LARGE, NORMAL, Pen, SMALL, Stroke, fit, text_width};
use super::picture::Picture;
use super::profile::sample;
use crate::board::Board;
use crate::record::Direction;
use crate::run::Trial;
use plotters::prelude::DrawingBackend;

/// The most space right of the plot for the label of the target.
const MOST_TARGET: f64 = 190.0;
/// `loss at most 1.65`.
pub(super) fn target_words(metric: &str, direction: Direction, target: f64) -> String {
    let bound = match direction {
        Direction::Minimize => "at most",
        Direction::Maximize => "at least",
    };
    format!("{metric} {bound} {target}")
}

/// The picture.
pub(super) struct Curves {
    workload: String,
    metric: String,
    direction: Option<Direction>,
    target: Option<f64>,
    lines: Vec<Line>,
    names: Vec<(String, Look)>,
    y: Scale,
    clipped: bool,
    /// Label of the target, and the space that it takes right of the plot.
    label: String,
    gutter: f64,
    legend: f64,
}

impl Curves {
    pub fn new(board: &Board, trials: &[&Trial], workload: &str, palette: &Palette) -> Self {
        let trials: Vec<&Trial> = trials
            .iter()
            .copied()
            .filter(|t| t.record.workload == workload)
            .collect();
        let index = board.workloads.iter().position(|w| w.name == workload);
        let of_board = index.map(|i| &board.workloads[i]);
        let goal = of_board
            .map(|w| (w.metric.clone(), w.direction, w.target))
            .or_else(|| {
                let target = &trials.first()?.record.target;
                Some((target.metric.clone(), target.direction, target.validation))
            });
        let (metric, direction, target) = match goal {
            Some((metric, direction, target)) => (metric, Some(direction), Some(target)),
            None => ("metric".to_string(), None, None),
        };

        // In the board's order, so that legends agree from chart to chart.
        let mut names: Vec<String> = Vec::new();
        let rows = board.rows.iter().map(|r| &r.submission);
        for name in rows.chain(trials.iter().map(|t| &t.record.submission)) {
            if !names.contains(name) && trials.iter().any(|t| &t.record.submission == name) {
                names.push(name.clone());
            }
        }
        let mut lines = Vec::new();
        for name in &names {
            let own: Vec<&Trial> = trials
                .iter()
                .copied()
                .filter(|t| &t.record.submission == name)
                .collect();
            let cell = index.and_then(|i| {
                board
                    .rows
                    .iter()
                    .find(|r| &r.submission == name)?
                    .cells
                    .get(i)
            });
            let median = median_trial(cell, &own);
            for trial in own {
                let id = (trial.record.study, trial.record.trial);
                lines.push(line(trial, &metric, palette.look(name), Some(id) == median));
            }
        }
        let (y, clipped) = y_axis(&lines, direction, target);
        let widest = names
            .iter()
            .map(|n| text_width(n, NORMAL))
            .fold(110.0, f64::max);
        let looks = names.iter().map(|n| palette.look(n)).collect::<Vec<_>>();
        let label = target
            .filter(|t| t.is_finite())
            .map_or_else(String::new, |target| {
                let sign = if direction == Some(Direction::Maximize) {
                    '≥'
                } else {
                    '≤'
                };
                fit(
                    &format!("target {sign} {target}"),
                    SMALL,
                    MOST_TARGET - 34.0,
                )
            });
        Self {
            gutter: text_width(&label, SMALL) + 34.0,
            label,
            workload: workload.to_string(),
            metric,
            direction,
            target: target.filter(|t| t.is_finite()),
            lines,
            names: names.into_iter().zip(looks).collect(),
            y,
            clipped,
            legend: widest.min(240.0) + 60.0,
        }
    }
}

impl Picture for Curves {
    fn size(&self) -> (u32, u32) {
        let height = (self.names.len() as u32 * 22 + 210).max(480);
        ((630.0 + self.gutter + self.legend) as u32, height)
    }

    fn describe(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(|n| n.0.as_str()).collect();
        let target = self.target.map_or("none".to_string(), |t| t.to_string());
        format!(
            "Validation {} of {} against submission time; target {target}; submissions: {}",
            self.metric,
            self.workload,
            names.join(", ")
        )
    }

    fn draw<DB: DrawingBackend>(&self, pen: &mut Pen<'_, DB>) -> Result<(), String> {
        let (width, height) = self.size();
        let (width, height) = (f64::from(width), f64::from(height));
        let title = format!("{}: validation {}", self.workload, self.metric);
        pen.text(
            &fit(&title, LARGE, width - 40.0),
            (20.0, 28.0),
            LARGE,
            Align::Left,
        )?;
        if self.lines.iter().all(|l| l.pieces.is_empty()) {
            return empty(
                pen,
                (width, height),
                "Nothing to draw: no trial was evaluated.",
            );
        }
        let mut note = "Thin: every trial. Thick: the trial of the median study.".to_string();
        if self.clipped {
            note.push_str(" Values beyond the axis are cut off.");
        }
        pen.note(&note, (20.0, 48.0), SMALL, Align::Left)?;

        let x = self.x_axis();
        let frame = Frame {
            left: 86.0,
            right: width - self.legend - self.gutter,
            top: 70.0,
            bottom: height - 62.0,
            x,
            y: self.y,
        };
        frame.x_grid(pen, 7)?;
        frame.y_grid(pen, 7)?;
        let log = if x.is_log() { ", log scale" } else { "" };
        frame.x_title(pen, &format!("seconds on the submission clock{log}"))?;
        let better = match self.direction {
            Some(Direction::Minimize) => " (lower is better)",
            Some(Direction::Maximize) => " (higher is better)",
            None => "",
        };
        let log = if self.y.is_log() { ", log scale" } else { "" };
        frame.y_title(pen, &format!("validation {}{better}{log}", self.metric))?;

        for median in [false, true] {
            for line in self.lines.iter().filter(|l| l.median == median) {
                draw_line(pen, line, &frame)?;
            }
        }
        if let Some(target) = self.target {
            let (_, y) = frame.at(0.0, target);
            let stroke = Stroke {
                dash: &[7.0, 4.0],
                ..Stroke::solid(INK, 1.6)
            };
            pen.line((frame.left, y), (frame.right + 6.0, y), stroke)?;
            pen.text(
                &self.label,
                (frame.right + 10.0, y + 4.3),
                SMALL,
                Align::Left,
            )?;
        }
        for line in self
            .lines
            .iter()
            .filter(|l| l.median || l.end == End::Failed)
        {
            draw_end(pen, line, &frame)?;
        }
        self.legend(pen, &frame)
    }
}

fn draw_line<DB: DrawingBackend>(
    pen: &mut Pen<'_, DB>,
    line: &Line,
    frame: &Frame,
) -> Result<(), String> {
    let stroke = if line.median {
        Stroke {
            dash: line.look.dash,
            ..Stroke::solid(line.look.colour, 2.6)
        }
    } else {
        Stroke {
            alpha: 0.45,
            ..Stroke::solid(line.look.colour, 1.0)
        }
    };
    for piece in &line.pieces {
        // A logarithmic axis has no place for the evaluation before the clock starts.
        let hidden = if frame.x.is_log() {
            piece.partition_point(|p| p.0 <= 0.0)
        } else {
            0
        };
        let piece = &piece[hidden..];
        if let [(x, y)] = *piece {
            pen.faint_mark(frame.at(x, y), 2.6, line.look)?;
        }
        for part in within(piece, frame) {
            pen.path(&part, stroke)?;
        }
    }
    Ok(())
}

fn draw_end<DB: DrawingBackend>(
    pen: &mut Pen<'_, DB>,
    line: &Line,
    frame: &Frame,
) -> Result<(), String> {
    let Some((x, y)) = line.pieces.last().and_then(|p| p.last()) else {
        return Ok(());
    };
    let at = frame.at(*x, *y);
    match line.end {
        End::Reached => pen.mark(at, 5.2, line.look),
        End::Open => pen.open_mark(at, 5.2, line.look),
        End::Failed => pen.cross(at, 4.2, line.look.colour),
    }
}

impl Curves {
    /// Seconds from 0, or logarithmic where some trials took much longer than others.
    fn x_axis(&self) -> Scale {
        let ends = || {
            let last = self.lines.iter().filter_map(|l| l.pieces.last()?.last());
            last.map(|p| p.0).filter(|end| *end > 0.0)
        };
        let shortest = ends().fold(f64::INFINITY, f64::min);
        let longest = ends().fold(0.0, f64::max);
        if longest > shortest * LOG_FROM {
            Scale::log(shortest / 10.0, longest * 1.1)
        } else {
            Scale::linear(0.0, if longest > 0.0 { longest * 1.03 } else { 1.0 })
        }
    }

    fn legend<DB: DrawingBackend>(
        &self,
        pen: &mut Pen<'_, DB>,
        frame: &Frame,
    ) -> Result<(), String> {
        let left = frame.right + self.gutter;
        let mut y = frame.top + 8.0;
        for (name, look) in &self.names {
            sample(pen, (left, y - 4.5), *look)?;
            let name = fit(name, NORMAL, self.legend - 60.0);
            pen.text(&name, (left + 36.0, y), NORMAL, Align::Left)?;
            y += 22.0;
        }
        y += 12.0;
        let grey = Look {
            colour: MUTED,
            marker: Marker::Circle,
            dash: &[],
        };
        pen.mark((left + 14.0, y - 4.5), 4.6, grey)?;
        pen.note("reached", (left + 36.0, y), SMALL, Align::Left)?;
        y += 20.0;
        pen.open_mark((left + 14.0, y - 4.5), 4.6, grey)?;
        pen.note("did not reach", (left + 36.0, y), SMALL, Align::Left)?;
        y += 20.0;
        pen.cross((left + 14.0, y - 4.5), 4.0, grey.colour)?;
        pen.note("failed", (left + 36.0, y), SMALL, Align::Left)
    }
}

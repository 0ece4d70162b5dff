//! Validation curves: the target's metric against the submission clock.

use super::axis::{LOG_FROM, Scale};
use super::clip::within;
use super::frame::{Frame, empty};
use super::palette::{INK, Look, MUTED, Marker, Palette};
use super::pen::{Align, LARGE, NORMAL, Pen, SMALL, Stroke, fit, text_width};
use super::picture::Picture;
use super::profile::sample;
use crate::board::{Board, BoardCell};
use crate::record::Direction;
use crate::run::Trial;
use plotters::prelude::DrawingBackend;
use std::collections::BTreeMap;

/// The most space right of the plot for the label of the target.
const MOST_TARGET: f64 = 190.0;
/// A linear axis leaves out the steepest part of this share of the values, where that makes it
/// shorter by a quarter: usually the first evaluations, which would press all others together.
const STEEP: f64 = 0.06;

/// `loss at most 1.65`.
pub(super) fn target_words(metric: &str, direction: Direction, target: f64) -> String {
    let bound = match direction {
        Direction::Minimize => "at most",
        Direction::Maximize => "at least",
    };
    format!("{metric} {bound} {target}")
}

/// How a curve ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Reached,
    Failed,
    Open,
}

/// One trial's curve.
struct Line {
    look: Look,
    median: bool,
    end: End,
    /// (seconds, metric) without gaps; the curve breaks where the metric was not finite.
    pieces: Vec<Vec<(f64, f64)>>,
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

/// Study and trial of the submission's median study: of the board's cell, or of the trials where the
/// board has none. Studies without a time are slower than all others.
fn median_trial(cell: Option<&BoardCell>, trials: &[&Trial]) -> Option<(u32, u32)> {
    let mut fastest: Vec<(f64, u32, u32)> = match cell {
        Some(cell) if !cell.studies.is_empty() => cell
            .studies
            .iter()
            .map(|s| (s.time.unwrap_or(f64::INFINITY), s.study, s.trial))
            .collect(),
        _ => {
            let mut by_study: BTreeMap<u32, (f64, u32, u32)> = BTreeMap::new();
            for t in trials.iter().map(|t| &t.record) {
                let time = t.outcome.time_to_target.unwrap_or(f64::INFINITY);
                let best = by_study.entry(t.study).or_insert((time, t.study, t.trial));
                if time < best.0 {
                    *best = (time, t.study, t.trial);
                }
            }
            by_study.into_values().collect()
        }
    };
    fastest.sort_by(|a, b| a.0.total_cmp(&b.0));
    let middle = fastest.len().checked_sub(1)? / 2;
    fastest
        .get(middle)
        .map(|(_, study, trial)| (*study, *trial))
}

fn line(trial: &Trial, metric: &str, look: Look, median: bool) -> Line {
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for eval in &trial.evals {
        match eval.validation.get(metric) {
            Some(v) if v.is_finite() && eval.clock.is_finite() => {
                if let Some(piece) = pieces.last_mut() {
                    piece.push((eval.clock, *v));
                }
            }
            _ => pieces.push(Vec::new()),
        }
    }
    pieces.retain(|p| !p.is_empty());
    let end = if trial.record.outcome.time_to_target.is_some() {
        End::Reached
    } else if trial.record.status.is_failure() {
        End::Failed
    } else {
        End::Open
    };
    Line {
        look,
        median,
        end,
        pieces,
    }
}

/// The y axis, and whether values lie beyond it. A run that blows up must not flatten all others:
/// the axis ends half the useful range beyond the values at the start.
fn y_axis(lines: &[Line], direction: Option<Direction>, target: Option<f64>) -> (Scale, bool) {
    let values = || {
        lines
            .iter()
            .flat_map(|l| l.pieces.iter().flatten().map(|p| p.1))
    };
    let starts = || {
        lines
            .iter()
            .filter_map(|l| Some(l.pieces.first()?.first()?.1))
    };
    let target = target.filter(|t| t.is_finite());
    let mut lo = values().chain(target).fold(f64::INFINITY, f64::min);
    let mut hi = values().chain(target).fold(f64::NEG_INFINITY, f64::max);
    let (all_lo, all_hi) = (lo, hi);
    match direction {
        Some(Direction::Minimize) => {
            let start = starts().chain(target).fold(f64::NEG_INFINITY, f64::max);
            if start > lo {
                hi = hi.min(start + 0.5 * (start - lo));
            }
        }
        Some(Direction::Maximize) => {
            let start = starts().chain(target).fold(f64::INFINITY, f64::min);
            if start < hi {
                lo = lo.max(start - 0.5 * (hi - start));
            }
        }
        None => {}
    }
    let beyond = |lo: f64, hi: f64| all_lo < lo || all_hi > hi;
    if direction == Some(Direction::Minimize) && lo > 0.0 && hi > lo * LOG_FROM / 2.0 {
        let clipped = beyond(lo, hi);
        return (
            Scale::log(lo / 1.15, if clipped { hi } else { hi * 1.15 }),
            clipped,
        );
    }
    let mut sorted: Vec<f64> = values().collect();
    sorted.sort_by(f64::total_cmp);
    let steep = (sorted.len() as f64 * STEEP) as usize;
    if steep > 0 {
        let (mut near_lo, mut near_hi) = (lo, hi);
        match direction {
            Some(Direction::Minimize) => near_hi = hi.min(sorted[sorted.len() - 1 - steep]),
            Some(Direction::Maximize) => near_lo = lo.max(sorted[steep]),
            None => {}
        }
        near_lo = target.map_or(near_lo, |t| near_lo.min(t));
        near_hi = target.map_or(near_hi, |t| near_hi.max(t));
        if near_hi > near_lo && near_hi - near_lo < 0.75 * (hi - lo) {
            (lo, hi) = (near_lo, near_hi);
        }
    }
    let pad = if (hi - lo).is_finite() {
        (hi - lo) * 0.04
    } else {
        0.0
    };
    (
        Scale::linear(lo - pad, hi + pad),
        beyond(lo - pad, hi + pad),
    )
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
        if let [(x, y)] = piece[..] {
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

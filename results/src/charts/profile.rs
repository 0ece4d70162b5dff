//! Performance profile: who is how often how close to the fastest.

use super::axis::Scale;
use super::frame::{Frame, empty, heading};
use super::palette::{Look, Palette};
use super::pen::{Align, LARGE, NORMAL, Pen, Point, SMALL, Stroke, fit, text_width};
use super::picture::Picture;
use crate::board::{Board, BoardRow};
use plotters::prelude::DrawingBackend;

/// The profile is drawn and scored up to this multiple of the fastest time.
const LAST_TAU: f64 = 4.0;
/// Curves that would hide each other are moved apart by so many pixels.
const APART: f64 = 2.6;

/// rho(tau): share of the board's workloads on which the row's time to target is at most `tau`
/// times the fastest one. Workloads that nobody solved count in the denominator; 0 for a board
/// without workloads.
pub fn share_within(board: &Board, row: &BoardRow, tau: f64) -> f64 {
    if board.workloads.is_empty() {
        return 0.0;
    }
    let within = ratios(board, row).filter(|r| *r <= tau).count();
    within as f64 / board.workloads.len() as f64
}

fn ratios<'a>(board: &Board, row: &'a BoardRow) -> impl Iterator<Item = f64> + 'a {
    let cells = row.cells.iter().take(board.workloads.len());
    cells.filter_map(|c| c.ratio).filter(|r| r.is_finite())
}

/// Width of the legend beside the names: samples, scores and gaps.
const SCORES: f64 = 134.0;

/// One submission's curve.
struct Curve {
    name: String,
    score: f64,
    look: Look,
    /// (tau, rho) at 1, at every jump, and at the end.
    steps: Vec<(f64, f64)>,
    /// By how many curves it is moved down.
    lane: i32,
}

/// `+ 0.0` turns a negative zero into zero.
fn score_words(score: f64) -> String {
    if score.is_finite() {
        format!("{:.3}", score + 0.0)
    } else {
        "–".to_string()
    }
}

/// The picture.
pub(super) struct Profile {
    title: String,
    workloads: usize,
    curves: Vec<Curve>,
    legend: f64,
}

impl Profile {
    pub fn new(board: &Board, palette: &Palette) -> Self {
        let mut curves: Vec<Curve> = board
            .rows
            .iter()
            .map(|row| {
                let mut taus: Vec<f64> = ratios(board, row)
                    .filter(|r| *r > 1.0 && *r < LAST_TAU)
                    .collect();
                taus.extend([1.0, LAST_TAU]);
                taus.sort_by(f64::total_cmp);
                taus.dedup();
                Curve {
                    name: row.submission.clone(),
                    score: row.score,
                    look: palette.look(&row.submission),
                    lane: 0,
                    steps: taus
                        .iter()
                        .map(|t| (*t, share_within(board, row, *t)))
                        .collect(),
                }
            })
            .collect();
        lanes(&mut curves);
        let widest = curves
            .iter()
            .map(|c| text_width(&c.name, NORMAL))
            .fold(70.0, f64::max);
        Self {
            title: board.title.clone(),
            workloads: board.workloads.len(),
            legend: widest.min(260.0) + SCORES,
            curves,
        }
    }
}

/// Gives curves that share a level over some range of tau different lanes, the best ones the lane
/// in the middle. Nothing is moved at level 0, where the axis is.
fn lanes(curves: &mut [Curve]) {
    for i in 0..curves.len() {
        let (placed, rest) = curves.split_at_mut(i);
        let Some(curve) = rest.first_mut() else {
            return;
        };
        let taken: Vec<i32> = placed
            .iter()
            .filter(|p| overlap(p, curve))
            .map(|p| p.lane)
            .collect();
        let free = (0..)
            .flat_map(|n: i32| [-n, n])
            .find(|lane| !taken.contains(lane));
        curve.lane = free.unwrap_or(0);
    }
}

/// Whether two curves have the same level above 0 over some range of tau.
fn overlap(a: &Curve, b: &Curve) -> bool {
    let level = |c: &Curve, tau: f64| c.steps.iter().rfind(|s| s.0 <= tau).map_or(0.0, |s| s.1);
    let mut taus = a
        .steps
        .iter()
        .chain(&b.steps)
        .map(|s| s.0)
        .filter(|t| *t < LAST_TAU);
    taus.any(|tau| level(a, tau) > 0.0 && level(a, tau) == level(b, tau))
}

impl Picture for Profile {
    fn size(&self) -> (u32, u32) {
        let height = (self.curves.len() as u32 * 22 + 130).max(500);
        ((640.0 + self.legend) as u32, height)
    }

    fn describe(&self) -> String {
        let best: Vec<String> = self
            .curves
            .iter()
            .take(3)
            .map(|c| format!("{} {}", c.name, score_words(c.score)))
            .collect();
        format!(
            "Performance profile of {} submissions on {} workloads; best scores: {}",
            self.curves.len(),
            self.workloads,
            if best.is_empty() {
                "none".to_string()
            } else {
                best.join(", ")
            }
        )
    }

    fn draw<DB: DrawingBackend>(&self, pen: &mut Pen<'_, DB>) -> Result<(), String> {
        let (width, height) = self.size();
        let (width, height) = (f64::from(width), f64::from(height));
        let title = heading("Performance profile", &self.title, width);
        pen.text(&title, (20.0, 28.0), LARGE, Align::Left)?;
        if self.curves.is_empty() || self.workloads == 0 {
            return empty(
                pen,
                (width, height),
                "Nothing to draw: the board has no results yet.",
            );
        }
        pen.note(
            "Higher and further left is better; the area under a curve is the score. \
             Curves on each other are drawn side by side.",
            (20.0, 48.0),
            SMALL,
            Align::Left,
        )?;
        let frame = Frame {
            left: 76.0,
            right: width - self.legend,
            top: 74.0,
            bottom: height - 62.0,
            x: Scale::linear(1.0, LAST_TAU),
            // A little beyond 0 and 1, so that curves there stay off the frame.
            y: Scale::linear(-0.03, 1.03),
        };
        frame.x_grid(pen, 6)?;
        frame.y_grid(pen, 5)?;
        frame.x_title(pen, "time to target / fastest time (tau, a ratio)")?;
        frame.y_title(pen, "share of workloads (0 to 1)")?;

        let lanes = self.curves.iter().map(|c| c.lane.abs()).max().unwrap_or(0);
        // Together at most a fortieth of the axis's height each way.
        let most = (frame.bottom - frame.top) / 40.0;
        let apart = APART.min(most / f64::from(lanes.max(1)));
        for curve in self.curves.iter().rev() {
            let shift = f64::from(curve.lane) * apart;
            let point = |tau: f64, rho: f64| -> Point {
                let (x, y) = frame.at(tau, rho);
                // Upright parts are moved too, else equal jumps would lie on each other.
                (
                    if tau > 1.0 && tau < LAST_TAU {
                        x + shift
                    } else {
                        x
                    },
                    if rho > 0.0 { y + shift } else { y },
                )
            };
            let mut path: Vec<Point> = Vec::new();
            let mut before = None;
            for (tau, rho) in &curve.steps {
                if let Some(before) = before {
                    path.push(point(*tau, before));
                }
                path.push(point(*tau, *rho));
                before = Some(*rho);
            }
            let stroke = Stroke {
                colour: curve.look.colour,
                width: 2.2,
                alpha: 1.0,
                dash: curve.look.dash,
            };
            pen.path(&path, stroke)?;
        }
        for curve in self.curves.iter().rev() {
            let shift = f64::from(curve.lane) * apart;
            let jumps = curve.steps.len().saturating_sub(1);
            for (tau, rho) in curve.steps.iter().take(jumps).filter(|(_, rho)| *rho > 0.0) {
                let (x, y) = frame.at(*tau, *rho);
                let x = if *tau > 1.0 { x + shift } else { x };
                pen.mark((x, y + shift), 4.2, curve.look)?;
            }
        }
        self.legend(pen, &frame, width)
    }
}

impl Profile {
    fn legend<DB: DrawingBackend>(
        &self,
        pen: &mut Pen<'_, DB>,
        frame: &Frame,
        width: f64,
    ) -> Result<(), String> {
        let left = frame.right + 18.0;
        pen.note(
            "submission",
            (left + 36.0, frame.top + 2.0),
            SMALL,
            Align::Left,
        )?;
        pen.note(
            "score",
            (width - 14.0, frame.top + 2.0),
            SMALL,
            Align::Right,
        )?;
        for (i, curve) in self.curves.iter().enumerate() {
            let y = frame.top + 24.0 + i as f64 * 22.0;
            sample(pen, (left, y - 4.5), curve.look)?;
            let name = fit(&curve.name, NORMAL, self.legend - SCORES);
            pen.text(&name, (left + 36.0, y), NORMAL, Align::Left)?;
            let score = score_words(curve.score);
            pen.text(&score, (width - 14.0, y), NORMAL, Align::Right)?;
        }
        Ok(())
    }
}

/// Line and mark of a submission for a legend, 28 pixels wide, from `(x, y)` to the right.
pub(super) fn sample<DB: DrawingBackend>(
    pen: &mut Pen<'_, DB>,
    (x, y): Point,
    look: Look,
) -> Result<(), String> {
    let stroke = Stroke {
        colour: look.colour,
        width: 2.2,
        alpha: 1.0,
        dash: look.dash,
    };
    pen.line((x, y), (x + 28.0, y), stroke)?;
    pen.mark((x + 14.0, y), 4.2, look)
}

//! What validation curves are drawn from: one line per trial, and the y axis that shows them.

use super::axis::{LOG_FROM, Scale};
use super::palette::Look;
use crate::board::BoardCell;
use crate::record::Direction;
use crate::run::Trial;
use std::collections::BTreeMap;

/// A linear axis leaves out the steepest part of this share of the values, where that makes it
/// shorter by a quarter: usually the first evaluations, which would press all others together.
const STEEP: f64 = 0.06;

/// How a curve ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Reached,
    Failed,
    Open,
}

/// One trial's curve.
pub(super) struct Line {
    pub look: Look,
    pub median: bool,
    pub end: End,
    /// (seconds, metric) without gaps; the curve breaks where the metric was not finite.
    pub pieces: Vec<Vec<(f64, f64)>>,
}

/// Study and trial of the submission's median study: of the board's cell, or of the trials where the
/// board has none. Studies without a time are slower than all others.
pub(super) fn median_trial(cell: Option<&BoardCell>, trials: &[&Trial]) -> Option<(u32, u32)> {
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

/// The curve of `trial`, broken where its metric or its clock is not finite.
pub(super) fn line(trial: &Trial, metric: &str, look: Look, median: bool) -> Line {
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
pub(super) fn y_axis(
    lines: &[Line],
    direction: Option<Direction>,
    target: Option<f64>,
) -> (Scale, bool) {
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

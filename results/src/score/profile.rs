//! Ratios, the performance profile, the area under it, and ranks.

use super::{Cell, Integration, Matrix, ScoreError};

/// The profile is integrated from ratio 1 to this ratio.
pub const MAX_RATIO: f64 = 4.0;

/// Best time per column: the minimum over submissions, absent cells ignored. Infinite when nobody
/// reached the target, absent when nobody was there.
pub fn best(times: &Matrix) -> Vec<Cell> {
    let workloads = times.first().map_or(0, Vec::len);
    (0..workloads)
        .map(|w| times.iter().filter_map(|row| row[w]).min_by(f64::total_cmp))
        .collect()
}

/// Time over best time. Where the quotient is not a number (both infinite, or both zero) the
/// time itself stays: infinity or zero. Absent cells stay absent.
pub fn ratios(times: &Matrix, best: &[Cell]) -> Matrix {
    let ratio = |time: f64, best: Cell| {
        let quotient = best.map_or(f64::NAN, |b| time / b);
        if quotient.is_nan() { time } else { quotient }
    };
    times
        .iter()
        .map(|row| {
            row.iter()
                .zip(best)
                .map(|(time, best)| time.map(|t| ratio(t, *best)))
                .collect()
        })
        .collect()
}

/// The profile at `tau`: the share of the workloads on which the ratio is at most `tau`. Workloads
/// that nobody solved count in the denominator.
pub fn at(ratios: &[Cell], tau: f64) -> f64 {
    if ratios.is_empty() {
        return 0.0;
    }
    let within = ratios.iter().flatten().filter(|r| **r <= tau).count();
    within as f64 / ratios.len() as f64
}

/// The profile as an exact step function: its value at ratio 1, then one point per jump, with the
/// value from there on.
pub fn steps(ratios: &[Cell]) -> Vec<(f64, f64)> {
    let mut jumps: Vec<f64> = ratios
        .iter()
        .flatten()
        .copied()
        .filter(|r| r.is_finite() && *r > 1.0)
        .collect();
    jumps.sort_by(f64::total_cmp);
    jumps.dedup();
    std::iter::once(1.0)
        .chain(jumps)
        .map(|tau| (tau, at(ratios, tau)))
        .collect()
}

/// `points` evenly spaced ratios from 1 to [`MAX_RATIO`] inclusive.
///
/// # Errors
/// [`ScoreError::Setting`] for fewer than 2 points.
pub fn grid(points: usize) -> Result<Vec<f64>, ScoreError> {
    if points < 2 {
        return Err(ScoreError::Setting {
            setting: "the number of grid points",
            found: points.to_string(),
            expected: "at least 2",
        });
    }
    // Multiplied in this order, the points equal AlgoPerf's to the last bit.
    let step = (MAX_RATIO - 1.0) / (points - 1) as f64;
    Ok((0..points)
        .map(|k| {
            if k + 1 == points {
                MAX_RATIO
            } else {
                1.0 + step * k as f64
            }
        })
        .collect())
}

/// The normalised area under the profile of one submission, in 0..=1.
///
/// # Errors
/// [`ScoreError::Setting`] for a trapezoid rule with fewer than 2 points.
pub fn score(ratios: &[Cell], integration: Integration) -> Result<f64, ScoreError> {
    let span = MAX_RATIO - 1.0;
    match integration {
        Integration::Exact => {
            let mut areas: Vec<f64> = ratios
                .iter()
                .flatten()
                .map(|r| (MAX_RATIO - r.max(1.0)).max(0.0))
                .collect();
            if ratios.is_empty() {
                return Ok(0.0);
            }
            // Summed in order of size, so that the same ratios on other workloads tie exactly.
            areas.sort_by(f64::total_cmp);
            Ok(areas.iter().sum::<f64>() / (span * ratios.len() as f64))
        }
        Integration::Trapezoid(points) => {
            let taus = grid(points)?;
            let profile: Vec<f64> = taus.iter().map(|tau| at(ratios, *tau)).collect();
            let area: f64 = taus
                .windows(2)
                .zip(profile.windows(2))
                .map(|(t, p)| (t[1] - t[0]) * (p[0] + p[1]) / 2.0)
                .sum();
            // The widths of the cells add up to the span only to rounding.
            Ok((area / span).min(1.0))
        }
    }
}

/// Ranks by descending score, from 1; equal scores share a rank, and the next one is skipped.
pub fn ranks(scores: &[f64]) -> Vec<usize> {
    scores
        .iter()
        .map(|score| 1 + scores.iter().filter(|other| *other > score).count())
        .collect()
}

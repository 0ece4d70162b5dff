//! The constraint that weight decay sets, as a check: iterates enter a ball and stay in it.
//!
//! Where a step is `p = (1 - lr wd) p - lr u` with `|u| <= r wd` in some norm, the excess of `|p|` over
//! `r` shrinks by `1 - lr wd` at least, whatever the gradients are.

use crate::fused::Fused;
use crate::optimizers::lion::Lion;
use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{Claim, SubmissionError};

/// Sides of the matrix that the checks run on.
pub const ROWS: usize = 6;
/// See [`ROWS`].
pub const COLUMNS: usize = 4;
/// Learning rate of the checks.
const RATE: f64 = 0.1;
/// Weight decay of the checks: give it to the rule.
pub const DECAY: f64 = 0.5;
/// Steps of a check: what is left of an excess is `0.95^240 = 5e-6` of it.
const STEPS: u64 = 240;
/// Allowance for rounding, as a share of the radius.
const ROUNDING: f64 = 2e-5;

/// A ball in the space of `ROWS` by `COLUMNS` matrices (row-major).
pub struct Ball {
    /// Name of the norm.
    pub name: &'static str,
    /// The norm.
    pub norm: fn(&[f32]) -> f64,
    /// The radius.
    pub radius: f64,
}

/// The largest absolute value.
pub fn largest(values: &[f32]) -> f64 {
    let sizes = values.iter().map(|x| f64::from(x.abs()));
    // A NaN must not pass for something small.
    sizes.fold(0.0, |a, b| if b <= a { a } else { b })
}

/// The sum of the absolute values.
pub fn sum(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(x.abs())).sum()
}

/// The Euclidean norm.
pub fn euclidean(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Fixed pseudo-random numbers in -1..1 (a linear congruential generator).
fn numbers(seed: u64) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..ROWS * COLUMNS).map(|_| next()).collect()
}

/// Starts `optimizer`, whose weight decay must be [`DECAY`], outside of all `balls` (at three times the
/// radius of the one that is hardest to leave) and gives it gradients that drive it outwards, then
/// random ones. Says whether each excess shrank in every step as it must, and what was left of it.
pub fn enters<O: Optimizer>(
    optimizer: O,
    balls: &[Ball],
) -> Result<(bool, String), SubmissionError> {
    let device = Device::flex();
    let tensor = |values: Vec<f32>| {
        Tensor::<2>::from_data(TensorData::new(values, [ROWS, COLUMNS]), &device)
    };
    let mut p = numbers(0);
    let outside = balls.iter().map(|b| 3.0 * b.radius / (b.norm)(&p));
    let scale = outside.fold(0.0, f64::max) as f32;
    p.iter_mut().for_each(|x| *x *= scale);
    let mut excess: Vec<f64> = balls.iter().map(|b| (b.norm)(&p) - b.radius).collect();
    let mut state = None;
    let mut holds = true;
    for step in 1..=STEPS {
        let noise = numbers(step);
        let gradient = if step <= STEPS / 2 {
            p.iter().zip(&noise).map(|(x, e)| 0.1 * e - x).collect()
        } else {
            noise
        };
        let (next, next_state) = optimizer.step(RATE, tensor(p), tensor(gradient), state);
        state = next_state;
        p = next
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|e| SubmissionError::Other(e.to_string()))?;
        for (ball, excess) in balls.iter().zip(&mut excess) {
            let now = (ball.norm)(&p) - ball.radius;
            let most = (1.0 - RATE * DECAY) * excess.max(0.0) + ROUNDING * ball.radius;
            holds &= now <= most;
            *excess = now;
        }
    }
    let found: Vec<String> = balls
        .iter()
        .map(|b| format!("{} {:.5} of radius {}", b.name, (b.norm)(&p), b.radius))
        .collect();
    let ends = balls
        .iter()
        .all(|b| (b.norm)(&p) <= b.radius * (1.0 + 20.0 * ROUNDING));
    Ok((holds && ends, found.join(", ")))
}

/// The box of half width `1 / weight_decay`.
pub fn unit_box() -> Ball {
    Ball {
        name: "largest entry",
        norm: largest,
        radius: 1.0 / DECAY,
    }
}

/// Lion's own constraint.
pub const LION: Claim = Claim {
    statement: "iterates enter the box |p| <= 1 / weight_decay, their excess shrinking by 1 - lr wd per step",
    check: || {
        let rule = Lion {
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: DECAY,
        };
        enters(Fused(rule), &[unit_box()])
    },
};

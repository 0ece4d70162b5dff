//! Operations on the last axis: softmax and the norms.

use crate::pass::{self, max, sum, sum2};
use crate::scalar::exp;

/// Softmax of one row, in place.
#[inline(always)]
pub(crate) fn softmax_row(row: &mut [f32]) {
    let largest = max(row);
    for value in row.iter_mut() {
        *value = exp(*value - largest);
    }
    let scale = 1.0 / sum(row, |v| v);
    for value in row.iter_mut() {
        *value *= scale;
    }
}

/// The gradient of softmax's argument from that of its value `y`, in place: `y (g - sum(g y))`.
#[inline(always)]
pub(crate) fn softmax_row_backward(gradient: &mut [f32], y: &[f32]) {
    let mean = sum2(gradient, y, |g, y| g * y);
    for (g, y) in gradient.iter_mut().zip(y) {
        *g = *y * (*g - mean);
    }
}

/// Softmax over rows of so many elements.
pub(crate) fn softmax(x: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    pass::rows(
        &mut out,
        x,
        width,
        #[inline(always)]
        |out, x| {
            out.copy_from_slice(x);
            out.chunks_exact_mut(width.max(1)).for_each(softmax_row);
        },
    );
    out
}

/// The gradient of its argument, in place of that of its value.
pub(crate) fn softmax_backward(gradient: &mut [f32], y: &[f32], width: usize) {
    pass::rows(
        gradient,
        y,
        width,
        #[inline(always)]
        |gradient, y| {
            let rows = gradient.chunks_exact_mut(width.max(1));
            for (gradient, y) in rows.zip(y.chunks_exact(width.max(1))) {
                softmax_row_backward(gradient, y);
            }
        },
    );
}

/// What a row is divided by, and what is taken away before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// Mean and standard deviation (Ba, Kiros and Hinton 2016, arXiv 1607.06450).
    Layer,
    /// The root of the mean square alone (Zhang and Sennrich 2019, arXiv 1910.07467).
    Rms,
}

impl Norm {
    /// What is taken away from a row, and what it is multiplied by then.
    #[inline(always)]
    fn statistics(self, row: &[f32], epsilon: f32) -> (f32, f32) {
        let share = 1.0 / row.len() as f32;
        let mean = match self {
            Norm::Layer => share * sum(row, |x| x),
            Norm::Rms => 0.0,
        };
        let variance = share * sum(row, |x| (x - mean) * (x - mean));
        (mean, 1.0 / (variance + epsilon).sqrt())
    }
}

/// `(x - mean) / deviation * scale + shift`.
pub(crate) fn norm(norm: Norm, x: &[f32], scale: &[f32], shift: &[f32], epsilon: f32) -> Vec<f32> {
    let width = scale.len().max(1);
    let mut out = vec![0.0; x.len()];
    pass::rows(
        &mut out,
        x,
        width,
        #[inline(always)]
        |out, x| {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let (mean, factor) = norm.statistics(x, epsilon);
                for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
                    *out = (*x - mean) * factor * *scale + *shift;
                }
            }
        },
    );
    out
}

/// Puts the gradient of the argument in place of that of the value; gives those of scale and shift.
pub(crate) fn norm_backward(
    norm: Norm,
    gradient: &mut [f32],
    x: &[f32],
    scale: &[f32],
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>) {
    let width = scale.len().max(1);
    let share = 1.0 / width as f32;
    let pieces = pass::rows(
        gradient,
        x,
        width,
        #[inline(always)]
        |gradient, x| {
            let mut of_scale = vec![0.0; width];
            let mut of_shift = vec![0.0; width];
            let mut unit = vec![0.0; width];
            let rows = gradient.chunks_exact_mut(width);
            for (gradient, x) in rows.zip(x.chunks_exact(width)) {
                let (mean, factor) = norm.statistics(x, epsilon);
                for (unit, x) in unit.iter_mut().zip(x) {
                    *unit = (*x - mean) * factor;
                }
                for ((sum, g), unit) in of_scale.iter_mut().zip(&*gradient).zip(&unit) {
                    *sum += *g * *unit;
                }
                for (sum, g) in of_shift.iter_mut().zip(&*gradient) {
                    *sum += *g;
                }
                for (g, scale) in gradient.iter_mut().zip(scale) {
                    *g *= *scale;
                }
                let along = share * sum2(gradient, &unit, |g, unit| g * unit);
                let mean = match norm {
                    Norm::Layer => share * sum(gradient, |g| g),
                    Norm::Rms => 0.0,
                };
                for (g, unit) in gradient.iter_mut().zip(&unit) {
                    *g = factor * (*g - mean - *unit * along);
                }
            }
            (of_scale, of_shift)
        },
    );
    let zeros = || vec![0.0; scale.len()];
    let mut total = (zeros(), zeros());
    for (of_scale, of_shift) in pieces {
        let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        add(&mut total.0, &of_scale);
        add(&mut total.1, &of_shift);
    }
    total
}

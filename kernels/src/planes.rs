//! Norms of channels: of `[examples, channels, elements]` each channel, in all examples, gets mean 0 and
//! variance 1.

use crate::pass::{sum, sum2};
use crate::wide::vectorized;
use rayon::prelude::*;

/// Numbers of channels and of elements in a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) channels: usize,
    pub(crate) elements: usize,
}

impl Sizes {
    /// The planes of one channel.
    fn channel<'a>(&self, x: &'a [f32], channel: usize) -> impl Iterator<Item = &'a [f32]> {
        let planes = x.chunks_exact(self.elements.max(1));
        planes.skip(channel).step_by(self.channels.max(1))
    }

    /// How many elements a channel has in all examples.
    fn each(&self, x: &[f32]) -> f64 {
        (x.len() / self.channels.max(1)).max(1) as f64
    }
}

/// Means of all channels, then their biased variances. Sums over planes run in 64 bits.
pub(crate) fn moments(sizes: Sizes, x: &[f32]) -> Vec<f32> {
    let each = sizes.each(x);
    let channels = 0..sizes.channels;
    let found: Vec<(f32, f32)> = channels
        .into_par_iter()
        .map(|channel| {
            vectorized(
                #[inline(always)]
                || {
                    let mut mean = 0.0;
                    for plane in sizes.channel(x, channel) {
                        mean += f64::from(sum(plane, |x| x));
                    }
                    let mean = (mean / each) as f32;
                    let mut square = 0.0;
                    for plane in sizes.channel(x, channel) {
                        square += f64::from(sum(plane, |x| (x - mean) * (x - mean)));
                    }
                    (mean, (square / each) as f32)
                },
            )
        })
        .collect();
    let (mut means, variances): (Vec<f32>, Vec<f32>) = found.into_iter().unzip();
    means.extend(variances);
    means
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + shift` of each channel.
pub(crate) fn normalize(
    sizes: Sizes,
    x: &[f32],
    moments: &[f32],
    [scale, shift]: [&[f32]; 2],
    epsilon: f32,
) -> Vec<f32> {
    let (means, variances) = moments.split_at(sizes.channels.min(moments.len()));
    let mut out = vec![0.0; x.len()];
    let elements = sizes.elements.max(1);
    let planes = out.par_chunks_mut(elements).zip(x.par_chunks(elements));
    planes.enumerate().for_each(|(nth, (out, x))| {
        let at = nth % sizes.channels.max(1);
        let of = |values: &[f32]| values.get(at).copied().unwrap_or_default();
        let factor = of(scale) / (of(variances) + epsilon).sqrt();
        let (mean, shift) = (of(means), of(shift));
        vectorized(
            #[inline(always)]
            || {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = (*x - mean) * factor + shift;
                }
            },
        );
    });
    out
}

/// Puts the gradient of the argument in place of that of the value, the moments being functions of the
/// argument; gives those of scale and shift.
pub(crate) fn normalize_backward(
    sizes: Sizes,
    gradient: &mut [f32],
    x: &[f32],
    moments: &[f32],
    scale: &[f32],
    epsilon: f32,
) -> [Vec<f32>; 2] {
    let (means, variances) = moments.split_at(sizes.channels.min(moments.len()));
    let each = sizes.each(x);
    let of = |values: &[f32], at: usize| values.get(at).copied().unwrap_or_default();
    let of_out = &*gradient;
    // Sums of the gradient and of its product with the normalised argument.
    let sums: Vec<(f64, f64)> = (0..sizes.channels)
        .into_par_iter()
        .map(|channel| {
            let mean = of(means, channel);
            let factor = 1.0 / (of(variances, channel) + epsilon).sqrt();
            vectorized(
                #[inline(always)]
                || {
                    let (mut plain, mut along) = (0.0, 0.0);
                    let planes = sizes.channel(of_out, channel);
                    for (g, x) in planes.zip(sizes.channel(x, channel)) {
                        plain += f64::from(sum(g, |g| g));
                        along += f64::from(sum2(g, x, |g, x| g * (x - mean)));
                    }
                    (plain, along * f64::from(factor))
                },
            )
        })
        .collect();
    let elements = sizes.elements.max(1);
    let planes = gradient
        .par_chunks_mut(elements)
        .zip(x.par_chunks(elements));
    planes.enumerate().for_each(|(nth, (gradient, x))| {
        let at = nth % sizes.channels.max(1);
        let (plain, along) = sums.get(at).copied().unwrap_or_default();
        let factor = 1.0 / (of(variances, at) + epsilon).sqrt();
        let (mean, out) = (of(means, at), of(scale, at) * factor);
        let plain = (plain / each) as f32;
        let along = (along / each) as f32 * factor;
        vectorized(
            #[inline(always)]
            || {
                for (g, x) in gradient.iter_mut().zip(x) {
                    *g = out * (*g - plain - (*x - mean) * along);
                }
            },
        );
    });
    let (of_shift, of_scale): (Vec<f32>, Vec<f32>) = sums
        .into_iter()
        .map(|(plain, along)| (plain as f32, along as f32))
        .unzip();
    [of_scale, of_shift]
}

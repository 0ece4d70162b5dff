//! Convolution of each channel by itself along the positions, with channels as the last axis.

use crate::lanes::{LANES, Lanes, by_registers};
use crate::pass::{self, PARTS};
use rayon::prelude::*;

/// Sizes: input `[examples, positions, channels]`, kernel `[taps, channels]`, zeros on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) positions: usize,
    pub(crate) channels: usize,
    pub(crate) taps: usize,
    pub(crate) padding: usize,
}

impl Sizes {
    /// Positions of the output; 0 where the kernel does not fit.
    pub(crate) fn output(&self) -> usize {
        (self.positions + 2 * self.padding + 1).saturating_sub(self.taps)
    }

    fn elements(&self) -> [usize; 2] {
        [self.positions, self.output()].map(|positions| (positions * self.channels).max(1))
    }

    /// The taps that see an input at an output position, and the first input that they see.
    fn seen(&self, position: usize) -> (std::ops::Range<usize>, usize) {
        let first = self.padding.saturating_sub(position);
        let last = (self.positions + self.padding).saturating_sub(position);
        let taps = first..last.min(self.taps).max(first);
        (taps, (position + first).saturating_sub(self.padding))
    }
}

by_registers! {
    /// One example's output.
    fn example(sizes: &Sizes, x: &[f32], weight: &[f32], out: &mut [f32]) = example_of
}

#[inline(always)]
fn example_of<L: Lanes>(sizes: &Sizes, x: &[f32], weight: &[f32], out: &mut [f32]) {
    let channels = sizes.channels.max(1);
    for (position, out) in out.chunks_exact_mut(channels).enumerate() {
        let (taps, first) = sizes.seen(position);
        let weight = weight.get(taps.start * channels..taps.end * channels);
        let weight = weight.unwrap_or_default();
        let x = x.get(first * channels..).unwrap_or_default();
        let (chunks, rest) = out.as_chunks_mut::<LANES>();
        let whole = chunks.len() * LANES;
        for (nth, out) in chunks.iter_mut().enumerate() {
            let at = nth * LANES;
            let mut sum = L::splat(0.0);
            let rows = weight.chunks_exact(channels).zip(x.chunks_exact(channels));
            for (weight, x) in rows {
                let parts = [weight, x].map(|row| row.get(at..).and_then(|r| r.first_chunk()));
                if let [Some(weight), Some(x)] = parts {
                    sum = sum.add_product(L::load(weight), L::load(x));
                }
            }
            *out = sum.values();
        }
        for (nth, out) in rest.iter_mut().enumerate() {
            let [weight, x] = [weight, x].map(|rows| rows.iter().skip(whole + nth));
            let pairs = weight.step_by(channels).zip(x.step_by(channels));
            *out = pairs.map(|(w, x)| w * x).sum();
        }
    }
}

/// The output, `[examples, positions, channels]`.
pub(crate) fn depthwise(sizes: &Sizes, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let [input, output] = sizes.elements();
    if sizes.output() == 0 {
        return Vec::new();
    }
    let mut out = vec![0.0; x.len() / input * output];
    let examples = out.par_chunks_mut(output).zip(x.par_chunks(input));
    examples.for_each(|(out, x)| example(sizes, x, weight, out));
    out
}

/// The gradient of the input: the same with the kernel turned around.
pub(crate) fn input_gradient(sizes: &Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let rows = weight.chunks_exact(sizes.channels.max(1)).rev();
    let turned: Vec<f32> = rows.flatten().copied().collect();
    let back = Sizes {
        positions: sizes.output(),
        padding: sizes.taps - 1 - sizes.padding,
        ..*sizes
    };
    depthwise(&back, gradient, &turned)
}

by_registers! {
    /// Adds one example's gradient of the kernel.
    fn add_weights(sizes: &Sizes, x: &[f32], gradient: &[f32], out: &mut [f32]) = add_weights_of
}

#[inline(always)]
fn add_weights_of<L: Lanes>(sizes: &Sizes, x: &[f32], gradient: &[f32], out: &mut [f32]) {
    let channels = sizes.channels.max(1);
    for (position, gradient) in gradient.chunks_exact(channels).enumerate() {
        let (taps, first) = sizes.seen(position);
        let out = out.get_mut(taps.start * channels..taps.end * channels);
        let rows = out.unwrap_or_default().chunks_exact_mut(channels);
        let inputs = x.get(first * channels..).unwrap_or_default();
        for (out, x) in rows.zip(inputs.chunks_exact(channels)) {
            let (out, rest) = out.as_chunks_mut::<LANES>();
            let ((x, x_rest), (g, g_rest)) = (x.as_chunks(), gradient.as_chunks());
            for ((out, x), g) in out.iter_mut().zip(x).zip(g) {
                *out = L::load(out).add_product(L::load(x), L::load(g)).values();
            }
            for ((out, x), g) in rest.iter_mut().zip(x_rest).zip(g_rest) {
                *out += *x * *g;
            }
        }
    }
}

/// The gradient of the kernel, `[taps, channels]`.
pub(crate) fn weight_gradient(sizes: &Sizes, gradient: &[f32], x: &[f32]) -> Vec<f32> {
    let [input, output] = sizes.elements();
    let part = (x.len() / input).div_ceil(PARTS).max(1);
    let parts = x.par_chunks(part * input);
    let sums: Vec<Vec<f32>> = parts
        .zip(gradient.par_chunks(part * output))
        .map(|(x, gradient)| {
            let mut sum = vec![0.0; sizes.taps * sizes.channels];
            for (x, gradient) in x.chunks_exact(input).zip(gradient.chunks_exact(output)) {
                add_weights(sizes, x, gradient, &mut sum);
            }
            sum
        })
        .collect();
    pass::total(sums)
}

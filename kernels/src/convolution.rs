//! Convolution in two dimensions, directly: no matrix of patches is built.
//!
//! A padded copy of one example lies in planes: for each channel and each pair of phases the rows `y` and
//! columns `x` with `y mod stride` and `x mod stride` at these phases. For every kernel place, the input of
//! output `i` is then `i` elements behind that of output 0, over the ends of rows, so that a whole plane is
//! one long vector. Its rows are longer than the output's; what falls between is dropped.
//!
//! Sums of a tile of outputs stay in registers over all inputs and kernel places.

use crate::lanes::{LANES, Lanes, by_registers};
use crate::pass::{self, PARTS};
use crate::product::{Matrix, product};
use crate::wide::vectorized;
use rayon::prelude::*;
use std::borrow::Cow;

/// Output channels of a tile.
const OUTPUTS: usize = 4;
/// Places of a tile.
const TILE: usize = 2 * LANES;

/// Sizes of a convolution without groups and dilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Channels in and out.
    pub(crate) channels: [usize; 2],
    /// Height and width of the input.
    pub(crate) input: [usize; 2],
    /// Of the kernel.
    pub(crate) kernel: [usize; 2],
    /// Of the steps.
    pub(crate) stride: [usize; 2],
    /// Zeros on each side.
    pub(crate) padding: [usize; 2],
}

impl Shape {
    /// Whether the passes here can do it: the kernel fits and is larger than the padding on its side.
    pub(crate) fn fits(&self) -> bool {
        self.output().is_some()
            && self.channels.iter().chain(&self.stride).all(|n| *n > 0)
            && (0..2).all(|axis| self.padding[axis] < self.kernel[axis])
    }

    /// Height and width of the output; `None` where the kernel does not fit.
    pub(crate) fn output(&self) -> Option<[usize; 2]> {
        let side = |axis: usize| {
            let padded = self.input[axis] + 2 * self.padding[axis];
            let free = padded.checked_sub(self.kernel[axis])?;
            Some(free / self.stride[axis].max(1) + 1)
        };
        Some([side(0)?, side(1)?])
    }

    fn outputs(&self) -> [usize; 2] {
        self.output().unwrap_or([0, 0])
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Elements of an example's input, and of its output.
    fn elements(&self) -> [usize; 2] {
        let [height, width] = self.outputs();
        [
            (self.channels[0] * self.input[0] * self.input[1]).max(1),
            (self.channels[1] * height * width).max(1),
        ]
    }
}

/// One example in planes, with zeros around it.
struct Planes {
    values: Vec<f32>,
    /// Elements of the planes of a channel, of a plane, and of a row.
    channel: usize,
    plane: usize,
    row: usize,
    /// Elements from the first output to the last, with what falls between rows.
    length: usize,
    /// Where the input of output 0 lies in a channel, for each kernel place.
    places: Vec<usize>,
}

impl Planes {
    fn new(shape: &Shape) -> Self {
        let [rows, row] = [0, 1].map(|axis| {
            let padded = shape.input[axis] + 2 * shape.padding[axis];
            padded.div_ceil(shape.stride[axis].max(1))
        });
        let [down, across] = shape.stride.map(|s| s.max(1));
        let (plane, [height, _]) = (rows * row, shape.outputs());
        let place = |tap: usize| {
            let width = shape.kernel[1].max(1);
            let (y, x) = (tap / width, tap % width);
            (y % down * across + x % across) * plane + y / down * row + x / across
        };
        let places: Vec<usize> = (0..shape.taps()).map(place).collect();
        let channel = plane * down * across;
        // Tiles reach over the last element.
        let slack = places.iter().max().copied().unwrap_or(0) + height * row + 2 * TILE;
        Self {
            values: vec![0.0; shape.channels[0].saturating_sub(1) * channel + channel.max(slack)],
            channel,
            plane,
            row,
            length: height * row,
            places,
        }
    }

    fn fill(&mut self, shape: &Shape, x: &[f32]) {
        let [height, width] = shape.input;
        let [down, across] = shape.stride.map(|s| s.max(1));
        let channels = x.chunks_exact((height * width).max(1));
        for (channel, x) in channels.enumerate() {
            for (y, from) in x.chunks_exact(width.max(1)).enumerate() {
                let y = y + shape.padding[0];
                let start =
                    channel * self.channel + y % down * across * self.plane + y / down * self.row;
                if across == 1 {
                    let start = start + shape.padding[1];
                    if let Some(to) = self.values.get_mut(start..start + width) {
                        to.copy_from_slice(from);
                    }
                    continue;
                }
                for (x, value) in from.iter().enumerate() {
                    let x = x + shape.padding[1];
                    let at = start + x % across * self.plane + x / across;
                    if let Some(to) = self.values.get_mut(at) {
                        *to = *value;
                    }
                }
            }
        }
    }

    /// So many inputs of the outputs from `at` on, at a kernel place of a channel.
    #[inline(always)]
    fn inputs<const N: usize>(&self, channel: usize, place: usize, at: usize) -> &[f32; N] {
        let start = channel * self.channel + place + at;
        let inputs = self.values.get(start..).and_then(|x| x.first_chunk::<N>());
        inputs.unwrap_or(&[0.0; N])
    }
}

/// The kernel by blocks of output channels: `[blocks, channels, taps, OUTPUTS]`, zeros behind the last one.
fn packed(weight: &[f32], channels: [usize; 2], taps: usize) -> Vec<f32> {
    let [inputs, outputs] = channels;
    let block = inputs * taps * OUTPUTS;
    let mut out = vec![0.0; outputs.div_ceil(OUTPUTS) * block];
    for (output, kernel) in weight.chunks_exact((inputs * taps).max(1)).enumerate() {
        let (from, lane) = (output / OUTPUTS * block, output % OUTPUTS);
        for (at, value) in kernel.iter().enumerate() {
            if let Some(to) = out.get_mut(from + at * OUTPUTS + lane) {
                *to = *value;
            }
        }
    }
    out
}

by_registers! {
    /// A block of output channels, `[OUTPUTS, length]`, from its kernels, `[channels, taps, OUTPUTS]`.
    fn block(x: &Planes, channels: usize, weight: &[f32], sums: &mut [f32]) = block_of
}

#[inline(always)]
fn block_of<L: Lanes>(x: &Planes, channels: usize, weight: &[f32], sums: &mut [f32]) {
    for at in (0..x.length).step_by(TILE) {
        let mut tile = [[L::splat(0.0); 2]; OUTPUTS];
        let mut weights = weight.as_chunks::<OUTPUTS>().0.iter();
        for channel in 0..channels {
            for (place, weights) in x.places.iter().zip(&mut weights) {
                let inputs = x.inputs::<TILE>(channel, *place, at);
                let (inputs, _) = inputs.as_chunks::<LANES>();
                let inputs: [L; 2] = std::array::from_fn(|half| match inputs.get(half) {
                    Some(inputs) => L::load(inputs),
                    None => L::splat(0.0),
                });
                for (sums, weight) in tile.iter_mut().zip(weights) {
                    let weight = L::splat(*weight);
                    for (sum, input) in sums.iter_mut().zip(inputs) {
                        *sum = sum.add_product(weight, input);
                    }
                }
            }
        }
        for (sums, tile) in sums.chunks_exact_mut(x.length).zip(tile) {
            let room = sums.get_mut(at..).unwrap_or_default();
            for (room, lanes) in room.chunks_mut(LANES).zip(tile) {
                for (to, sum) in room.iter_mut().zip(lanes.values()) {
                    *to = sum;
                }
            }
        }
    }
}

/// The convolution of `x`, `[examples, channels, height, width]`, with `weight`,
/// `[outputs, channels, kernel height, kernel width]`, and a `bias` for each output or none.
pub(crate) fn convolution(
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let [input, output] = shape.elements();
    let [height, width] = shape.outputs();
    let mut out = vec![0.0; x.len() / input * output];
    let weight = packed(weight, shape.channels, shape.taps());
    let step = (shape.channels[0] * shape.taps() * OUTPUTS).max(1);
    let plane = (height * width).max(1);
    let examples = out.par_chunks_mut(output).zip(x.par_chunks(input));
    examples.for_each_init(
        || {
            let planes = Planes::new(shape);
            let sums = vec![0.0; OUTPUTS * planes.length];
            (planes, sums)
        },
        |(planes, sums), (out, x)| {
            planes.fill(shape, x);
            let blocks = out.chunks_mut(OUTPUTS * plane);
            for (nth, (out, weight)) in blocks.zip(weight.chunks_exact(step)).enumerate() {
                block(planes, shape.channels[0], weight, sums);
                let outs = out.chunks_exact_mut(plane).enumerate();
                for ((lane, out), sums) in outs.zip(sums.chunks_exact(planes.length.max(1))) {
                    let bias = bias.and_then(|b| b.get(nth * OUTPUTS + lane));
                    let bias = bias.copied().unwrap_or_default();
                    let rows = out.chunks_exact_mut(width.max(1));
                    for (out, sums) in rows.zip(sums.chunks_exact(planes.row.max(1))) {
                        out.iter_mut().zip(sums).for_each(|(o, s)| *o = *s + bias);
                    }
                }
            }
        },
    );
    out
}

/// The gradient of the input: a convolution of the output's gradient, spread by the stride, with the kernel
/// turned around.
pub(crate) fn input_gradient(shape: &Shape, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let [inputs, outputs] = shape.channels;
    let taps = shape.taps();
    let mut turned = vec![0.0; weight.len()];
    for (output, kernels) in weight.chunks_exact((inputs * taps).max(1)).enumerate() {
        for (input, kernel) in kernels.chunks_exact(taps.max(1)).enumerate() {
            let to = (input * outputs + output) * taps;
            let to = turned.get_mut(to..to + taps).unwrap_or_default();
            let kernel = kernel.iter().rev();
            to.iter_mut().zip(kernel).for_each(|(t, k)| *t = *k);
        }
    }
    // Rows and columns of the input that no output sees lie behind the spread gradient.
    let spread =
        [0, 1].map(|axis| shape.input[axis] + 2 * shape.padding[axis] + 1 - shape.kernel[axis]);
    let back = Shape {
        channels: [outputs, inputs],
        input: spread,
        kernel: shape.kernel,
        stride: [1, 1],
        padding: [0, 1].map(|axis| shape.kernel[axis] - 1 - shape.padding[axis]),
    };
    let gradient = match shape.outputs() == spread {
        true => Cow::Borrowed(gradient),
        false => Cow::Owned(spread_out(gradient, shape.outputs(), spread, shape.stride)),
    };
    convolution(&back, &gradient, &turned, None)
}

/// Planes of `small` size with zeros between their rows and columns.
fn spread_out(x: &[f32], small: [usize; 2], large: [usize; 2], stride: [usize; 2]) -> Vec<f32> {
    let [from, to] = [small, large].map(|[height, width]| (height * width).max(1));
    let mut out = vec![0.0; x.len() / from * to];
    let planes = out.par_chunks_exact_mut(to).zip(x.par_chunks_exact(from));
    planes.for_each(|(out, x)| {
        let rows = out.chunks_exact_mut(large[1].max(1));
        let rows = rows.step_by(stride[0].max(1));
        for (out, x) in rows.zip(x.chunks_exact(small[1].max(1))) {
            let places = out.iter_mut().step_by(stride[1].max(1));
            places.zip(x).for_each(|(out, x)| *out = *x);
        }
    });
    out
}

/// The gradient of the kernel.
pub(crate) fn weight_gradient(shape: &Shape, gradient: &[f32], x: &[f32]) -> Vec<f32> {
    let [input, output] = shape.elements();
    let [inputs, outputs] = shape.channels;
    let part = (x.len() / input).div_ceil(PARTS).max(1);
    let sums = x
        .par_chunks(part * input)
        .zip(gradient.par_chunks(part * output));
    let sums: Vec<Vec<f32>> = sums
        .map(|(x, gradient)| {
            let mut planes = Planes::new(shape);
            // Zeros between the rows.
            let mut spaced = vec![0.0; outputs * planes.length];
            let mut sum = vec![0.0; outputs * inputs * shape.taps()];
            for (x, gradient) in x.chunks_exact(input).zip(gradient.chunks_exact(output)) {
                planes.fill(shape, x);
                space(shape, gradient, &planes, &mut spaced);
                multiply(shape, &planes, &spaced, &mut sum);
            }
            sum
        })
        .collect();
    let total = pass::total(sums);
    let (pairs, taps) = (inputs * outputs, shape.taps());
    let places = (0..pairs * taps).map(|at| at % taps * pairs + at / taps);
    places.filter_map(|at| total.get(at).copied()).collect()
}

/// Adds to the kernel's gradient, `[taps, outputs, inputs]`, what one example gives: a product of matrices for
/// each kernel place.
fn multiply(shape: &Shape, x: &Planes, gradient: &[f32], out: &mut [f32]) {
    let [inputs, outputs] = shape.channels;
    let gradient = Matrix::new(gradient, outputs, x.length, x.length);
    let pairs = (inputs * outputs).max(1);
    for (place, out) in x.places.iter().zip(out.chunks_exact_mut(pairs)) {
        let values = x.values.get(*place..).unwrap_or_default();
        let x = Matrix::new(values, inputs, x.length, x.channel);
        product(out, inputs, true, 1.0, gradient, x.turned());
    }
}

/// The gradient's rows, as far apart as those of the planes.
fn space(shape: &Shape, gradient: &[f32], x: &Planes, spaced: &mut [f32]) {
    let [height, width] = shape.outputs();
    let planes = gradient.chunks_exact((height * width).max(1));
    for (to, from) in spaced.chunks_exact_mut(x.length.max(1)).zip(planes) {
        let rows = to.chunks_mut(x.row.max(1));
        for (to, from) in rows.zip(from.chunks_exact(width.max(1))) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}

/// The gradient of the bias: the sum over examples and places for each output.
pub(crate) fn bias_gradient(shape: &Shape, gradient: &[f32]) -> Vec<f32> {
    let [height, width] = shape.outputs();
    let plane = (height * width).max(1);
    let sum = |channel: usize| {
        let places = channel * plane..(channel + 1) * plane;
        let examples = gradient.chunks_exact(shape.elements()[1]);
        let sums = examples.map(|example| {
            vectorized(
                #[inline(always)]
                || pass::sum(&example[places.clone()], |g| g),
            )
        });
        sums.fold(0.0, |all, sum| all + sum)
    };
    (0..shape.channels[1]).into_par_iter().map(sum).collect()
}

//! Fused operations for the CPU, with burn's own beside each.
//!
//! A model calls these functions in the place of burn's. On the device `flex` with numbers of 32 bits each is
//! one pass of vector code on all threads, and so is its gradient; on every other device it is
//! what burn computes ([`plain`]). Both give the same numbers up to rounding. Submissions cannot reach
//! this crate: a track is the same for all riders.
//!
//! Second derivatives are not to be had of them (nor of burn).

mod attention;
mod autodiff;
mod convolution;
mod ctc;
mod depthwise;
mod entropy;
mod flex;
mod function;
mod gather;
mod lanes;
mod linear;
mod lstm;
mod ops;
mod pass;
pub mod plain;
mod planes;
mod product;
mod rows;
mod scalar;
mod wide;

pub use attention::Heads;
pub use function::Function;
pub use rows::Norm;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Int, Tensor};
use ops::Forward;

/// Whether a tensor is one that the fused operations take.
fn fused<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().without_autodiff() == Device::flex()
}

/// `function` of each element.
pub fn function<const D: usize>(function: Function, x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return function.plain(x);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::function(x.into_dispatch(), function))
}

/// `x W + b` of rows `x`, `[.., inputs]`, with `W`, `[inputs, outputs]`, and `b`, `[outputs]`, zero where there is
/// none: `[.., outputs]`.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let [inputs, outputs] = weight.dims();
    let fits = x.dims().last() == Some(&inputs)
        && bias.as_ref().is_none_or(|bias| bias.dims() == [outputs]);
    if !fused(&x) || !fused(&weight) || !fits {
        return plain::linear(x, weight, bias);
    }
    let none = || Tensor::empty([0], &x.device());
    let bias = bias.unwrap_or_else(none);
    Tensor::from_dispatch(<Dispatch as Forward>::map_rows(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// Row `index[i]` of `x`, `[rows, width]`, as row `i`: `[n, width]`. Each number is that of a row.
pub fn gather(x: Tensor<2>, index: Tensor<1, Int>) -> Tensor<2> {
    if !fused(&x) {
        return plain::gather(x, index);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::gather_rows(
        x.into_dispatch(),
        index.into_dispatch(),
    ))
}

/// The rows of `x`, `[n, width]`, summed into `count` rows, row `i` into row `index[i]`: `[count, width]`. Each
/// number is below `count`.
pub fn sum_by(x: Tensor<2>, index: Tensor<1, Int>, count: usize) -> Tensor<2> {
    let [n, _] = x.dims();
    if !fused(&x) || index.dims() != [n] {
        return plain::sum_by(x, index, count);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::sum_rows(
        x.into_dispatch(),
        index.into_dispatch(),
        count,
    ))
}

/// Softmax over the last axis.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return plain::softmax(x);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::softmax_of_rows(x.into_dispatch()))
}

/// Norm over the last axis: `(x - mean) / sqrt(variance + epsilon) * scale + shift`, scale and shift of its
/// length. The shift is zero where there is none.
pub fn norm<const D: usize>(
    norm: Norm,
    x: Tensor<D>,
    scale: Tensor<1>,
    shift: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    if !fused(&x) || !fused(&scale) {
        return plain::norm(norm, x, scale, shift, epsilon);
    }
    let shift = shift.unwrap_or_else(|| scale.zeros_like());
    Tensor::from_dispatch(<Dispatch as Forward>::norm(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        norm,
        epsilon,
    ))
}

/// Norm of each channel of `[examples, channels, height, width]` over all examples, as batch norm trains (Ioffe
/// and Szegedy 2015, arXiv 1502.03167): `(x - mean) / sqrt(variance + epsilon) * scale + shift`, scale and
/// shift `[channels]`. Beside it mean and biased variance, `[channels]`, without a graph.
pub fn batch_norm(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let [_, channels, ..] = x.dims();
    let fits = scale.dims() == [channels] && shift.dims() == [channels];
    if !fused(&x) || !fused(&scale) || !fits {
        return plain::batch_norm(x, scale, shift, epsilon);
    }
    let moments = <Dispatch as Forward>::moments(x.clone().into_dispatch());
    let out = <Dispatch as Forward>::normalize(
        x.into_dispatch(),
        moments.clone(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        epsilon,
    );
    let moments = plain::without_graph(Tensor::<2>::from_dispatch(moments));
    let row = |at: usize| moments.clone().narrow(0, at, 1).reshape([channels]);
    (Tensor::from_dispatch(out), [row(0), row(1)])
}

/// `softmax(scale Q K^T + mask) V` in every head. Queries are `[examples, queries, heads * each]`, keys and
/// values `[examples, keys, shared * each]`; the mask is a constant without a gradient,
/// `[examples or 1, 1, queries or 1, keys]`.
pub fn attention(
    heads: Heads,
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    mask: Tensor<4>,
) -> Tensor<3> {
    if !fused(&query) || !fits(&heads, &query, &key, &value, &mask) {
        return plain::attention(heads, query, key, value, mask);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::attend(
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
        mask.into_dispatch(),
        heads,
    ))
}

/// Cross entropy of each row of `logits`, `[rows, classes]`, with its label in nats, `[rows]`. With smoothing
/// `s` the target is `1 - s` on the label plus `s` spread evenly over all classes (Szegedy et al. 2016, arXiv
/// 1512.00567; as in PyTorch).
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let [rows, _] = logits.dims();
    if !fused(&logits) || labels.dims() != [rows] {
        return plain::cross_entropy(logits, labels, smoothing);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::entropy(
        logits.into_dispatch(),
        labels.into_dispatch(),
        smoothing,
    ))
}

/// Convolution of `[examples, channels, height, width]` with a kernel,
/// `[outputs, channels, kernel height, kernel width]`, without groups and dilation, and a bias `[outputs]`,
/// zero where there is none.
pub fn convolution(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let [outputs, channels, height, width] = weight.dims();
    let [_, inputs, rows, columns] = x.dims();
    let shape = convolution::Shape {
        channels: [channels, outputs],
        input: [rows, columns],
        kernel: [height, width],
        stride,
        padding,
    };
    if !fused(&x) || inputs != channels || !shape.fits() {
        return plain::convolution(x, weight, bias, stride, padding);
    }
    let bias = bias.unwrap_or_else(|| Tensor::zeros([outputs], &x.device()));
    Tensor::from_dispatch(<Dispatch as Forward>::convolve(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        stride,
        padding,
    ))
}

/// Convolution of each channel of `[examples, positions, channels]` with its own kernel,
/// `[channels, 1, taps]`, with zeros on both sides: `[examples, positions + 2 padding + 1 - taps, channels]`.
pub fn depthwise(x: Tensor<3>, weight: Tensor<3>, padding: usize) -> Tensor<3> {
    let [_, positions, channels] = x.dims();
    let [outputs, one, taps] = weight.dims();
    let fits = padding < taps && taps <= positions + 2 * padding;
    if !fused(&x) || !fits || outputs != channels || one != 1 {
        return plain::depthwise(x, weight, padding);
    }
    let weight = weight.reshape([channels, taps]).transpose();
    Tensor::from_dispatch(<Dispatch as Forward>::convolve_channels(
        x.into_dispatch(),
        weight.into_dispatch(),
        padding,
    ))
}

/// The states of LSTMs from zeros, `[directions, examples, positions, hidden]`, from what goes into their gates
/// beside the states, `[directions, examples, positions, 4 * hidden]`, and the weights from the states,
/// `[directions, hidden, 4 * hidden]`. Gates stand in the order input, forget, output, candidate.
pub fn recurrence(inputs: Tensor<4>, weights: Tensor<3>) -> Tensor<4> {
    let [directions, _, _, gates] = inputs.dims();
    if !fused(&inputs) || weights.dims() != [directions, gates / 4, gates / 4 * 4] {
        return plain::recurrence(inputs, weights);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::recur(
        inputs.into_dispatch(),
        weights.into_dispatch(),
    ))
}

/// CTC's loss of each example in nats (Graves et al. 2006), `[examples]`, from scores
/// `[examples, positions, classes]`, of which class 0 is the blank, `tokens` `[examples, most]`, and the numbers
/// of positions and tokens of each example. Without an alignment the loss is 0 and has no gradient.
pub fn ctc(
    logits: Tensor<3>,
    tokens: Tensor<2, Int>,
    positions: Tensor<1, Int>,
    lengths: Tensor<1, Int>,
) -> Tensor<1> {
    let [examples, ..] = logits.dims();
    let fits = tokens.dims()[0] == examples
        && positions.dims() == [examples]
        && lengths.dims() == [examples];
    if !fused(&logits) || !fits {
        return plain::ctc(logits, tokens, positions, lengths);
    }
    Tensor::from_dispatch(<Dispatch as Forward>::connect(
        logits.into_dispatch(),
        tokens.into_dispatch(),
        positions.into_dispatch(),
        lengths.into_dispatch(),
    ))
}

/// Whether the shapes are those that [`attention`] states. Others are burn's to complain about.
fn fits(
    heads: &Heads,
    query: &Tensor<3>,
    key: &Tensor<3>,
    value: &Tensor<3>,
    mask: &Tensor<4>,
) -> bool {
    let [examples, queries, width] = query.dims();
    let [of_mask, one, rows, columns] = mask.dims();
    let [_, keys, key_width] = key.dims();
    let each = width / heads.heads.max(1);
    heads.shared > 0
        && heads.heads.is_multiple_of(heads.shared)
        && width == heads.heads * each
        && key_width == heads.shared * each
        && key.dims() == value.dims()
        && key.dims()[0] == examples
        && (of_mask == examples || of_mask == 1)
        && one == 1
        && (rows == queries || rows == 1)
        && columns == keys
}

//! The same operations by burn's own: the reference, and what other devices run.

use crate::{Heads, Norm};
use burn::nn::loss::CTCLossConfig;
use burn::tensor::module::{batch_norm_train, conv1d, conv2d, linear as burn_linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation};

/// [`crate::linear`].
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    burn_linear(x, weight, bias)
}

/// [`crate::gather`].
pub fn gather(x: Tensor<2>, index: Tensor<1, Int>) -> Tensor<2> {
    x.select(0, index)
}

/// [`crate::sum_by`].
pub fn sum_by(x: Tensor<2>, index: Tensor<1, Int>, count: usize) -> Tensor<2> {
    let [_, width] = x.dims();
    let zeros = Tensor::zeros([count, width], (&x.device(), x.dtype()));
    zeros.select_assign(0, index, x, IndexingUpdateOp::Add)
}

/// [`crate::softmax`].
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::softmax(x, D - 1)
}

/// [`crate::norm`].
pub fn norm<const D: usize>(
    norm: Norm,
    x: Tensor<D>,
    scale: Tensor<1>,
    shift: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    let x = match norm {
        Norm::Layer => {
            let mean = x.clone().mean_dim(D - 1);
            x - mean
        }
        Norm::Rms => x,
    };
    let square = x.clone() * x.clone();
    let deviation = square.mean_dim(D - 1).add_scalar(epsilon).sqrt();
    let x = x / deviation * scale.unsqueeze();
    match shift {
        Some(shift) => x + shift.unsqueeze(),
        None => x,
    }
}

/// [`crate::batch_norm`].
pub fn batch_norm(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let found = batch_norm_train(x, scale, shift, epsilon);
    let moments = [found.mean, found.variance].map(without_graph);
    (found.output, moments)
}

/// The tensor as a constant on the device without graphs.
pub fn without_graph<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.device().is_autodiff() {
        true => x.inner(),
        false => x,
    }
}

/// [`crate::attention`].
pub fn attention(
    heads: Heads,
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    mask: Tensor<4>,
) -> Tensor<3> {
    let [examples, queries, width] = query.dims();
    let each = width / heads.heads.max(1);
    let split = |x: Tensor<3>, heads: usize| {
        let [_, tokens, _] = x.dims();
        x.reshape([examples, tokens, heads, each]).swap_dims(1, 2)
    };
    let group = heads.heads / heads.shared.max(1);
    let shared = |x: Tensor<3>| {
        let x = split(x, heads.shared);
        if group == 1 {
            return x;
        }
        let [_, _, keys, _] = x.dims();
        x.reshape([examples, heads.shared, 1, keys, each])
            .repeat_dim(2, group)
            .reshape([examples, heads.heads, keys, each])
    };
    let scores = split(query, heads.heads).matmul(shared(key).transpose());
    let weights = softmax(scores.mul_scalar(heads.scale) + mask);
    weights
        .matmul(shared(value))
        .swap_dims(1, 2)
        .reshape([examples, queries, width])
}

/// [`crate::cross_entropy`].
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let [rows, _] = logits.dims();
    let log_probabilities = activation::log_softmax(logits, 1);
    let at_label = log_probabilities
        .clone()
        .gather(1, labels.reshape([rows, 1]))
        .reshape([rows]);
    if smoothing == 0.0 {
        return at_label.neg();
    }
    let even = log_probabilities.mean_dim(1).reshape([rows]);
    (at_label.mul_scalar(1.0 - smoothing) + even.mul_scalar(smoothing)).neg()
}

/// [`crate::convolution`].
pub fn convolution(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let options = ConvOptions::new(stride, padding, [1, 1], 1);
    conv2d(x, weight, bias, options)
}

/// [`crate::recurrence`].
pub fn recurrence(inputs: Tensor<4>, weights: Tensor<3>) -> Tensor<4> {
    let [directions, examples, _, gates] = inputs.dims();
    let hidden = gates / 4;
    let options = (&inputs.device(), inputs.dtype());
    let mut state = Tensor::<3>::zeros([directions, examples, hidden], options);
    let mut cell = state.clone();
    let mut states = Vec::new();
    for input in steps(inputs) {
        let gates = input + state.matmul(weights.clone());
        let open = activation::sigmoid(gates.clone().narrow(2, 0, 3 * hidden));
        let candidate = activation::tanh(gates.narrow(2, 3 * hidden, hidden));
        let gate = |at: usize| open.clone().narrow(2, at * hidden, hidden);
        cell = gate(1) * cell + gate(0) * candidate;
        state = gate(2) * activation::tanh(cell.clone());
        states.push(state.clone());
    }
    Tensor::stack::<4>(states, 2)
}

/// The positions of `inputs`, `[directions, examples, positions, gates]`, one by one.
///
/// Cut in two levels: the gradient of a cut is as large as what was cut, so that cutting every position
/// out of the whole costs the square of the length.
fn steps(inputs: Tensor<4>) -> Vec<Tensor<3>> {
    let [directions, examples, positions, gates] = inputs.dims();
    let stretch = (positions as f64).sqrt().ceil().max(1.0) as usize;
    let step = |part: Tensor<4>| part.reshape([directions, examples, gates]);
    let stretches = inputs.split(stretch, 2).into_iter();
    stretches
        .flat_map(|part| part.split(1, 2))
        .map(step)
        .collect()
}

/// [`crate::ctc`].
pub fn ctc(
    logits: Tensor<3>,
    tokens: Tensor<2, Int>,
    positions: Tensor<1, Int>,
    lengths: Tensor<1, Int>,
) -> Tensor<1> {
    let log_probabilities = activation::log_softmax(logits, 2).swap_dims(0, 1);
    let ctc = CTCLossConfig::new().with_zero_infinity(true).init();
    ctc.forward(log_probabilities, tokens, positions, lengths)
}

/// [`crate::depthwise`].
pub fn depthwise(x: Tensor<3>, weight: Tensor<3>, padding: usize) -> Tensor<3> {
    let [_, _, channels] = x.dims();
    let options = ConvOptions::new([1], [padding], [1], channels);
    conv1d(x.swap_dims(1, 2), weight, None, options).swap_dims(1, 2)
}

//! The operations as burn sees them: traits of backends.

use crate::attention::Heads;
use crate::function::Function;
use crate::rows::Norm;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

/// Operations that a graph can hold.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Forward: Backend {
    /// `function` of each element.
    fn function(x: FloatTensor<Self>, function: Function) -> FloatTensor<Self>;

    /// A linear map of rows, `[.., inputs]`, by a weight, `[inputs, outputs]`, and a bias, `[outputs]`, or `[0]`
    /// where there is none.
    fn map_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Rows of `[rows, width]` by their numbers, `[n]`.
    fn gather_rows(x: FloatTensor<Self>, index: IntTensor<Self>) -> FloatTensor<Self>;

    /// Rows, `[n, width]`, summed into so many by their places, `[n]`.
    fn sum_rows(x: FloatTensor<Self>, index: IntTensor<Self>, count: usize) -> FloatTensor<Self>;

    /// Softmax over the last axis.
    fn softmax_of_rows(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Norm of rows with a scale and a shift, `[width]` both.
    fn norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        norm: Norm,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// Means and biased variances of the channels of `[examples, channels, ..]`, `[2, channels]`: a constant
    /// without a gradient.
    fn moments(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Norm of channels with their [`Self::moments`], a scale and a shift, `[channels]` both.
    fn normalize(
        x: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// Attention over `[examples, tokens, heads * each]` with a constant mask,
    /// `[examples or 1, 1, queries or 1, keys]`.
    fn attend(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self>;

    /// Cross entropy of each row of `logits`, `[rows, classes]`, with its label, `[rows]`.
    fn entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self>;

    /// Convolution of `[examples, channels, height, width]` without groups and dilation, with a bias for
    /// each output.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> FloatTensor<Self>;

    /// States of LSTMs, `[directions, examples, positions, hidden]`, from what goes into their gates,
    /// `[.., 4 * hidden]`, and their weights, `[directions, hidden, 4 * hidden]`.
    fn recur(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self>;

    /// CTC's loss of each example, `[examples]`, from scores `[examples, positions, classes]`, tokens
    /// `[examples, most]`, and each example's numbers of positions and tokens.
    fn connect(
        logits: FloatTensor<Self>,
        tokens: IntTensor<Self>,
        positions: IntTensor<Self>,
        lengths: IntTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Convolution of each channel of `[examples, positions, channels]` with its column of a kernel,
    /// `[taps, channels]`.
    fn convolve_channels(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        padding: usize,
    ) -> FloatTensor<Self>;
}

/// Gradients of [`Forward`], outside of a graph.
pub(crate) trait Backwards: Backend {
    /// From the argument or the value, whichever [`Function::by_value`] says.
    fn function_backward(
        gradient: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        function: Function,
    ) -> FloatTensor<Self>;

    /// Of rows, from the weight.
    fn map_input_backward(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Of the weight, from the rows.
    fn map_weight_backward(gradient: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Of the bias.
    fn map_bias_backward(gradient: FloatTensor<Self>) -> FloatTensor<Self>;

    /// From the value.
    fn softmax_backward(gradient: FloatTensor<Self>, value: FloatTensor<Self>)
    -> FloatTensor<Self>;

    /// Of argument, scale and shift.
    fn norm_backward(
        gradient: FloatTensor<Self>,
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        norm: Norm,
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3];

    /// Of argument, scale and shift; `inputs` are argument, moments and scale.
    fn normalize_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 3],
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3];

    /// Of queries, keys and values; `inputs` are these and the mask.
    fn attention_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 4],
        heads: Heads,
    ) -> [FloatTensor<Self>; 3];

    /// Of the logits.
    fn entropy_backward(
        gradient: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self>;

    /// Of input (where `wanted`), kernel and bias.
    fn convolve_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        wanted: bool,
    ) -> (Option<FloatTensor<Self>>, [FloatTensor<Self>; 2]);

    /// States, gates and cells.
    fn recur_all(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> [FloatTensor<Self>; 3];

    /// Of inputs and weights, from what [`Self::recur_all`] gave.
    fn recur_backward(
        gradient: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        all: [FloatTensor<Self>; 3],
    ) -> [FloatTensor<Self>; 2];

    /// The losses, and the gradient of the scores at which each example's loss has a gradient of 1; of
    /// tokens, positions and lengths.
    fn connect_all(
        logits: FloatTensor<Self>,
        integers: [IntTensor<Self>; 3],
    ) -> [FloatTensor<Self>; 2];

    /// Multiplies each example's part of `x` by its factor.
    fn scale_examples(x: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Of input and kernel.
    fn convolve_channels_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 2],
        padding: usize,
    ) -> [FloatTensor<Self>; 2];
}

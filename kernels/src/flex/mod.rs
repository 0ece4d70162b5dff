//! The operations on burn's CPU device.

mod backward;

use crate::attention::{Heads, Mask, Sizes, attention, attention_backward};
use crate::convolution::{self, Shape};
use crate::ctc;
use crate::depthwise;
use crate::entropy::{cross_entropy, cross_entropy_backward};
use crate::function::Function;
use crate::gather;
use crate::linear;
use crate::lstm;
use crate::ops::{Backwards, Forward};
use crate::planes;
use crate::rows::{self, Norm};
use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;

/// The elements in order, of a tensor that has them so.
fn values(tensor: &FlexTensor) -> &[f32] {
    // `None` of tensors with gaps and of other types, which do not come here.
    tensor.as_slice::<f32>().unwrap_or_default()
}

fn tensor(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.layout().shape().clone()))
}

/// Changes the elements: in place where nothing else holds them.
fn changed(x: FlexTensor, change: impl FnOnce(&mut [f32])) -> FlexTensor {
    // A tensor that is contiguous stays the only holder of its elements.
    let x = match x.is_contiguous() {
        true => x,
        false => x.to_contiguous(),
    };
    let whole = x.layout().contiguous_offsets() == Some((0, x.storage::<f32>().len()));
    let mut x = match whole {
        true => x,
        false => tensor(values(&x).to_vec(), &x),
    };
    change(x.storage_mut::<f32>());
    x
}

fn last(x: &FlexTensor) -> usize {
    x.layout().shape().iter().next_back().copied().unwrap_or(1)
}

/// A tensor of the shape of `like`, but for the last axis.
fn with_last(values: Vec<f32>, like: &FlexTensor, last: usize) -> FlexTensor {
    let mut shape = like.layout().shape().clone();
    if let Some(axis) = shape.iter_mut().next_back() {
        *axis = last;
    }
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A linear map of the rows of `x`, from so many inputs to so many outputs.
fn map_sizes(x: &FlexTensor, inputs: usize, outputs: usize) -> linear::Sizes {
    let rows = x.layout().num_elements() / last(x).max(1);
    linear::Sizes {
        rows,
        inputs,
        outputs,
    }
}

impl Forward for Flex {
    fn function(x: FloatTensor<Self>, function: Function) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        tensor(function.values(values(&x)), &x)
    }

    fn map_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(|t| t.to_contiguous());
        let sizes = map_sizes(&x, last(&x), last(&weight));
        let out = linear::linear(sizes, values(&x), values(&weight), values(&bias));
        with_last(out, &x, sizes.outputs)
    }

    fn gather_rows(x: FloatTensor<Self>, index: IntTensor<Self>) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let (width, index) = (last(&x), classes(&index));
        let rows = gather::gather(values(&x), width, &index);
        FlexTensor::from_data(TensorData::new(rows, [index.len(), width]))
    }

    fn sum_rows(x: FloatTensor<Self>, index: IntTensor<Self>, count: usize) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let width = last(&x);
        let sums = gather::sum(values(&x), width, &classes(&index), count);
        FlexTensor::from_data(TensorData::new(sums, [count, width]))
    }

    fn softmax_of_rows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        tensor(rows::softmax(values(&x), last(&x)), &x)
    }

    fn norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        norm: Norm,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [x, scale, shift] = [x, scale, shift].map(|t| t.to_contiguous());
        let [of_x, scale, shift] = [&x, &scale, &shift].map(values);
        tensor(rows::norm(norm, of_x, scale, shift, epsilon as f32), &x)
    }

    fn moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let sizes = planes(&x);
        let found = planes::moments(sizes, values(&x));
        FlexTensor::from_data(TensorData::new(found, [2, sizes.channels]))
    }

    fn normalize(
        x: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [x, moments, scale, shift] = [x, moments, scale, shift].map(|t| t.to_contiguous());
        let affine = [&scale, &shift].map(values);
        let (sizes, moments) = (planes(&x), values(&moments));
        let out = planes::normalize(sizes, values(&x), moments, affine, epsilon as f32);
        tensor(out, &x)
    }

    fn attend(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        let tensors = [query, key, value, mask].map(|t| t.to_contiguous());
        let (sizes, mask) = sizes(&tensors, heads);
        let [query, key, value, _] = tensors.each_ref().map(values);
        tensor(attention(sizes, [query, key, value], mask), &tensors[0])
    }

    fn entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self> {
        let logits = logits.to_contiguous();
        let labels = classes(&labels);
        let losses = cross_entropy(values(&logits), &labels, last(&logits), smoothing as f32);
        let rows = losses.len();
        FlexTensor::from_data(TensorData::new(losses, [rows]))
    }

    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(|t| t.to_contiguous());
        let shape = shape(&x, &weight, stride, padding);
        let bias = Some(values(&bias));
        let out = convolution::convolution(&shape, values(&x), values(&weight), bias);
        let [height, width] = shape.output().unwrap_or_default();
        let examples = x.layout().shape().iter().next().copied().unwrap_or(0);
        let dims = [examples, shape.channels[1], height, width];
        FlexTensor::from_data(TensorData::new(out, dims))
    }

    fn recur(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self> {
        let [states, ..] = Self::recur_all(inputs, weights);
        states
    }

    fn connect(
        logits: FloatTensor<Self>,
        tokens: IntTensor<Self>,
        positions: IntTensor<Self>,
        lengths: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let logits = logits.to_contiguous();
        let integers = [tokens, positions, lengths].map(|t| classes(&t));
        let losses = utterances(&logits, &integers).losses();
        let examples = losses.len();
        FlexTensor::from_data(TensorData::new(losses, [examples]))
    }

    fn convolve_channels(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        padding: usize,
    ) -> FloatTensor<Self> {
        let [x, weight] = [x, weight].map(|t| t.to_contiguous());
        let (examples, sizes) = channels(&x, &weight, padding);
        let out = depthwise::depthwise(&sizes, values(&x), values(&weight));
        let shape = [examples, sizes.output(), sizes.channels];
        FlexTensor::from_data(TensorData::new(out, shape))
    }
}

/// What the shape of `[examples, channels, ..]` says.
fn planes(x: &FlexTensor) -> planes::Sizes {
    let mut axes = x.layout().shape().iter().skip(1).copied();
    planes::Sizes {
        channels: axes.next().unwrap_or(1),
        elements: axes.product(),
    }
}

/// The number of examples, and what the shapes of input and kernel say.
fn channels(x: &FlexTensor, weight: &FlexTensor, padding: usize) -> (usize, depthwise::Sizes) {
    let at = |t: &FlexTensor, axis: usize| t.layout().shape().get(axis).copied().unwrap_or(1);
    let sizes = depthwise::Sizes {
        positions: at(x, 1),
        channels: at(x, 2),
        taps: at(weight, 0),
        padding,
    };
    (at(x, 0), sizes)
}

/// A batch for CTC, from tokens, positions and lengths.
fn utterances<'a>(logits: &'a FlexTensor, integers: &'a [Vec<usize>; 3]) -> ctc::Batch<'a> {
    let at = |axis: usize| logits.layout().shape().get(axis).copied().unwrap_or(1);
    let [tokens, positions, lengths] = integers;
    ctc::Batch {
        logits: values(logits),
        positions: at(1),
        classes: at(2),
        tokens,
        most: tokens.len() / at(0).max(1),
        lengths: [positions, lengths],
    }
}

/// What the shape of states says.
fn recurrence(states: &FlexTensor) -> lstm::Sizes {
    let at = |axis: usize| states.layout().shape().get(axis).copied().unwrap_or(1);
    lstm::Sizes {
        examples: at(1),
        positions: at(2),
        hidden: at(3),
    }
}

/// What the shapes of input and kernel say.
fn shape(x: &FlexTensor, weight: &FlexTensor, stride: [usize; 2], padding: [usize; 2]) -> Shape {
    let at = |t: &FlexTensor, axis: usize| t.layout().shape().get(axis).copied().unwrap_or(1);
    Shape {
        channels: [at(weight, 1), at(weight, 0)],
        input: [at(x, 2), at(x, 3)],
        kernel: [at(weight, 2), at(weight, 3)],
        stride,
        padding,
    }
}

/// Classes, or rows, by number. What is none of any tensor is [`usize::MAX`].
fn classes(labels: &FlexTensor) -> Vec<usize> {
    let labels = labels.to_contiguous();
    fn of<T: Copy>(labels: Option<&[T]>) -> Option<Vec<usize>>
    where
        usize: TryFrom<T>,
    {
        let class = |label: &T| usize::try_from(*label).unwrap_or(usize::MAX);
        labels.map(|labels| labels.iter().map(class).collect())
    }
    let wide = of(labels.as_slice::<i64>());
    wide.or_else(|| of(labels.as_slice::<i32>()))
        .unwrap_or_default()
}

/// What the shapes of queries, keys, values and mask say.
fn sizes(tensors: &[FlexTensor; 4], heads: Heads) -> (Sizes, Mask<'_>) {
    let [query, key, _, mask] = tensors;
    let at = |t: &FlexTensor, axis: usize| t.layout().shape().get(axis).copied().unwrap_or(1);
    let sizes = Sizes {
        heads,
        queries: at(query, 1),
        keys: at(key, 1),
        each: at(query, 2) / heads.heads.max(1),
    };
    let rows = at(mask, 2);
    let mask = Mask {
        values: values(mask),
        example: if at(mask, 0) == 1 {
            0
        } else {
            rows * sizes.keys
        },
        query: if rows == 1 { 0 } else { sizes.keys },
    };
    (sizes, mask)
}

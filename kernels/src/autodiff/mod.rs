//! The operations in a graph.

mod steps;

use crate::attention::Heads;
use crate::function::Function;
use crate::ops::{Backwards, Forward};
use crate::rows::Norm;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::ops::{Backward, OpsKind};
use steps::*;

/// The value in the graph, with what its gradient is made of.
macro_rules! in_graph {
    ($prepared:expr, $state:expr, $value:expr) => {
        match $prepared.stateful() {
            OpsKind::Tracked(prep) => prep.finish($state, $value),
            OpsKind::UnTracked(prep) => prep.finish($value),
        }
    };
}

impl<B: Backend + Forward + Backwards, C: CheckpointStrategy> Forward for Autodiff<B, C> {
    fn function(x: FloatTensor<Self>, function: Function) -> FloatTensor<Self> {
        let prepared = Elementwise.prepare::<C>([x.node()]).compute_bound();
        let x = x.into_primitive();
        match prepared.stateful() {
            OpsKind::Tracked(prep) => {
                let value = B::function(x.clone(), function);
                let kept = if function.by_value() {
                    value.clone()
                } else {
                    x
                };
                prep.finish((kept, function), value)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::function(x, function)),
        }
    }

    fn map_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prepared = Linear.prepare::<C>(nodes).compute_bound();
        let [of_x, of_weight] = [x.is_tracked(), weight.is_tracked()];
        let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
        let kept = [of_weight.then(|| x.clone()), of_x.then(|| weight.clone())];
        let value = B::map_rows(x, weight, bias);
        in_graph!(prepared, kept, value)
    }

    fn gather_rows(x: FloatTensor<Self>, index: IntTensor<Self>) -> FloatTensor<Self> {
        let prepared = Gather.prepare::<C>([x.node()]).compute_bound();
        let x = x.into_primitive();
        let rows = x.shape().iter().next().copied().unwrap_or(0);
        let value = B::gather_rows(x, index.clone());
        in_graph!(prepared, (index, rows), value)
    }

    fn sum_rows(x: FloatTensor<Self>, index: IntTensor<Self>, count: usize) -> FloatTensor<Self> {
        let prepared = SumBy.prepare::<C>([x.node()]).compute_bound();
        let value = B::sum_rows(x.into_primitive(), index.clone(), count);
        in_graph!(prepared, index, value)
    }

    fn softmax_of_rows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = Softmax.prepare::<C>([x.node()]).compute_bound();
        let value = B::softmax_of_rows(x.into_primitive());
        in_graph!(prepared, value.clone(), value)
    }

    fn norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        norm: Norm,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let prepared = Normalize.prepare::<C>(nodes).compute_bound();
        let [x, scale, shift] = [x, scale, shift].map(|t| t.into_primitive());
        let value = B::norm(x.clone(), scale.clone(), shift, norm, epsilon);
        in_graph!(prepared, (x, scale, norm, epsilon), value)
    }

    fn moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(B::moments(x.into_primitive()))
    }

    fn normalize(
        x: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let prepared = Standardize.prepare::<C>(nodes).compute_bound();
        let [x, moments, scale, shift] = [x, moments, scale, shift].map(|t| t.into_primitive());
        let inputs = [x.clone(), moments.clone(), scale.clone()];
        let value = B::normalize(x, moments, scale, shift, epsilon);
        in_graph!(prepared, (inputs, epsilon), value)
    }

    fn attend(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        let nodes = [query.node(), key.node(), value.node()];
        let prepared = Attention.prepare::<C>(nodes).compute_bound();
        let inputs = [query, key, value, mask].map(|t| t.into_primitive());
        let [query, key, value, mask] = inputs.clone();
        let out = B::attend(query, key, value, mask, heads);
        in_graph!(prepared, (inputs, heads), out)
    }

    fn entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self> {
        let prepared = Entropy.prepare::<C>([logits.node()]).compute_bound();
        let logits = logits.into_primitive();
        let losses = B::entropy(logits.clone(), labels.clone(), smoothing);
        in_graph!(prepared, (logits, labels, smoothing), losses)
    }

    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prepared = Convolution.prepare::<C>(nodes).compute_bound();
        let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
        let out = B::convolve(x.clone(), weight.clone(), bias, stride, padding);
        in_graph!(prepared, ([x, weight], stride, padding), out)
    }

    fn recur(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [inputs.node(), weights.node()];
        let prepared = Recurrence.prepare::<C>(nodes).compute_bound();
        let [inputs, weights] = [inputs, weights].map(|t| t.into_primitive());
        match prepared.stateful() {
            OpsKind::Tracked(prep) => {
                let all = B::recur_all(inputs, weights.clone());
                let states = all[0].clone();
                prep.finish((weights, all), states)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::recur(inputs, weights)),
        }
    }

    fn connect(
        logits: FloatTensor<Self>,
        tokens: IntTensor<Self>,
        positions: IntTensor<Self>,
        lengths: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let prepared = Alignment.prepare::<C>([logits.node()]).compute_bound();
        let logits = logits.into_primitive();
        match prepared.stateful() {
            OpsKind::Tracked(prep) => {
                let [losses, gradient] = B::connect_all(logits, [tokens, positions, lengths]);
                prep.finish(gradient, losses)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::connect(logits, tokens, positions, lengths)),
        }
    }

    fn convolve_channels(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        padding: usize,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let prepared = Depthwise.prepare::<C>(nodes).compute_bound();
        let [x, weight] = [x, weight].map(|t| t.into_primitive());
        let out = B::convolve_channels(x.clone(), weight.clone(), padding);
        in_graph!(prepared, ([x, weight], padding), out)
    }
}

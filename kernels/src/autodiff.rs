//! The operations in a graph.

use crate::attention::Heads;
use crate::function::Function;
use crate::ops::{Backwards, Forward};
use crate::rows::Norm;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, unary};

/// Registers the gradients of those inputs that have one.
macro_rules! register {
    ($backend:ty, $parents:expr, $gradients:expr, $grads:expr) => {
        for (parent, gradient) in $parents.into_iter().zip($gradients) {
            if let Some(node) = parent {
                $grads.register::<$backend>(node.id, gradient);
            }
        }
    };
}

/// The value in the graph, with what its gradient is made of.
macro_rules! in_graph {
    ($prepared:expr, $state:expr, $value:expr) => {
        match $prepared.stateful() {
            OpsKind::Tracked(prep) => prep.finish($state, $value),
            OpsKind::UnTracked(prep) => prep.finish($value),
        }
    };
}

#[derive(Debug)]
struct Elementwise;

impl<B: Backend + Backwards> Backward<B, 1> for Elementwise {
    type State = (FloatTensor<B>, Function);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (kept, function) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::function_backward(gradient, kept, function)
        });
    }
}

#[derive(Debug)]
struct Linear;

impl<B: Backend + Backwards> Backward<B, 3> for Linear {
    /// Rows and weight, each where its partner has a gradient.
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x, weight] = ops.state;
        let [of_x, of_weight, of_bias] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        if let (Some(node), Some(weight)) = (of_x, weight) {
            let found = B::map_input_backward(gradient.clone(), weight);
            grads.register::<B>(node.id, found);
        }
        if let (Some(node), Some(x)) = (of_weight, x) {
            let found = B::map_weight_backward(gradient.clone(), x);
            grads.register::<B>(node.id, found);
        }
        if let Some(node) = of_bias {
            grads.register::<B>(node.id, B::map_bias_backward(gradient));
        }
    }
}

#[derive(Debug)]
struct Softmax;

impl<B: Backend + Backwards> Backward<B, 1> for Softmax {
    type State = FloatTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::softmax_backward(gradient, ops.state)
        });
    }
}

#[derive(Debug)]
struct Normalize;

impl<B: Backend + Backwards> Backward<B, 3> for Normalize {
    type State = (FloatTensor<B>, FloatTensor<B>, Norm, f64);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, scale, norm, epsilon) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let of = B::norm_backward(gradient, x, scale, norm, epsilon);
        register!(B, ops.parents, of, grads);
    }
}

#[derive(Debug)]
struct Standardize;

impl<B: Backend + Backwards> Backward<B, 3> for Standardize {
    type State = ([FloatTensor<B>; 3], f64);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (inputs, epsilon) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let of = B::normalize_backward(gradient, inputs, epsilon);
        register!(B, ops.parents, of, grads);
    }
}

#[derive(Debug)]
struct Attention;

impl<B: Backend + Backwards> Backward<B, 3> for Attention {
    type State = ([FloatTensor<B>; 4], Heads);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (inputs, heads) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let of = B::attention_backward(gradient, inputs, heads);
        register!(B, ops.parents, of, grads);
    }
}

#[derive(Debug)]
struct Entropy;

impl<B: Backend + Backwards> Backward<B, 1> for Entropy {
    type State = (FloatTensor<B>, IntTensor<B>, f64);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (logits, labels, smoothing) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::entropy_backward(gradient, logits, labels, smoothing)
        });
    }
}

#[derive(Debug)]
struct Convolution;

impl<B: Backend + Backwards> Backward<B, 3> for Convolution {
    type State = ([FloatTensor<B>; 2], [usize; 2], [usize; 2]);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (inputs, stride, padding) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        // The first layer's input has no gradient: it would be the dearest of the three.
        let wanted = ops.parents[0].is_some();
        let (of_input, rest) = B::convolve_backward(gradient, inputs, stride, padding, wanted);
        let [input, weight, bias] = ops.parents;
        if let (Some(node), Some(gradient)) = (input, of_input) {
            grads.register::<B>(node.id, gradient);
        }
        register!(B, [weight, bias], rest, grads);
    }
}

#[derive(Debug)]
struct Recurrence;

impl<B: Backend + Backwards> Backward<B, 2> for Recurrence {
    type State = (FloatTensor<B>, [FloatTensor<B>; 3]);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (weights, all) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let of = B::recur_backward(gradient, weights, all);
        register!(B, ops.parents, of, grads);
    }
}

#[derive(Debug)]
struct Alignment;

impl<B: Backend + Backwards> Backward<B, 1> for Alignment {
    /// The gradient of the scores.
    type State = FloatTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::scale_examples(ops.state, gradient)
        });
    }
}

#[derive(Debug)]
struct Depthwise;

impl<B: Backend + Backwards> Backward<B, 2> for Depthwise {
    type State = ([FloatTensor<B>; 2], usize);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (inputs, padding) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let of = B::convolve_channels_backward(gradient, inputs, padding);
        register!(B, ops.parents, of, grads);
    }
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

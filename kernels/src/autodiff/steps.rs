//! What the graph does on its way back.

use crate::attention::Heads;
use crate::function::Function;
use crate::ops::{Backwards, Forward};
use crate::rows::Norm;
use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, unary};

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

#[derive(Debug)]
pub(super) struct Elementwise;

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
pub(super) struct Linear;

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
pub(super) struct Gather;

impl<B: Backend + Forward> Backward<B, 1> for Gather {
    type State = (IntTensor<B>, usize);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (index, rows) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::sum_rows(gradient, index, rows)
        });
    }
}

#[derive(Debug)]
pub(super) struct SumBy;

impl<B: Backend + Forward> Backward<B, 1> for SumBy {
    type State = IntTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::gather_rows(gradient, ops.state)
        });
    }
}

#[derive(Debug)]
pub(super) struct Softmax;

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
pub(super) struct Normalize;

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
pub(super) struct Standardize;

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
pub(super) struct Attention;

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
pub(super) struct Entropy;

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
pub(super) struct Convolution;

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
pub(super) struct Recurrence;

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
pub(super) struct Alignment;

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
pub(super) struct Depthwise;

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

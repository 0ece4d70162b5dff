//! What the graph does on its way back.

use crate::attention::Heads;
use crate::function::Function;
use crate::ops::{Backwards, Forward};
use crate::rows::Norm;
use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops};

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

/// A step whose gradients, one for each input, come from what was kept and from the output's gradient.
macro_rules! step {
    ($name:ident, $inputs:literal, $ops:ident, $kept:ty, |$state:pat_param, $gradient:ident| $of:expr) => {
        #[derive(Debug)]
        pub(super) struct $name;

        impl<B: Backend + $ops> Backward<B, $inputs> for $name {
            type State = $kept;

            fn backward(
                self,
                ops: Ops<Self::State, $inputs>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let $state = ops.state;
                let $gradient = grads.consume::<B>(&ops.node);
                register!(B, ops.parents, $of, grads);
            }
        }
    };
}

step!(
    Elementwise,
    1,
    Backwards,
    (FloatTensor<B>, Function),
    |(kept, function), gradient| [B::function_backward(gradient, kept, function)]
);

step!(
    Gather,
    1,
    Forward,
    (IntTensor<B>, usize),
    |(index, rows), gradient| [B::sum_rows(gradient, index, rows)]
);

step!(SumBy, 1, Forward, IntTensor<B>, |index, gradient| [
    B::gather_rows(gradient, index)
]);

step!(Softmax, 1, Backwards, FloatTensor<B>, |output, gradient| [
    B::softmax_backward(gradient, output)
]);

step!(
    Entropy,
    1,
    Backwards,
    (FloatTensor<B>, IntTensor<B>, f64),
    |(logits, labels, smoothing), gradient| [B::entropy_backward(
        gradient, logits, labels, smoothing
    )]
);

// What is kept is the gradient of the scores.
step!(
    Alignment,
    1,
    Backwards,
    FloatTensor<B>,
    |of_scores, gradient| [B::scale_examples(of_scores, gradient)]
);

step!(
    Normalize,
    3,
    Backwards,
    (FloatTensor<B>, FloatTensor<B>, Norm, f64),
    |(x, scale, norm, epsilon), gradient| B::norm_backward(gradient, x, scale, norm, epsilon)
);

step!(
    Standardize,
    3,
    Backwards,
    ([FloatTensor<B>; 3], f64),
    |(inputs, epsilon), gradient| B::normalize_backward(gradient, inputs, epsilon)
);

step!(
    Attention,
    3,
    Backwards,
    ([FloatTensor<B>; 4], Heads),
    |(inputs, heads), gradient| B::attention_backward(gradient, inputs, heads)
);

step!(
    Recurrence,
    2,
    Backwards,
    (FloatTensor<B>, [FloatTensor<B>; 3]),
    |(weights, all), gradient| B::recur_backward(gradient, weights, all)
);

step!(
    Depthwise,
    2,
    Backwards,
    ([FloatTensor<B>; 2], usize),
    |(inputs, padding), gradient| B::convolve_channels_backward(gradient, inputs, padding)
);

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

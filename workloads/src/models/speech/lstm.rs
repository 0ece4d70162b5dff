//! A bidirectional LSTM over utterances of different lengths.

use super::mask;
use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::apply_linear;
use velodrome_kernels::recurrence;

/// Two LSTMs (Hochreiter and Schmidhuber 1997) without peepholes, one in each direction; the backward
/// one starts at each utterance's own end. Both directions run as one product of matrices a step, since
/// the steps' many small operations cost more than their arithmetic.
///
/// Gates stand in the order input, forget, output, candidate. Each direction has one bias (with the
/// hidden state), as in Flax; PyTorch has two. Matrices from the input start normal with deviation
/// `1 / sqrt(fan_in)`, those from the hidden state orthogonal for each gate, biases at 0.
#[derive(Module, Debug)]
pub struct BiLstm {
    forward_input: Linear,
    forward_hidden: Linear,
    backward_input: Linear,
    backward_hidden: Linear,
    hidden: usize,
}

/// Number of trainable elements.
pub(super) fn parameters(input: usize, hidden: usize) -> usize {
    2 * 4 * hidden * (input + hidden + 1)
}

impl BiLstm {
    /// A layer that reads `input` values and gives `hidden` in each direction.
    pub fn new(input: usize, hidden: usize, device: &Device) -> Self {
        let from_input = || {
            let std = (input.max(1) as f64).powf(-0.5);
            LinearConfig::new(input, 4 * hidden)
                .with_bias(false)
                .with_initializer(Initializer::Normal { mean: 0.0, std })
                .init(device)
        };
        let from_hidden = || {
            let mut linear = LinearConfig::new(hidden, 4 * hidden)
                .with_initializer(Initializer::Zeros)
                .init(device);
            linear.weight = linear.weight.map(|zeros| {
                let gate = || {
                    let orthogonal = Initializer::Orthogonal { gain: 1.0 };
                    let gate = orthogonal.init::<2, _>([hidden, hidden], device).val();
                    if gate.device().is_autodiff() {
                        gate.inner()
                    } else {
                        gate
                    }
                };
                let gates = Tensor::cat((0..4).map(|_| gate()).collect(), 1);
                if zeros.device().is_autodiff() {
                    Tensor::from_inner(gates).set_require_grad(zeros.is_require_grad())
                } else {
                    gates
                }
            });
            linear
        };
        Self {
            forward_input: from_input(),
            forward_hidden: from_hidden(),
            backward_input: from_input(),
            backward_hidden: from_hidden(),
            hidden,
        }
    }

    /// Hidden states of both directions side by side, shape `[examples, positions, 2 * hidden]`, from `x`
    /// of shape `[examples, positions, input]`; 0 behind each example's length.
    pub fn forward(&self, x: Tensor<3>, lengths: Tensor<1, Int>) -> Tensor<3> {
        let [examples, positions, _] = x.dims();
        let (h, order) = (self.hidden, Reversal::new(lengths.clone(), positions));
        let backward = order.apply(apply_linear(&self.backward_input, x.clone()));
        let forward = apply_linear(&self.forward_input, x);
        let bias = |linear: &Linear| {
            let bias = linear.bias.as_ref().map(|bias| bias.val());
            bias.map(|bias| bias.reshape([1, 1, 4 * h]))
        };
        let with_bias = |x: Tensor<3>, linear| match bias(linear) {
            Some(bias) => x + bias,
            None => x,
        };
        // [directions, examples, positions, gates]
        let inputs = Tensor::stack::<4>(
            vec![
                with_bias(forward, &self.forward_hidden),
                with_bias(backward, &self.backward_hidden),
            ],
            0,
        );
        let weights = vec![
            self.forward_hidden.weight.val(),
            self.backward_hidden.weight.val(),
        ];
        let weights = Tensor::stack::<3>(weights, 0);
        // [directions, examples, positions, hidden]
        let states = recurrence(inputs, weights);
        let direction = |at: usize| {
            states
                .clone()
                .narrow(0, at, 1)
                .reshape([examples, positions, h])
        };
        let both = vec![direction(0), order.apply(direction(1))];
        Tensor::cat(both, 2) * mask(lengths, positions).reshape([examples, positions, 1])
    }
}

/// Turns each example's positions round and leaves its padding where it is; its own inverse.
struct Reversal(Tensor<1, Int>);

impl Reversal {
    fn new(lengths: Tensor<1, Int>, positions: usize) -> Self {
        let [examples] = lengths.dims();
        let shape = [examples, positions];
        let device = lengths.device();
        let places = Tensor::<1, Int>::arange(0..positions as i64, &device);
        let places = places.reshape([1, positions]).expand(shape);
        let lengths = lengths.reshape([examples, 1]).expand(shape);
        let turned = lengths.clone() - places.clone() - 1;
        let within = places.clone().lower(lengths);
        let own = places.mask_where(within, turned);
        let starts = Tensor::<1, Int>::arange(0..examples as i64, &device);
        let starts = starts.mul_scalar(positions as i64).reshape([examples, 1]);
        Self((own + starts.expand(shape)).reshape([examples * positions]))
    }

    fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        let [examples, positions, width] = x.dims();
        x.reshape([examples * positions, width])
            .select(0, self.0.clone())
            .reshape([examples, positions, width])
    }
}

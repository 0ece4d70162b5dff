//! What several models share.

use crate::metrics::Classes;
use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Device, Distribution, Int, Tensor};
use velodrome_harness::contract::{Batch, ModelError, Tokens};
use velodrome_kernels::{Function, Norm, convolution, function, norm};
use velodrome_results::measures::Measures;

/// An elementwise activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `x * Phi(x)`, exact (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    Gelu,
    /// The same with the normal distribution `Phi` approximated through a hyperbolic tangent: what
    /// JAX calls GELU by default, and with it AlgoPerf.
    GeluTanh,
    /// `x * sigmoid(x)` (Elfwing, Uchibe and Doya 2017, arXiv 1702.03118).
    Silu,
    /// `1 / (1 + exp(-x))`: with a gate, the gated linear unit (Dauphin et al. 2017, arXiv 1612.08083).
    Sigmoid,
}

impl Activation {
    /// Applies it.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Activation::Relu => function(Function::Relu, x),
            Activation::Tanh => function(Function::Tanh, x),
            Activation::Gelu => function(Function::Gelu, x),
            Activation::GeluTanh => function(Function::GeluTanh, x),
            Activation::Silu => function(Function::Silu, x),
            Activation::Sigmoid => function(Function::Sigmoid, x),
        }
    }
}

/// A layer norm over the last axis, `(x - mean) / sqrt(variance + epsilon) * gamma + beta` (Ba et al. 2016,
/// arXiv 1607.06450), with the parameters that burn's own has.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    pub(crate) gamma: Param<Tensor<1>>,
    pub(crate) beta: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// The identity on vectors of mean 0 and variance 1, with AlgoPerf's epsilon.
    pub(crate) fn new(width: usize, device: &Device) -> Self {
        Self::with_epsilon(width, 1e-6, device)
    }

    /// The same with an epsilon of its own.
    pub(crate) fn with_epsilon(width: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([width], device),
            beta: Initializer::Zeros.init([width], device),
            epsilon,
        }
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let shift = Some(self.beta.val());
        norm(Norm::Layer, x, self.gamma.val(), shift, self.epsilon)
    }
}

/// A convolution without groups and dilation, whose zeros at the border are explicit.
pub(crate) fn convolve(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let bias = layer.bias.as_ref().map(Param::val);
    match layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => {
            convolution(x, layer.weight.val(), bias, layer.stride, [top, left])
        }
        _ => layer.forward(x),
    }
}

/// Sets elements to zero with probability `rate` and scales the others by `1 / (1 - rate)`
/// (Srivastava et al. 2014). A rate of 0 draws nothing.
pub fn dropout<const D: usize>(x: Tensor<D>, rate: f64) -> Tensor<D> {
    if rate <= 0.0 {
        return x;
    }
    let keep = 1.0 - rate;
    if keep <= 0.0 {
        return x.zeros_like();
    }
    let mask = x.random_like(Distribution::Bernoulli(keep));
    x * mask.mul_scalar(1.0 / keep)
}

/// What is added to attention scores, `[…, …, queries, tokens]`, for so many keys: 0 for those in front of
/// the tokens, which an adapter put there.
pub(crate) fn open_in_front(scores: Tensor<4>, keys: usize) -> Tensor<4> {
    let [examples, heads, queries, tokens] = scores.dims();
    if keys <= tokens {
        return scores;
    }
    let front = Tensor::zeros([examples, heads, queries, keys - tokens], &scores.device());
    Tensor::cat(vec![front, scores], 3)
}

/// The last `own` tokens of `x`, `[examples, tokens, width]`, without those that an adapter put in front.
pub(crate) fn own_tokens(x: Tensor<3>, own: usize) -> Tensor<3> {
    let [_, all, _] = x.dims();
    match all > own {
        true => x.narrow(1, all - own, own),
        false => x,
    }
}

/// [`Network::tokens_of`](velodrome_harness::contract::Network::tokens_of) of transformers, whose input is
/// embedded by the parameter `input`.
pub(crate) fn tokens_of(path: &str, input: &str) -> Option<Tokens> {
    match path {
        _ if path == input => Some(Tokens::Input),
        _ if path.ends_with("key.weight") => Some(Tokens::Keys),
        _ if path.ends_with("value.weight") => Some(Tokens::Values),
        _ => None,
    }
}

/// Measures of a classifier over a split. `predict` gives logits of shape `[predictions, classes]` and
/// labels of shape `[predictions]`. Fails where it does, and where a label is not one of the classes.
pub fn evaluate_classes(
    batches: &mut dyn Iterator<Item = Batch>,
    mut predict: impl FnMut(&Batch) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError>,
) -> Result<Measures, ModelError> {
    let mut classes = Classes::new();
    for batch in batches {
        let (logits, labels) = predict(&batch)?;
        classes.add(logits, labels)?;
    }
    Ok(classes.measures())
}

/// The sum in 64 bits. Waits for the device.
pub(crate) fn sum(tensor: Tensor<1>) -> Result<f64, ModelError> {
    let values = tensor
        .into_data()
        .convert::<f32>()
        .try_to_vec::<f32>()
        .map_err(|e| ModelError::Compute(format!("losses: {e}")))?;
    Ok(values.into_iter().map(f64::from).sum())
}

/// An error where a field's dimensions behind the first are not those that the model was built for.
pub(crate) fn check_shape(
    field: &str,
    found: &[usize],
    expected: &[usize],
) -> Result<(), ModelError> {
    if found.get(1..) == Some(expected) {
        return Ok(());
    }
    Err(ModelError::Compute(format!(
        "field `{field}` has shape {found:?}; this model was built for [examples, {}]",
        expected
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;
    use velodrome_harness::contract::cross_entropy;

    /// (activation, values, derivatives) at -3, -0.7, 0, 0.4 and 2.5.
    const ACTIVATIONS: [(Activation, [f64; 5], [f64; 5]); 3] = [
        (
            Activation::Gelu,
            [-0.00404969, -0.16937456, 0.0, 0.2621687, 2.48447584],
            [-0.01194565, 0.0233859, 0.5, 0.8027298, 1.03761109],
        ),
        (
            Activation::GeluTanh,
            [-0.00363739, -0.16942987, 0.0, 0.26216117, 2.48491573],
            [-0.01158417, 0.02364278, 0.5, 0.80265883, 1.03795158],
        ),
        (
            Activation::Silu,
            [-0.14227762, -0.23226856, 0.0, 0.23947506, 2.31035455],
            [-0.08810411, 0.17661322, 0.5, 0.69479196, 1.09940111],
        ),
    ];

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn cross_entropy_by_hand_with_and_without_smoothing() {
        let device = Device::flex();
        let probabilities: [f32; 3] = [0.2, 0.3, 0.5];
        let logits = Tensor::<2>::from_data([probabilities.map(|p| p.ln() + 7.0)], &device);
        let label = Tensor::<1, Int>::from_data([2], &device);
        let plain = values(cross_entropy(logits.clone(), label.clone(), 0.0))[0];
        assert!((plain + 0.5f32.ln()).abs() < 1e-6);
        let smooth = values(cross_entropy(logits, label, 0.3))[0];
        let even: f32 = probabilities.iter().map(|p| p.ln()).sum::<f32>() / 3.0;
        assert!((smooth + 0.7 * 0.5f32.ln() + 0.3 * even).abs() < 1e-6);
    }

    /// Values and derivatives of PyTorch 2.15 (`torch.nn.functional.gelu`, `silu`).
    #[test]
    fn activations_are_pytorchs() {
        let device = Device::flex().autodiff();
        for (activation, expected, slopes) in ACTIVATIONS {
            let x = Tensor::<1>::from_data([-3.0, -0.7, 0.0, 0.4, 2.5], &device).require_grad();
            let y = activation.apply(x.clone());
            let gradients = y.clone().sum().backward();
            let slope = x.grad(&gradients).unwrap();
            for (found, expected) in [(values(y.inner()), expected), (values(slope), slopes)] {
                for (f, e) in found.iter().zip(expected) {
                    assert!((f64::from(*f) - e).abs() < 2e-6, "{activation:?} {f} {e}");
                }
            }
        }
    }

    #[test]
    fn dropout_keeps_the_mean_and_zeroes_the_share() {
        let _lock = crate::models::test_lock();
        let device = Device::flex();
        device.seed(1);
        let n = 100_000;
        let x = Tensor::<1>::from_data(TensorData::new(vec![1f32; n], [n]), &device);
        let dropped = values(dropout(x.clone(), 0.25));
        let zeros = dropped.iter().filter(|v| **v == 0.0).count() as f64 / n as f64;
        assert!((zeros - 0.25).abs() < 0.01, "{zeros}");
        assert!(
            dropped
                .iter()
                .all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6)
        );
        assert!(values(dropout(x.clone(), 1.0)).iter().all(|v| *v == 0.0));
        assert_eq!(values(dropout(x.clone(), 0.0)), values(x));
    }
}

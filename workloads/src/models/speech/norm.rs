//! Batch normalisation over utterances of different lengths.

use super::super::batch_norm;
use burn::module::{Module, Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{NormStatistics, Pass};
use velodrome_kernels::plain::without_graph;

/// Added to the variance under the root.
const EPSILON: f64 = 1e-3;

/// Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) over the last axis, by the mean and
/// variance of what is not padding; padding becomes 0.
///
/// Epsilon is AlgoPerf's (1e-3). Running statistics move towards the batch's mean and unbiased variance
/// by `share` (AlgoPerf: by 0.001, towards the biased variance).
#[derive(Module, Debug)]
pub struct MaskedBatchNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
    share: f64,
}

impl MaskedBatchNorm {
    /// A layer for `channels`, with scales at 1, shifts at 0, running mean 0 and variance 1.
    pub fn new(channels: usize, share: f64, device: &Device) -> Self {
        let buffer = |value: f64| {
            let tensor = Tensor::full([channels], value, device).set_require_grad(false);
            Param::initialized(ParamId::new(), tensor)
        };
        Self {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            running_mean: buffer(0.0),
            running_var: buffer(1.0),
            share,
        }
    }

    /// Normalises `x` of shape `[examples, positions, channels]` where `mask`, of shape
    /// `[examples, positions, 1]`, is 1.
    pub fn forward(&self, x: Tensor<3>, mask: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let [examples, positions, channels] = x.dims();
        let wide = |tensor: Tensor<1>| tensor.reshape([1, 1, channels]);
        let (centred, variance) = if pass.is_training() {
            let count = mask.clone().sum().clamp_min(1.0);
            let sum = |values: Tensor<3>| {
                values
                    .reshape([examples * positions, channels])
                    .sum_dim(0)
                    .reshape([channels])
            };
            let mean = sum(x.clone() * mask.clone()) / count.clone();
            let centred = (x - wide(mean.clone())) * mask.clone();
            let variance = sum(centred.clone() * centred.clone()) / count.clone();
            // One value has no unbiased variance; its biased one (0) is kept.
            let unbiased = count.clone() / count.sub_scalar(1.0).clamp_min(1.0);
            pass.record_norm(NormStatistics {
                mean: without_graph(mean),
                variance: without_graph(variance.clone() * unbiased),
            });
            (centred, variance)
        } else {
            let centred = (x - wide(self.running_mean.val())) * mask.clone();
            (centred, self.running_var.val())
        };
        let scale = self.gamma.val() / variance.add_scalar(EPSILON).sqrt();
        centred * wide(scale) + wide(self.beta.val()) * mask
    }

    /// Takes the next of the recorded `statistics` into the running ones; without a next one,
    /// nothing changes.
    pub fn update(self, statistics: &mut impl Iterator<Item = NormStatistics>) -> Self {
        let Some(new) = statistics.next() else {
            return self;
        };
        Self {
            running_mean: batch_norm::blend(self.running_mean, new.mean, self.share),
            running_var: batch_norm::blend(self.running_var, new.variance, self.share),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mask;
    use super::*;
    use burn::tensor::Int;
    use velodrome_harness::contract::PassOptions;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f64::from(*f) - e).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn padding_counts_for_nothing() {
        let device = Device::flex();
        let layer = MaskedBatchNorm::new(1, 0.2, &device);
        // 1, 2 and 6; the 100s are padding. Mean 3, biased variance 14 / 3, unbiased 7.
        let x = Tensor::<3>::from_data([[[1.0], [2.0]], [[6.0], [100.0]]], &device);
        let lengths = Tensor::<1, Int>::from_data([2, 1], &device);
        let mask = mask(lengths, 2).reshape([2, 2, 1]);
        let mut pass = Pass::training(&PassOptions::default());
        let out = values(layer.forward(x.clone(), mask.clone(), &mut pass));
        let s = 1.0 / (14.0f64 / 3.0 + 1e-3).sqrt();
        close(&out, &[-2.0 * s, -s, 3.0 * s, 0.0]);

        let layer = layer.update(&mut pass.take_norm().into_iter());
        close(&values(layer.running_mean.val()), &[0.6]);
        close(&values(layer.running_var.val()), &[0.8 + 1.4]);
        let mut pass = Pass::evaluation();
        let out = values(layer.forward(x, mask, &mut pass));
        let s = 1.0 / (2.2f64 + 1e-3).sqrt();
        close(&out, &[0.4 * s, 1.4 * s, 5.4 * s, 0.0]);
        assert!(pass.take_norm().is_empty());
    }
}

//! Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) with PyTorch's running
//! statistics.

use burn::module::{Module, Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::module::batch_norm;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{NormStatistics, Pass};
use velodrome_kernels::plain::without_graph;

/// Share of the new statistics in an update of the running ones.
const MOMENTUM: f64 = 0.1;
/// Added to the variance under the root.
const EPSILON: f64 = 1e-5;

/// Batch normalisation over the second axis.
///
/// Training passes normalise by the mean and the biased variance of the batch, and record the mean
/// and the unbiased variance; [`Self::update`] moves the running statistics a tenth of the way to
/// them. Evaluation passes normalise by the running statistics. The rule, the momentum and the
/// epsilon (1e-5) are PyTorch's; burn's own layer keeps the biased variance, and it holds its
/// statistics where a checkpoint and a snapshot can miss the last update.
#[derive(Module, Debug)]
pub struct BatchNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

impl BatchNorm {
    /// A layer for `channels`, with all scales at `scale`, shifts at 0, running mean 0 and
    /// variance 1.
    pub fn new(channels: usize, scale: f64, device: &Device) -> Self {
        let buffer = |value: f64| {
            let tensor = Tensor::full([channels], value, device).set_require_grad(false);
            Param::initialized(ParamId::new(), tensor)
        };
        Self {
            gamma: Initializer::Constant { value: scale }.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            running_mean: buffer(0.0),
            running_var: buffer(1.0),
        }
    }

    /// Normalises `x` of shape `[examples, channels, height, width]`.
    pub fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        if !pass.is_training() {
            let (mean, variance) = (self.running_mean.val(), self.running_var.val());
            return batch_norm(x, gamma, beta, mean, variance, EPSILON);
        }
        let [examples, _, height, width] = x.dims();
        let n = (examples * height * width) as f64;
        let (normal, [mean, variance]) = velodrome_kernels::batch_norm(x, gamma, beta, EPSILON);
        pass.record_norm(NormStatistics {
            mean,
            // One value has no unbiased variance; its biased one (0) is kept.
            variance: variance.mul_scalar(n / (n - 1.0).max(1.0)),
        });
        normal
    }

    /// Takes the next of the recorded `statistics` into the running ones; without a next one,
    /// nothing changes.
    pub fn update(self, statistics: &mut impl Iterator<Item = NormStatistics>) -> Self {
        let Some(new) = statistics.next() else {
            return self;
        };
        Self {
            running_mean: blend(self.running_mean, new.mean, MOMENTUM),
            running_var: blend(self.running_var, new.variance, MOMENTUM),
            ..self
        }
    }
}

/// Number of trainable elements of a layer.
pub(super) fn parameters(channels: usize) -> usize {
    2 * channels
}

/// Moves a running statistic by `share` towards a new one.
pub(super) fn blend(running: Param<Tensor<1>>, new: Tensor<1>, share: f64) -> Param<Tensor<1>> {
    running.map(|old| {
        let autodiff = old.device().is_autodiff();
        // Without graph, or each update would hold on to the one before.
        let mixed = without_graph(old).mul_scalar(1.0 - share) + new.mul_scalar(share);
        if autodiff {
            Tensor::from_inner(mixed)
        } else {
            mixed
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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

    /// Two examples, two channels, height 1, width 2. Channel 0 holds 1, 2, 3, 6 and channel 1
    /// holds -1, 0, 0, 1.
    fn input(device: &Device) -> Tensor<4> {
        Tensor::from_data(
            [[[[1.0, 2.0]], [[-1.0, 0.0]]], [[[3.0, 6.0]], [[0.0, 1.0]]]],
            device,
        )
    }

    #[test]
    fn training_normalises_by_the_batch_and_evaluation_by_the_running_statistics() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let layer = BatchNorm::new(2, 2.0, &device);
            let mut pass = Pass::training(&PassOptions::default());
            let out = values(layer.forward(input(&device), &mut pass));
            // Channel 0: mean 3, biased variance (4 + 1 + 0 + 9) / 4 = 3.5.
            // Channel 1: mean 0, biased variance 2 / 4 = 0.5.
            let a = 2.0 / (3.5f64 + 1e-5).sqrt();
            let b = 2.0 / (0.5f64 + 1e-5).sqrt();
            close(&out, &[-2.0 * a, -a, -b, 0.0, 0.0, 3.0 * a, 0.0, b]);

            // Not yet updated: mean 0, variance 1, scale 2.
            let c = 2.0 / (1.0f64 + 1e-5).sqrt();
            let before = values(layer.forward(input(&device), &mut Pass::evaluation()));
            close(&before, &[c, 2.0 * c, -c, 0.0, 3.0 * c, 6.0 * c, 0.0, c]);

            // Unbiased variances: 14 / 3 and 2 / 3.
            let mut layer = layer.update(&mut pass.take_norm().into_iter());
            close(&values(layer.running_mean.val()), &[0.3, 0.0]);
            let v = [0.9 + 0.1 * 14.0 / 3.0, 0.9 + 0.1 * 2.0 / 3.0];
            close(&values(layer.running_var.val()), &v);

            // A second update blends again: r <- 0.9 r + 0.1 s.
            let mut pass = Pass::training(&PassOptions::default());
            layer.forward(input(&device), &mut pass);
            layer = layer.update(&mut pass.take_norm().into_iter());
            close(
                &values(layer.running_mean.val()),
                &[0.9 * 0.3 + 0.1 * 3.0, 0.0],
            );
            let v = [0.9 * v[0] + 0.1 * 14.0 / 3.0, 0.9 * v[1] + 0.1 * 2.0 / 3.0];
            close(&values(layer.running_var.val()), &v);
            let out = values(layer.forward(input(&device), &mut Pass::evaluation()));
            let e = 2.0 / (v[0] + 1e-5).sqrt();
            close(&out[..2], &[(1.0 - 0.57) * e, (2.0 - 0.57) * e]);
            assert!(!layer.running_mean.val().is_require_grad());
        }
    }

    #[test]
    fn evaluation_records_nothing() {
        let device = Device::flex();
        let mut pass = Pass::evaluation();
        BatchNorm::new(2, 1.0, &device).forward(input(&device), &mut pass);
        assert!(pass.take_norm().is_empty());
    }
}

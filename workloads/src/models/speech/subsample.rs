//! The convolutions at the entrance of both recognisers.

use super::{Speech, glorot, linear, mask};
use crate::models::Activation;
use crate::models::parts::{convolve, dropout};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, PaddingConfig2d};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::apply_linear;

/// Two 3x3 convolutions of stride 2, each with an activation, and a linear map: a quarter of the frames
/// and a quarter of the bands. The border has one row of zeros on each side (AlgoPerf's has one
/// side less where a length is even, which shifts by one frame).
#[derive(Module, Debug)]
pub(super) struct Subsample {
    conv1: Conv2d,
    conv2: Conv2d,
    project: Linear,
    #[module(skip)]
    activation: Activation,
}

/// Numbers of trainable elements: `mels` bands, `channels` of the convolutions, `width` behind them.
pub(super) fn parameters(mels: usize, channels: usize, width: usize) -> usize {
    let bands = mels.div_ceil(2).div_ceil(2);
    (9 + 1) * channels + (9 * channels + 1) * channels + (bands * channels + 1) * width
}

/// Hidden states with what tells them from padding.
pub(super) struct Hidden {
    /// States, shape `[examples, positions, width]`.
    pub(super) x: Tensor<3>,
    /// Positions of each example that are not padding, shape `[examples]`.
    pub(super) positions: Tensor<1, Int>,
    /// 1 where a position is not padding, shape `[examples, positions, 1]`.
    pub(super) mask: Tensor<3>,
}

fn convolution(from: usize, to: usize, device: &Device) -> Conv2d {
    let mut conv = Conv2dConfig::new([from, to], [3, 3])
        .with_stride([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_initializer(glorot(9 * from, 9 * to))
        .init(device);
    conv.bias = Some(Initializer::Zeros.init([to], device));
    conv
}

impl Subsample {
    pub(super) fn new(
        (mels, channels, width): (usize, usize, usize),
        activation: Activation,
        device: &Device,
    ) -> Self {
        let bands = mels.div_ceil(2).div_ceil(2);
        Self {
            conv1: convolution(1, channels, device),
            conv2: convolution(channels, channels, device),
            project: linear(bands * channels, width, device),
            activation,
        }
    }

    /// Reads features; `rate` is that of dropout behind the linear map, `positions` are added before it.
    pub(super) fn forward(
        &self,
        speech: &Speech,
        features: Tensor<3>,
        positions: impl FnOnce(Tensor<3>) -> Tensor<3>,
        rate: f64,
    ) -> Hidden {
        let [examples, frames, mels] = features.dims();
        let mut x = features.reshape([examples, 1, frames, mels]);
        let mut lengths = speech.frames.clone();
        let mut valid = mask(lengths.clone(), frames);
        x = x * valid.clone().reshape([examples, 1, frames, 1]);
        for conv in [&self.conv1, &self.conv2] {
            x = self.activation.apply(convolve(conv, x));
            let [_, _, frames, _] = x.dims();
            lengths = lengths.add_scalar(1).div_scalar(2);
            valid = mask(lengths.clone(), frames);
            x = x * valid.clone().reshape([examples, 1, frames, 1]);
        }
        let [_, channels, frames, bands] = x.dims();
        let x = x
            .swap_dims(1, 2)
            .reshape([examples, frames, channels * bands]);
        let x = positions(apply_linear(&self.project, x));
        Hidden {
            x: dropout(x, rate),
            positions: lengths,
            mask: valid.reshape([examples, frames, 1]),
        }
    }
}

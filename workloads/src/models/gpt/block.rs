//! A block: attention and feed-forward part with their norms.

use super::attention::{Attention, View};
use super::{GptConfig, NormKind, NormPlace};
use crate::models::parts::{Activation, dropout};
use burn::module::{Module, Param};
use burn::nn::norm::{Normalization, NormalizationConfig};
use burn::nn::{LayerNormConfig, Linear, RmsNormConfig};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::apply_linear;
use velodrome_kernels::Norm;

/// What layer norms add to the variance.
const LAYER_EPSILON: f64 = 1e-5;

pub(super) fn norm(config: &GptConfig, device: &Device) -> Normalization {
    let config: NormalizationConfig = match config.norm_kind {
        NormKind::Layer => LayerNormConfig::new(config.width)
            .with_epsilon(LAYER_EPSILON)
            .into(),
        NormKind::Rms => RmsNormConfig::new(config.width).with_epsilon(1e-6).into(),
    };
    config.init(device)
}

/// A norm that [`norm`] built, in one pass.
pub(super) fn normalize(layer: &Normalization, x: Tensor<3>) -> Tensor<3> {
    let (kind, scale, shift, epsilon) = match layer {
        Normalization::Layer(layer) => (
            Norm::Layer,
            &layer.gamma,
            layer.beta.as_ref(),
            LAYER_EPSILON,
        ),
        Normalization::Rms(layer) => (Norm::Rms, &layer.gamma, None, layer.epsilon),
        other => return other.forward(x),
    };
    velodrome_kernels::norm(kind, x, scale.val(), shift.map(Param::val), epsilon)
}

#[derive(Module, Debug)]
pub(super) struct Block {
    norm1: Normalization,
    attention: Attention,
    norm2: Normalization,
    up: Linear,
    gate: Option<Linear>,
    down: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    norm: NormPlace,
}

impl Block {
    pub(super) fn new(config: &GptConfig, device: &Device) -> Self {
        let (d, f) = (config.width, config.feed_forward);
        let std = config.initial_std;
        Self {
            norm1: norm(config, device),
            attention: Attention::new(config, device),
            norm2: norm(config, device),
            up: config.linear(d, f, std, device),
            gate: config.gated.then(|| config.linear(d, f, std, device)),
            down: config.linear(f, d, config.residual_std(), device),
            activation: config.activation,
            norm: config.norm,
        }
    }

    /// `down(f(up(x)))`, or `down(f(up(x)) * gate(x))` where it is gated (Dauphin et al. 2017, arXiv
    /// 1612.08083; Shazeer 2020, arXiv 2002.05202).
    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        let Some(gate) = &self.gate else {
            return apply_linear(&self.down, self.activation.apply(apply_linear(&self.up, x)));
        };
        let hidden = self.activation.apply(apply_linear(&self.up, x.clone()));
        apply_linear(&self.down, hidden * apply_linear(gate, x))
    }

    pub(super) fn forward(&self, x: Tensor<3>, view: &View, rate: f64) -> Tensor<3> {
        match self.norm {
            NormPlace::Pre => {
                let branch = self
                    .attention
                    .forward(normalize(&self.norm1, x.clone()), view);
                let x = x + dropout(branch, rate);
                let branch = self.feed_forward(normalize(&self.norm2, x.clone()));
                x + dropout(branch, rate)
            }
            NormPlace::Post => {
                let branch = self.attention.forward(x.clone(), view);
                let x = normalize(&self.norm1, x + dropout(branch, rate));
                let branch = self.feed_forward(x.clone());
                normalize(&self.norm2, x + dropout(branch, rate))
            }
        }
    }
}

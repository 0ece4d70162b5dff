//! A layer of an encoder: attention and feed-forward part, each with a norm behind its residual sum.

use super::{EncoderConfig, Mask};
use crate::models::parts::{Activation, LayerNorm, dropout, open_in_front};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{apply_linear, lengthen};
use velodrome_kernels::{Heads, attention, softmax};

/// `norm(x + f(x))` with attention as `f`, then with the feed-forward part.
#[derive(Module, Debug)]
pub(super) struct Layer {
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) output: Linear,
    pub(super) norm1: LayerNorm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) norm2: LayerNorm,
    heads: usize,
    #[module(skip)]
    activation: Activation,
}

impl Layer {
    pub(super) fn new(config: &EncoderConfig, device: &Device) -> Self {
        let (d, f) = (config.width, config.feed_forward);
        Self {
            query: config.linear(d, d, device),
            key: config.linear(d, d, device),
            value: config.linear(d, d, device),
            output: config.linear(d, d, device),
            norm1: config.norm(device),
            up: config.linear(d, f, device),
            down: config.linear(f, d, device),
            norm2: config.norm(device),
            heads: config.heads,
            activation: config.activation,
        }
    }

    /// `softmax(Q K^T / sqrt(width / heads) + mask) V` in every head (Vaswani et al. 2017, arXiv
    /// 1706.03762). `x` of shape `[examples, tokens, width]`.
    fn attention(&self, x: Tensor<3>, mask: &Mask, rate: f64) -> Tensor<3> {
        let [examples, tokens, width] = x.dims();
        let each = width / self.heads;
        let scale = (each as f64).powf(-0.5);
        let query = apply_linear(&self.query, x.clone());
        let key = lengthen(&self.key.weight, apply_linear(&self.key, x.clone()));
        let value = lengthen(&self.value.weight, apply_linear(&self.value, x));
        let [_, keys, _] = key.dims();
        let mask = open_in_front(mask.scores.clone(), keys);
        if rate <= 0.0 {
            let heads = Heads::each(self.heads, scale);
            return apply_linear(&self.output, attention(heads, query, key, value, mask));
        }
        let split = |x: Tensor<3>| {
            let [_, tokens, _] = x.dims();
            x.reshape([examples, tokens, self.heads, each])
                .swap_dims(1, 2)
        };
        let query = split(query.mul_scalar(scale));
        let (key, value) = (split(key), split(value));
        let mixed = dropout(softmax(query.matmul(key.transpose()) + mask), rate)
            .matmul(value)
            .swap_dims(1, 2)
            .reshape([examples, tokens, width]);
        apply_linear(&self.output, mixed)
    }

    /// `x` of shape `[examples, tokens, width]`, with dropout of this rate.
    pub(super) fn forward(&self, x: Tensor<3>, mask: &Mask, rate: f64) -> Tensor<3> {
        let branch = self.attention(x.clone(), mask, rate);
        let x = self.norm1.forward(x + dropout(branch, rate));
        let hidden = apply_linear(&self.up, x.clone());
        let branch = apply_linear(&self.down, self.activation.apply(hidden));
        self.norm2.forward(x + dropout(branch, rate))
    }
}

//! A block: grouped attention and a gated feed-forward part, a norm before each.

use super::LlamaConfig;
use crate::models::gpt::View;
use crate::models::parts::dropout;
use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{apply_linear, lengthen};
use velodrome_kernels::{Function, Heads, Norm, attention, function, norm};

#[derive(Module, Debug)]
pub(super) struct Block {
    pub(super) norm1: RmsNorm,
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) output: Linear,
    pub(super) norm2: RmsNorm,
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
    heads: usize,
    shared_heads: usize,
}

impl Block {
    pub(super) fn new(config: &LlamaConfig, device: &Device) -> Self {
        let (d, f) = (config.width, config.feed_forward);
        let shared = config.shared_width();
        let linear = |from, to| config.linear(from, to, device);
        Self {
            norm1: config.norm(device),
            query: linear(d, d),
            key: linear(d, shared),
            value: linear(d, shared),
            output: linear(d, d),
            norm2: config.norm(device),
            gate: linear(d, f),
            up: linear(d, f),
            down: linear(f, d),
            heads: config.heads,
            shared_heads: config.shared_heads,
        }
    }

    /// `x` of shape `[examples, tokens, width]`.
    pub(super) fn forward(&self, x: Tensor<3>, view: &View, rate: f64) -> Tensor<3> {
        let branch = self.attention(rms_norm(&self.norm1, x.clone()), view);
        let x = x + dropout(branch, rate);
        let branch = self.feed_forward(rms_norm(&self.norm2, x.clone()));
        x + dropout(branch, rate)
    }

    /// `softmax(Q K^T / sqrt(width / heads) + mask) V` in every head, where some heads of queries in a
    /// row look at the same keys and values.
    fn attention(&self, x: Tensor<3>, view: &View) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let (heads, shared) = (self.heads, self.shared_heads);
        let query = view.turn(apply_linear(&self.query, x.clone()), heads);
        let key = lengthen(&self.key.weight, apply_linear(&self.key, x.clone()));
        let value = lengthen(&self.value.weight, apply_linear(&self.value, x));
        let [_, keys, _] = key.dims();
        let key = view.turn(key, shared);
        let scale = ((width / heads) as f64).powf(-0.5);
        let heads = Heads {
            heads,
            shared,
            scale,
        };
        let mixed = attention(heads, query, key, value, view.mask(keys));
        apply_linear(&self.output, mixed)
    }

    /// `down(silu(gate(x)) * up(x))` (Shazeer 2020, arXiv 2002.05202).
    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = function(Function::Silu, apply_linear(&self.gate, x.clone()));
        apply_linear(&self.down, gate * apply_linear(&self.up, x))
    }
}

/// The norm over the last axis in one pass.
pub(super) fn rms_norm(layer: &RmsNorm, x: Tensor<3>) -> Tensor<3> {
    norm(Norm::Rms, x, layer.gamma.val(), None, layer.epsilon)
}

//! A block: grouped attention and a gated feed-forward part, a norm before each.

use super::LlamaConfig;
use crate::models::gpt::View;
use crate::models::parts::dropout;
use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{apply_linear, lengthen};

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
        let branch = self.attention(self.norm1.forward(x.clone()), view);
        let x = x + dropout(branch, rate);
        let branch = self.feed_forward(self.norm2.forward(x.clone()));
        x + dropout(branch, rate)
    }

    /// `softmax(Q K^T / sqrt(width / heads) + mask) V` in every head, where some heads of queries in a
    /// row look at the same keys and values.
    fn attention(&self, x: Tensor<3>, view: &View) -> Tensor<3> {
        let [examples, tokens, width] = x.dims();
        let (heads, shared) = (self.heads, self.shared_heads);
        let each = width / heads;
        let split = |x: Tensor<3>, heads: usize| {
            let [_, tokens, _] = x.dims();
            x.reshape([examples, tokens, heads, each]).swap_dims(1, 2)
        };
        let query = view.turn(split(apply_linear(&self.query, x.clone()), heads));
        let key = lengthen(&self.key.weight, apply_linear(&self.key, x.clone()));
        let value = lengthen(&self.value.weight, apply_linear(&self.value, x));
        let [_, keys, _] = key.dims();
        let (key, value) = (view.turn(split(key, shared)), split(value, shared));
        // All queries of a head of keys, one below the other: no key is copied.
        let rows = heads / shared * tokens;
        let query = query
            .mul_scalar((each as f64).powf(-0.5))
            .reshape([examples, shared, rows, each]);
        let scores = query.matmul(key.transpose());
        let weights = view
            .weights(scores.reshape([examples, heads, tokens, keys]))
            .reshape([examples, shared, rows, keys]);
        let mixed = weights
            .matmul(value)
            .reshape([examples, heads, tokens, each])
            .swap_dims(1, 2)
            .reshape([examples, tokens, width]);
        apply_linear(&self.output, mixed)
    }

    /// `down(silu(gate(x)) * up(x))` (Shazeer 2020, arXiv 2002.05202).
    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = silu(apply_linear(&self.gate, x.clone()));
        apply_linear(&self.down, gate * apply_linear(&self.up, x))
    }
}

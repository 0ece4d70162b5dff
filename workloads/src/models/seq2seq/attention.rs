//! Multi-head attention with its masks and the keys and values that decoding keeps.

use super::Seq2SeqConfig;
use crate::models::parts::dropout;
use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use velodrome_harness::contract::apply_linear;
use velodrome_kernels::{Heads, attention, softmax};

/// What is added to the score of a position that must not be seen: no softmax survives it.
const HIDDEN: f64 = -1e9;

/// A linear map without bias, from Glorot and Bengio's uniform distribution.
fn projection(width: usize, device: &Device) -> Linear {
    LinearConfig::new(width, width)
        .with_bias(false)
        .with_initializer(Initializer::XavierUniform { gain: 1.0 })
        .init(device)
}

/// Keys and values of an attention, each `[examples, positions, width]`.
#[derive(Debug, Clone)]
pub(super) struct KeyValues {
    keys: Tensor<3>,
    values: Tensor<3>,
}

impl KeyValues {
    /// These positions and then those of `next`.
    pub(super) fn followed_by(self, next: KeyValues) -> Self {
        Self {
            keys: Tensor::cat(vec![self.keys, next.keys], 1),
            values: Tensor::cat(vec![self.values, next.values], 1),
        }
    }

    /// The examples at `rows`.
    pub(super) fn select(self, rows: &Tensor<1, Int>) -> Self {
        Self {
            keys: self.keys.select(0, rows.clone()),
            values: self.values.select(0, rows.clone()),
        }
    }
}

/// `softmax(temperature * Q K^T / sqrt(width / heads) + mask) V` in every head (Vaswani et al.
/// 2017, arXiv 1706.03762), all four maps without bias.
#[derive(Module, Debug)]
pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
    temperature: f64,
}

impl Attention {
    pub(super) fn new(config: &Seq2SeqConfig, device: &Device) -> Self {
        let d = config.width;
        Self {
            query: projection(d, device),
            key: projection(d, device),
            value: projection(d, device),
            output: projection(d, device),
            heads: config.heads,
            temperature: config.attention_temperature,
        }
    }

    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [examples, positions, width] = x.dims();
        x.reshape([examples, positions, self.heads, width / self.heads])
            .swap_dims(1, 2)
    }

    /// Keys and values of `x`, `[examples, positions, width]`.
    pub(super) fn key_values(&self, x: Tensor<3>) -> KeyValues {
        KeyValues {
            keys: apply_linear(&self.key, x.clone()),
            values: apply_linear(&self.value, x),
        }
    }

    /// What the positions of `x`, `[examples, positions, width]`, find at `seen`. `mask`, where
    /// there is one, `[examples or 1, 1, positions or 1, seen]`, is added to the scores; `rate` is the
    /// dropout of the weights.
    pub(super) fn attend(
        &self,
        x: Tensor<3>,
        seen: KeyValues,
        mask: Option<&Tensor<4>>,
        rate: f64,
    ) -> Tensor<3> {
        let [examples, positions, width] = x.dims();
        let each = (width / self.heads) as f64;
        let scale = self.temperature * each.powf(-0.5);
        let query = apply_linear(&self.query, x);
        let [_, keys, _] = seen.keys.dims();
        let open = || Tensor::zeros([1, 1, 1, keys], &query.device());
        let mask = mask.cloned().unwrap_or_else(open);
        if rate <= 0.0 {
            let heads = Heads::each(self.heads, scale);
            let mixed = attention(heads, query, seen.keys, seen.values, mask);
            return apply_linear(&self.output, mixed);
        }
        let query = self.split(query.mul_scalar(scale));
        let scores = query.matmul(self.split(seen.keys).transpose());
        let mixed = dropout(softmax(scores + mask), rate)
            .matmul(self.split(seen.values))
            .swap_dims(1, 2)
            .reshape([examples, positions, width]);
        apply_linear(&self.output, mixed)
    }
}

fn hide(hidden: Tensor<4, Bool>) -> Tensor<4> {
    hidden.float().mul_scalar(HIDDEN)
}

/// Hides padding (token 0): shape `[examples, 1, 1, positions]` from `[examples, positions]`.
pub(super) fn padding_mask(tokens: Tensor<2, Int>) -> Tensor<4> {
    let [examples, positions] = tokens.dims();
    hide(tokens.equal_elem(0).reshape([examples, 1, 1, positions]))
}

/// Hides later positions: shape `[1, 1, n, n]`.
pub(super) fn causal_mask(n: usize, device: &Device) -> Tensor<4> {
    let value = |at: usize| if at % n > at / n { HIDDEN as f32 } else { 0.0 };
    let values: Vec<f32> = (0..n * n).map(value).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, n, n]), device)
}

/// Hides other segments of packed rows: shape `[examples, 1, from, to]` from the segments of those
/// who look and of those who are seen. Padding is segment 0.
pub(super) fn segment_mask(from: Tensor<2, Int>, to: Tensor<2, Int>) -> Tensor<4> {
    let ([examples, looking], [_, seen]) = (from.dims(), to.dims());
    let from = from.reshape([examples, 1, looking, 1]);
    let to = to.reshape([examples, 1, 1, seen]);
    let shape = [examples, 1, looking, seen];
    hide(from.expand(shape).not_equal(to.expand(shape)))
}

//! Causal attention: masks, rotary positions, normalised queries and keys.

use super::GptConfig;
use crate::models::parts::open_in_front;
use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use std::fmt;
use std::sync::Arc;
use velodrome_harness::contract::{apply_linear, lengthen};
use velodrome_kernels::{Heads, attention};

/// Added to the length of a query or a key that is divided by it.
const LENGTH_EPSILON: f64 = 1e-6;
/// Keeps the gradient of the length of a zero vector finite; lost in the rounding of any other.
const SQUARE_EPSILON: f64 = 1e-24;

/// What all layers of a pass share: where a token may look, and how far its place turns it.
#[derive(Debug, Clone)]
pub(in crate::models) struct View {
    /// `[1, 1, tokens, tokens]`, added to the scores.
    mask: Tensor<4>,
    rotation: Option<Rotation>,
}

impl View {
    /// For `tokens` tokens, of which the last `text` stand at the first positions on.
    pub(in crate::models) fn new(
        tokens: usize,
        text: usize,
        angles: Option<&Angles>,
        device: &Device,
    ) -> Self {
        Self {
            mask: causal_mask(tokens, device),
            rotation: angles.map(|angles| angles.rotation(text, device)),
        }
    }

    /// Queries or keys of so many heads, `[examples, tokens, heads * each]`, turned by their places.
    pub(in crate::models) fn turn(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        match &self.rotation {
            Some(rotation) => rotation.turn(x, heads),
            None => x,
        }
    }

    /// What is added to scores with so many keys, `[1, 1, tokens, keys]`. Keys in front of the tokens' own
    /// are seen by all.
    pub(in crate::models) fn mask(&self, keys: usize) -> Tensor<4> {
        open_in_front(self.mask.clone(), keys)
    }
}

/// 0 where a token may look (itself and earlier ones), a number that no softmax survives elsewhere.
fn causal_mask(n: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..n * n)
        .map(|at| if at % n > at / n { -1e9 } else { 0.0 })
        .collect();
    Tensor::from_data(TensorData::new(values, [1, 1, n, n]), device)
}

/// Cosines and sines of rotary positions, `[positions, pairs]` each: pair `i` of `p` pairs turns by
/// `position * base^(-i / p)` (Su et al. 2021, arXiv 2104.09864).
#[derive(Clone)]
pub(in crate::models) struct Angles {
    cosines: Arc<[f32]>,
    sines: Arc<[f32]>,
    pairs: usize,
}

impl fmt::Debug for Angles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Angles({} pairs)", self.pairs)
    }
}

impl Angles {
    /// For heads of `width` values, an even number.
    pub(in crate::models) fn new(positions: usize, width: usize, base: f64) -> Self {
        let pairs = width / 2;
        let angle = |at: usize| {
            let frequency = base.powf(-((at % pairs) as f64) / pairs as f64);
            (at / pairs) as f64 * frequency
        };
        let all = 0..positions * pairs;
        Self {
            cosines: all.clone().map(|at| angle(at).cos() as f32).collect(),
            sines: all.map(|at| angle(at).sin() as f32).collect(),
            pairs,
        }
    }

    /// Of the first `tokens` positions.
    fn rotation(&self, tokens: usize, device: &Device) -> Rotation {
        let tensor = |table: &[f32]| {
            let values: Vec<f32> = table.iter().copied().take(tokens * self.pairs).collect();
            Tensor::from_data(
                TensorData::new(values, [1, tokens, 1, self.pairs, 1]),
                device,
            )
        };
        Rotation {
            cosines: tensor(&self.cosines),
            sines: tensor(&self.sines),
        }
    }
}

/// Cosines and sines, `[1, tokens, 1, pairs, 1]`.
#[derive(Debug, Clone)]
struct Rotation {
    cosines: Tensor<5>,
    sines: Tensor<5>,
}

impl Rotation {
    /// Turns each pair of neighbouring values of `x`, `[examples, tokens, heads * each]`. Tokens in front
    /// of the text have no position and stay as they are.
    fn turn(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        let [_, all, _] = x.dims();
        let [_, text, ..] = self.cosines.dims();
        if all > text {
            let front = x.clone().narrow(1, 0, all - text);
            let text = self.turn(x.narrow(1, all - text, text), heads);
            return Tensor::cat(vec![front, text], 1);
        }
        let shape = x.dims();
        let [examples, tokens, width] = shape;
        let x = x.reshape([examples, tokens, heads, width / heads / 2, 2]);
        let (a, b) = (x.clone().narrow(4, 0, 1), x.narrow(4, 1, 1));
        let (cosines, sines) = (self.cosines.clone(), self.sines.clone());
        let first = a.clone() * cosines.clone() - b.clone() * sines.clone();
        let second = b * cosines + a * sines;
        Tensor::cat(vec![first, second], 4).reshape(shape)
    }
}

/// Divides the vector of each head by its length, `x` of shape `[examples, tokens, heads * each]`.
fn unit(x: Tensor<3>, heads: usize) -> Tensor<3> {
    let shape = x.dims();
    let [examples, tokens, width] = shape;
    let x = x.reshape([examples, tokens, heads, width / heads]);
    let squares = (x.clone() * x.clone()).sum_dim(3);
    let length = squares.add_scalar(SQUARE_EPSILON).sqrt();
    (x / length.add_scalar(LENGTH_EPSILON)).reshape(shape)
}

/// `softmax(temperature * scale * Q K^T + mask) V` in every head (Vaswani et al. 2017, arXiv
/// 1706.03762). The scale is `1 / sqrt(width / heads)`, or learned, where queries and keys have length
/// 1 (Henry et al. 2020, arXiv 2010.04245).
#[derive(Module, Debug)]
pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    scale: Option<Param<Tensor<1>>>,
    heads: usize,
    temperature: f64,
}

impl Attention {
    pub(super) fn new(config: &GptConfig, device: &Device) -> Self {
        let d = config.width;
        let std = config.initial_std;
        Self {
            query: config.linear(d, d, std, device),
            key: config.linear(d, d, std, device),
            value: config.linear(d, d, std, device),
            output: config.linear(d, d, config.residual_std(), device),
            scale: config.query_key_norm.then(|| {
                // Henry et al.: for sequences of n tokens, log2(n^2 - n).
                let n = config.context as f64;
                let value = (n * n - n).log2();
                Initializer::Constant { value }.init([1], device)
            }),
            heads: config.heads,
            temperature: config.attention_temperature,
        }
    }

    /// `x` of shape `[examples, tokens, width]`.
    pub(super) fn forward(&self, x: Tensor<3>, view: &View) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let query = view.turn(apply_linear(&self.query, x.clone()), self.heads);
        let key = lengthen(&self.key.weight, apply_linear(&self.key, x.clone()));
        let value = lengthen(&self.value.weight, apply_linear(&self.value, x));
        let key = view.turn(key, self.heads);
        let (query, key, scale) = match &self.scale {
            Some(scale) => {
                let query = unit(query, self.heads) * scale.val().reshape([1, 1, 1]);
                (query, unit(key, self.heads), 1.0)
            }
            None => (query, key, ((width / self.heads) as f64).powf(-0.5)),
        };
        let heads = Heads::each(self.heads, self.temperature * scale);
        let [_, keys, _] = key.dims();
        let mixed = attention(heads, query, key, value, view.mask(keys));
        apply_linear(&self.output, mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::NormPlace;
    use super::super::tests::tiny;
    use super::*;
    use burn::module::Reparameterizer;
    use burn::tensor::Distribution;
    use std::collections::BTreeMap;
    use velodrome_harness::contract::Adapter;

    /// Puts vectors in front of what comes out of the layers of these names.
    struct InFront(BTreeMap<String, Tensor<2>>);

    impl Reparameterizer for InFront {
        type Reparam = Adapter;

        fn reparameterize<const D: usize>(
            &mut self,
            path: &str,
            param: Param<Tensor<D>>,
        ) -> (Param<Tensor<D>>, Option<Adapter>) {
            let adapter = self.0.remove(path).map(Adapter::in_front);
            (param, adapter)
        }
    }

    /// Keys and values that a layer computes for tokens stand for these tokens.
    #[test]
    fn a_prefix_stands_for_tokens() {
        let _lock = crate::models::test_lock();
        let device = Device::flex().autodiff();
        let config = tiny(NormPlace::Pre);
        device.seed(2);
        let attention = Attention::new(&config, &device);
        let x = Tensor::<3>::random([2, 5, 8], Distribution::Default, &device);
        // The same two tokens begin both examples.
        let front = x.clone().narrow(0, 0, 1).narrow(1, 0, 2);
        let text = x.narrow(1, 2, 3);
        let whole = Tensor::cat(vec![front.clone().repeat_dim(0, 2), text.clone()], 1);
        let whole = attention.forward(whole, &View::new(5, 5, None, &device));
        let of = |layer: &Linear| layer.forward(front.clone()).reshape([2, 8]).inner();
        let fronts = [
            ("key.weight".to_string(), of(&attention.key)),
            ("value.weight".to_string(), of(&attention.value)),
        ];
        let prefixed = attention.apply_reparameterization(InFront(BTreeMap::from(fronts)));
        let part = prefixed.forward(text, &View::new(3, 3, None, &device));
        let difference = (whole.narrow(1, 2, 3) - part).abs().max();
        assert!(difference.into_scalar::<f32>() < 1e-6);
    }
}

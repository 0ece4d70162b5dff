//! A small causal transformer over bytes.

use super::parts::{Activation, dropout, evaluate_classes};
use burn::module::{Module, Param};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use velodrome_harness::contract::{Batch, ModelError, Network, ParamKind, Pass, Predictions};
use velodrome_results::measures::Measures;

/// Where a block's layer norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// `x + f(norm(x))`, and a norm before the head (Xiong et al. 2020, arXiv 2002.04745).
    Pre,
    /// `norm(x + f(x))` (Vaswani et al. 2017, arXiv 1706.03762).
    Post,
}

/// Sizes and choices of a [`Gpt`].
#[derive(Debug, Clone, PartialEq)]
pub struct GptConfig {
    /// Different tokens.
    pub vocabulary: usize,
    /// The most tokens that the model reads.
    pub context: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Blocks.
    pub layers: usize,
    /// Hidden width of the feed-forward part.
    pub feed_forward: usize,
    /// Activation of the feed-forward part.
    pub activation: Activation,
    /// Where the norms stand.
    pub norm: NormPlace,
    /// Standard deviation of the initial embeddings, positions and matrices. Matrices that write
    /// into the residual stream start smaller by `sqrt(2 * layers)` (Radford et al. 2019).
    pub initial_std: f64,
    /// Dropout rate of embeddings and residual branches, unless the submission chooses one.
    pub dropout: f64,
}

impl GptConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (d, f) = (self.width, self.feed_forward);
        let attention = 4 * (d + 1) * d;
        let feed_forward = (d + 1) * f + (f + 1) * d;
        let norms = 2 * self.layers + usize::from(self.norm == NormPlace::Pre);
        (2 * self.vocabulary + self.context) * d
            + self.layers * (attention + feed_forward)
            + norms * 2 * d
    }

    fn linear(&self, from: usize, to: usize, std: f64, device: &Device) -> Linear {
        let mut linear = LinearConfig::new(from, to)
            .with_initializer(Initializer::Normal { mean: 0.0, std })
            .init(device);
        linear.bias = Some(Initializer::Zeros.init([to], device));
        linear
    }
}

#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl Attention {
    fn new(config: &GptConfig, device: &Device) -> Self {
        let d = config.width;
        let std = config.initial_std;
        Self {
            query: config.linear(d, d, std, device),
            key: config.linear(d, d, std, device),
            value: config.linear(d, d, std, device),
            output: config.linear(d, d, residual_std(config), device),
            heads: config.heads,
        }
    }

    /// `x` of shape `[examples, tokens, width]`; `mask` of shape `[1, 1, tokens, tokens]` is added
    /// to the scores.
    fn forward(&self, x: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let [examples, tokens, width] = x.dims();
        let each = width / self.heads;
        let split = |x: Tensor<3>| {
            x.reshape([examples, tokens, self.heads, each])
                .swap_dims(1, 2)
        };
        let query = split(self.query.forward(x.clone())).mul_scalar((each as f64).powf(-0.5));
        let key = split(self.key.forward(x.clone()));
        let value = split(self.value.forward(x));
        let weights = softmax(query.matmul(key.transpose()) + mask, 3);
        let mixed = weights
            .matmul(value)
            .swap_dims(1, 2)
            .reshape([examples, tokens, width]);
        self.output.forward(mixed)
    }
}

fn residual_std(config: &GptConfig) -> f64 {
    config.initial_std / (2.0 * config.layers.max(1) as f64).sqrt()
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    norm: NormPlace,
}

impl Block {
    fn new(config: &GptConfig, device: &Device) -> Self {
        let (d, f) = (config.width, config.feed_forward);
        Self {
            norm1: LayerNormConfig::new(d).init(device),
            attention: Attention::new(config, device),
            norm2: LayerNormConfig::new(d).init(device),
            up: config.linear(d, f, config.initial_std, device),
            down: config.linear(f, d, residual_std(config), device),
            activation: config.activation,
            norm: config.norm,
        }
    }

    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.down.forward(self.activation.apply(self.up.forward(x)))
    }

    fn forward(&self, x: Tensor<3>, mask: Tensor<4>, rate: f64) -> Tensor<3> {
        match self.norm {
            NormPlace::Pre => {
                let branch = self.attention.forward(self.norm1.forward(x.clone()), mask);
                let x = x + dropout(branch, rate);
                let branch = self.feed_forward(self.norm2.forward(x.clone()));
                x + dropout(branch, rate)
            }
            NormPlace::Post => {
                let branch = self.attention.forward(x.clone(), mask);
                let x = self.norm1.forward(x + dropout(branch, rate));
                let branch = self.feed_forward(x.clone());
                self.norm2.forward(x + dropout(branch, rate))
            }
        }
    }
}

/// A causal transformer with learned positions. Reads the field `tokens` (integer,
/// `[examples, n + 1]`, with `n` at most the context): the first `n` are read, the last `n` are
/// predicted.
#[derive(Module, Debug)]
pub struct Gpt {
    embedding: Embedding,
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    final_norm: Option<LayerNorm>,
    head: Linear,
    context: usize,
    dropout: f64,
}

impl Gpt {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the number
    /// of heads does not divide the width.
    pub fn new(config: &GptConfig, device: &Device) -> Result<Self, ModelError> {
        if config.heads == 0 || !config.width.is_multiple_of(config.heads) {
            return Err(ModelError::Compute(format!(
                "a width of {} cannot be split among {} heads",
                config.width, config.heads
            )));
        }
        let normal = Initializer::Normal {
            mean: 0.0,
            std: config.initial_std,
        };
        let final_norm = (config.norm == NormPlace::Pre)
            .then(|| LayerNormConfig::new(config.width).init(device));
        Ok(Self {
            embedding: EmbeddingConfig::new(config.vocabulary, config.width)
                .with_initializer(normal.clone())
                .init(device),
            positions: normal.init([config.context, config.width], device),
            blocks: (0..config.layers)
                .map(|_| Block::new(config, device))
                .collect(),
            final_norm,
            head: LinearConfig::new(config.width, config.vocabulary)
                .with_bias(false)
                .with_initializer(normal)
                .init(device),
            context: config.context,
            dropout: config.dropout,
        })
    }

    /// Logits of shape `[examples * n, vocabulary]` and next tokens of shape `[examples * n]`.
    pub(super) fn predict(
        &self,
        batch: &Batch,
        pass: &Pass,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let tokens = batch.int::<2>("tokens")?;
        let [examples, length] = tokens.dims();
        if length < 2 || length > self.context + 1 {
            return Err(ModelError::Compute(format!(
                "field `tokens` has {length} tokens in an example; this model was built for 2 to {}",
                self.context + 1
            )));
        }
        let n = length - 1;
        let inputs = tokens.clone().slice([0..examples, 0..n]);
        let next = tokens.slice([0..examples, 1..length]);
        let rate = pass.dropout(self.dropout);
        let positions = self.positions.val();
        let width = positions.dims()[1];
        let x = self.embedding.forward(inputs)
            + positions.slice([0..n, 0..width]).reshape([1, n, width]);
        let mut x = dropout(x, rate);
        let mask = causal_mask(n, &x.device());
        for block in &self.blocks {
            x = block.forward(x, mask.clone(), rate);
        }
        if let Some(norm) = &self.final_norm {
            x = norm.forward(x);
        }
        let logits = self.head.forward(x.reshape([examples * n, width]));
        Ok((logits, next.reshape([examples * n])))
    }
}

/// 0 where a token may look (itself and earlier ones), a number that no softmax survives elsewhere.
fn causal_mask(n: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..n * n)
        .map(|at| if at % n > at / n { -1e9 } else { 0.0 })
        .collect();
    Tensor::from_data(TensorData::new(values, [1, 1, n, n]), device)
}

impl Network for Gpt {
    fn predictions(&self, batch: &Batch, pass: &mut Pass) -> Result<Predictions, ModelError> {
        let (logits, labels) = self.predict(batch, pass)?;
        let [units, _] = logits.dims();
        Ok(Predictions {
            logits,
            labels,
            units_per_example: units / batch.len().max(1),
            // The metric is this very loss: smoothing would train for another one, so it is ignored.
            label_smoothing: 0.0,
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        evaluate_classes(batches, |batch| self.predict(batch, &Pass::evaluation()))
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        match path {
            "positions" => Some(ParamKind::Position),
            "head.weight" => Some(ParamKind::Head),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velodrome_harness::contract::{HostBatch, HostField, HostValues};

    fn tiny(norm: NormPlace) -> GptConfig {
        GptConfig {
            vocabulary: 7,
            context: 6,
            width: 8,
            heads: 2,
            layers: 2,
            feed_forward: 16,
            activation: Activation::Gelu,
            norm,
            initial_std: 0.3,
            dropout: 0.0,
        }
    }

    fn logits(model: &Gpt, tokens: [i32; 7], device: &Device) -> Vec<f32> {
        let host = HostBatch {
            fields: vec![HostField {
                name: "tokens",
                shape: vec![1, 7],
                values: HostValues::Int(tokens.to_vec()),
            }],
            examples: 1,
            units: 6,
        };
        let batch = Batch::from_host(host, vec![0], device);
        let (logits, _) = model.predict(&batch, &Pass::evaluation()).unwrap();
        logits.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_later_byte_changes_no_earlier_prediction() {
        let _lock = crate::models::test_lock();
        let device = Device::flex();
        for norm in [NormPlace::Pre, NormPlace::Post] {
            device.seed(3);
            let model = Gpt::new(&tiny(norm), &device).unwrap();
            let tokens = [1, 4, 2, 6, 0, 3, 5];
            let before = logits(&model, tokens, &device);
            for changed in 0..6 {
                let mut other = tokens;
                other[changed] = (other[changed] + 1) % 7;
                let after = logits(&model, other, &device);
                for position in 0..6 {
                    let rows = position * 7..(position + 1) * 7;
                    let same = before[rows.clone()] == after[rows];
                    assert_eq!(same, position < changed, "{norm:?} {changed} {position}");
                }
            }
        }
    }

    #[test]
    fn heads_must_divide_the_width() {
        let config = GptConfig {
            heads: 3,
            ..tiny(NormPlace::Pre)
        };
        assert!(Gpt::new(&config, &Device::flex()).is_err());
    }
}

//! A causal transformer over bytes or other tokens.

mod attention;
mod block;

pub(super) use attention::{Angles, View};

use super::parts::{Activation, dropout, evaluate_classes, own_tokens, sum, tokens_of};
use block::{Block, norm, normalize};
use burn::module::{Module, Param};
use burn::nn::norm::Normalization;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{
    Batch, ModelError, Network, ParamKind, Pass, Predictions, Tokens, apply_linear, cross_entropy,
    lengthen,
};
use velodrome_results::measures::Measures;

/// Where a block's layer norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// `x + f(norm(x))`, and a norm before the head (Xiong et al. 2020, arXiv 2002.04745).
    Pre,
    /// `norm(x + f(x))` (Vaswani et al. 2017, arXiv 1706.03762).
    Post,
}

/// What the norms of a [`Gpt`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Layer norms with scale and shift (Ba et al. 2016, arXiv 1607.06450).
    Layer,
    /// Division by the root mean square, with a scale (Zhang and Sennrich 2019, arXiv 1910.07467).
    Rms,
}

/// How a [`Gpt`] knows where a token stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Positions {
    /// A learned vector for each position is added to the embedding.
    Learned,
    /// Queries and keys turn with the position: pair `i` of the `p` pairs of neighbouring values of a
    /// head by `position * base^(-i / p)` (Su et al. 2021, arXiv 2104.09864).
    Rotary {
        /// The base.
        base: f64,
    },
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
    /// Whether the hidden values of the feed-forward part are multiplied by a second linear map of its
    /// input, of the same width.
    pub gated: bool,
    /// Whether linear maps have biases. The head never has one.
    pub biases: bool,
    /// Where the norms stand.
    pub norm: NormPlace,
    /// What the norms are.
    pub norm_kind: NormKind,
    /// How positions are told.
    pub positions: Positions,
    /// Whether queries and keys are divided by their lengths; then the scale of the scores is learned,
    /// one for each block.
    pub query_key_norm: bool,
    /// Factor of all attention scores.
    pub attention_temperature: f64,
    /// Whether the head is the embedding, transposed.
    pub tied: bool,
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
        let linear = |from: usize, to: usize| from * to + if self.biases { to } else { 0 };
        let ups = if self.gated { 2 } else { 1 };
        let attention = 4 * linear(d, d) + usize::from(self.query_key_norm);
        let feed_forward = ups * linear(d, f) + linear(f, d);
        let norms = 2 * self.layers + usize::from(self.norm == NormPlace::Pre);
        let norm = match self.norm_kind {
            NormKind::Layer => 2 * d,
            NormKind::Rms => d,
        };
        let positions = match self.positions {
            Positions::Learned => self.context,
            Positions::Rotary { .. } => 0,
        };
        let tables = if self.tied { 1 } else { 2 };
        (tables * self.vocabulary + positions) * d
            + self.layers * (attention + feed_forward)
            + norms * norm
    }

    fn linear(&self, from: usize, to: usize, std: f64, device: &Device) -> Linear {
        let mut linear = LinearConfig::new(from, to)
            .with_initializer(Initializer::Normal { mean: 0.0, std })
            .init(device);
        linear.bias = self.biases.then(|| Initializer::Zeros.init([to], device));
        linear
    }

    /// Initial standard deviation of matrices that write into the residual stream.
    fn residual_std(&self) -> f64 {
        self.initial_std / (2.0 * self.layers.max(1) as f64).sqrt()
    }

    fn check(&self) -> Result<(), ModelError> {
        let fault = |message: String| Err(ModelError::Compute(message));
        let (width, heads) = (self.width, self.heads);
        if heads == 0 || !width.is_multiple_of(heads) {
            return fault(format!(
                "a width of {width} cannot be split among {heads} heads"
            ));
        }
        if let Positions::Rotary { base } = self.positions {
            if !(width / heads).is_multiple_of(2) {
                return fault(format!(
                    "rotary positions turn pairs: heads of {} values have none",
                    width / heads
                ));
            }
            if base <= 0.0 || !base.is_finite() {
                return fault(format!("rotary positions of base {base}"));
            }
        }
        if self.query_key_norm && self.context < 2 {
            return fault(format!(
                "a context of {} gives normalised queries no scale; it must be at least 2",
                self.context
            ));
        }
        Ok(())
    }
}

/// Where the vocabulary is larger, predictions are measured on the device: in 32 bits for each token,
/// and in 64 bits from there on.
const MEASURED_IN_MEMORY: usize = 4096;

/// A causal transformer. Reads the field `tokens` (integer,
/// `[examples, n + 1]`, with `n` at most the context): the first `n` are read, the last `n` are
/// predicted.
#[derive(Module, Debug)]
pub struct Gpt {
    embedding: Embedding,
    positions: Option<Param<Tensor<2>>>,
    blocks: Vec<Block>,
    final_norm: Option<Normalization>,
    head: Option<Linear>,
    context: usize,
    dropout: f64,
    #[module(skip)]
    angles: Option<Angles>,
}

impl Gpt {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the sizes do
    /// not go together.
    pub fn new(config: &GptConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let (d, context) = (config.width, config.context);
        let normal = Initializer::Normal {
            mean: 0.0,
            std: config.initial_std,
        };
        let (positions, angles) = match config.positions {
            Positions::Learned => (Some(normal.init([context, d], device)), None),
            Positions::Rotary { base } => {
                (None, Some(Angles::new(context, d / config.heads, base)))
            }
        };
        let head = || {
            LinearConfig::new(d, config.vocabulary)
                .with_bias(false)
                .with_initializer(normal.clone())
                .init(device)
        };
        Ok(Self {
            embedding: EmbeddingConfig::new(config.vocabulary, d)
                .with_initializer(normal.clone())
                .init(device),
            positions,
            blocks: (0..config.layers)
                .map(|_| Block::new(config, device))
                .collect(),
            final_norm: (config.norm == NormPlace::Pre).then(|| norm(config, device)),
            head: (!config.tied).then(head),
            context,
            dropout: config.dropout,
            angles,
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
        let x = self.embedding.forward(inputs);
        let [_, _, width] = x.dims();
        let x = match &self.positions {
            Some(positions) => {
                let first = positions.val().slice([0..n, 0..width]);
                x + first.reshape([1, n, width])
            }
            None => x,
        };
        let mut x = dropout(lengthen(&self.embedding.weight, x), rate);
        let [_, all, _] = x.dims();
        let view = View::new(all, n, self.angles.as_ref(), &x.device());
        for block in &self.blocks {
            x = block.forward(x, &view, rate);
        }
        if let Some(norm) = &self.final_norm {
            x = normalize(norm, x);
        }
        let x = own_tokens(x, n).reshape([examples * n, width]);
        let logits = match &self.head {
            Some(head) => apply_linear(head, x),
            None => x.matmul(self.embedding.weight.val().transpose()),
        };
        Ok((logits, next.reshape([examples * n])))
    }

    /// As [`evaluate_classes`], on the device.
    fn measure(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let (mut predictions, mut errors, mut loss) = (0.0, 0.0, 0.0);
        for batch in batches {
            let (logits, labels) = self.predict(&batch, &Pass::evaluation())?;
            let [units, _] = logits.dims();
            predictions += units as f64;
            let wrong = logits
                .clone()
                .argmax(1)
                .reshape([units])
                .not_equal(labels.clone());
            errors += sum(wrong.float())?;
            loss += sum(cross_entropy(logits, labels, 0.0))?;
        }
        Ok(Measures::from([
            ("error_rate".to_string(), errors / predictions),
            ("loss".to_string(), loss / predictions),
        ]))
    }
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
        if self.embedding.weight.dims()[0] > MEASURED_IN_MEMORY {
            return self.measure(batches);
        }
        evaluate_classes(batches, |batch| self.predict(batch, &Pass::evaluation()))
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        match path {
            "positions" => Some(ParamKind::Position),
            "head.weight" => Some(ParamKind::Head),
            scale if scale.ends_with("attention.scale") => Some(ParamKind::NormScale),
            _ => None,
        }
    }

    fn tokens_of(path: &str) -> Option<Tokens> {
        tokens_of(path, "embedding.weight")
    }
}

#[cfg(test)]
mod lengthening_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torch_tests;

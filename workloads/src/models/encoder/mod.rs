//! A bidirectional encoder of text in the form of BERT (Devlin et al. 2019, arXiv 1810.04805), a
//! classifier on top of it, and how the weights of a published encoder get into it.

mod layer;
mod load;

pub use load::EncoderError;

use super::parts::{Activation, LayerNorm, dropout, evaluate_classes, own_tokens, tokens_of};
use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor};
use layer::Layer;
use velodrome_harness::contract::{
    Batch, ModelError, Network, ParamKind, Pass, Predictions, Tokens, apply_linear, lengthen,
};
use velodrome_results::measures::Measures;

/// The token that fills an example up; no other token looks at it.
pub const PAD: i32 = 0;

/// Sizes and choices of an [`Encoder`].
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// Different tokens; the first one is padding.
    pub vocabulary: usize,
    /// The most tokens that the model reads.
    pub context: usize,
    /// Kinds of segments (two for models that were trained on pairs of texts).
    pub types: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
    /// Hidden width of the feed-forward parts.
    pub feed_forward: usize,
    /// Activation of the feed-forward parts.
    pub activation: Activation,
    /// What layer norms add to the variance.
    pub epsilon: f64,
    /// Standard deviation of the initial matrices and tables.
    pub initial_std: f64,
}

impl EncoderConfig {
    /// MiniLM of 6 layers, width 384 (Wang et al. 2020, arXiv 2002.10957), as
    /// `nreimers/MiniLM-L6-H384-uncased` and all-MiniLM-L6-v2 have it.
    pub fn minilm() -> Self {
        Self {
            vocabulary: 30_522,
            context: 512,
            types: 2,
            width: 384,
            heads: 12,
            layers: 6,
            feed_forward: 1536,
            activation: Activation::Gelu,
            epsilon: 1e-12,
            initial_std: 0.02,
        }
    }

    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (d, f) = (self.width, self.feed_forward);
        let linear = |from: usize, to: usize| (from + 1) * to;
        let norm = 2 * d;
        let layer = 4 * linear(d, d) + linear(d, f) + linear(f, d) + 2 * norm;
        (self.vocabulary + self.context + self.types) * d + norm + self.layers * layer
    }

    fn check(&self) -> Result<(), ModelError> {
        let (width, heads) = (self.width, self.heads);
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(ModelError::Compute(format!(
                "a width of {width} cannot be split among {heads} heads"
            )));
        }
        if self.vocabulary == 0 || self.context == 0 || self.types == 0 {
            return Err(ModelError::Compute(
                "an encoder needs a token, a position and a type at least".into(),
            ));
        }
        Ok(())
    }

    fn normal(&self) -> Initializer {
        Initializer::Normal {
            mean: 0.0,
            std: self.initial_std,
        }
    }

    /// A linear map with a bias of zero.
    fn linear(&self, from: usize, to: usize, device: &Device) -> Linear {
        let mut linear = LinearConfig::new(from, to)
            .with_initializer(self.normal())
            .init(device);
        linear.bias = Some(Initializer::Zeros.init([to], device));
        linear
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNorm::with_epsilon(self.width, self.epsilon, device)
    }
}

/// The encoder: tokens to one vector for each.
#[derive(Module, Debug)]
pub struct Encoder {
    words: Embedding,
    positions: Param<Tensor<2>>,
    types: Param<Tensor<2>>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

impl Encoder {
    /// Builds it on `device`, whose seed decides the initial values. Fails where the sizes do not go
    /// together.
    pub fn new(config: &EncoderConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let table = |rows: usize| config.normal().init([rows, config.width], device);
        Ok(Self {
            words: EmbeddingConfig::new(config.vocabulary, config.width)
                .with_initializer(config.normal())
                .init(device),
            positions: table(config.context),
            types: table(config.types),
            norm: config.norm(device),
            layers: (0..config.layers)
                .map(|_| Layer::new(config, device))
                .collect(),
        })
    }

    /// Embedded tokens, `[examples, tokens, width]`. Without `types`, all tokens are of type 0.
    fn embed(
        &self,
        tokens: Tensor<2, Int>,
        types: Option<Tensor<2, Int>>,
    ) -> Result<Tensor<3>, ModelError> {
        let [examples, length] = tokens.dims();
        let [context, width] = self.positions.dims();
        if length == 0 || length > context {
            return Err(ModelError::Compute(format!(
                "field `tokens` has {length} tokens in an example; this model was built for 1 to \
                 {context}"
            )));
        }
        let positions = self.positions.val().slice([0..length, 0..width]);
        let x = self.words.forward(tokens);
        let fixed = positions.reshape([1, length, width]);
        let x = match types {
            None => {
                let first = self.types.val().slice([0..1, 0..width]);
                x + (fixed + first.reshape([1, 1, width]))
            }
            Some(types) => {
                let rows = self
                    .types
                    .val()
                    .select(0, types.reshape([examples * length]));
                x + rows.reshape([examples, length, width]) + fixed
            }
        };
        let x = lengthen(&self.words.weight, x);
        Ok(self.norm.forward(x))
    }

    /// The embedded tokens and what each layer makes of them, `[examples, tokens, width]` each, without
    /// dropout. `tokens` (and `types`, which is 0 everywhere unless given) are of shape
    /// `[examples, tokens]`. Fails where there are more tokens than positions.
    pub fn states(
        &self,
        tokens: Tensor<2, Int>,
        types: Option<Tensor<2, Int>>,
    ) -> Result<Vec<Tensor<3>>, ModelError> {
        let mask = Mask::of(&tokens);
        let mut states = vec![self.embed(tokens, types)?];
        for layer in &self.layers {
            states.extend(states.last().map(|x| layer.forward(x.clone(), &mask, 0.0)));
        }
        Ok(states)
    }

    /// The mean of each example's last vectors over its tokens, `[examples, width]`.
    fn mean(&self, tokens: Tensor<2, Int>, rate: f64) -> Result<Tensor<2>, ModelError> {
        let mask = Mask::of(&tokens);
        let mut x = dropout(self.embed(tokens, None)?, rate);
        for layer in &self.layers {
            x = layer.forward(x, &mask, rate);
        }
        Ok(mask.mean(x))
    }

    /// The sentence embedding that the weights of all-MiniLM-L6-v2 were trained for (Reimers and
    /// Gurevych 2019, arXiv 1908.10084): the mean over an example's tokens, of length 1,
    /// `[examples, width]`.
    pub fn sentences(&self, tokens: Tensor<2, Int>) -> Result<Tensor<2>, ModelError> {
        let mean = self.mean(tokens, 0.0)?;
        let length = (mean.clone() * mean.clone()).sum_dim(1).sqrt();
        Ok(mean / length.clamp_min(1e-12))
    }
}

/// Which tokens are text.
struct Mask {
    /// `[examples, tokens]`: true at padding.
    padding: Tensor<2, Bool>,
    /// `[examples, 1, 1, tokens]`, added to the scores.
    scores: Tensor<4>,
}

impl Mask {
    fn of(tokens: &Tensor<2, Int>) -> Self {
        let [examples, length] = tokens.dims();
        let padding = tokens.clone().equal_elem(PAD);
        // A number that no softmax survives.
        let scores = padding.clone().float().mul_scalar(-1e9);
        Self {
            padding,
            scores: scores.reshape([examples, 1, 1, length]),
        }
    }

    /// The mean over the text of `x`, `[examples, tokens, width]`, whose last tokens the text is.
    fn mean(&self, x: Tensor<3>) -> Tensor<2> {
        let [examples, length] = self.padding.dims();
        let x = own_tokens(x, length);
        let [_, _, width] = x.dims();
        let text = self.padding.clone().bool_not().float();
        let count = text.clone().sum_dim(1).clamp_min(1e-9);
        let shares = (text / count).reshape([examples, 1, length]);
        shares.matmul(x).reshape([examples, width])
    }
}

/// Sizes and choices of a [`TextClassifier`].
#[derive(Debug, Clone, PartialEq)]
pub struct TextClassifierConfig {
    /// The encoder.
    pub encoder: EncoderConfig,
    /// Classes.
    pub classes: usize,
    /// Dropout rate of embedded tokens, attention weights, residual branches and the mean, unless the
    /// submission chooses one.
    pub dropout: f64,
}

impl TextClassifierConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        self.encoder.parameters() + (self.encoder.width + 1) * self.classes
    }
}

/// An encoder, the mean of its vectors, and a linear map to classes. Reads the fields `tokens`
/// (integer, `[examples, n]` with `n` at most the context, filled up with [`PAD`]) and `label`.
#[derive(Module, Debug)]
pub struct TextClassifier {
    encoder: Encoder,
    head: Linear,
    dropout: f64,
}

impl TextClassifier {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the sizes do
    /// not go together.
    pub fn new(config: &TextClassifierConfig, device: &Device) -> Result<Self, ModelError> {
        let encoder = Encoder::new(&config.encoder, device)?;
        Ok(Self::on(encoder, config, device))
    }

    /// The same on an encoder that is there already: the head alone is drawn.
    pub fn on(encoder: Encoder, config: &TextClassifierConfig, device: &Device) -> Self {
        let width = config.encoder.width;
        Self {
            encoder,
            head: config.encoder.linear(width, config.classes, device),
            dropout: config.dropout,
        }
    }

    fn predict(
        &self,
        batch: &Batch,
        pass: &Pass,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let tokens = batch.int::<2>("tokens")?;
        let rate = pass.dropout(self.dropout);
        let mean = dropout(self.encoder.mean(tokens, rate)?, rate);
        Ok((apply_linear(&self.head, mean), batch.int("label")?))
    }
}

impl Network for TextClassifier {
    fn predictions(&self, batch: &Batch, pass: &mut Pass) -> Result<Predictions, ModelError> {
        let (logits, labels) = self.predict(batch, pass)?;
        Ok(Predictions {
            logits,
            labels,
            units_per_example: 1,
            label_smoothing: pass.label_smoothing(),
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        evaluate_classes(batches, |batch| self.predict(batch, &Pass::evaluation()))
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        match path {
            "encoder.positions" => Some(ParamKind::Position),
            "encoder.types" => Some(ParamKind::Embedding),
            "head.weight" => Some(ParamKind::Head),
            _ => None,
        }
    }

    fn tokens_of(path: &str) -> Option<Tokens> {
        tokens_of(path, "encoder.words.weight")
    }
}

#[cfg(test)]
mod tests;

//! A causal decoder in the form of Llama (Touvron et al. 2023, arXiv 2302.13971), and how the weights of a
//! published one get into it.

mod block;
mod load;

pub use load::LlamaError;

use super::gpt::{Angles, View};
use super::parts::{dropout, own_tokens, sum, tokens_of};
use block::{Block, rms_norm};
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{Batch, ModelError, Network, Pass, Tokens, UnitLosses, lengthen};
use velodrome_kernels::cross_entropy;
use velodrome_results::measures::Measures;

/// Sizes and choices of a [`Llama`].
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Different tokens.
    pub vocabulary: usize,
    /// The most tokens that the model reads.
    pub context: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Heads of the queries; must divide the width.
    pub heads: usize,
    /// Heads of the keys and values; must divide the heads of the queries, of which as many in a row
    /// share one (Ainslie et al. 2023, arXiv 2305.13245).
    pub shared_heads: usize,
    /// Blocks.
    pub layers: usize,
    /// Hidden width of the feed-forward part.
    pub feed_forward: usize,
    /// Base of the rotary positions.
    pub base: f64,
    /// What norms add to the mean square.
    pub epsilon: f64,
    /// Standard deviation of the initial matrices and of the table.
    pub initial_std: f64,
}

impl LlamaConfig {
    /// SmolLM2 of 135 million parameters (Ben Allal et al. 2025, arXiv 2502.02737), for at most
    /// `context` tokens of the 8192 that it can read.
    pub fn smollm2(context: usize) -> Self {
        Self {
            vocabulary: 49_152,
            context,
            width: 576,
            heads: 9,
            shared_heads: 3,
            layers: 30,
            feed_forward: 1536,
            base: 1e5,
            epsilon: 1e-5,
            initial_std: 0.041_666_67,
        }
    }

    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (d, f) = (self.width, self.feed_forward);
        let shared = self.shared_width();
        let layer = 2 * d * d + 2 * d * shared + 3 * d * f + 2 * d;
        self.vocabulary * d + self.layers * layer + d
    }

    /// Width of all keys of a token, and of all values.
    fn shared_width(&self) -> usize {
        self.width / self.heads.max(1) * self.shared_heads
    }

    fn check(&self) -> Result<(), ModelError> {
        let fault = |message: String| Err(ModelError::Compute(message));
        let (width, heads, shared) = (self.width, self.heads, self.shared_heads);
        if heads == 0 || !width.is_multiple_of(2 * heads) {
            return fault(format!(
                "a width of {width} cannot be split into pairs among {heads} heads"
            ));
        }
        if shared == 0 || !heads.is_multiple_of(shared) {
            return fault(format!(
                "{heads} heads of queries cannot share {shared} heads of keys"
            ));
        }
        if self.base <= 0.0 || !self.base.is_finite() {
            return fault(format!("rotary positions of base {}", self.base));
        }
        if self.epsilon <= 0.0 || self.vocabulary == 0 {
            return fault("a model needs a token, and norms an epsilon above 0".into());
        }
        Ok(())
    }

    fn normal(&self) -> Initializer {
        Initializer::Normal {
            mean: 0.0,
            std: self.initial_std,
        }
    }

    fn linear(&self, from: usize, to: usize, device: &Device) -> Linear {
        LinearConfig::new(from, to)
            .with_bias(false)
            .with_initializer(self.normal())
            .init(device)
    }

    fn norm(&self, device: &Device) -> RmsNorm {
        RmsNormConfig::new(self.width)
            .with_epsilon(self.epsilon)
            .init(device)
    }
}

/// The decoder. Its head is the table of tokens, transposed.
///
/// Reads the fields `tokens` and `answer` (integers, `[examples, n + 1]`, with `n` at most the context):
/// the first `n` tokens are read, and of the last `n` those are predicted where `answer` is 1. The
/// others, which it reads alone, do not count in the loss.
#[derive(Module, Debug)]
pub struct Llama {
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    context: usize,
    #[module(skip)]
    angles: Angles,
}

impl Llama {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the sizes do
    /// not go together.
    pub fn new(config: &LlamaConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let each = config.width / config.heads;
        Ok(Self {
            embedding: EmbeddingConfig::new(config.vocabulary, config.width)
                .with_initializer(config.normal())
                .init(device),
            blocks: (0..config.layers)
                .map(|_| Block::new(config, device))
                .collect(),
            norm: config.norm(device),
            context: config.context,
            angles: Angles::new(config.context, each, config.base),
        })
    }

    /// Scores of the next token before the softmax, `[examples * n, vocabulary]`, at each of the
    /// `tokens`, `[examples, n]`. A `rate` above 0 drops out of the embedded tokens and of the residual
    /// branches. Fails where there are more tokens than the context has.
    pub fn logits(&self, tokens: Tensor<2, Int>, rate: f64) -> Result<Tensor<2>, ModelError> {
        let [examples, n] = tokens.dims();
        if n == 0 || n > self.context {
            return Err(ModelError::Compute(format!(
                "{n} tokens to read in an example; this model was built for 1 to {}",
                self.context
            )));
        }
        let x = lengthen(&self.embedding.weight, self.embedding.forward(tokens));
        let mut x = dropout(x, rate);
        let [_, all, width] = x.dims();
        let view = View::new(all, n, Some(&self.angles), &x.device());
        for block in &self.blocks {
            x = block.forward(x, &view, rate);
        }
        let x = own_tokens(rms_norm(&self.norm, x), n).reshape([examples * n, width]);
        Ok(x.matmul(self.embedding.weight.val().transpose()))
    }

    /// What the loss and the measures of a batch follow from.
    fn predict(&self, batch: &Batch, rate: f64) -> Result<Scored, ModelError> {
        let tokens = batch.int::<2>("tokens")?;
        let answer = batch.int::<2>("answer")?;
        let [examples, length] = tokens.dims();
        if length < 2 || answer.dims() != [examples, length] {
            return Err(ModelError::Compute(format!(
                "fields `tokens` and `answer` of shapes {:?} and {:?}; this model reads two tokens \
                 at least, and an answer for each",
                [examples, length],
                answer.dims()
            )));
        }
        let n = length - 1;
        let units = examples * n;
        let inputs = tokens.clone().slice([0..examples, 0..n]);
        let next = |x: Tensor<2, Int>| x.slice([0..examples, 1..length]).reshape([units]);
        let labels = next(tokens);
        Ok(Scored {
            logits: self.logits(inputs, rate)?,
            counts: next(answer).not_equal_elem(0).float(),
            labels,
        })
    }
}

/// Scores of the next tokens, `[examples * n, vocabulary]`, and what they are, `[examples * n]`.
struct Scored {
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    /// 1 where a token counts, 0 elsewhere.
    counts: Tensor<1>,
}

impl Scored {
    /// The cross entropy of each token that counts in nats, 0 elsewhere.
    fn losses(&self) -> Tensor<1> {
        // The metric is this very loss: smoothing would train for another one, so there is none.
        cross_entropy(self.logits.clone(), self.labels.clone(), 0.0) * self.counts.clone()
    }

    /// 1 where a token counts and another one has a higher score.
    fn errors(&self) -> Tensor<1> {
        let best = self.logits.clone().argmax(1).reshape(self.labels.dims());
        best.not_equal(self.labels.clone()).float() * self.counts.clone()
    }
}

impl Network for Llama {
    fn unit_losses(&self, batch: &Batch, pass: &mut Pass) -> Result<UnitLosses, ModelError> {
        let found = self.predict(batch, pass.dropout(0.0))?;
        let losses = found.losses();
        let [positions] = losses.dims();
        // The mean over all positions becomes one over the tokens that count.
        let scale = found
            .counts
            .sum()
            .clamp_min(1.0)
            .recip()
            .mul_scalar(positions as f64);
        Ok(UnitLosses {
            losses: losses * scale,
            units_per_example: positions / batch.len().max(1),
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let (mut loss, mut errors, mut tokens) = (0.0, 0.0, 0.0);
        for batch in batches {
            let found = self.predict(&batch, 0.0)?;
            loss += sum(found.losses())?;
            errors += sum(found.errors())?;
            tokens += sum(found.counts)?;
        }
        Ok(Measures::from([
            ("error_rate".to_string(), errors / tokens),
            ("loss".to_string(), loss / tokens),
        ]))
    }

    fn tokens_of(path: &str) -> Option<Tokens> {
        tokens_of(path, "embedding.weight")
    }
}

#[cfg(test)]
mod tests;

//! An encoder-decoder transformer, as AlgoPerf's translation workload has it.

mod attention;
mod decode;
mod layers;
mod scores;
pub mod search;

use super::NormPlace;
use super::parts::{Activation, LayerNorm, dropout, sum};
use attention::{causal_mask, padding_mask, segment_mask};
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use layers::{DecoderLayer, DecoderMasks, EncoderLayer};
use scores::Scores;
pub use scores::Scoring;
pub use search::Search;
use std::fmt;
use std::sync::Arc;
use velodrome_harness::contract::{Batch, ModelError, Network, Pass, UnitLosses, cross_entropy};
use velodrome_results::measures::Measures;

/// Fills a sequence up to the length of its batch. No loss is taken there, and nothing looks there.
pub const PADDING: i32 = 0;
/// What the decoder reads before the first token (the token of padding, as in AlgoPerf).
const START: i32 = PADDING;
/// The end of a sequence; 1 is never used, as SentencePiece numbers a start there.
pub const END: i32 = 2;
/// The first token that stands for something.
pub const FIRST: i32 = 3;

/// Sizes and choices of a [`Transformer`].
#[derive(Debug, Clone)]
pub struct Seq2SeqConfig {
    /// Different source tokens.
    pub source_vocabulary: usize,
    /// Different target tokens; equal to the former where the embedding is shared.
    pub target_vocabulary: usize,
    /// Whether source and target have one embedding. The logits always come from the target's
    /// embedding, transposed, over the root of the width.
    pub shared_embedding: bool,
    /// The most tokens of a source and of a target, ends included.
    pub max_length: usize,
    /// Width of the residual stream; even.
    pub width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Encoder layers, and as many decoder layers.
    pub layers: usize,
    /// Hidden width of the feed-forward parts.
    pub feed_forward: usize,
    /// Activation of the feed-forward parts.
    pub activation: Activation,
    /// Whether the feed-forward parts are gated (GLU).
    pub gated: bool,
    /// Where the norms stand. With [`NormPlace::Pre`] encoder and decoder end with one.
    pub norm: NormPlace,
    /// Factor of all attention scores.
    pub attention_temperature: f64,
    /// Dropout rate of embeddings, attention weights, hidden units and residual branches, unless the
    /// submission chooses one.
    pub dropout: f64,
    /// How outputs are searched for in evaluations.
    pub search: Search,
    /// How they are scored.
    pub scoring: Scoring,
}

impl Seq2SeqConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (d, f) = (self.width, self.feed_forward);
        let attention = 4 * d * d;
        let ups = if self.gated { 2 } else { 1 };
        let feed_forward = ups * (d + 1) * f + (f + 1) * d;
        let norm = 2 * d;
        let encoder = attention + feed_forward + 2 * norm;
        let decoder = 2 * attention + feed_forward + 3 * norm;
        let finals = match self.norm {
            NormPlace::Pre => 2 * norm,
            NormPlace::Post => 0,
        };
        let tokens = match self.shared_embedding {
            true => self.target_vocabulary,
            false => self.source_vocabulary + self.target_vocabulary,
        };
        tokens * d + self.layers * (encoder + decoder) + finals
    }

    fn check(&self) -> Result<(), ModelError> {
        let fault = |message: String| Err(ModelError::Compute(message));
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) {
            return fault(format!(
                "a width of {} cannot be split among {} heads",
                self.width, self.heads
            ));
        }
        if self.width == 0 || !self.width.is_multiple_of(2) {
            return fault(format!("a width of {} is not even", self.width));
        }
        if self.shared_embedding && self.source_vocabulary != self.target_vocabulary {
            return fault(format!(
                "vocabularies of {} and {} tokens cannot share an embedding",
                self.source_vocabulary, self.target_vocabulary
            ));
        }
        Ok(())
    }
}

/// Fixed sinusoidal positions: row `p` holds the sines and then the cosines of `p * w_i`, with the
/// frequencies `w_i` in a geometric row from 1 to 1/10000.
#[derive(Clone)]
struct Positions {
    table: Arc<[f32]>,
    width: usize,
}

impl fmt::Debug for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Positions(width {})", self.width)
    }
}

impl Positions {
    fn new(length: usize, width: usize) -> Self {
        let half = width / 2;
        let step = -(1e4f64.ln()) / half.saturating_sub(1).max(1) as f64;
        let value = |position: usize, at: usize| {
            let angle = position as f64 * (step * (at % half) as f64).exp();
            (if at < half { angle.sin() } else { angle.cos() }) as f32
        };
        let rows = 0..length;
        Self {
            table: rows
                .flat_map(|p| (0..width).map(move |at| value(p, at)))
                .collect(),
            width,
        }
    }

    fn len(&self) -> usize {
        self.table.len() / self.width.max(1)
    }

    /// The positions `from..from + count`, shape `[1, count, width]`.
    fn range(&self, from: usize, count: usize, device: &Device) -> Result<Tensor<3>, ModelError> {
        let range = from * self.width..(from + count) * self.width;
        let values = self.table.get(range).ok_or_else(|| {
            ModelError::Compute(format!(
                "{} tokens in a sequence; this model was built for at most {}",
                from + count,
                self.len()
            ))
        })?;
        let data = TensorData::new(values.to_vec(), [1, count, self.width]);
        Ok(Tensor::from_data(data, device))
    }

    /// The positions at `at`, `[examples, count]`, of packed rows.
    fn at(&self, at: Tensor<2, Int>) -> Result<Tensor<3>, ModelError> {
        let [examples, count] = at.dims();
        let all = self.range(0, self.len(), &at.device())?;
        let rows = all
            .reshape([self.len(), self.width])
            .select(0, at.reshape([examples * count]));
        Ok(rows.reshape([examples, count, self.width]))
    }
}

/// An encoder-decoder transformer (Vaswani et al. 2017, arXiv 1706.03762), in the form of AlgoPerf's
/// WMT workload: attention without biases, feed-forward parts with biases, fixed sinusoidal positions,
/// embeddings from a normal distribution of deviation 1, matrices from Glorot's uniform one, biases
/// of deviation 1e-6.
///
/// Reads the fields `source` and `target` (integer, `[examples, tokens]`, filled up with 0, every
/// sequence with an end). Packed rows have four more of the same shapes: `source_segment` and
/// `target_segment` (from 1; 0 for padding), `source_position` and `target_position`.
///
/// The loss of a batch is the mean over its target tokens; the loss of an example, the sum over its
/// tokens by the mean number of tokens of the batch's examples.
#[derive(Module, Debug)]
pub struct Transformer {
    embedding: Embedding,
    source_embedding: Option<Embedding>,
    encoder: Vec<EncoderLayer>,
    encoder_norm: Option<LayerNorm>,
    decoder: Vec<DecoderLayer>,
    decoder_norm: Option<LayerNorm>,
    dropout: f64,
    #[module(skip)]
    positions: Positions,
    #[module(skip)]
    search: Search,
    #[module(skip)]
    scoring: Scoring,
}

/// Encoded sources.
struct Encoded {
    memory: Tensor<3>,
    /// Of the padding alone, `[examples, 1, 1, tokens]`.
    mask: Tensor<4>,
}

impl Transformer {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the sizes do
    /// not go together.
    pub fn new(config: &Seq2SeqConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let embedding = |tokens: usize| {
            EmbeddingConfig::new(tokens, config.width)
                .with_initializer(Initializer::Normal {
                    mean: 0.0,
                    std: 1.0,
                })
                .init(device)
        };
        let norm = || (config.norm == NormPlace::Pre).then(|| LayerNorm::new(config.width, device));
        Ok(Self {
            embedding: embedding(config.target_vocabulary),
            source_embedding: (!config.shared_embedding)
                .then(|| embedding(config.source_vocabulary)),
            encoder: (0..config.layers)
                .map(|_| EncoderLayer::new(config, device))
                .collect(),
            encoder_norm: norm(),
            decoder: (0..config.layers)
                .map(|_| DecoderLayer::new(config, device))
                .collect(),
            decoder_norm: norm(),
            dropout: config.dropout,
            positions: Positions::new(config.max_length, config.width),
            search: config.search,
            scoring: config.scoring,
        })
    }

    fn encode(&self, batch: &Batch, rate: f64) -> Result<Encoded, ModelError> {
        let source = batch.int::<2>("source")?;
        let count = source.dims()[1];
        let mask = padding_mask(source.clone());
        let embedding = self.source_embedding.as_ref().unwrap_or(&self.embedding);
        let positions = match batch.int::<2>("source_position") {
            Ok(at) => self.positions.at(at)?,
            Err(_) => self.positions.range(0, count, &source.device())?,
        };
        let mut x = dropout(embedding.forward(source) + positions, rate);
        let seen = match batch.int::<2>("source_segment") {
            Ok(segments) => segment_mask(segments.clone(), segments),
            Err(_) => mask.clone(),
        };
        for layer in &self.encoder {
            x = layer.forward(x, &seen, rate);
        }
        Ok(Encoded {
            memory: through(&self.encoder_norm, x),
            mask,
        })
    }

    /// Embeds target tokens, `[examples, tokens]`, from a position on.
    fn embed_target(&self, tokens: Tensor<2, Int>, from: usize) -> Result<Tensor<3>, ModelError> {
        let positions = self
            .positions
            .range(from, tokens.dims()[1], &tokens.device())?;
        Ok(self.embedding.forward(tokens) + positions)
    }

    /// Logits of shape `[examples * positions, vocabulary]` from the decoder's last layer.
    fn logits(&self, x: Tensor<3>) -> Tensor<2> {
        let [examples, positions, width] = x.dims();
        let x = through(&self.decoder_norm, x)
            .reshape([examples * positions, width])
            .mul_scalar((width as f64).powf(-0.5));
        x.matmul(self.embedding.weight.val().transpose())
    }

    /// Logits of shape `[examples * n, vocabulary]` for the `n` target positions of each example, each
    /// from the source and from the targets before it.
    fn predict(
        &self,
        batch: &Batch,
        encoded: &Encoded,
        rate: f64,
    ) -> Result<Tensor<2>, ModelError> {
        let target = batch.int::<2>("target")?;
        let [examples, n] = target.dims();
        let device = target.device();
        let start = Tensor::<2, Int>::full([examples, 1], START, &device);
        let earlier = target.clone().slice([0..examples, 0..n.saturating_sub(1)]);
        let inputs = Tensor::cat(vec![start, earlier], 1);
        let mut masks = DecoderMasks {
            target: Some(causal_mask(n, &device)),
            source: encoded.mask.clone(),
        };
        let mut x = match batch.int::<2>("target_position") {
            Ok(at) => self.embedding.forward(inputs) + self.positions.at(at)?,
            Err(_) => self.embed_target(inputs, 0)?,
        };
        if let Ok(segments) = batch.int::<2>("target_segment") {
            let sources = batch.int::<2>("source_segment")?;
            let own = segment_mask(segments.clone(), segments.clone());
            masks.target = masks.target.map(|causal| causal + own);
            masks.source = segment_mask(segments, sources);
        }
        x = dropout(x, rate);
        for layer in &self.decoder {
            let mut state = layer.start(encoded.memory.clone());
            x = layer.forward(x, &mut state, &masks, rate);
        }
        Ok(self.logits(x))
    }

    /// The cross entropy of each target position, 0 at padding, and 1 where there is a token, 0 at
    /// padding; both `[examples * n]`.
    fn token_losses(
        &self,
        batch: &Batch,
        encoded: &Encoded,
        rate: f64,
        smoothing: f64,
    ) -> Result<(Tensor<1>, Tensor<1>), ModelError> {
        let logits = self.predict(batch, encoded, rate)?;
        let target = batch.int::<2>("target")?;
        let [examples, n] = target.dims();
        let labels = target.reshape([examples * n]);
        let real = labels.clone().not_equal_elem(PADDING).float();
        let losses = cross_entropy(logits, labels, smoothing);
        Ok((losses * real.clone(), real))
    }
}

fn through(norm: &Option<LayerNorm>, x: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

impl Network for Transformer {
    fn unit_losses(&self, batch: &Batch, pass: &mut Pass) -> Result<UnitLosses, ModelError> {
        let rate = pass.dropout(self.dropout);
        let encoded = self.encode(batch, rate)?;
        let (losses, real) = self.token_losses(batch, &encoded, rate, pass.label_smoothing())?;
        // The mean over all positions becomes one over the tokens.
        let positions = losses.dims()[0] as f64;
        let scale = real.sum().recip().mul_scalar(positions);
        Ok(UnitLosses {
            losses: losses * scale,
            units_per_example: positions as usize / batch.len().max(1),
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let mut scores = Scores::new(self.scoring)?;
        let (mut loss, mut tokens) = (0.0, 0.0);
        for batch in batches {
            let encoded = self.encode(&batch, 0.0)?;
            let (losses, real) = self.token_losses(&batch, &encoded, 0.0, 0.0)?;
            loss += sum(losses)?;
            tokens += sum(real)?;
            let outputs = self.decode(encoded.memory, encoded.mask, &self.search)?;
            scores.add(&batch, &outputs)?;
        }
        let mut measures = scores.measures();
        measures.insert("loss".to_string(), loss / tokens);
        Ok(measures)
    }
}

#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torch_tests;

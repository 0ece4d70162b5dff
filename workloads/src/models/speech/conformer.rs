//! The Conformer.

use super::ctc::{Spelling, ctc_losses, evaluate};
use super::subsample::{self, Hidden, Subsample};
use super::{MaskedBatchNorm, SpecAugment, Speech, glorot, linear};
use crate::models::Activation;
use crate::models::parts::{LayerNorm, dropout};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Initializer, Linear, PaddingConfig1d};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Int, Tensor, TensorData};
use velodrome_harness::contract::{
    Batch, ModelError, Network, NormStatistics, ParamKind, Pass, apply_linear,
};
use velodrome_kernels::{Heads, attention, depthwise};
use velodrome_results::measures::Measures;

/// Sizes and choices of a [`Conformer`].
#[derive(Debug, Clone, PartialEq)]
pub struct ConformerConfig {
    /// Features of a frame.
    pub mels: usize,
    /// Channels of the convolutions at the entrance.
    pub channels: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Blocks.
    pub layers: usize,
    /// Hidden width of the feed-forward parts.
    pub feed_forward: usize,
    /// Positions that the depthwise convolutions read; odd.
    pub kernel: usize,
    /// Activation of the feed-forward and convolution parts.
    pub activation: Activation,
    /// Multiplies what attention mixed (as AlgoPerf's code applies its temperature).
    pub attention_temperature: f64,
    /// Whether each block ends with a layer norm.
    pub final_norm: bool,
    /// Masks over the features in training.
    pub augment: SpecAugment,
    /// Share of a batch's statistics in an update of the running ones.
    pub norm_share: f64,
    /// Dropout rate of the residual branches, unless the submission chooses one.
    pub dropout: f64,
    /// How tokens become text.
    pub spelling: Spelling,
}

impl ConformerConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (d, f, classes) = (self.width, self.feed_forward, self.spelling.classes());
        let feed_forward = 2 * d + (d + 1) * f + (f + 1) * d;
        let attention = 2 * d + 4 * (d + 1) * d + d / self.heads.max(1);
        let convolution = 2 * d + 3 * (d + 1) * d + self.kernel * d + 2 * d;
        let norm = if self.final_norm { 2 * d } else { 0 };
        subsample::parameters(self.mels, self.channels, d)
            + self.layers * (2 * feed_forward + attention + convolution + norm)
            + 2 * d
            + (d + 1) * classes
    }
}

#[derive(Module, Debug)]
struct FeedForward {
    norm: LayerNorm,
    up: Linear,
    down: Linear,
}

impl FeedForward {
    fn new(config: &ConformerConfig, device: &Device) -> Self {
        Self {
            norm: LayerNorm::new(config.width, device),
            up: linear(config.width, config.feed_forward, device),
            down: linear(config.feed_forward, config.width, device),
        }
    }

    fn forward(&self, x: Tensor<3>, activation: Activation, rate: f64) -> Tensor<3> {
        let x = activation.apply(apply_linear(&self.up, self.norm.forward(x)));
        dropout(apply_linear(&self.down, dropout(x, rate)), rate)
    }
}

#[derive(Module, Debug)]
struct Attention {
    norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// Scales each component of the queries by `softplus(scale) / softplus(0)`.
    query_scale: Param<Tensor<1>>,
    heads: usize,
    temperature: f64,
}

impl Attention {
    fn new(config: &ConformerConfig, device: &Device) -> Self {
        let d = config.width;
        Self {
            norm: LayerNorm::new(d, device),
            query: linear(d, d, device),
            key: linear(d, d, device),
            value: linear(d, d, device),
            output: linear(d, d, device),
            query_scale: Initializer::Zeros.init([d / config.heads], device),
            heads: config.heads,
            temperature: config.attention_temperature,
        }
    }

    /// `bias` of shape `[examples, 1, 1, positions]` is added to the scores.
    fn forward(&self, x: Tensor<3>, bias: Tensor<4>, rate: f64) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let each = width / self.heads;
        let x = self.norm.forward(x);
        let query_scale = softplus(self.query_scale.val(), 1.0)
            .mul_scalar(std::f64::consts::LN_2.recip())
            .repeat_dim(0, self.heads)
            .reshape([1, 1, width]);
        let query = apply_linear(&self.query, x.clone()) * query_scale;
        let key = apply_linear(&self.key, x.clone());
        let value = apply_linear(&self.value, x);
        let heads = Heads::each(self.heads, (each as f64).powf(-0.5));
        let mixed = attention(heads, query, key, value, bias);
        let mixed = if self.temperature == 1.0 {
            mixed
        } else {
            mixed.mul_scalar(self.temperature)
        };
        dropout(apply_linear(&self.output, mixed), rate)
    }
}

#[derive(Module, Debug)]
struct Convolution {
    norm: LayerNorm,
    up: Linear,
    gate: Linear,
    depthwise: Conv1d,
    batch_norm: MaskedBatchNorm,
    output: Linear,
}

impl Convolution {
    fn new(config: &ConformerConfig, device: &Device) -> Self {
        let (d, kernel) = (config.width, config.kernel);
        let pad = kernel / 2;
        Self {
            norm: LayerNorm::new(d, device),
            up: linear(d, d, device),
            gate: linear(d, d, device),
            depthwise: Conv1dConfig::new(d, d, kernel)
                .with_groups(d)
                .with_bias(false)
                .with_padding(PaddingConfig1d::Explicit(pad, pad))
                .with_initializer(glorot(kernel, kernel * d))
                .init(device),
            batch_norm: MaskedBatchNorm::new(d, config.norm_share, device),
            output: linear(d, d, device),
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        mask: Tensor<3>,
        activation: Activation,
        rate: f64,
        pass: &mut Pass,
    ) -> Tensor<3> {
        let x = self.norm.forward(x);
        let x = apply_linear(&self.up, x.clone())
            * Activation::Sigmoid.apply(apply_linear(&self.gate, x))
            * mask.clone();
        let kernel = self.depthwise.weight.val();
        let [_, _, taps] = kernel.dims();
        let x = depthwise(x, kernel, taps / 2);
        let x = activation.apply(self.batch_norm.forward(x, mask, pass));
        dropout(apply_linear(&self.output, x), rate)
    }
}

#[derive(Module, Debug)]
struct Block {
    feed_forward1: FeedForward,
    attention: Attention,
    convolution: Convolution,
    feed_forward2: FeedForward,
    norm: Option<LayerNorm>,
    #[module(skip)]
    activation: Activation,
}

impl Block {
    fn new(config: &ConformerConfig, device: &Device) -> Self {
        Self {
            feed_forward1: FeedForward::new(config, device),
            attention: Attention::new(config, device),
            convolution: Convolution::new(config, device),
            feed_forward2: FeedForward::new(config, device),
            norm: config
                .final_norm
                .then(|| LayerNorm::new(config.width, device)),
            activation: config.activation,
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        (mask, bias): (Tensor<3>, Tensor<4>),
        rate: f64,
        pass: &mut Pass,
    ) -> Tensor<3> {
        let act = self.activation;
        let half = |branch: Tensor<3>| branch.mul_scalar(0.5);
        let x = x.clone() + half(self.feed_forward1.forward(x, act, rate));
        let x = x.clone() + self.attention.forward(x, bias, rate);
        let x = x.clone() + self.convolution.forward(x, mask, act, rate, pass);
        let x = x.clone() + half(self.feed_forward2.forward(x, act, rate));
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

/// A Conformer encoder (Gulati et al. 2020, arXiv 2005.08100) with a linear map to CTC's tokens, built as
/// AlgoPerf's: absolute sine positions, layer norms of epsilon 1e-6 and scales that start at 1, linear
/// maps with Glorot's initialisation. Reads the fields that [`crate::data::speech`] describes.
#[derive(Module, Debug)]
pub struct Conformer {
    subsample: Subsample,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    #[module(skip)]
    config: ConformerConfig,
}

impl Conformer {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the number of
    /// heads does not divide the width, and for an even kernel.
    pub fn new(config: &ConformerConfig, device: &Device) -> Result<Self, ModelError> {
        if config.heads == 0 || !config.width.is_multiple_of(config.heads) {
            return Err(ModelError::Compute(format!(
                "a width of {} cannot be split among {} heads",
                config.width, config.heads
            )));
        }
        if config.kernel.is_multiple_of(2) {
            return Err(ModelError::Compute(format!(
                "a kernel of {} positions has no middle",
                config.kernel
            )));
        }
        let sizes = (config.mels, config.channels, config.width);
        Ok(Self {
            subsample: Subsample::new(sizes, Activation::Relu, device),
            blocks: (0..config.layers)
                .map(|_| Block::new(config, device))
                .collect(),
            norm: LayerNorm::new(config.width, device),
            head: linear(config.width, config.spelling.classes(), device),
            config: config.clone(),
        })
    }

    /// Logits of shape `[examples, positions, tokens]`, and each example's positions.
    fn predict(&self, speech: &Speech, pass: &mut Pass) -> (Tensor<3>, Tensor<1, Int>) {
        let rate = pass.dropout(self.config.dropout);
        let mut features = speech.features.clone();
        if pass.is_training() {
            features = self.config.augment.apply(features, speech.frames.clone());
        }
        let Hidden {
            mut x,
            positions,
            mask,
        } = self.subsample.forward(
            speech,
            features,
            |x| {
                let [_, positions, width] = x.dims();
                let table = sines(positions, width, &x.device());
                x + table
            },
            rate,
        );
        let [examples, most, _] = x.dims();
        // 0 where a key may be looked at, a number that no softmax survives elsewhere.
        let bias = mask.clone().sub_scalar(1.0).mul_scalar(1e9);
        let bias = bias.reshape([examples, 1, 1, most]);
        for block in &self.blocks {
            x = block.forward(x, (mask.clone(), bias.clone()), rate, pass);
        }
        (apply_linear(&self.head, self.norm.forward(x)), positions)
    }
}

/// Sines of a position in the first half of the width and cosines in the second, with wavelengths from
/// `2 pi` to `10000 * 2 pi` (Vaswani et al. 2017, arXiv 1706.03762), shape `[1, positions, width]`.
fn sines(positions: usize, width: usize, device: &Device) -> Tensor<3> {
    let half = width / 2;
    let step = 10_000f64.ln() / (half.saturating_sub(1)).max(1) as f64;
    let rates: Vec<f64> = (0..half).map(|i| (-(i as f64) * step).exp()).collect();
    let mut values = Vec::with_capacity(positions * width);
    for position in 0..positions {
        let angle = |rate: &f64| position as f64 * rate;
        values.extend(rates.iter().map(|rate| angle(rate).sin() as f32));
        values.extend(rates.iter().map(|rate| angle(rate).cos() as f32));
        values.resize((position + 1) * width, 0.0);
    }
    Tensor::from_data(TensorData::new(values, [1, positions, width]), device)
}

impl Network for Conformer {
    fn losses(&self, batch: &Batch, pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        let speech = Speech::of(batch, self.config.mels)?;
        let (logits, positions) = self.predict(&speech, pass);
        Ok(ctc_losses(logits, positions, speech.tokens, speech.lengths))
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        evaluate(batches, self.config.mels, self.config.spelling, |speech| {
            self.predict(speech, &mut Pass::evaluation())
        })
    }

    fn update_norm(self, statistics: Vec<NormStatistics>) -> Self {
        let mut statistics = statistics.into_iter();
        let update = |mut block: Block| {
            block.convolution.batch_norm = block.convolution.batch_norm.update(&mut statistics);
            block
        };
        Self {
            blocks: self.blocks.into_iter().map(update).collect(),
            ..self
        }
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "head.weight").then_some(ParamKind::Head)
    }
}

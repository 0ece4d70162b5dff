//! A recogniser of bidirectional LSTMs.

use super::ctc::{Spelling, ctc_losses, evaluate};
use super::subsample::{self, Hidden, Subsample};
use super::{BiLstm, MaskedBatchNorm, SpecAugment, Speech, linear, lstm};
use crate::models::Activation;
use crate::models::parts::{LayerNorm, dropout};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{
    Batch, ModelError, Network, NormStatistics, ParamKind, Pass, apply_linear,
};
use velodrome_results::measures::Measures;

/// Sizes and choices of a [`DeepSpeech`].
#[derive(Debug, Clone, PartialEq)]
pub struct DeepSpeechConfig {
    /// Features of a frame.
    pub mels: usize,
    /// Channels of the convolutions at the entrance.
    pub channels: usize,
    /// Width of all layers; even, half of it for each direction of the LSTMs.
    pub width: usize,
    /// LSTM layers.
    pub lstm_layers: usize,
    /// Feed-forward layers.
    pub feed_forward_layers: usize,
    /// Whether the convolutions and feed-forward layers have hyperbolic tangents instead of ReLU.
    pub tanh: bool,
    /// Whether the layers are added to what they read.
    pub residual: bool,
    /// Whether a layer norm stands before the map to tokens.
    pub head_norm: bool,
    /// Whether the layers have layer norms instead of batch norms.
    pub layer_norms: bool,
    /// Masks over the features in training.
    pub augment: SpecAugment,
    /// Share of a batch's statistics in an update of the running ones.
    pub norm_share: f64,
    /// Dropout rate, unless the submission chooses one.
    pub dropout: f64,
    /// How tokens become text.
    pub spelling: Spelling,
}

impl DeepSpeechConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let d = self.width;
        let lstm = 2 * d + lstm::parameters(d, d / 2);
        let feed_forward = 2 * d + (d + 1) * d;
        subsample::parameters(self.mels, self.channels, d)
            + self.lstm_layers * lstm
            + self.feed_forward_layers * feed_forward
            + if self.head_norm { 2 * d } else { 0 }
            + (d + 1) * self.spelling.classes()
    }

    fn activation(&self) -> Activation {
        match self.tanh {
            true => Activation::Tanh,
            false => Activation::Relu,
        }
    }
}

/// The norm before a layer: one of the two.
#[derive(Module, Debug)]
struct Norm {
    batch: Option<MaskedBatchNorm>,
    layer: Option<LayerNorm>,
}

impl Norm {
    fn new(config: &DeepSpeechConfig, device: &Device) -> Self {
        let (d, layer) = (config.width, config.layer_norms);
        Self {
            batch: (!layer).then(|| MaskedBatchNorm::new(d, config.norm_share, device)),
            layer: layer.then(|| LayerNorm::new(d, device)),
        }
    }

    fn forward(&self, x: Tensor<3>, mask: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let x = match &self.batch {
            Some(norm) => norm.forward(x, mask, pass),
            None => x,
        };
        match &self.layer {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }

    fn update(self, statistics: &mut impl Iterator<Item = NormStatistics>) -> Self {
        Self {
            batch: self.batch.map(|norm| norm.update(statistics)),
            ..self
        }
    }
}

#[derive(Module, Debug)]
struct Recurrent {
    norm: Norm,
    lstm: BiLstm,
}

#[derive(Module, Debug)]
struct FeedForward {
    norm: Norm,
    map: Linear,
}

/// A recogniser after Deep Speech 2 (Amodei et al. 2015, arXiv 1512.02595), built as AlgoPerf's:
/// subsampling convolutions, normalised bidirectional LSTMs, feed-forward layers, a linear map to CTC's
/// tokens. Reads the fields that [`crate::data::speech`] describes.
#[derive(Module, Debug)]
pub struct DeepSpeech {
    subsample: Subsample,
    recurrent: Vec<Recurrent>,
    feed_forward: Vec<FeedForward>,
    norm: Option<LayerNorm>,
    head: Linear,
    #[module(skip)]
    config: DeepSpeechConfig,
}

impl DeepSpeech {
    /// Builds the model on `device`, whose seed decides the initial values. Fails for an odd width.
    pub fn new(config: &DeepSpeechConfig, device: &Device) -> Result<Self, ModelError> {
        let d = config.width;
        if !d.is_multiple_of(2) {
            return Err(ModelError::Compute(format!(
                "a width of {d} cannot be split between two directions"
            )));
        }
        Ok(Self {
            subsample: Subsample::new(
                (config.mels, config.channels, d),
                config.activation(),
                device,
            ),
            recurrent: (0..config.lstm_layers)
                .map(|_| Recurrent {
                    norm: Norm::new(config, device),
                    lstm: BiLstm::new(d, d / 2, device),
                })
                .collect(),
            feed_forward: (0..config.feed_forward_layers)
                .map(|_| FeedForward {
                    norm: Norm::new(config, device),
                    map: linear(d, d, device),
                })
                .collect(),
            norm: config.head_norm.then(|| LayerNorm::new(d, device)),
            head: linear(d, config.spelling.classes(), device),
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
        } = self.subsample.forward(speech, features, |x| x, rate);
        let join = |x: Tensor<3>, y: Tensor<3>| if self.config.residual { x + y } else { y };
        for layer in &self.recurrent {
            let y = layer.norm.forward(x.clone(), mask.clone(), pass);
            x = join(x, layer.lstm.forward(y, positions.clone()));
        }
        for layer in &self.feed_forward {
            let y = layer.norm.forward(x.clone(), mask.clone(), pass);
            let y = self.config.activation().apply(apply_linear(&layer.map, y)) * mask.clone();
            x = join(x, dropout(y, rate));
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(x);
        }
        (apply_linear(&self.head, x), positions)
    }
}

impl Network for DeepSpeech {
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
        let recurrent = self
            .recurrent
            .into_iter()
            .map(|layer| Recurrent {
                norm: layer.norm.update(&mut statistics),
                ..layer
            })
            .collect();
        let feed_forward = self
            .feed_forward
            .into_iter()
            .map(|layer| FeedForward {
                norm: layer.norm.update(&mut statistics),
                ..layer
            })
            .collect();
        Self {
            recurrent,
            feed_forward,
            ..self
        }
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "head.weight").then_some(ParamKind::Head)
    }
}

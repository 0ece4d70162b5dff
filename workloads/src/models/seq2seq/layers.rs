//! The layers of encoder and decoder.

use super::Seq2SeqConfig;
use super::attention::{Attention, KeyValues};
use crate::models::NormPlace;
use crate::models::parts::{Activation, LayerNorm, dropout};
use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::apply_linear;

fn linear(from: usize, to: usize, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(from, to)
        .with_initializer(Initializer::XavierUniform { gain: 1.0 })
        .init(device);
    let bias = Initializer::Normal {
        mean: 0.0,
        std: 1e-6,
    };
    linear.bias = Some(bias.init([to], device));
    linear
}

/// `down(f(up(x)))`, or `down(f(up(x)) * gate(x))` where it is gated (Dauphin et al. 2017, arXiv
/// 1612.08083; Shazeer 2020, arXiv 2002.05202).
#[derive(Module, Debug)]
struct FeedForward {
    up: Linear,
    gate: Option<Linear>,
    down: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    fn new(config: &Seq2SeqConfig, device: &Device) -> Self {
        let (d, f) = (config.width, config.feed_forward);
        Self {
            up: linear(d, f, device),
            gate: config.gated.then(|| linear(d, f, device)),
            down: linear(f, d, device),
            activation: config.activation,
        }
    }

    fn forward(&self, x: Tensor<3>, rate: f64) -> Tensor<3> {
        let mut hidden = self.activation.apply(apply_linear(&self.up, x.clone()));
        if let Some(gate) = &self.gate {
            hidden = hidden * apply_linear(gate, x);
        }
        apply_linear(&self.down, dropout(hidden, rate))
    }
}

/// A residual branch with its norm.
#[derive(Module, Debug)]
struct Residual {
    norm: LayerNorm,
    #[module(skip)]
    place: NormPlace,
}

impl Residual {
    fn new(config: &Seq2SeqConfig, device: &Device) -> Self {
        Self {
            norm: LayerNorm::new(config.width, device),
            place: config.norm,
        }
    }

    /// `x + branch(norm(x))` or `norm(x + branch(x))`.
    fn around(
        &self,
        x: Tensor<3>,
        rate: f64,
        branch: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        match self.place {
            NormPlace::Pre => x.clone() + dropout(branch(self.norm.forward(x)), rate),
            NormPlace::Post => self.norm.forward(x.clone() + dropout(branch(x), rate)),
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct EncoderLayer {
    norm1: Residual,
    attention: Attention,
    norm2: Residual,
    feed_forward: FeedForward,
}

impl EncoderLayer {
    pub(super) fn new(config: &Seq2SeqConfig, device: &Device) -> Self {
        Self {
            norm1: Residual::new(config, device),
            attention: Attention::new(config, device),
            norm2: Residual::new(config, device),
            feed_forward: FeedForward::new(config, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>, mask: &Tensor<4>, rate: f64) -> Tensor<3> {
        let x = self.norm1.around(x, rate, |x| {
            let seen = self.attention.key_values(x.clone());
            self.attention.attend(x, seen, Some(mask), rate)
        });
        self.norm2
            .around(x, rate, |x| self.feed_forward.forward(x, rate))
    }
}

/// What a decoder layer keeps between two steps of decoding.
#[derive(Debug, Clone)]
pub(super) struct LayerState {
    /// Of the encoder's output.
    source: KeyValues,
    /// Of the tokens so far.
    target: Option<KeyValues>,
}

impl LayerState {
    pub(super) fn select(self, rows: &burn::tensor::Tensor<1, burn::tensor::Int>) -> Self {
        Self {
            source: self.source.select(rows),
            target: self.target.map(|t| t.select(rows)),
        }
    }
}

/// The masks of a decoder: of the target's positions, and of the source's.
pub(super) struct DecoderMasks {
    pub(super) target: Option<Tensor<4>>,
    pub(super) source: Tensor<4>,
}

#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    norm1: Residual,
    attention: Attention,
    norm2: Residual,
    cross: Attention,
    norm3: Residual,
    feed_forward: FeedForward,
}

impl DecoderLayer {
    pub(super) fn new(config: &Seq2SeqConfig, device: &Device) -> Self {
        Self {
            norm1: Residual::new(config, device),
            attention: Attention::new(config, device),
            norm2: Residual::new(config, device),
            cross: Attention::new(config, device),
            norm3: Residual::new(config, device),
            feed_forward: FeedForward::new(config, device),
        }
    }

    /// The state before the first token.
    pub(super) fn start(&self, memory: Tensor<3>) -> LayerState {
        LayerState {
            source: self.cross.key_values(memory),
            target: None,
        }
    }

    /// `x`, `[examples, positions, width]`, behind what `state` has seen already, which grows.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        state: &mut LayerState,
        masks: &DecoderMasks,
        rate: f64,
    ) -> Tensor<3> {
        let x = self.norm1.around(x, rate, |x| {
            let new = self.attention.key_values(x.clone());
            let seen = match state.target.take() {
                Some(old) => old.followed_by(new),
                None => new,
            };
            state.target = Some(seen.clone());
            self.attention.attend(x, seen, masks.target.as_ref(), rate)
        });
        let x = self.norm2.around(x, rate, |x| {
            self.cross
                .attend(x, state.source.clone(), Some(&masks.source), rate)
        });
        self.norm3
            .around(x, rate, |x| self.feed_forward.forward(x, rate))
    }
}

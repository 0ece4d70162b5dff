//! Language models: causal transformers that predict the next byte of Shakespeare (`shakespeare_gpt`) and
//! of film reviews (`reviews_gpt`), and AlgoPerf's on FineWeb-Edu (`finewebedu_lm`).

use crate::data::{FineWeb, Reviews, Shakespeare};
use crate::family::{Build, Family, Variant};
use crate::models::{Activation, Gpt, GptConfig, NormKind, NormPlace, Positions};
use velodrome_harness::contract::{Size, Trained};

const KIND: &str = "language_model";
pub(crate) const BUILD: Build<GptConfig> =
    |config, device| Ok(Box::new(Trained::new(Gpt::new(config, device)?)));

/// The workload and its variants.
pub const LAPTOP: Family<GptConfig> = Family {
    base: "shakespeare_gpt",
    kind: KIND,
    size: Size::Laptop,
    summary: "Predict the next byte of Shakespeare's plays; a small causal transformer.",
    loss: "softmax cross entropy in nats per byte",
    unit: "bytes",
    split_sizes: Shakespeare::SPLIT_SIZES,
    data: Shakespeare::source,
    config,
    variants: VARIANTS,
    model: describe,
    parameters: GptConfig::parameters,
    targets: include_str!("../targets/shakespeare_gpt.toml"),
    open: |_, name| Ok(Shakespeare::open(name)?.into()),
    build: BUILD,
};

/// The same kind on film reviews, with the same variants.
pub const WORKSTATION: Family<GptConfig> = Family {
    base: "reviews_gpt",
    kind: KIND,
    size: Size::Workstation,
    summary: "Predict the next byte of film reviews; a causal transformer.",
    loss: "softmax cross entropy in nats per byte",
    unit: "bytes",
    split_sizes: Reviews::SPLIT_SIZES,
    data: Reviews::source,
    config: reviews,
    variants: VARIANTS,
    model: describe,
    parameters: GptConfig::parameters,
    targets: include_str!("../targets/reviews_gpt.toml"),
    open: |_, name| Ok(Reviews::open(name)?.into()),
    build: BUILD,
};

/// AlgoPerf's workload, which has no variants.
pub const ALGOPERF: Family<GptConfig> = Family {
    base: "finewebedu_lm",
    kind: KIND,
    size: Size::Algoperf,
    summary: "Predict the next token of educational web pages; AlgoPerf's causal transformer.",
    loss: "softmax cross entropy in nats per token",
    unit: "tokens",
    split_sizes: FineWeb::SPLIT_SIZES,
    data: FineWeb::source,
    config: finewebedu,
    variants: &[],
    model: describe,
    parameters: GptConfig::parameters,
    targets: include_str!("../targets/finewebedu_lm.toml"),
    open: |_, name| Ok(FineWeb::open_whole(name)?.into()),
    build: BUILD,
};

const VARIANTS: &[Variant<GptConfig>] = &[
    Variant::new(
        "postnorm",
        "norm placement: layer norms behind the residual sums instead of in the branches",
        |c| c.norm = NormPlace::Post,
    ),
    Variant::new(
        "small_init",
        "initial scale: standard deviation 0.005 instead of 0.05",
        |c| c.initial_std = 0.005,
    ),
    Variant::new(
        "attention_temperature",
        "attention temperature: 4 instead of 1",
        |c| c.attention_temperature = 4.0,
    ),
    Variant::new(
        "glu",
        "feed-forward part: hidden values multiplied by a linear map of the input instead of plain",
        |c| c.gated = true,
    ),
];

/// The base model of the laptop size.
pub fn config() -> GptConfig {
    GptConfig {
        vocabulary: Shakespeare::VOCABULARY,
        context: Shakespeare::CONTEXT,
        width: 64,
        heads: 2,
        layers: 2,
        feed_forward: 256,
        activation: Activation::Relu,
        gated: false,
        biases: true,
        norm: NormPlace::Pre,
        norm_kind: NormKind::Layer,
        positions: Positions::Learned,
        query_key_norm: false,
        attention_temperature: 1.0,
        tied: false,
        initial_std: 0.05,
        dropout: 0.0,
    }
}

/// The base model of the workstation size.
pub fn reviews() -> GptConfig {
    GptConfig {
        vocabulary: Reviews::VOCABULARY,
        context: Reviews::CONTEXT,
        width: 256,
        heads: 4,
        layers: 6,
        feed_forward: 1024,
        ..config()
    }
}

/// AlgoPerf's model. It computes in bfloat16 there, in 32 bits here.
pub fn finewebedu() -> GptConfig {
    GptConfig {
        vocabulary: FineWeb::VOCABULARY,
        context: FineWeb::CONTEXT,
        width: 1024,
        heads: 8,
        layers: 12,
        feed_forward: 4096,
        activation: Activation::Sigmoid,
        gated: true,
        biases: false,
        norm: NormPlace::Pre,
        norm_kind: NormKind::Rms,
        positions: Positions::Rotary { base: 500_000.0 },
        query_key_norm: true,
        attention_temperature: 1.0,
        tied: true,
        initial_std: 0.02,
        dropout: 0.0,
    }
}

pub(crate) fn describe(config: &GptConfig) -> String {
    let unit = if config.vocabulary > 256 {
        "tokens"
    } else {
        "bytes"
    };
    let mut text = format!(
        "transformer, {} layers, width {}, {} heads, {} {unit} of context, {:?}, {:?}-norm",
        config.layers, config.width, config.heads, config.context, config.activation, config.norm
    );
    for (there, words) in [
        (config.gated, ", gated"),
        (!config.biases, ", no biases"),
        (config.norm_kind == NormKind::Rms, ", RMS norms"),
        (config.positions != Positions::Learned, ", rotary positions"),
        (config.query_key_norm, ", normalised queries and keys"),
        (config.tied, ", head tied to the embedding"),
    ] {
        if there {
            text += words;
        }
    }
    if config.attention_temperature != 1.0 {
        text += &format!(", attention temperature {}", config.attention_temperature);
    }
    text
}

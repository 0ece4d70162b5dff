//! `shakespeare_gpt` and its variants: bytes of Shakespeare, a small causal transformer.

use crate::data::Shakespeare;
use crate::family::{Family, Variant};
use crate::models::{Activation, Gpt, GptConfig, NormPlace};
use velodrome_harness::contract::{Size, Trained};

/// The workload and its variants.
pub const LAPTOP: Family<GptConfig> = Family {
    base: "shakespeare_gpt",
    kind: "language_model",
    size: Size::Laptop,
    summary: "Predict the next byte of Shakespeare's plays; a small causal transformer.",
    loss: "softmax cross entropy in nats per byte",
    unit: "bytes",
    split_sizes: Shakespeare::SPLIT_SIZES,
    data: Shakespeare::source,
    config,
    variants: &[
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
    ],
    model: describe,
    parameters: GptConfig::parameters,
    targets: include_str!("../targets/shakespeare_gpt.toml"),
    open: |_, name| Ok(Shakespeare::open(name)?.into()),
    build: |config, device| Ok(Box::new(Trained::new(Gpt::new(config, device)?))),
};

/// The base model.
pub fn config() -> GptConfig {
    GptConfig {
        vocabulary: Shakespeare::VOCABULARY,
        context: Shakespeare::CONTEXT,
        width: 64,
        heads: 2,
        layers: 2,
        feed_forward: 256,
        activation: Activation::Relu,
        norm: NormPlace::Pre,
        initial_std: 0.05,
        dropout: 0.0,
    }
}

fn describe(config: &GptConfig) -> String {
    format!(
        "transformer, {} layers, width {}, {} heads, {} bytes of context, {:?}, {:?}-norm",
        config.layers, config.width, config.heads, config.context, config.activation, config.norm
    )
}

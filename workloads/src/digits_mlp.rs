//! `digits_mlp` and its variants: handwritten digits, a small multilayer perceptron.

use crate::data::Digits;
use crate::family::{Family, Variant};
use crate::models::{Activation, Mlp, MlpConfig};
use velodrome_harness::contract::{Size, Trained};

/// The workload and its variants.
pub const LAPTOP: Family<MlpConfig> = Family {
    base: "digits_mlp",
    kind: "digits",
    size: Size::Laptop,
    summary: "Classify 8x8 images of handwritten digits; seconds per trial.",
    loss: "softmax cross entropy",
    unit: "images",
    split_sizes: Digits::SPLIT_SIZES,
    data: Digits::source,
    config,
    variants: &[
        Variant::new("tanh", "activation: tanh instead of ReLU", |c| {
            c.activation = Activation::Tanh;
        }),
        Variant::new(
            "narrow",
            "width: hidden layers of 128 and 64 instead of 512 and 256",
            |c| c.hidden = vec![128, 64],
        ),
    ],
    model: describe,
    parameters: MlpConfig::parameters,
    targets: include_str!("../targets/digits_mlp.toml"),
    open: |_, name| Ok(Digits::open(name)?.into()),
    build: |config, device| Ok(Box::new(Trained::new(Mlp::new(config, device)))),
};

/// The base model.
pub fn config() -> MlpConfig {
    MlpConfig {
        input: Digits::PIXELS,
        hidden: vec![512, 256],
        classes: Digits::CLASSES,
        activation: Activation::Relu,
        dropout: 0.0,
    }
}

fn describe(config: &MlpConfig) -> String {
    let hidden: Vec<String> = config.hidden.iter().map(usize::to_string).collect();
    format!(
        "multilayer perceptron {}-{}-{}, {:?}",
        config.input,
        hidden.join("-"),
        config.classes,
        config.activation
    )
}

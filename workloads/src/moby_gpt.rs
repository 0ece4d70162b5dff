//! Fine-tuning a language model: a causal transformer over bytes that was pretrained on Shakespeare's
//! plays reads Melville's prose (`moby_gpt`). `examples/pretrain.rs` is the recipe of the weights.

use crate::data::{Embedded, MobyDick, Prose, Shakespeare};
use crate::family::{Family, Variant};
use crate::models::GptConfig;
use crate::pretrained::{FineTuned, Pretrained, Recipe};
use crate::shakespeare_gpt;
use std::sync::Arc;
use velodrome_harness::contract::Size;

/// The workload and its variants.
pub const LAPTOP: FineTuned<GptConfig> = FineTuned {
    family: Family {
        base: "moby_gpt",
        kind: "language_model_tuning",
        size: Size::Laptop,
        summary: "Predict the next byte of Moby-Dick, from weights that were pretrained on Shakespeare.",
        loss: "softmax cross entropy in nats per byte",
        unit: "bytes",
        split_sizes: MobyDick::SPLIT_SIZES,
        data: MobyDick::source,
        config,
        variants: VARIANTS,
        model: shakespeare_gpt::describe,
        parameters: GptConfig::parameters,
        targets: include_str!("../targets/moby_gpt.toml"),
        open: |_, name| Ok(MobyDick::open(name)?.into()),
        build: shakespeare_gpt::BUILD,
    },
    pretrained: Pretrained {
        file: WEIGHTS,
        new_head: false,
        retained: |name| Ok(Arc::new(Shakespeare::open_bytes(name)?.validation)),
    },
};

/// How the weights were made.
pub const RECIPE: Recipe = Recipe {
    workload: &LAPTOP,
    open: |name| Ok(Shakespeare::open_bytes(name)?.into()),
    batch_size: 32,
    steps: 2000,
    learning_rate: 2e-3,
};

/// The weights that the recipe gave.
pub const WEIGHTS: Embedded = Embedded::new(
    "shakespeare_bytes_gpt.bf16.gz",
    "c49f6c81297546747c21c97322e8cf7ea5eb1821891fd05ed74b35c44c82c38d",
    include_bytes!("../data/shakespeare_bytes_gpt.bf16.gz"),
);

/// The same model and data: the file of targets says how much may train.
const VARIANTS: &[Variant<GptConfig>] = &[Variant {
    drawn: false,
    ..Variant::new(
        "lean",
        "trainable elements: at most 10 % of the model's instead of all",
        |_| {},
    )
}];

/// The model: some million parameters, over bytes.
pub fn config() -> GptConfig {
    GptConfig {
        vocabulary: Prose::VOCABULARY,
        context: Prose::CONTEXT,
        width: 128,
        heads: 4,
        layers: 5,
        feed_forward: 512,
        ..shakespeare_gpt::config()
    }
}

//! Fine-tuning an image model: a vision transformer that was pretrained on trousers, shoes and bags tells
//! upper garments apart (`garments_vit`). `examples/pretrain.rs` follows the recipe of the weights.

use crate::data::{Embedded, Fashion};
use crate::family::{Family, Variant};
use crate::fashion_vit;
use crate::models::VitConfig;
use crate::pretrained::{FineTuned, Pretrained, Recipe};
use std::sync::Arc;
use velodrome_harness::contract::Size;

/// The workload and its variants.
pub const LAPTOP: FineTuned<VitConfig> = FineTuned {
    family: Family {
        base: "garments_vit",
        kind: "image_tuning",
        size: Size::Laptop,
        summary: "Tell T-shirts, pullovers, dresses, coats and shirts apart, from weights that were pretrained on other clothes.",
        loss: "softmax cross entropy",
        unit: "images",
        split_sizes: Fashion::HALF_SIZES,
        data: Fashion::source,
        config,
        variants: VARIANTS,
        model: fashion_vit::describe,
        parameters: VitConfig::parameters,
        targets: include_str!("../targets/garments_vit.toml"),
        open: |_, name| Ok(Fashion::open_half(name, true)?.into()),
        build: fashion_vit::BUILD,
    },
    pretrained: Pretrained {
        file: WEIGHTS,
        new_head: true,
        retained: |name| {
            let others = Fashion::open_half(name, false)?;
            Ok(Arc::new(others.validation))
        },
    },
};

/// How the weights were made.
pub const RECIPE: Recipe = Recipe {
    workload: &LAPTOP,
    open: |name| Ok(Fashion::open_half(name, false)?.into()),
    batch_size: 64,
    steps: 1000,
    learning_rate: 1e-3,
};

/// The weights that the recipe gave.
pub const WEIGHTS: Embedded = Embedded::new(
    "fashion_others_vit.bf16.gz",
    "2c194c75c7c48846dd52a695b555455400a6d051f3a71416189c622bb9221d96",
    include_bytes!("../data/fashion_others_vit.bf16.gz"),
);

/// The same model and data: the file of targets says how much may train.
const VARIANTS: &[Variant<VitConfig>] = &[Variant {
    drawn: false,
    ..Variant::new(
        "lean",
        "trainable elements: at most 10 % of the model's instead of all",
        |_| {},
    )
}];

/// The model, with outputs of their own for the two halves of the classes: wider and deeper than `fashion_vit`'s, 0.8 million parameters.
fn config() -> VitConfig {
    VitConfig {
        width: 128,
        heads: 4,
        layers: 4,
        feed_forward: 512,
        classes: Fashion::UPPER.len(),
        tasks: 2,
        ..fashion_vit::fashion()
    }
}

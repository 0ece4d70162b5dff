//! `modular_gpt` and its variants: addition modulo a prime, learnt from a part of its table by a small
//! causal transformer. The task on which grokking was found (Power et al. 2022, arXiv 2201.02177): the
//! training equations are known by heart long before the others are solved, and then those are solved
//! all at once. The target is on the others, so that a time to it is a time to grok.
//!
//! Weights and sizes follow the paper at a smaller width; all numbers of one sum are on one side of the
//! split, which the paper's split by chance does not see to.

use crate::data::{Modular, Operation};
use crate::family::{Family, Variant};
use crate::models::{Activation, Answer, AnswerConfig, GptConfig, NormPlace};
use crate::shakespeare_gpt;
use velodrome_harness::contract::{Size, Trained};

/// The table and the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModularConfig {
    /// What the table holds.
    pub operation: Operation,
    /// The model.
    pub model: AnswerConfig,
}

/// The workload and its variants.
pub const LAPTOP: Family<ModularConfig> = Family {
    base: "modular_gpt",
    kind: "theory",
    size: Size::Laptop,
    summary: "Solve unseen additions modulo 97; a small causal transformer that must grok.",
    loss: "softmax cross entropy",
    unit: "equations",
    split_sizes: Modular::SPLIT_SIZES,
    data: Modular::source,
    config,
    variants: &[
        Variant::new("minus", "operation: a - b instead of a + b", |c| {
            c.operation = Operation::Subtract;
        }),
        Variant::new(
            "lazy",
            "output scale: logits multiplied by 2 instead of 1",
            |c| c.model.output_scale = 2.0,
        ),
        Variant::new(
            "large_init",
            "initial scale: standard deviation 0.07 instead of 0.05",
            |c| c.model.gpt.initial_std = 0.07,
        ),
    ],
    model: describe,
    parameters: |config| config.model.parameters(),
    targets: include_str!("../targets/modular_gpt.toml"),
    open: |config, name| Ok(Modular::open(name, config.operation)?.into()),
    build: |config, device| Ok(Box::new(Trained::new(Answer::new(&config.model, device)?))),
};

/// The base: one layer; the paper has two of twice the width.
pub fn config() -> ModularConfig {
    ModularConfig {
        operation: Operation::Add,
        model: AnswerConfig {
            gpt: GptConfig {
                vocabulary: Modular::VOCABULARY,
                context: Modular::CONTEXT,
                width: 64,
                heads: 4,
                layers: 1,
                feed_forward: 256,
                activation: Activation::Relu,
                norm: NormPlace::Pre,
                initial_std: 0.05,
                ..shakespeare_gpt::config()
            },
            output_scale: 1.0,
        },
    }
}

fn describe(config: &ModularConfig) -> String {
    let gpt = &config.model.gpt;
    format!(
        "transformer, {} layers, width {}, {} heads, reads a {} b, {:?}, {:?}-norm, logits times {}",
        gpt.layers,
        gpt.width,
        gpt.heads,
        config.operation.sign(),
        gpt.activation,
        gpt.norm,
        config.model.output_scale
    )
}

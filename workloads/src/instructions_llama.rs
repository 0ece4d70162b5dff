//! Fine-tuning a language model: SmolLM2-135M-Instruct, as it was published, learns to answer questions
//! in another manner than its own.
//!
//! The weights (Apache-2.0) are published in blocks of 4 bits, the table of tokens in 8. They are
//! widened to 32 bits when a trial begins; what is trained and stored after that is not quantised. The
//! loss on prose, which they know and the questions do not train, tells what a trial forgets.

use crate::data::fetched::SMOLLM2;
use crate::data::{Gguf, Instructions, SMOLLM2_MODEL};
use crate::family::{Family, Variant};
use crate::models::{Llama, LlamaConfig};
use crate::published::Published;
use burn::tensor::Device;
use std::sync::Arc;
use velodrome_harness::contract::{Model, ModelError, Size, Trained};

/// Tokens of a chat that are read; half of the chats are longer.
const CONTEXT: usize = 128;
/// Tokens of an example: the last one is predicted and not read.
const LENGTH: usize = CONTEXT + 1;

/// SmolLM2 on the chats of InstructLab.
pub const WORKSTATION: Published<LlamaConfig> = Published {
    new_head: false,
    retained: Some(|name| Ok(Arc::new(Instructions::retained(name, LENGTH)?))),
    family: Family {
        base: "instructions_llama",
        kind: "language_model_tuning",
        size: Size::Workstation,
        summary: "Answer questions as another language model does, from the published weights of SmolLM2.",
        loss: "softmax cross entropy of the answers' tokens",
        unit: "tokens",
        split_sizes: Instructions::SIZES,
        data: Instructions::source,
        config,
        variants: VARIANTS,
        model: describe,
        parameters: LlamaConfig::parameters,
        targets: include_str!("../targets/instructions_llama.toml"),
        open: |config, name| Ok(Instructions::open(name, config.context + 1)?.into()),
        build,
    },
};

/// The same model and data: the file of targets says how much may train.
const VARIANTS: &[Variant<LlamaConfig>] = &[Variant {
    drawn: false,
    ..Variant::new(
        "lean",
        "trainable elements: at most 2 % of the model's instead of all",
        |_| {},
    )
}];

/// The published model.
pub fn config() -> LlamaConfig {
    LlamaConfig::smollm2(CONTEXT)
}

fn describe(config: &LlamaConfig) -> String {
    format!(
        "Llama, {} layers, width {}, {} heads of queries and {} of keys, {} tokens of context, Silu, gated, \
         no biases, RMS norms, rotary positions, head tied to the embedding, published weights",
        config.layers, config.width, config.heads, config.shared_heads, config.context
    )
}

/// The published model from the fetched set `smollm2`.
fn build(config: &LlamaConfig, device: &Device) -> Result<Box<dyn Model>, ModelError> {
    Ok(Box::new(Trained::new(published(config, device)?)))
}

/// The model with the weights of SmolLM2-135M-Instruct, from the fetched set `smollm2`. Fails where that
/// is not in the cache, and where the configuration is another model's.
pub fn published(config: &LlamaConfig, device: &Device) -> Result<Llama, ModelError> {
    let archive = SMOLLM2.packages[0].archive;
    let file = SMOLLM2
        .content(archive, SMOLLM2_MODEL)
        .map_err(|e| ModelError::Compute(e.to_string()))?;
    let fault = |e: String| ModelError::Compute(format!("{archive}: {SMOLLM2_MODEL}: {e}"));
    let file = Gguf::read(&file).map_err(|e| fault(e.to_string()))?;
    Llama::load(config, &file, device).map_err(|e| fault(e.to_string()))
}

#[cfg(test)]
mod tests;

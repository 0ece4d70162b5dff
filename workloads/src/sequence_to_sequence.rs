//! Sequence to sequence: encoder-decoder transformers. `cmudict_transformer` spells English words in
//! phonemes, `catalogues_transformer` translates software messages from English to French,
//! `wmt_transformer` is AlgoPerf's workload, German to English.

use crate::data::{Catalogues, CmuDict, Wmt};
use crate::family::{Family, Variant};
use crate::models::{Activation, NormPlace, Scoring, Search, Seq2SeqConfig, Transformer};
use burn::tensor::Device;
use velodrome_harness::contract::{Model, ModelError, Size, Trained};

const KIND: &str = "sequence_to_sequence";
const LOSS: &str = "softmax cross entropy in nats per target token";

/// Spelling to phonemes, and its variants.
pub const LAPTOP: Family<Seq2SeqConfig> = Family {
    base: "cmudict_transformer",
    kind: KIND,
    size: Size::Laptop,
    summary: "Spell English words in phonemes; a small encoder-decoder transformer, greedy decoding.",
    loss: LOSS,
    unit: "phonemes",
    split_sizes: CmuDict::SPLIT_SIZES,
    data: CmuDict::source,
    config: cmudict,
    variants: &[
        Variant::new(
            "post_ln",
            "norm placement: layer norms behind the residual sums instead of in the branches",
            |c| c.norm = NormPlace::Post,
        ),
        Variant::new(
            "attention_temperature",
            "attention temperature: 4 instead of 1",
            |c| c.attention_temperature = 4.0,
        ),
        Variant::new(
            "glu_tanh",
            "feed-forward parts: gated with tanh instead of ReLU without gates",
            gate,
        ),
    ],
    model: describe,
    parameters: Seq2SeqConfig::parameters,
    targets: include_str!("../targets/cmudict_transformer.toml"),
    open: |name| Ok(CmuDict::open(name)?.into()),
    build,
};

fn build(config: &Seq2SeqConfig, device: &Device) -> Result<Box<dyn Model>, ModelError> {
    Ok(Box::new(Trained::new(Transformer::new(config, device)?)))
}

/// The base model of the laptop size.
pub fn cmudict() -> Seq2SeqConfig {
    Seq2SeqConfig {
        source_vocabulary: CmuDict::LETTERS,
        target_vocabulary: CmuDict::SOUNDS,
        shared_embedding: false,
        max_length: CmuDict::MAX_LENGTH,
        width: 64,
        heads: 4,
        layers: 2,
        feed_forward: 128,
        activation: Activation::Relu,
        gated: false,
        norm: NormPlace::Pre,
        attention_temperature: 1.0,
        dropout: 0.0,
        search: Search {
            beam: 1,
            length_penalty: 0.0,
            max_length: CmuDict::MAX_LENGTH,
        },
        scoring: Scoring::EditRate("phoneme_error_rate"),
    }
}

fn gate(config: &mut Seq2SeqConfig) {
    config.activation = Activation::Tanh;
    config.gated = true;
}

fn describe(config: &Seq2SeqConfig) -> String {
    let search = match config.search.beam {
        0 | 1 => "greedy".to_string(),
        beam => format!("beam {beam}, length penalty {}", config.search.length_penalty),
    };
    format!(
        "encoder-decoder transformer, {}+{} layers, width {}, {} heads, feed-forward {}{}, {:?}, \
         {:?}-norm, attention temperature {}, {} embedding, {search}",
        config.layers,
        config.layers,
        config.width,
        config.heads,
        config.feed_forward,
        if config.gated { " gated" } else { "" },
        config.activation,
        config.norm,
        config.attention_temperature,
        if config.shared_embedding { "shared" } else { "separate" },
    )
}

//! Sequence to sequence: encoder-decoder transformers. `cmudict_transformer` spells English words in
//! phonemes, `catalogues_transformer` translates software messages from English to French,
//! `wmt_transformer` is AlgoPerf's workload, German to English.

use crate::data::{Catalogues, CmuDict, TokenText, Wmt};
use crate::family::{Family, Variant};
use crate::models::{Activation, NormPlace, Scoring, Search, Seq2SeqConfig, Transformer};
use burn::tensor::Device;
use std::sync::Arc;
use velodrome_harness::contract::{Model, ModelError, Size, Trained, WorkloadError};

const KIND: &str = "sequence_to_sequence";
const LOSS: &str = "softmax cross entropy in nats per target token";

const POST_LN: Variant<Seq2SeqConfig> = Variant::new(
    "post_ln",
    "norm placement: layer norms behind the residual sums instead of in the branches",
    |c| c.norm = NormPlace::Post,
);
const GLU_TANH: Variant<Seq2SeqConfig> = Variant::new(
    "glu_tanh",
    "feed-forward parts: gated with tanh instead of ReLU without gates",
    |c| {
        c.activation = Activation::Tanh;
        c.gated = true;
    },
);
const TEMPERATURE: &str = "attention temperature: 4 instead of 1";

/// Spelling to phonemes.
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
        POST_LN,
        Variant::new("attention_temperature", TEMPERATURE, hot),
        GLU_TANH,
    ],
    model: describe,
    parameters: Seq2SeqConfig::parameters,
    targets: include_str!("../targets/cmudict_transformer.toml"),
    open: |_, name| Ok(CmuDict::open(name)?.into()),
    build,
};

/// English to French.
pub const WORKSTATION: Family<Seq2SeqConfig> = Family {
    base: "catalogues_transformer",
    kind: KIND,
    size: Size::Workstation,
    summary: "Translate messages of programs from English to French; an encoder-decoder transformer.",
    loss: LOSS,
    unit: "tokens",
    split_sizes: Catalogues::SPLIT_SIZES,
    data: Catalogues::source,
    config: catalogues,
    variants: &[],
    model: describe,
    parameters: Seq2SeqConfig::parameters,
    targets: include_str!("../targets/catalogues_transformer.toml"),
    open: |_, name| Ok(Catalogues::open(name)?.into()),
    build,
};

/// AlgoPerf's WMT workload with its variants.
pub const ALGOPERF: Family<Seq2SeqConfig> = Family {
    base: "wmt_transformer",
    kind: KIND,
    size: Size::Algoperf,
    summary: "Translate news from German to English; AlgoPerf's transformer, beam search.",
    loss: LOSS,
    unit: "tokens",
    split_sizes: Wmt::SPLIT_SIZES,
    data: Wmt::source,
    config: wmt,
    variants: &[
        POST_LN,
        Variant::new("attention_temp", TEMPERATURE, hot),
        GLU_TANH,
    ],
    model: describe,
    parameters: Seq2SeqConfig::parameters,
    targets: include_str!("../targets/wmt_transformer.toml"),
    open: |_, name| Ok(Wmt::open_folder(name)?.into()),
    build,
};

fn hot(config: &mut Seq2SeqConfig) {
    config.attention_temperature = 4.0;
}

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

/// The model of the workstation size.
pub fn catalogues() -> Seq2SeqConfig {
    Seq2SeqConfig {
        source_vocabulary: Catalogues::VOCABULARY,
        target_vocabulary: Catalogues::VOCABULARY,
        shared_embedding: true,
        max_length: Catalogues::MAX_LENGTH,
        width: 256,
        heads: 4,
        layers: 4,
        feed_forward: 1024,
        dropout: 0.1,
        search: Search {
            beam: 1,
            length_penalty: 0.0,
            max_length: Catalogues::MAX_LENGTH,
        },
        scoring: Scoring::Bleu(|| text(Catalogues::text(WORKSTATION.base))),
        ..cmudict()
    }
}

/// AlgoPerf's model: 6+6 layers, width 1024, beam 4 with length penalty 0.6.
pub fn wmt() -> Seq2SeqConfig {
    Seq2SeqConfig {
        source_vocabulary: Wmt::VOCABULARY,
        target_vocabulary: Wmt::VOCABULARY,
        max_length: Wmt::MAX_LENGTH,
        width: 1024,
        heads: 16,
        layers: 6,
        search: Search {
            beam: 4,
            length_penalty: 0.6,
            max_length: Wmt::MAX_LENGTH,
        },
        scoring: Scoring::Bleu(|| text(Wmt::text(ALGOPERF.base))),
        ..catalogues()
    }
}

fn text(
    found: Result<Arc<dyn TokenText>, WorkloadError>,
) -> Result<Arc<dyn TokenText>, ModelError> {
    found.map_err(|e| ModelError::Compute(e.to_string()))
}

fn describe(config: &Seq2SeqConfig) -> String {
    let search = match config.search.beam {
        0 | 1 => "greedy".to_string(),
        beam => format!(
            "beam {beam}, length penalty {}",
            config.search.length_penalty
        ),
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
        if config.shared_embedding {
            "shared"
        } else {
            "separate"
        },
    )
}

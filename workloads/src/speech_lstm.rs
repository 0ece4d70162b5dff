//! `speech_lstm`, `speech_prompts_lstm` and `librispeech_deepspeech` with their variants: speech to text,
//! bidirectional LSTMs with CTC.

use crate::data::fetched::{PROMPTS, folder};
use crate::data::speech::{AsteriskSounds, ENGLISH, FIVE_LANGUAGES, LibriSpeech, SpokenPrompts};
use crate::family::{Family, Variant};
use crate::models::speech::{DeepSpeech, DeepSpeechConfig, SpecAugment, Spelling};
use velodrome_harness::contract::{Size, Trained};

/// The variants that AlgoPerf has; the last one has other masks at each size.
macro_rules! variants {
    ($masks:literal, $bands:literal, $times:literal) => {
        &[
            Variant::new(
                "tanh",
                "activation: hyperbolic tangent instead of ReLU",
                |c: &mut DeepSpeechConfig| c.tanh = true,
            ),
            Variant::new(
                "no_resnet",
                "residual connections: none instead of one around each layer",
                |c: &mut DeepSpeechConfig| c.residual = false,
            ),
            Variant::new("norm_and_spec_aug", $masks, |c: &mut DeepSpeechConfig| {
                (c.head_norm, c.layer_norms) = (false, true);
                (c.augment.band_masks, c.augment.time_masks) = ($bands, $times);
            }),
        ]
    };
}

/// On embedded prompts of spoken digits, letters and words.
pub const LAPTOP: Family<DeepSpeechConfig> = Family {
    base: "speech_lstm",
    kind: "speech_lstm",
    size: Size::Laptop,
    summary: "Write down prompts of one to three recorded digits, letters and words; small LSTMs.",
    loss: "CTC loss in nats per character",
    unit: "characters",
    split_sizes: SpokenPrompts::SPLIT_SIZES,
    data: SpokenPrompts::source,
    config: || DeepSpeechConfig {
        mels: SpokenPrompts::MELS,
        channels: 16,
        width: 64,
        lstm_layers: 2,
        feed_forward_layers: 1,
        tanh: false,
        residual: true,
        head_norm: true,
        layer_norms: false,
        augment: SpecAugment {
            band_masks: 0,
            bands: 8,
            time_masks: 0,
            time_ratio: 0.05,
        },
        norm_share: 0.1,
        dropout: 0.0,
        spelling: Spelling::Characters(ENGLISH),
    },
    variants: variants!(
        "norms and masks: layer norms instead of batch norms, none before the head, and one mask over \
         bands and two over time instead of none",
        1,
        2
    ),
    model: describe,
    parameters: DeepSpeechConfig::parameters,
    targets: include_str!("../targets/speech_lstm.toml"),
    open: |_, name| SpokenPrompts::open(name),
    build: |config, device| Ok(Box::new(Trained::new(DeepSpeech::new(config, device)?))),
};

/// On two hours of prompts in five languages.
pub const WORKSTATION: Family<DeepSpeechConfig> = Family {
    base: "speech_prompts_lstm",
    size: Size::Workstation,
    summary: "Write down whole prompts in five languages; bidirectional LSTMs.",
    split_sizes: AsteriskSounds::SPLIT_SIZES,
    data: || PROMPTS.source(),
    config: || DeepSpeechConfig {
        channels: 64,
        width: 256,
        lstm_layers: 4,
        feed_forward_layers: 2,
        augment: SpecAugment {
            band_masks: 2,
            bands: 13,
            time_masks: 10,
            time_ratio: 0.05,
        },
        norm_share: 0.01,
        dropout: 0.1,
        spelling: Spelling::Characters(FIVE_LANGUAGES),
        ..(LAPTOP.config)()
    },
    variants: &[],
    targets: include_str!("../targets/speech_prompts_lstm.toml"),
    open: |_, name| {
        AsteriskSounds::open(name, &mut |archive, accept| {
            PROMPTS.members(name, archive, accept)
        })
    },
    ..LAPTOP
};

/// AlgoPerf's LibriSpeech DeepSpeech.
pub const ALGOPERF: Family<DeepSpeechConfig> = Family {
    base: "librispeech_deepspeech",
    size: Size::Algoperf,
    summary: "Write down English audiobooks; the DeepSpeech of AlgoPerf.",
    loss: "CTC loss in nats per word piece",
    unit: "word pieces",
    split_sizes: LibriSpeech::SPLIT_SIZES,
    data: LibriSpeech::source,
    config: || DeepSpeechConfig {
        mels: LibriSpeech::MELS,
        channels: 512,
        width: 512,
        lstm_layers: 6,
        feed_forward_layers: 3,
        augment: SpecAugment {
            band_masks: 2,
            bands: 27,
            time_masks: 10,
            time_ratio: 0.05,
        },
        norm_share: 0.001,
        dropout: 0.1,
        spelling: Spelling::Pieces(LibriSpeech::FOLDER),
        ..(LAPTOP.config)()
    },
    variants: variants!(
        "norms and masks: layer norms instead of batch norms, none before the head, and 4 masks over \
         bands and 15 over time instead of 2 and 10",
        4,
        15
    ),
    targets: include_str!("../targets/librispeech_deepspeech.toml"),
    open: |_, name| LibriSpeech::open(name, &folder(LibriSpeech::FOLDER)),
    ..LAPTOP
};

fn describe(config: &DeepSpeechConfig) -> String {
    format!(
        "{} bidirectional LSTMs and {} feed-forward layers, width {}, {} norm, {}, {} tokens, CTC",
        config.lstm_layers,
        config.feed_forward_layers,
        config.width,
        if config.layer_norms { "layer" } else { "batch" },
        if config.tanh { "tanh" } else { "ReLU" },
        config.spelling.classes()
    )
}

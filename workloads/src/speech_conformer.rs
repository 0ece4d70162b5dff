//! `speech_conformer`, `speech_prompts_conformer` and `librispeech_conformer` with their variants: speech
//! to text, a Conformer with CTC.

use crate::data::fetched::{PROMPTS, folder};
use crate::data::speech::{AsteriskSounds, ENGLISH, FIVE_LANGUAGES, LibriSpeech, SpokenPrompts};
use crate::family::{Family, Variant};
use crate::models::Activation;
use crate::models::speech::{Conformer, ConformerConfig, SpecAugment, Spelling};
use velodrome_harness::contract::{Size, Trained};

/// The variants that AlgoPerf has. It leaves the last one out of its draws.
const VARIANTS: &[Variant<ConformerConfig>] = &[
    Variant::new(
        "attention_temperature",
        "attention temperature: 1.6 instead of 1",
        |c| c.attention_temperature = 1.6,
    ),
    Variant::new(
        "layernorm",
        "norm placement: no layer norm at the end of each block instead of one",
        |c| c.final_norm = false,
    ),
    Variant {
        suffix: "gelu",
        change: "activation: GELU (through a hyperbolic tangent) instead of swish",
        edit: |c| c.activation = Activation::GeluTanh,
        drawn: false,
    },
];

/// On embedded prompts of spoken digits, letters and words.
pub const LAPTOP: Family<ConformerConfig> = Family {
    base: "speech_conformer",
    kind: "speech_conformer",
    size: Size::Laptop,
    summary: "Write down prompts of one to three recorded digits, letters and words; a small Conformer.",
    loss: "CTC loss in nats per character",
    unit: "characters",
    split_sizes: SpokenPrompts::SPLIT_SIZES,
    data: SpokenPrompts::source,
    config: || ConformerConfig {
        mels: SpokenPrompts::MELS,
        channels: 16,
        width: 64,
        heads: 2,
        layers: 2,
        feed_forward: 128,
        kernel: 5,
        activation: Activation::Silu,
        attention_temperature: 1.0,
        final_norm: true,
        augment: SpecAugment::NONE,
        norm_share: 0.1,
        dropout: 0.0,
        spelling: Spelling::Characters(ENGLISH),
    },
    variants: VARIANTS,
    model: describe,
    parameters: ConformerConfig::parameters,
    targets: include_str!("../targets/speech_conformer.toml"),
    open: |_, name| SpokenPrompts::open(name),
    build: |config, device| Ok(Box::new(Trained::new(Conformer::new(config, device)?))),
};

/// On two hours of prompts in five languages.
pub const WORKSTATION: Family<ConformerConfig> = Family {
    base: "speech_prompts_conformer",
    size: Size::Workstation,
    summary: "Write down whole prompts in five languages; a Conformer.",
    split_sizes: AsteriskSounds::SPLIT_SIZES,
    data: || PROMPTS.source(),
    config: || ConformerConfig {
        channels: 64,
        width: 144,
        heads: 4,
        layers: 4,
        feed_forward: 576,
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
    targets: include_str!("../targets/speech_prompts_conformer.toml"),
    open: |_, name| {
        AsteriskSounds::open(name, &mut |archive, accept| {
            PROMPTS.members(name, archive, accept)
        })
    },
    ..LAPTOP
};

/// AlgoPerf's LibriSpeech Conformer.
pub const ALGOPERF: Family<ConformerConfig> = Family {
    base: "librispeech_conformer",
    size: Size::Algoperf,
    summary: "Write down English audiobooks; the Conformer of AlgoPerf.",
    loss: "CTC loss in nats per word piece",
    unit: "word pieces",
    split_sizes: LibriSpeech::SPLIT_SIZES,
    data: LibriSpeech::source,
    config: || ConformerConfig {
        mels: LibriSpeech::MELS,
        channels: 512,
        width: 512,
        heads: 8,
        layers: 4,
        feed_forward: 2048,
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
    targets: include_str!("../targets/librispeech_conformer.toml"),
    open: |_, name| LibriSpeech::open(name, &folder(LibriSpeech::FOLDER)),
    ..LAPTOP
};

fn describe(config: &ConformerConfig) -> String {
    format!(
        "Conformer, {} blocks, width {}, {} heads, {:?}, {} tokens, CTC",
        config.layers,
        config.width,
        config.heads,
        config.activation,
        config.spelling.classes()
    )
}

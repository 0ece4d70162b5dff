use super::*;
use velodrome_harness::contract::{HostBatch, HostField, HostValues, Model, ParamKind, Trained};

/// A small model of the plain kind.
pub(super) fn tiny(norm: NormPlace) -> GptConfig {
    GptConfig {
        vocabulary: 7,
        context: 6,
        width: 8,
        heads: 2,
        layers: 2,
        feed_forward: 16,
        activation: Activation::Gelu,
        norm,
        initial_std: 0.3,
        ..crate::shakespeare_gpt::config()
    }
}

/// A small model with all that AlgoPerf's language model has.
pub(super) fn tiny_official() -> GptConfig {
    GptConfig {
        initial_std: 0.3,
        vocabulary: 7,
        context: 6,
        width: 8,
        heads: 2,
        layers: 2,
        feed_forward: 12,
        ..crate::shakespeare_gpt::finewebedu()
    }
}

pub(super) fn batch<const N: usize>(tokens: &[[i32; N]], device: &Device) -> Batch {
    let host = HostBatch {
        fields: vec![HostField {
            name: "tokens",
            shape: vec![tokens.len(), N],
            values: HostValues::Int(tokens.concat()),
        }],
        examples: tokens.len(),
        units: (N - 1) * tokens.len(),
    };
    Batch::from_host(host, (0..tokens.len()).collect(), device)
}

fn logits(model: &Gpt, tokens: [i32; 7], device: &Device) -> Vec<f32> {
    let batch = batch(&[tokens], device);
    let (logits, _) = model.predict(&batch, &Pass::evaluation()).unwrap();
    logits.into_data().try_to_vec().unwrap()
}

#[test]
fn a_later_token_changes_no_earlier_prediction() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    for config in [tiny(NormPlace::Pre), tiny(NormPlace::Post), tiny_official()] {
        device.seed(3);
        let model = Gpt::new(&config, &device).unwrap();
        let tokens = [1, 4, 2, 6, 0, 3, 5];
        let before = logits(&model, tokens, &device);
        for changed in 0..6 {
            let mut other = tokens;
            other[changed] = (other[changed] + 1) % 7;
            let after = logits(&model, other, &device);
            for position in 0..6 {
                let rows = position * 7..(position + 1) * 7;
                let same = before[rows.clone()] == after[rows];
                assert_eq!(same, position < changed, "{config:?} {changed} {position}");
            }
        }
    }
}

/// Attention sees the order of tokens. Rotary positions tell distances alone, so that a row of equal
/// tokens gives equal predictions everywhere; learned positions tell the place.
#[test]
fn positions_matter_as_they_should() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    let sole_block = |config| GptConfig {
        layers: 1,
        ..config
    };
    for (config, relative) in [
        (sole_block(tiny_official()), true),
        (sole_block(tiny(NormPlace::Pre)), false),
    ] {
        device.seed(4);
        let model = Gpt::new(&config, &device).unwrap();
        let at = |tokens: [i32; 7], position: usize| {
            logits(&model, tokens, &device)[position * 7..(position + 1) * 7].to_vec()
        };
        let a = at([2, 2, 2, 3, 5, 1, 0], 5);
        let b = at([2, 2, 3, 5, 2, 1, 0], 5);
        let apart = |a: &[f32], b: &[f32]| {
            let each = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            each.fold(0f32, f32::max)
        };
        assert!(apart(&a, &b) > 1e-4, "the order of tokens is not seen");
        let first = at([4, 4, 4, 4, 4, 4, 0], 0);
        let fourth = at([4, 4, 4, 4, 4, 4, 0], 3);
        assert_eq!(apart(&first, &fourth) < 1e-6, relative, "{config:?}");
    }
}

#[test]
fn sizes_that_do_not_go_together_are_errors() {
    let plain = || tiny(NormPlace::Pre);
    let device = Device::flex();
    for (config, word) in [
        (
            GptConfig {
                heads: 3,
                ..plain()
            },
            "3 heads",
        ),
        (
            GptConfig {
                heads: 0,
                ..plain()
            },
            "0 heads",
        ),
        (
            GptConfig {
                heads: 8,
                ..tiny_official()
            },
            "pairs",
        ),
        (
            GptConfig {
                positions: Positions::Rotary { base: 0.0 },
                ..plain()
            },
            "base 0",
        ),
        (
            GptConfig {
                context: 1,
                ..tiny_official()
            },
            "context of 1",
        ),
    ] {
        let error = Gpt::new(&config, &device).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_formula_counts_what_is_built() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    let plain = || tiny(NormPlace::Pre);
    for config in [
        plain(),
        tiny(NormPlace::Post),
        tiny_official(),
        GptConfig {
            gated: true,
            ..plain()
        },
        GptConfig {
            biases: false,
            ..plain()
        },
        GptConfig {
            norm_kind: NormKind::Rms,
            ..plain()
        },
        GptConfig {
            positions: Positions::Rotary { base: 10.0 },
            ..plain()
        },
        GptConfig {
            query_key_norm: true,
            ..plain()
        },
        GptConfig {
            tied: true,
            ..plain()
        },
    ] {
        let model = Trained::new(Gpt::new(&config, &device).unwrap());
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert_eq!(count, config.parameters(), "{config:?}");
    }
}

#[test]
fn kinds_of_the_official_parameters() {
    let _lock = crate::models::test_lock();
    let model = Trained::new(Gpt::new(&tiny_official(), &Device::flex()).unwrap());
    let count = |kind| model.params().iter().filter(|p| p.kind == kind).count();
    // Two blocks of seven matrices; two norms and a scale of scores in each, and the last norm.
    assert_eq!(count(ParamKind::Matrix), 14);
    assert_eq!(count(ParamKind::Embedding), 1);
    assert_eq!(count(ParamKind::NormScale), 7);
    assert_eq!(model.params().len(), 22);
}

/// Measures on the device and in main memory agree.
#[test]
fn large_vocabularies_are_measured_alike() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    device.seed(5);
    let model = Gpt::new(&tiny(NormPlace::Pre), &device).unwrap();
    let batches = || {
        [[[1, 4, 2, 6, 0, 3, 5], [0, 0, 1, 1, 5, 2, 6]]]
            .into_iter()
            .map(|tokens| batch(&tokens, &Device::flex()))
    };
    let memory = model.evaluate(&mut batches()).unwrap();
    let device = model.measure(&mut batches()).unwrap();
    assert_eq!(memory["error_rate"], device["error_rate"]);
    assert!((memory["loss"] - device["loss"]).abs() < 1e-6);
    assert_eq!(memory.len(), device.len());
}

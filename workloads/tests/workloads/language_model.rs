//! Language models: sizes, variants, AlgoPerf's model.

use crate::common::{batches, bits, build, lock, registry, training_device};
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, Model, ParamKind, PassOptions, Size,
};
use velodrome_workloads::models::GptConfig;
use velodrome_workloads::shakespeare_gpt::{config, finewebedu, reviews};

/// Parameters of AlgoPerf's model, by its source (`algoperf/workloads/finewebedu_lm`, commit 4c37f2aa,
/// the same in JAX and PyTorch): an embedding of 50,257 x 1024 that is the head too; in each of 12 blocks
/// four 1024 x 1024 matrices of the attention and one scale, a matrix 1024 x 8192 (values and gates) and
/// one 4096 x 1024, two norms with a scale; a last norm. No biases.
fn official() -> usize {
    let (d, f) = (1024, 4096);
    let block = 4 * d * d + 1 + d * 2 * f + f * d + 2 * d;
    50_257 * d + 12 * block + d
}

#[test]
fn the_official_size_has_the_official_number_of_parameters() {
    assert_eq!(official(), 252_815_372);
    let spec = registry().workload("finewebedu_lm").unwrap().spec();
    assert_eq!(spec.parameters, official());
    assert_eq!(spec.size, Size::Algoperf);
    assert_eq!(spec.hints.batch_size, 64);
    assert_eq!(spec.hints.steps, 72_000);
    // The target is the logarithm of the perplexity 22.432, rounded up.
    let loss = 22.432f64.ln();
    let target = spec.target.validation;
    assert!(target >= loss && target < loss + 1e-4, "{target} {loss}");
}

/// An example of `length` tokens.
fn example(length: usize) -> Batch {
    let host = HostBatch {
        fields: vec![HostField {
            name: "tokens",
            shape: vec![1, length],
            values: HostValues::Int((0..length).map(|i| (i * 7919 % 50_257) as i32).collect()),
        }],
        examples: 1,
        units: length - 1,
    };
    Batch::from_host(host, vec![0], &training_device())
}

fn first(tensor: burn::tensor::Tensor<1>) -> f64 {
    f64::from(f32::from_bits(bits(tensor)[0]))
}

/// The official model starts as it does in AlgoPerf: normal with deviation 0.02, smaller by the root of
/// 24 where a matrix writes into the residual stream; norms at 1; scores times log2(1024^2 - 1024).
fn starts_as_there(model: &dyn Model) {
    let mut seen = [0; 3];
    model.visit(&mut |info, flat| match info.kind {
        ParamKind::NormScale if info.len() == 1 => {
            assert!((first(flat) - 19.998_590).abs() < 1e-4);
            seen[0] += 1;
        }
        ParamKind::NormScale => {
            assert_eq!(first(flat.clone().min()), 1.0);
            assert_eq!(first(flat.max()), 1.0);
            seen[1] += 1;
        }
        kind => {
            assert!(matches!(kind, ParamKind::Matrix | ParamKind::Embedding));
            let deviation = first(flat.square().mean()).sqrt();
            let small = 0.02 / 24f64.sqrt();
            let expected = if deviation < 0.01 { small } else { 0.02 };
            assert!((deviation / expected - 1.0).abs() < 0.01, "{info:?}");
            seen[2] += usize::from(deviation < 0.01);
        }
    });
    // Twelve blocks, each with two norms and two matrices that write into the residual stream.
    assert_eq!(seen, [12, 25, 24]);
}

/// A forward and a backward pass of the official model.
fn take_a_step(length: usize) {
    let _lock = lock();
    let workload = registry().workload("finewebedu_lm").unwrap();
    let mut model = build(&*workload, 1);
    let count: usize = model.params().iter().map(|p| p.len()).sum();
    assert_eq!(count, official());
    starts_as_there(&*model);
    let output = model
        .pass(&example(length), &PassOptions::default())
        .unwrap();
    let loss = first(output.loss);
    // Near the logarithm of the vocabulary: the logits have variance 0.4.
    assert!((loss - 50_257f64.ln()).abs() < 0.6, "{loss}");
    for param in model.params().iter() {
        let gradient = output.gradients.get(param).unwrap();
        let norm = first(gradient.square().sum());
        assert!(norm.is_finite() && norm > 0.0, "{param:?}");
    }
}

#[test]
fn the_official_model_starts_as_there_and_takes_a_step() {
    take_a_step(9);
}

#[test]
#[ignore = "takes minutes on two processors, and 4.3 gigabytes"]
fn the_official_model_takes_a_step_on_a_whole_example() {
    take_a_step(1025);
}

/// A variant is the base with one attribute changed.
#[test]
fn each_variant_changes_what_it_says() {
    let _lock = lock();
    let registry = registry();
    for (base, size, config) in [
        ("shakespeare_gpt", Size::Laptop, config as fn() -> GptConfig),
        ("reviews_gpt", Size::Workstation, reviews),
    ] {
        let (d, f, layers) = (config().width, config().feed_forward, config().layers);
        let whole = config().parameters();
        for (suffix, parameters, change) in [
            ("", whole, None),
            ("_postnorm", whole - 2 * d, Some("norm placement: ")),
            ("_small_init", whole, Some("initial scale: ")),
            (
                "_attention_temperature",
                whole,
                Some("attention temperature: 4 instead of 1"),
            ),
            (
                "_glu",
                whole + layers * (d + 1) * f,
                Some("feed-forward part: "),
            ),
        ] {
            let spec = registry
                .workload(&format!("{base}{suffix}"))
                .unwrap()
                .spec();
            assert_eq!(spec.parameters, parameters, "{}", spec.name);
            assert_eq!(spec.size, size);
            assert_eq!(spec.base, base);
            match change {
                Some(words) => assert!(spec.change.unwrap().starts_with(words)),
                None => assert_eq!(spec.change, None),
            }
        }
    }
}

/// With the same seed, the attention temperature changes no parameter, and every prediction.
#[test]
fn the_attention_temperature_changes_the_scores_alone() {
    let _lock = lock();
    let registry = registry();
    let [base, hot] = ["shakespeare_gpt", "shakespeare_gpt_attention_temperature"]
        .map(|name| registry.workload(name).unwrap());
    let [cool_model, hot_model] = [&base, &hot].map(|w| build(&**w, 1));
    assert_eq!(
        crate::common::parameter_bits(&*cool_model),
        crate::common::parameter_bits(&*hot_model)
    );
    let splits = base.open().unwrap();
    let loss = |model: &dyn Model| {
        let data = batches(&*splits.validation, 64, 64);
        model.evaluate(&mut data.into_iter()).unwrap()["loss"]
    };
    assert_ne!(loss(&*cool_model), loss(&*hot_model));
}

/// The official model at a hundredth of its sizes has the parameters that its formula counts.
#[test]
fn the_official_choices_are_built_at_any_size() {
    let config = GptConfig {
        vocabulary: 503,
        context: 16,
        width: 16,
        layers: 2,
        feed_forward: 40,
        ..finewebedu()
    };
    let block = 4 * 16 * 16 + 1 + 3 * 16 * 40 + 2 * 16;
    assert_eq!(config.parameters(), 503 * 16 + 2 * block + 16);
}

//! Sequence to sequence: sizes, variants, gradients, training.

use crate::common::{batch, batches, bits, build, lock, registry, shift, training_device};
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Batch, Dataset, HostBatch, HostField, HostValues, Model, ModelError, PassOptions, Size, Trained,
};
use velodrome_workloads::models::{
    Activation, NormPlace, Scoring, Search, Seq2SeqConfig, Transformer,
};
use velodrome_workloads::sequence_to_sequence::{cmudict, wmt};

fn tiny() -> Seq2SeqConfig {
    Seq2SeqConfig {
        source_vocabulary: 9,
        target_vocabulary: 7,
        max_length: 10,
        width: 8,
        heads: 2,
        layers: 1,
        feed_forward: 10,
        activation: Activation::Tanh,
        ..cmudict()
    }
}

fn pairs(source: &[&[i32]], target: &[&[i32]], device: &Device) -> Batch {
    let field = |name, rows: &[&[i32]]| HostField {
        name,
        shape: vec![rows.len(), rows[0].len()],
        values: HostValues::Int(rows.concat()),
    };
    let host = HostBatch {
        fields: vec![field("source", source), field("target", target)],
        examples: source.len(),
        units: 1,
    };
    Batch::from_host(host, (0..source.len()).collect(), device)
}

fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    bits(tensor)
        .into_iter()
        .map(|b| f64::from(f32::from_bits(b)))
        .collect()
}

/// Gradients against central differences, with smoothing and padding, for every choice that a variant
/// changes. (ReLU has a kink; its own gradient is checked against PyTorch's in the library's tests.)
#[test]
fn gradients_are_differences() {
    const STEP: f32 = 3e-3;
    let _lock = lock();
    let device = training_device();
    for (norm, gated, shared, temperature) in [
        (NormPlace::Pre, false, false, 1.0),
        (NormPlace::Post, true, false, 1.0),
        (NormPlace::Pre, true, true, 4.0),
    ] {
        device.seed(4);
        let config = Seq2SeqConfig {
            norm,
            gated,
            shared_embedding: shared,
            target_vocabulary: if shared { 9 } else { 7 },
            attention_temperature: temperature,
            ..tiny()
        };
        let mut model = Trained::new(Transformer::new(&config, &device).unwrap());
        let batch = pairs(
            &[&[3, 4, 2, 0], &[5, 6, 7, 2]],
            &[&[3, 5, 6, 2], &[4, 2, 0, 0]],
            &device,
        );
        let options = PassOptions {
            label_smoothing: 0.1,
            ..PassOptions::default()
        };
        let loss = |model: &mut Trained<Transformer>| {
            let losses = numbers(model.pass(&batch, &options).unwrap().losses);
            losses.iter().sum::<f64>() / losses.len() as f64
        };
        let gradients = model.pass(&batch, &options).unwrap().gradients;
        let params = model.params().clone();
        let mut largest = 0f64;
        for param in params.iter() {
            let gradient = numbers(gradients.get(param).unwrap());
            let snapshot = model.snapshot();
            for element in (0..param.len()).step_by((param.len() / 3).max(1)) {
                let mut at = |by: f32| {
                    shift(&mut model, param.index, element, by);
                    let loss = loss(&mut model);
                    model.restore(&snapshot).unwrap();
                    loss
                };
                let difference = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
                let exact = gradient[element];
                largest = largest.max(exact.abs());
                assert!(
                    (difference - exact).abs() < 1e-3 + 0.01 * exact.abs(),
                    "{norm:?} {param:?} {element}: gradient {exact}, differences {difference}"
                );
            }
        }
        assert!(
            largest > 0.01,
            "the gradients are too small to say anything"
        );
    }
}

/// AlgoPerf's model has, by its source (`algoperf/workloads/wmt/wmt_jax/models.py`, commit 9653f18):
/// one embedding of 32,000 x 1024; in each of 6 + 6 layers attentions of four 1024 x 1024 matrices
/// without biases (one in the encoder, two in the decoder), two dense maps 1024 to 1024 with biases, and
/// two or three layer norms; two norms at the ends.
#[test]
fn official_sizes_have_the_official_numbers_of_parameters() {
    let d = 1024;
    let (attention, dense, norm) = (4 * d * d, d * d + d, 2 * d);
    let encoder = 6 * (attention + 2 * dense + 2 * norm);
    let decoder = 6 * (2 * attention + 2 * dense + 3 * norm);
    let base = 32_000 * d + encoder + decoder + 2 * norm;
    assert_eq!(base, 133_521_408);
    let registry = registry();
    for (name, expected) in [
        ("wmt_transformer", base),
        ("wmt_transformer_post_ln", base - 2 * norm),
        ("wmt_transformer_attention_temp", base),
        ("wmt_transformer_glu_tanh", base + 12 * dense),
    ] {
        let spec = registry.workload(name).unwrap().spec();
        assert_eq!(spec.parameters, expected, "{name}");
        assert_eq!(spec.size, Size::Algoperf);
        assert_eq!(spec.hints.batch_size, 128);
    }
    // The formula counts what is built, whatever the choices.
    let _lock = lock();
    let device = Device::flex();
    for (norm, gated, shared) in [
        (NormPlace::Pre, false, true),
        (NormPlace::Post, false, true),
        (NormPlace::Pre, true, true),
        (NormPlace::Post, true, false),
    ] {
        let config = Seq2SeqConfig {
            norm,
            gated,
            shared_embedding: shared,
            source_vocabulary: 11,
            target_vocabulary: if shared { 11 } else { 7 },
            width: 16,
            heads: 4,
            feed_forward: 12,
            layers: 2,
            ..wmt()
        };
        let model = Trained::new(Transformer::new(&config, &device).unwrap());
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert_eq!(count, config.parameters(), "{norm:?} {gated} {shared}");
    }
}

/// A forward and a backward pass at the official sizes, on a short packed row.
#[test]
fn the_official_model_takes_a_step() {
    let _lock = lock();
    let workload = registry().workload("wmt_transformer").unwrap();
    let mut model = build(&*workload, 1);
    let count: usize = model.params().iter().map(|p| p.len()).sum();
    assert_eq!(count, 133_521_408);
    let field = |name, values: &[i32]| HostField {
        name,
        shape: vec![1, values.len()],
        values: HostValues::Int(values.to_vec()),
    };
    let host = HostBatch {
        fields: vec![
            field("source", &[31_999, 17, 2, 400, 2, 0]),
            field("source_segment", &[1, 1, 1, 2, 2, 0]),
            field("source_position", &[0, 1, 2, 0, 1, 0]),
            field("target", &[5, 2, 1234, 20_000, 2]),
            field("target_segment", &[1, 1, 2, 2, 2]),
            field("target_position", &[0, 1, 0, 1, 2]),
        ],
        examples: 1,
        units: 5,
    };
    let batch = Batch::from_host(host, vec![0], &training_device());
    let output = model.pass(&batch, &PassOptions::default()).unwrap();
    let loss = numbers(output.loss)[0];
    // Near the logarithm of the vocabulary: the logits have variance 1 or so.
    assert!((loss - 32_000f64.ln()).abs() < 2.0, "{loss}");
    for param in model.params().iter() {
        let gradient = output.gradients.get(param).unwrap();
        let norm = numbers(gradient.square().sum())[0];
        assert!(norm.is_finite() && norm > 0.0, "{param:?}");
    }
}

/// Parameters and initial loss (seed 1, the first 200 validation words) of the base and its variants.
#[test]
fn each_variant_changes_what_it_says() {
    let _lock = lock();
    let registry = registry();
    let d = 64;
    let base = cmudict();
    assert_eq!(base.parameters(), 170_688);
    let mut losses = Vec::new();
    for (name, parameters, change) in [
        ("cmudict_transformer", base.parameters(), ""),
        (
            "cmudict_transformer_post_ln",
            base.parameters() - 4 * d,
            "norm placement",
        ),
        (
            "cmudict_transformer_attention_temperature",
            base.parameters(),
            "attention temperature",
        ),
        (
            "cmudict_transformer_glu_tanh",
            base.parameters() + 4 * (d + 1) * base.feed_forward,
            "feed-forward",
        ),
    ] {
        let workload = registry.workload(name).unwrap();
        let spec = workload.spec();
        assert_eq!(spec.parameters, parameters, "{name}");
        assert!(
            spec.change.unwrap_or_default().starts_with(change),
            "{name}"
        );
        let model = build(&*workload, 1);
        let splits = workload.open().unwrap();
        let measures = model
            .evaluate(&mut batches(&*splits.validation, 200, 200).into_iter())
            .unwrap();
        assert!(measures["phoneme_error_rate"] > 0.5, "{name}: {measures:?}");
        losses.push(measures["loss"]);
    }
    let mut distinct = losses.clone();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    assert_eq!(distinct.len(), losses.len(), "{losses:?}");
}

/// A word with several pronunciations is right with any of them.
#[test]
fn the_error_rate_is_that_of_the_nearest_reference() {
    let _lock = lock();
    let device = Device::flex();
    device.seed(5);
    let config = Seq2SeqConfig {
        search: Search {
            beam: 1,
            length_penalty: 0.0,
            max_length: 4,
        },
        ..tiny()
    };
    let model = Trained::new(Transformer::new(&config, &device).unwrap());
    let evaluate = |references: Option<&[i32]>| {
        let mut fields = vec![
            HostField {
                name: "source",
                shape: vec![1, 3],
                values: HostValues::Int(vec![3, 4, 2]),
            },
            HostField {
                name: "target",
                shape: vec![1, 2],
                values: HostValues::Int(vec![6, 2]),
            },
        ];
        if let Some(references) = references {
            fields.push(HostField {
                name: "references",
                shape: vec![1, references.len() / 5, 5],
                values: HostValues::Int(references.to_vec()),
            });
        }
        let host = HostBatch {
            fields,
            examples: 1,
            units: 2,
        };
        let batch = Batch::from_host(host, vec![0], &device);
        model.evaluate(&mut [batch].into_iter()).unwrap()
    };
    // Whatever comes out (up to four of the tokens 1 and 3 to 6), one of all possibilities is right.
    let tokens = [1, 3, 4, 5, 6];
    let mut all = vec![[2, 0, 0, 0, 0]];
    for length in 1..=4u32 {
        for code in 0..5usize.pow(length) {
            let mut row = [0; 5];
            for place in 0..length as usize {
                row[place] = tokens[code / 5usize.pow(place as u32) % 5];
            }
            row[length as usize] = 2;
            all.push(row);
        }
    }
    let any: Vec<i32> = all.concat();
    let right = evaluate(Some(&any));
    assert_eq!(right["word_error_rate"], 0.0, "{right:?}");
    let alone = evaluate(None);
    assert_eq!(alone["loss"], right["loss"]);
    // Against four tokens that never come out, every token is wrong.
    let wrong = evaluate(Some(&[2, 0, 0, 0, 0]));
    assert!(wrong["phoneme_error_rate"].is_infinite() || wrong["phoneme_error_rate"].is_nan());
}

#[test]
fn the_metric_of_texts_needs_their_vocabulary() {
    let _lock = lock();
    let device = Device::flex();
    let config = Seq2SeqConfig {
        scoring: Scoring::Bleu(|| Err(ModelError::Compute("no vocabulary".into()))),
        ..tiny()
    };
    let model = Trained::new(Transformer::new(&config, &device).unwrap());
    let batch = pairs(&[&[3, 2]], &[&[3, 2]], &device);
    let error = model.evaluate(&mut [batch].into_iter()).unwrap_err();
    assert!(error.to_string().contains("no vocabulary"));
}

#[test]
fn a_short_training_learns_to_spell() {
    let _lock = lock();
    let workload = registry().workload("cmudict_transformer").unwrap();
    let splits = workload.open().unwrap();
    let device = training_device();
    let mut model = build(&*workload, 1);
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).init();
    let measure = |model: &dyn Model| {
        let data = batches(&*splits.validation, 100, 100);
        model.evaluate(&mut data.into_iter()).unwrap()
    };
    let before = measure(&*model);
    for step in 0..60 {
        let n = splits.train.len();
        let ids: Vec<usize> = (0..32).map(|i| (step * 32 + i) * 7919 % n).collect();
        let data = batch(&*splits.train, &ids, &device);
        let output = model.pass(&data, &PassOptions::default()).unwrap();
        model.step(&mut optimizer, 3e-3.into(), output.gradients.into_burn());
    }
    let after = measure(&*model);
    assert!(after["loss"] < before["loss"] - 0.5, "{before:?} {after:?}");
    assert!(after["phoneme_error_rate"] < before["phoneme_error_rate"]);
}

#[test]
fn validation_words_carry_their_references() {
    let workload = registry().workload("cmudict_transformer").unwrap();
    let splits = workload.open().unwrap();
    let names = |data: &dyn Dataset| -> Vec<&'static str> {
        data.batch(&[0, 1]).fields.iter().map(|f| f.name).collect()
    };
    assert_eq!(names(&*splits.train), ["source", "target"]);
    assert_eq!(
        names(&*splits.validation),
        ["source", "target", "references"]
    );
    assert!(splits.skipped.is_empty());
}

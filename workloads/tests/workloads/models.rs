//! What every workload's model must keep: kinds, counts, seeds, evaluation without side effects,
//! and exact checkpoints.

use crate::common::{
    batch, batches, bits, build, lock, parameter_bits, training_device, workloads,
};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::{Bytes, Device};
use velodrome_harness::contract::{Model, ParamKind, PassOptions, Splits, Track};

fn adamw() -> ModuleOptimizer {
    AdamWConfig::new().with_epsilon(1e-8).init()
}

/// Trains on fixed batches of 8 with the step numbers in `steps`.
fn train(
    model: &mut dyn Model,
    optimizer: &mut ModuleOptimizer,
    splits: &Splits,
    steps: std::ops::Range<usize>,
) {
    let device = training_device();
    for step in steps {
        // As the harness does: what a step draws depends on the step alone.
        device.seed(step as u64);
        let ids: Vec<usize> = (0..8).map(|i| step * 8 + i).collect();
        let output = model
            .pass(
                &batch(&*splits.train, &ids, &device),
                &PassOptions::default(),
            )
            .unwrap();
        model.step(optimizer, 1e-2.into(), output.gradients.into_burn());
    }
}

#[test]
fn one_seed_gives_one_model_and_another_seed_another() {
    let _lock = lock();
    for workload in workloads() {
        let first = parameter_bits(&*build(&*workload, 1));
        assert_eq!(first, parameter_bits(&*build(&*workload, 1)));
        // Weights that were pretrained depend on no seed.
        let given = workload.spec().track == Track::Finetune;
        let other = parameter_bits(&*build(&*workload, 2));
        assert_eq!(first == other, given, "{}", workload.spec().name);
    }
}

#[test]
fn the_description_counts_the_parameters() {
    let _lock = lock();
    for workload in workloads() {
        let model = build(&*workload, 1);
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert!(model.params().iter().all(|p| p.trainable));
        let spec = workload.spec();
        let stated = format!(" {count} parameters");
        assert!(spec.model.ends_with(&stated), "{}: {count}", spec.model);
    }
}

#[test]
fn kinds_are_right() {
    let _lock = lock();
    let kinds = |name: &str| {
        let workload = crate::common::registry().workload(name).unwrap();
        let model = build(&*workload, 1);
        let params = model.params();
        let heads: Vec<_> = params
            .iter()
            .filter(|p| p.kind == ParamKind::Head)
            .collect();
        assert_eq!(heads.len(), 1, "{name}");
        assert_eq!(heads[0].fan_in_axis, Some(0));
        let count = |kind| params.iter().filter(|p| p.kind == kind).count();
        (
            [
                ParamKind::Matrix,
                ParamKind::Convolution,
                ParamKind::Embedding,
                ParamKind::Position,
                ParamKind::Bias,
                ParamKind::NormScale,
                ParamKind::NormShift,
                ParamKind::Other,
            ]
            .map(count),
            params.clone(),
        )
    };
    // Matrix, convolution, embedding, position, bias, norm scale, norm shift, other.
    assert_eq!(kinds("digits_mlp").0, [2, 0, 0, 0, 3, 0, 0, 0]);
    let (found, params) = kinds("fashion_resnet");
    assert_eq!(found, [0, 9, 0, 0, 1, 9, 9, 0]);
    let kernel = params
        .iter()
        .find(|p| p.kind == ParamKind::Convolution)
        .unwrap();
    assert_eq!(kernel.shape, [12, 1, 5, 5]);
    assert_eq!(kernel.fan_in_axis, Some(1));
    let (found, _) = kinds("fashion_resnet_preact");
    assert_eq!(found, [0, 9, 0, 0, 1, 7, 7, 0]);
    // One layer instead of two, and a wrapper around the transformer: the kinds shine through.
    assert_eq!(kinds("modular_gpt").0, [6, 0, 1, 1, 6, 3, 3, 0]);
    let (found, params) = kinds("shakespeare_gpt");
    assert_eq!(found, [12, 0, 1, 1, 12, 5, 5, 0]);
    let shape = |kind| {
        let p = params.iter().find(|p| p.kind == kind).unwrap();
        p.shape.clone()
    };
    assert_eq!(shape(ParamKind::Embedding), [65, 64]);
    assert_eq!(shape(ParamKind::Position), [64, 64]);
    assert_eq!(shape(ParamKind::Head), [64, 65]);
}

#[test]
fn evaluation_repeats_itself_and_leaves_no_trace() {
    let _lock = lock();
    for workload in workloads() {
        let splits = workload.open().unwrap();
        let spec = workload.spec();
        let mut model = build(&*workload, 3);
        let mut optimizer = adamw();
        train(&mut *model, &mut optimizer, &splits, 0..2);
        let before = model.save().unwrap();
        let data = batches(&*splits.validation, 40, 16);
        let first = model.evaluate(&mut data.clone().into_iter()).unwrap();
        let second = model.evaluate(&mut data.into_iter()).unwrap();
        assert_eq!(first, second, "{}", spec.name);
        assert!(first.contains_key("loss"));
        assert!(first.contains_key(&spec.target.metric));
        assert!(first.values().all(|v| v.is_finite()));
        assert_eq!(before, model.save().unwrap(), "{}", spec.name);

        // Training goes on as if nothing had been evaluated.
        let mut twin = build(&*workload, 3);
        let mut twin_optimizer = adamw();
        train(&mut *twin, &mut twin_optimizer, &splits, 0..2);
        train(&mut *twin, &mut twin_optimizer, &splits, 2..4);
        train(&mut *model, &mut optimizer, &splits, 2..4);
        assert_eq!(model.save().unwrap(), twin.save().unwrap(), "{}", spec.name);
    }
}

#[test]
fn evaluation_does_not_depend_on_the_batch_size() {
    let _lock = lock();
    for workload in workloads() {
        let splits = workload.open().unwrap();
        let model = build(&*workload, 3);
        let measure = |size| {
            let data = batches(&*splits.test, 48, size);
            model.evaluate(&mut data.into_iter()).unwrap()["loss"]
        };
        let (a, b) = (measure(7), measure(48));
        assert!(
            (a - b).abs() < 1e-5 * a,
            "{}: {a} {b}",
            workload.spec().name
        );
    }
}

#[test]
fn a_resumed_training_equals_the_straight_one() {
    let _lock = lock();
    for workload in workloads() {
        let name = workload.spec().name;
        let splits = workload.open().unwrap();
        let mut straight = build(&*workload, 4);
        let mut optimizer = adamw();
        train(&mut *straight, &mut optimizer, &splits, 0..5);
        let saved = straight.save().unwrap();
        let saved_optimizer = optimizer.into_bytes().unwrap().to_vec();
        let held: Vec<_> = batches(&*splits.test, 16, 16);
        let early = straight.evaluate(&mut held.clone().into_iter()).unwrap();
        train(&mut *straight, &mut optimizer, &splits, 5..10);

        // Another process would build with the same seed; another one shows that all is loaded.
        let mut resumed = build(&*workload, 99);
        resumed.load(&saved).unwrap();
        assert_eq!(resumed.save().unwrap(), saved, "{name}");
        let loaded = resumed.evaluate(&mut held.into_iter()).unwrap();
        assert_eq!(loaded, early, "{name}");
        let mut optimizer = adamw()
            .from_bytes(Bytes::from_bytes_vec(saved_optimizer))
            .unwrap();
        train(&mut *resumed, &mut optimizer, &splits, 5..10);
        assert_eq!(
            parameter_bits(&*resumed),
            parameter_bits(&*straight),
            "{name}"
        );
        assert_eq!(resumed.save().unwrap(), straight.save().unwrap(), "{name}");
    }
}

#[test]
fn snapshots_hold_the_norm_statistics() {
    let _lock = lock();
    let workload = crate::common::registry()
        .workload("fashion_resnet")
        .unwrap();
    let splits = workload.open().unwrap();
    let mut model = build(&*workload, 5);
    let mut optimizer = adamw();
    train(&mut *model, &mut optimizer, &splits, 0..1);
    let (snapshot, saved) = (model.snapshot(), model.save().unwrap());
    let parameters = parameter_bits(&*model);

    // A pass without an optimizer step moves the statistics alone, and only where it may.
    let device = training_device();
    let data = batch(&*splits.train, &[8, 9, 10, 11], &device);
    let quiet = PassOptions {
        update_norm: false,
        ..PassOptions::default()
    };
    model.pass(&data, &quiet).unwrap();
    assert_eq!(model.save().unwrap(), saved);
    model.pass(&data, &PassOptions::default()).unwrap();
    assert_ne!(model.save().unwrap(), saved);
    assert_eq!(parameter_bits(&*model), parameters);
    model.restore(&snapshot).unwrap();
    assert_eq!(model.save().unwrap(), saved);
    let plain = batch(&*splits.train, &[8, 9, 10, 11], &Device::flex());
    model.losses(&plain, true).unwrap();
    assert_ne!(model.save().unwrap(), saved);
}

#[test]
fn losses_are_the_means_that_evaluation_measures() {
    let _lock = lock();
    for workload in workloads() {
        let splits = workload.open().unwrap();
        let mut model = build(&*workload, 6);
        let data = batches(&*splits.test, 16, 16);
        let measured = model.evaluate(&mut data.clone().into_iter()).unwrap()["loss"];
        let losses: Vec<f32> = bits(model.losses(&data[0], false).unwrap())
            .into_iter()
            .map(f32::from_bits)
            .collect();
        let mean = losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64;
        assert_eq!(losses.len(), 16);
        // Measures sum in 64 bits what the model's own losses round to 32.
        assert!(
            (measured - mean).abs() < 1e-6 * mean.max(1.0),
            "{measured} {mean}"
        );
    }
}

#[test]
fn a_batch_of_another_workload_is_an_error() {
    let _lock = lock();
    let registry = crate::common::registry();
    for (name, other) in [
        ("digits_mlp", "fashion_resnet"),
        ("fashion_resnet", "digits_mlp"),
        ("shakespeare_gpt", "digits_mlp"),
        ("digits_mlp", "shakespeare_gpt"),
    ] {
        let mut model = build(&*registry.workload(name).unwrap(), 1);
        let splits = registry.workload(other).unwrap().open().unwrap();
        let data = batch(&*splits.train, &[0, 1], &training_device());
        assert!(model.pass(&data, &PassOptions::default()).is_err());
    }
}

#[test]
fn dropout_and_smoothing_reach_the_model() {
    let _lock = lock();
    let device = training_device();
    for workload in workloads() {
        let name = workload.spec().name;
        let splits = workload.open().unwrap();
        let mut model = build(&*workload, 7);
        // Some heads start at zero, and show nothing of dropout and smoothing before the first steps.
        train(&mut *model, &mut adamw(), &splits, 0..2);
        let data = batch(&*splits.train, &[0, 1, 2, 3], &device);
        let mut loss = |options: PassOptions| {
            device.seed(11);
            bits(model.pass(&data, &options).unwrap().losses)
        };
        let quiet = || PassOptions {
            update_norm: false,
            ..PassOptions::default()
        };
        let plain = loss(quiet());
        assert_eq!(plain, loss(quiet()), "{name}");
        let dropped = PassOptions {
            dropout: Some(0.5),
            ..quiet()
        };
        assert_ne!(plain, loss(dropped), "{name}");
        let smoothed = PassOptions {
            label_smoothing: 0.1,
            ..quiet()
        };
        // A language model's metric is its loss, so that it trains without smoothing; images have no
        // labels, and transcripts none for each prediction.
        let metric = workload.spec().target.metric;
        let classifies = !["loss", "log_loss", "ssim", "cer"].contains(&metric.as_str());
        assert_eq!(plain != loss(smoothed), classifies, "{name}");
    }
}

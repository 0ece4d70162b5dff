//! The kind `click_through`: DLRM's gradients, sizes and variants, its reference values, and the loaders
//! of flights and click logs.

mod criteo;
mod parquet;

use crate::common::{batch, bits, build, lock, mean, numbers, registry, shift, training_device};
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, Model, ParamKind, PassOptions, Trained, Trainee,
    Weights,
};
use velodrome_workloads::flights_dlrm::algoperf;
use velodrome_workloads::models::{Dlrm, DlrmConfig, DlrmNetwork};

fn tiny(network: DlrmNetwork, layer_norm: bool) -> DlrmConfig {
    DlrmConfig {
        dense: 3,
        columns: 2,
        rows: 9,
        width: 4,
        bottom: vec![4, 4],
        top: vec![6, 6, 5],
        network,
        layer_norm,
        embedding_scale: Some(1.0),
        dropout: 0.0,
    }
}

fn variants() -> [DlrmConfig; 4] {
    let all = [DlrmNetwork::Dots, DlrmNetwork::Residual];
    let mut configs = all
        .map(|n| [tiny(n, false), tiny(n, true)])
        .into_iter()
        .flatten();
    [(); 4].map(|()| configs.next().unwrap())
}

/// Numbers between -1 and 1 without a pattern.
fn noise(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i as f32 * 12.9898).sin() * 43758.547).fract())
        .collect()
}

fn examples(config: &DlrmConfig, n: usize) -> HostBatch {
    let field = |name, shape: Vec<usize>, values| HostField {
        name,
        shape,
        values,
    };
    let categories = (0..n * config.columns).map(|i| ((i * i * 7 + 3 * i) % config.rows) as i32);
    HostBatch {
        fields: vec![
            field(
                "dense",
                vec![n, config.dense],
                HostValues::Float(noise(n * config.dense)),
            ),
            field(
                "category",
                vec![n, config.columns],
                HostValues::Int(categories.collect()),
            ),
            field(
                "label",
                vec![n],
                HostValues::Int((0..n).map(|i| i32::from(i % 3 == 1)).collect()),
            ),
        ],
        examples: n,
        units: n,
    }
}

fn on_device(host: HostBatch) -> Batch {
    let ids = (0..host.examples).collect();
    Batch::from_host(host, ids, &training_device())
}

/// Every element of every parameter, by central differences. A difference across a kink of ReLU is no
/// gradient, so that a few may be off.
#[test]
fn gradients() {
    let _lock = lock();
    let device = training_device();
    const STEP: f32 = 1e-3;
    for config in variants() {
        device.seed(4);
        let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
        let data = on_device(examples(&config, 6));
        let options = PassOptions::default();
        let gradients = model.pass(&data, &options).unwrap().gradients;
        let params = model.params().clone();
        let (mut checked, mut off, mut largest) = (0, 0, 0f64);
        for param in params.iter() {
            let gradient = numbers(gradients.get(param).unwrap());
            let snapshot = model.snapshot();
            for (element, exact) in gradient.into_iter().enumerate() {
                let mut at = |by: f32| {
                    shift(&mut model, param.index, element, by);
                    let loss = mean(model.pass(&data, &options).unwrap().losses);
                    model.restore(&snapshot).unwrap();
                    loss
                };
                let difference = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
                let exact = f64::from(exact);
                largest = largest.max(exact.abs());
                checked += 1;
                off += usize::from((difference - exact).abs() > 1e-3 + 0.01 * exact.abs());
            }
        }
        assert!(off * 50 <= checked, "{config:?}: {off} of {checked}");
        assert!(
            largest > 0.05 && checked == config.parameters(),
            "{checked}"
        );
    }
}

/// Losses of the same weights by plain loops in 64 bits.
#[test]
fn forward_and_loss_by_hand() {
    let _lock = lock();
    let device = training_device();
    for config in variants() {
        device.seed(9);
        let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
        let host = examples(&config, 5);
        let mut values = Vec::new();
        model.visit(&mut |info, flat| {
            let flat = numbers(flat).into_iter().map(f64::from).collect::<Vec<_>>();
            values.push((info.kind, info.shape.clone(), flat));
        });
        let expected = by_hand(&config, &values, &host);
        let found = numbers(model.losses(&on_plain_device(&host), false).unwrap());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{config:?}");
        }
    }
}

fn on_plain_device(host: &HostBatch) -> Batch {
    Batch::from_host(host.clone(), (0..host.examples).collect(), &Device::flex())
}

type Values = Vec<(ParamKind, Vec<usize>, Vec<f64>)>;

/// The losses of all examples in 64 bits, one number after the other, from the values in the order of
/// the module's fields: layers below, table, layers above, head.
fn by_hand(config: &DlrmConfig, values: &Values, host: &HostBatch) -> Vec<f64> {
    let [
        HostValues::Float(dense),
        HostValues::Int(category),
        HostValues::Int(label),
    ] = [0, 1, 2].map(|i| host.fields[i].values.clone())
    else {
        panic!("fields of other types");
    };
    let linear = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
        let product = |o: usize| (0..x.len()).map(|i| x[i] * w[i * b.len() + o]).sum::<f64>();
        (0..b.len()).map(|o| product(o) + b[o]).collect()
    };
    let norm = |x: Vec<f64>, scale: &[f64], shift: &[f64]| -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let deviation = (variance + 1e-6).sqrt();
        let each = x.iter().zip(scale.iter().zip(shift));
        each.map(|(v, (s, t))| (v - mean) / deviation * s + t)
            .collect()
    };
    let residual = config.network == DlrmNetwork::Residual;
    (0..host.examples)
        .map(|example| {
            let mut values = values.iter().map(|(_, _, v)| v.as_slice());
            let layers = |mut x: Vec<f64>, n: usize, values: &mut dyn Iterator<Item = &[f64]>| {
                for at in 0..n {
                    let (w, b) = (values.next().unwrap(), values.next().unwrap());
                    let mut y: Vec<f64> =
                        linear(&x, w, b).into_iter().map(|v| v.max(0.0)).collect();
                    if config.layer_norm {
                        y = norm(y, values.next().unwrap(), values.next().unwrap());
                    }
                    if residual && at > 0 && y.len() == x.len() {
                        y = y.iter().zip(&x).map(|(a, b)| a + b).collect();
                    }
                    x = y;
                }
                x
            };
            let input = dense[example * config.dense..][..config.dense].iter();
            let below = layers(input.map(|v| f64::from(*v)).collect(), 2, &mut values);
            let table = values.next().unwrap();
            let scale_and_shift = config
                .layer_norm
                .then(|| (values.next().unwrap(), values.next().unwrap()));
            let rows = &category[example * config.columns..][..config.columns];
            let mut vectors = vec![below.clone()];
            for row in rows {
                let row = table[*row as usize * config.width..][..config.width].to_vec();
                vectors.push(match scale_and_shift {
                    Some((scale, shift)) => norm(row, scale, shift),
                    None => row,
                });
            }
            let mut x = below;
            if residual {
                x.extend(vectors[1..].concat());
            } else {
                for i in 0..vectors.len() {
                    for j in i..vectors.len() {
                        let pairs = vectors[i].iter().zip(&vectors[j]);
                        x.push(pairs.map(|(a, b)| a * b).sum());
                    }
                }
            }
            let above = layers(x, 3, &mut values);
            let z = linear(&above, values.next().unwrap(), values.next().unwrap())[0];
            assert!(values.next().is_none());
            let signed = if label[example] == 1 { -z } else { z };
            signed.exp().ln_1p()
        })
        .collect()
}

/// The numbers of trainable elements of AlgoPerf's models: the sum over the shapes of its PyTorch module,
/// with its widths and 4,194,304 rows of 128.
#[test]
fn as_many_parameters_as_algoperf() {
    let _lock = lock();
    let registry = registry();
    for (name, expected) in [
        ("criteo1tb_dlrm", 539_267_457),
        ("criteo1tb_dlrm_layernorm", 539_275_137),
        ("criteo1tb_dlrm_resnet", 538_121_473),
        ("criteo1tb_dlrm_embed_init", 539_267_457),
    ] {
        assert_eq!(registry.workload(name).unwrap().spec().parameters, expected);
    }
    // With a small table the model is built, and one pass over a batch of its shape goes through.
    let device = training_device();
    let mut config = DlrmConfig {
        rows: 50,
        ..algoperf()
    };
    for layer_norm in [false, true] {
        config.layer_norm = layer_norm;
        let mut model = Trained::new(Dlrm::new(&config, &device).unwrap());
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert_eq!(count, config.parameters());
        let whole = DlrmConfig {
            rows: 4_194_304,
            ..config.clone()
        };
        assert_eq!(whole.parameters() - count, (4_194_304 - 50) * 128);
        let output = model.pass(&on_device(examples(&config, 4)), &PassOptions::default());
        assert!(mean(output.unwrap().losses).is_finite());
    }
}

/// Each variant of the laptop's base differs from it in what it says.
#[test]
fn variants_differ_in_the_named_attribute() {
    let _lock = lock();
    let registry = registry();
    let look = |name: &str| {
        let workload = registry.workload(name).unwrap();
        let model = build(&*workload, 3);
        let mut table = Vec::new();
        model.visit(&mut |info, flat| {
            if info.kind == ParamKind::Embedding {
                table = numbers(flat);
            }
        });
        let norms = model
            .params()
            .iter()
            .filter(|p| p.kind == ParamKind::NormScale);
        let largest = table.iter().copied().fold(0.0, f32::max);
        assert!(table.iter().all(|v| *v >= 0.0));
        (norms.count(), largest, workload.spec().parameters)
    };
    let base = look("flights_dlrm");
    let bound = 1.0 / 125_958f32.sqrt();
    assert!(base.0 == 0 && (0.99 * bound..=bound).contains(&base.1));
    let norms = look("flights_dlrm_layernorm");
    assert_eq!((norms.0, norms.1), (7, base.1));
    let widths = 256 + 128 + 16 + 16 + 1024 + 512 + 256;
    assert_eq!(norms.2 - base.2, 2 * widths);
    let residual = look("flights_dlrm_resnet");
    assert_eq!((residual.0, residual.1), (0, base.1));
    let wide = look("flights_dlrm_embed_init");
    assert_eq!((wide.0, wide.2), (0, base.2));
    assert!((0.99..=1.0).contains(&wide.1));
}

#[test]
fn widths_that_do_not_fit_are_refused() {
    let device = training_device();
    let bad = DlrmConfig {
        bottom: vec![4, 5],
        ..tiny(DlrmNetwork::Dots, false)
    };
    assert!(Dlrm::new(&bad, &device).is_err());
    let none = DlrmConfig {
        columns: 0,
        ..tiny(DlrmNetwork::Residual, false)
    };
    assert!(Dlrm::new(&none, &device).is_err());
    let model = Dlrm::new(&tiny(DlrmNetwork::Dots, false), &device).unwrap();
    let mut model = Trained::new(model);
    let other = examples(
        &DlrmConfig {
            columns: 3,
            ..tiny(DlrmNetwork::Dots, false)
        },
        2,
    );
    assert!(
        model
            .pass(&on_device(other), &PassOptions::default())
            .is_err()
    );
}

/// The hooks of submissions: weights of examples, weights chosen from the losses, predictions as two
/// classes, dropout; label smoothing is ignored, since the metric is the loss itself.
#[test]
fn losses_of_examples_can_be_weighted() {
    let _lock = lock();
    let workload = registry().workload("flights_dlrm").unwrap();
    let splits = workload.open().unwrap();
    let device = training_device();
    let data = batch(&*splits.train, &[5, 900, 70, 31, 8, 2], &device);
    let mut trainee = Trainee::new(build(&*workload, 5), device.clone(), 5);
    let plain = trainee.gradients(&data, &PassOptions::default()).unwrap();
    let weights: Vec<f32> = vec![0.0, 2.0, 0.5, 1.0, 3.0, 0.25];
    let losses = numbers(plain.losses.clone());
    let expected: f32 = losses.iter().zip(&weights).map(|(l, w)| l * w).sum::<f32>() / 6.0;
    let given = Tensor::from_data(TensorData::new(weights, [6]), &trainee.device());
    let options = PassOptions {
        weights: Some(given.clone()),
        ..PassOptions::default()
    };
    let weighted = trainee.gradients(&data, &options).unwrap();
    assert!((numbers(weighted.loss.clone())[0] - expected).abs() < 1e-5);
    let chosen = trainee
        .gradients_weighted(&data, &PassOptions::default(), |seen| {
            let predictions = seen.predictions()?;
            assert_eq!(predictions.dims(), [6, 2]);
            let zeros = predictions.logits.clone().slice([0..6, 0..1]);
            assert!(zeros.abs().max().into_scalar::<f32>() == 0.0);
            assert_eq!(bits(seen.losses.clone()), bits(plain.losses.clone()));
            Ok(Weights::Examples(given.clone()))
        })
        .unwrap();
    assert_eq!(bits(chosen.loss), bits(weighted.loss));
    let smoothed = PassOptions {
        label_smoothing: 0.3,
        ..PassOptions::default()
    };
    let smoothed = trainee.gradients(&data, &smoothed).unwrap();
    assert_eq!(bits(smoothed.losses), bits(plain.losses.clone()));
    let dropped = PassOptions {
        dropout: Some(0.5),
        ..PassOptions::default()
    };
    let dropped = trainee.gradients(&data, &dropped).unwrap();
    assert_ne!(bits(dropped.losses), bits(plain.losses));
}

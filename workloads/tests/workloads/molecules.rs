//! The molecules' kind: message passing against PyTorch and against differences, padding, official
//! sizes, splits, bad batches.

mod reference;

use crate::common::{batch, bits, build, lock, numbers, registry, shift, training_device};
use burn::tensor::{Device, Tensor, TensorData};
use reference::REFERENCES;
use std::collections::HashSet;
use std::sync::Arc;
use velodrome_harness::contract::{
    Batch, Dataset, HostBatch, HostValues, Model, ParamInfo, ParamKind, Pass, PassOptions, Size,
    Trained,
};
use velodrome_workloads::data::Pcba;
use velodrome_workloads::data::molecules::{Coding, GraphSplit, Graphs};
use velodrome_workloads::models::{Activation, Gnn, GnnConfig};

fn config(activation: Activation) -> GnnConfig {
    GnnConfig {
        atom: 4,
        bond: 3,
        tasks: 3,
        latent: 5,
        hidden: vec![6, 5],
        steps: 2,
        activation,
        dropout: 0.0,
    }
}

/// The reference's numbers without a pattern: between -0.5 and 0.5, by position and by tensor.
fn noise(n: usize, tensor: usize) -> Vec<f32> {
    let value = |i: usize| (i * tensor * 37 + i * i * 11 + tensor * 5) % 101;
    (0..n)
        .map(|i| (value(i) as f64 / 101.0 - 0.5) as f32)
        .collect()
}

/// Three graphs: a triangle with a tail, two atoms with a bond, an atom alone; and what a batch holds
/// of each.
fn three() -> HostBatch {
    let twice = |n, tensor| {
        noise(n, tensor)
            .into_iter()
            .map(|x| 2.0 * x)
            .collect::<Vec<_>>()
    };
    let (atoms, bonds) = (twice(7 * 4, 50), twice(5 * 3, 60));
    let mut graphs = Graphs::new(Coding::Numbers(4), Coding::Numbers(3), 3);
    let triangle: [[u16; 2]; 4] = [[0, 1], [1, 2], [2, 0], [2, 3]];
    for (atoms, links, labels) in [
        (4, &triangle[..], [1, 0, -1]),
        (2, &triangle[..1], [-1, 1, 0]),
        (1, &[], [0, -1, -1]),
    ] {
        let (atoms, bonds) = (vec![0; 4 * atoms], vec![0; 3 * links.len()]);
        graphs.push(&atoms, &bonds, links, &labels).unwrap();
    }
    let mut batch = GraphSplit::new(Arc::new(graphs), vec![0, 1, 2]).batch(&[0, 1, 2]);
    // The reference's features are no bytes: put in here, with its own padding between.
    let put = |batch: &mut HostBatch, field: usize, rows: &[usize], width: usize, from: &[f32]| {
        let HostValues::Float(values) = &mut batch.fields[field].values else {
            panic!("features are real");
        };
        for (row, numbers) in rows.iter().zip(from.chunks_exact(width)) {
            values[row * width..(row + 1) * width].copy_from_slice(numbers);
        }
    };
    put(&mut batch, 0, &[0, 1, 2, 3, 4, 5, 8], 4, &atoms);
    put(&mut batch, 1, &[0, 1, 2, 3, 4], 3, &bonds);
    batch
}

/// The network with the reference's parameters: norm scales around 1, biases smaller.
fn filled(activation: Activation) -> Trained<Gnn> {
    let device = training_device();
    let mut model = Trained::new(Gnn::new(&config(activation), &device).unwrap());
    fill(&mut model);
    model
}

fn fill(model: &mut dyn Model) {
    model.map(&mut |info: &ParamInfo, flat: Tensor<1>| {
        let (scale, shift) = match info.kind {
            ParamKind::Bias => (0.4, 0.0),
            ParamKind::NormScale => (0.5, 1.0),
            ParamKind::NormShift => (0.3, 0.0),
            _ => (1.2, 0.0),
        };
        let values: Vec<f32> = noise(info.len(), info.index + 1)
            .into_iter()
            .map(|x| x * scale + shift)
            .collect();
        Tensor::from_data(TensorData::new(values, [info.len()]), &flat.device())
    });
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() < 2e-5 * (1.0 + b.abs()),
            "{what} {at}: {a}, expected {b}"
        );
    }
}

#[test]
fn message_passing_equals_pytorch_forward_and_backward() {
    let _lock = lock();
    for reference in REFERENCES {
        let what = format!("{:?}", reference.activation);
        let mut model = filled(reference.activation);
        let batch = Batch::from_host(three(), vec![0, 1, 2], &training_device());
        let options = PassOptions {
            label_smoothing: 0.1,
            ..PassOptions::default()
        };
        let output = model.pass(&batch, &options).unwrap();
        close(&numbers(output.losses), reference.losses, &what);
        let mean = reference.losses.iter().sum::<f32>() / 3.0;
        close(&numbers(output.loss), &[mean], &what);
        let params = model.params().clone();
        let (mut norms, mut along) = (Vec::new(), Vec::new());
        for param in params.iter() {
            let gradient = numbers(output.gradients.get(param).unwrap());
            let direction = noise(param.len(), 7);
            let product =
                |f: &dyn Fn(usize) -> f32| (0..param.len()).map(|i| f64::from(f(i))).sum::<f64>();
            norms.push(product(&|i| gradient[i] * gradient[i]).sqrt() as f32);
            along.push(product(&|i| gradient[i] * direction[i]) as f32);
        }
        close(&norms, reference.norms, &what);
        close(&along, reference.along, &what);
    }
}

#[test]
fn answers_equal_pytorch() {
    let _lock = lock();
    let device = Device::flex();
    for reference in REFERENCES {
        let mut all = Vec::new();
        // Loaded into a network without autodiff by way of its saved values.
        let saved = filled(reference.activation).save().unwrap();
        let mut model = Trained::new(Gnn::new(&config(reference.activation), &device).unwrap());
        model.load(&saved).unwrap();
        let batch = Batch::from_host(three(), vec![0, 1, 2], &device);
        let measured = model.evaluate(&mut [batch].into_iter()).unwrap();
        // Without smoothing: from the answers themselves.
        let labels = [1, 0, -1, -1, 1, 0, 0, -1, -1];
        for (z, label) in reference.answers.iter().zip(labels) {
            let z = f64::from(*z);
            match label {
                1 => all.push((-z).exp().ln_1p()),
                0 => all.push(z.exp().ln_1p()),
                _ => {}
            }
        }
        let expected = all.iter().sum::<f64>() / all.len() as f64;
        assert!(
            (measured["loss"] - expected).abs() < 1e-6,
            "{measured:?} {expected}"
        );
    }
}

/// Step of the differences, and what they may be apart beside 1 % of the gradient.
const STEP: f32 = 3e-3;
const TOLERANCE: f64 = 1e-3;

/// With smooth activations, since differences across the kink of ReLU are no gradients.
#[test]
fn gradients_equal_central_differences() {
    let _lock = lock();
    for activation in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
        let mut model = filled(activation);
        let batch = Batch::from_host(three(), vec![0, 1, 2], &training_device());
        let options = PassOptions {
            label_smoothing: 0.1,
            ..PassOptions::default()
        };
        let gradients = model.pass(&batch, &options).unwrap().gradients;
        let mut largest = 0f64;
        for param in model.params().clone().iter() {
            let gradient = numbers(gradients.get(param).unwrap());
            let stride = (param.len() / 4).max(1);
            let snapshot = model.snapshot();
            for element in (0..param.len()).step_by(stride) {
                let mut at = |by: f32| {
                    shift(&mut model, param.index, element, by);
                    let losses = numbers(model.pass(&batch, &options).unwrap().losses);
                    model.restore(&snapshot).unwrap();
                    losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64
                };
                let difference = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
                let exact = f64::from(gradient[element]);
                largest = largest.max(exact.abs());
                assert!(
                    (difference - exact).abs() < TOLERANCE + 0.01 * exact.abs(),
                    "{param:?} {element}: gradient {exact}, differences {difference}"
                );
            }
        }
        assert!(largest > 0.01);
    }
}

/// A molecule has the same answers alone, and beside a large one that pads it.
#[test]
fn padding_changes_nothing() {
    let _lock = lock();
    let device = Device::flex();
    device.seed(4);
    let laptop = registry().workload("pcba_gnn").unwrap();
    let split = laptop.open().unwrap().validation;
    let config = (velodrome_workloads::pcba_gnn::LAPTOP.config)();
    let network = Gnn::new(&config, &device).unwrap();
    let answers = |ids: &[usize]| {
        let batch = batch(&*split, ids, &device);
        numbers(network.answers(&batch, &Pass::evaluation()).unwrap().0)
    };
    let atoms = |id: usize| split.batch(&[id]).units;
    let ids: Vec<usize> = (0..60).collect();
    let largest = ids.iter().copied().max_by_key(|id| atoms(*id)).unwrap();
    let small: Vec<usize> = ids
        .iter()
        .copied()
        .filter(|id| 3 * atoms(*id) < 2 * atoms(largest))
        .collect();
    assert!(small.len() > 10);
    for id in small {
        let alone = answers(&[id]);
        let padded = answers(&[id, largest]);
        for (a, b) in alone.iter().zip(&padded) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // What stands in the padding does not matter at all.
        let mut host = split.batch(&[id, largest]);
        let counts = host.fields[3].values.clone();
        let HostValues::Int(counts) = counts else {
            panic!("counts are integers")
        };
        let [most_atoms, width] = [1, 2].map(|axis| host.fields[0].shape[axis]);
        let most_bonds = host.fields[2].shape[1];
        if let HostValues::Float(values) = &mut host.fields[0].values {
            values[counts[0] as usize * width..most_atoms * width].fill(7.0);
        }
        if let HostValues::Int(values) = &mut host.fields[2].values {
            values[counts[1] as usize * 2..most_bonds * 2].fill(3);
        }
        let dirty = Batch::from_host(host, vec![id, largest], &device);
        let dirty = numbers(network.answers(&dirty, &Pass::evaluation()).unwrap().0);
        assert_eq!(padded, dirty);
    }
}

/// Swapping the atoms of a graph, and the two ends of a bond, changes no answer.
#[test]
fn the_order_of_atoms_and_ends_does_not_matter() {
    let _lock = lock();
    let device = Device::flex();
    device.seed(5);
    let network = Gnn::new(&config(Activation::Relu), &device).unwrap();
    let answers = |atoms: &[u8], bonds: &[u8], links: &[[u16; 2]]| {
        let mut graphs = Graphs::new(Coding::Numbers(4), Coding::Numbers(3), 3);
        graphs.push(atoms, bonds, links, &[0, 1, -1]).unwrap();
        let split = GraphSplit::new(Arc::new(graphs), vec![0]);
        let batch = batch(&split, &[0], &device);
        numbers(network.answers(&batch, &Pass::evaluation()).unwrap().0)
    };
    let [a, b, c] = [[1, 0, 2, 0], [0, 3, 0, 1], [2, 2, 1, 0]];
    let [first, second] = [[1, 0, 0], [0, 1, 1]];
    let one = answers(
        &[a, b, c].concat(),
        &[first, second].concat(),
        &[[0, 1], [1, 2]],
    );
    let other = answers(
        &[c, a, b].concat(),
        &[second, first].concat(),
        &[[0, 2], [2, 1]],
    );
    close(&one, &other, "permuted");
    let third = answers(
        &[a, b, c].concat(),
        &[first, second].concat(),
        &[[0, 1], [0, 2]],
    );
    assert!(one.iter().zip(&third).any(|(x, y)| (x - y).abs() > 1e-3));
}

#[test]
fn missing_labels_have_no_loss_and_no_gradient() {
    let _lock = lock();
    let device = training_device();
    let mut model = filled(Activation::Silu);
    let pass = |model: &mut Trained<Gnn>, labels: [i32; 9]| {
        let mut host = three();
        host.fields[4].values = HostValues::Int(labels.to_vec());
        let batch = Batch::from_host(host, vec![0, 1, 2], &device);
        let output = model.pass(&batch, &PassOptions::default()).unwrap();
        let params = model.params().clone();
        let flat = params
            .iter()
            .map(|p| numbers(output.gradients.get(p).unwrap()));
        (numbers(output.losses), flat.collect::<Vec<_>>())
    };
    // One label present: the loss is its own, whatever else is in the batch.
    let (losses, gradients) = pass(&mut model, [-1, -1, -1, -1, 1, -1, -1, -1, -1]);
    assert_eq!((losses[0], losses[2]), (0.0, 0.0));
    assert!(losses[1] > 0.0 && gradients.iter().flatten().any(|g| *g != 0.0));
    let head = gradients.len() - 1;
    assert_eq!((gradients[head][0], gradients[head][2]), (0.0, 0.0));
    let (losses, gradients) = pass(&mut model, [-1; 9]);
    assert_eq!(losses, [0.0; 3]);
    assert!(gradients.iter().flatten().all(|g| *g == 0.0));
}

#[test]
fn a_batch_of_lone_atoms_has_answers_and_gradients() {
    let _lock = lock();
    let mut model = filled(Activation::Relu);
    let device = training_device();
    let all = Batch::from_host(three(), vec![0, 1, 2], &device);
    let lone = all.pick(&[2], &device);
    let whole = numbers(model.losses(&all, false).unwrap());
    let (alone, held) = lone.partition(|_| true, &device);
    assert!(held.is_empty());
    // Six labels in the whole batch, one here.
    let losses = numbers(model.losses(&alone, false).unwrap());
    assert!(
        (losses[0] * 3.0 / 5.0 - whole[2]).abs() < 1e-6,
        "{losses:?} {whole:?}"
    );
    let output = model.pass(&alone, &PassOptions::default()).unwrap();
    for param in model.params().iter() {
        let gradient = numbers(output.gradients.get(param).unwrap());
        assert!(gradient.iter().all(|g| g.is_finite()));
    }
    assert!(model.pass(&held, &PassOptions::default()).is_err());
}

#[test]
fn batches_that_do_not_fit_are_errors() {
    let _lock = lock();
    let device = training_device();
    let mut model = filled(Activation::Relu);
    let mut refused = |change: &dyn Fn(&mut HostBatch)| {
        let mut host = three();
        change(&mut host);
        let batch = Batch::from_host(host, vec![0, 1, 2], &device);
        model
            .pass(&batch, &PassOptions::default())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let set = |field: usize, at: usize, value: i32| {
        move |host: &mut HostBatch| {
            if let HostValues::Int(values) = &mut host.fields[field].values {
                values[at] = value;
            }
        }
    };
    for (field, at, value) in [
        (2, 0, 4),
        (2, 3, -1),
        (3, 0, 5),
        (3, 2, 0),
        (3, 1, 9),
        (3, 5, -1),
    ] {
        let refuse = set(field, at, value);
        if (field, at) == (3, 5) {
            continue; // A negative number of bonds counts as none.
        }
        let error = refused(&refuse);
        assert!(
            error.contains("points outside"),
            "{field} {at} {value}: {error}"
        );
    }
    let error = refused(&|host| {
        host.fields.remove(1);
    });
    assert!(error.contains("`bonds`"), "{error}");
    let error = refused(&|host| host.fields[0].shape = vec![3, 8, 2]);
    assert!(error.contains("built for [4, 3]"), "{error}");
    let error = refused(&|host| {
        host.fields[4].shape = vec![3, 1];
        host.fields[4].values = HostValues::Int(vec![0; 3]);
    });
    assert!(error.contains("built for 3"), "{error}");
    assert!(
        Gnn::new(
            &GnnConfig {
                steps: 0,
                ..config(Activation::Relu)
            },
            &device
        )
        .is_err()
    );
    assert!(
        Gnn::new(
            &GnnConfig {
                hidden: vec![],
                ..config(Activation::Relu)
            },
            &device
        )
        .is_err()
    );
}

/// By AlgoPerf's code: Dense layers with biases, layer norms with scale and shift, the graph's state
/// starting with a zero for each of 128 outputs.
#[test]
fn official_sizes() {
    let _lock = lock();
    let dense = |from: usize, to: usize| from * to + to;
    let update = |from: usize| dense(from, 256) + 512;
    let embeddings = |latent| dense(9, latent) + dense(3, latent);
    let later = 2 * update(4 * 256) + update(3 * 256);
    let base = embeddings(256)
        + 2 * update(3 * 256 + 128)
        + update(2 * 256 + 128)
        + 4 * later
        + dense(256, 128);
    assert_eq!(base, 3_554_176);
    let second = 9 * (dense(256, 256) + 512);
    let small = embeddings(128)
        + update(3 * 128 + 128)
        + update(128 + 2 * 256 + 128)
        + update(2 * 256 + 128)
        + 2 * later
        + second
        + dense(256, 128);
    for (name, expected) in [
        ("ogbg_gnn", base),
        ("ogbg_gnn_gelu", base),
        ("ogbg_gnn_silu", base),
        ("ogbg_gnn_model_size", small),
    ] {
        let workload = registry().workload(name).unwrap();
        let spec = workload.spec();
        assert_eq!(spec.parameters, expected, "{name}");
        assert_eq!((spec.size, spec.hints.batch_size), (Size::Algoperf, 512));
        let model = build(&*workload, 1);
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert_eq!(count, expected, "{name}");
    }
    let folder = std::env::temp_dir().join("velodrome-no-such-folder");
    let missing = velodrome_workloads::data::Molpcba::open("ogbg_gnn", &folder);
    let error = missing.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("velodrome-no-such-folder"), "{error}");
}

/// A step of the official model on generated graphs of the official shape: about 26 atoms and 28
/// bonds each (here a smaller batch than 512).
#[test]
fn the_official_model_takes_a_step() {
    let _lock = lock();
    let device = training_device();
    let workload = registry().workload("ogbg_gnn").unwrap();
    let mut model = build(&*workload, 1);
    let mut graphs = Graphs::new(Coding::Numbers(9), Coding::Numbers(3), 128);
    for graph in 0..16u16 {
        let atoms = 20 + graph % 13;
        let numbers = |n: u16, width: u16| -> Vec<u8> {
            (0..n * width)
                .map(|i| ((i * 7 + graph * 3 + i / width) % 6) as u8)
                .collect()
        };
        let ring = [atoms - 1, 0];
        let links: Vec<[u16; 2]> = (1..atoms).map(|a| [a - 1, a]).chain([ring]).collect();
        let label = |task: u16| [(-1i8), 0, 1][usize::from((task * 5 + graph) % 3)];
        let labels: Vec<i8> = (0..128).map(label).collect();
        let bonds = links.len() as u16;
        graphs
            .push(&numbers(atoms, 9), &numbers(bonds, 3), &links, &labels)
            .unwrap();
    }
    let split = GraphSplit::new(Arc::new(graphs), (0..16).collect());
    let ids: Vec<usize> = (0..16).collect();
    let batch = batch(&split, &ids, &device);
    let options = PassOptions {
        dropout: Some(0.0),
        ..PassOptions::default()
    };
    let mut optimizer = burn::optim::AdamWConfig::new().init();
    let first = model.pass(&batch, &options).unwrap();
    let before = numbers(first.loss)[0];
    // The output of a fresh network is small, so that the loss is not far from that of a coin.
    assert!((before - 2f32.ln()).abs() < 0.5, "{before}");
    model.step(&mut optimizer, 1e-3.into(), first.gradients.into_burn());
    let after = numbers(model.pass(&batch, &options).unwrap().loss)[0];
    assert!(after < before, "{before} {after}");
}

#[test]
fn kinds_and_variants() {
    let _lock = lock();
    let registry = registry();
    let kinds = |name: &str| {
        let model = build(&*registry.workload(name).unwrap(), 1);
        let params = model.params().clone();
        let kinds = [
            ParamKind::Matrix,
            ParamKind::Head,
            ParamKind::Bias,
            ParamKind::NormScale,
            ParamKind::NormShift,
        ];
        kinds.map(|kind| params.iter().filter(|p| p.kind == kind).count())
    };
    // Two embeddings, three updates in each of three steps.
    assert_eq!(kinds("pcba_gnn"), [11, 1, 12, 9, 9]);
    assert_eq!(kinds("pcba_gnn_model_size"), [14, 1, 15, 12, 12]);
    let parameters = |name: &str| registry.workload(name).unwrap().spec().parameters;
    assert_eq!(parameters("pcba_gnn"), parameters("pcba_gnn_gelu"));
    assert_eq!(parameters("pcba_gnn"), parameters("pcba_gnn_silu"));
    assert_ne!(parameters("pcba_gnn"), parameters("pcba_gnn_model_size"));
}

/// LeCun's rule: variance `1 / fan_in`, nothing beyond two deviations of the uncut normal.
#[test]
fn initial_weights_are_cut_and_have_the_stated_variance() {
    let _lock = lock();
    let device = Device::flex();
    device.seed(9);
    let config = (velodrome_workloads::pcba_gnn::ALGOPERF.config)();
    let model = Trained::new(Gnn::new(&config, &device).unwrap());
    model.visit(&mut |info, flat| {
        let values = numbers(flat);
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        match info.kind {
            ParamKind::Bias | ParamKind::NormShift => assert_eq!(largest, 0.0),
            ParamKind::NormScale => assert!(values.iter().all(|v| *v == 1.0)),
            _ => {
                let n = values.len() as f64;
                let fan_in = info.shape[0] as f64;
                let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
                let square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
                assert!(
                    (square * fan_in - 1.0).abs() < 6.0 / n.sqrt(),
                    "{info:?} {square}"
                );
                assert!(mean.abs() < 5.0 / (n * fan_in).sqrt());
                assert!(f64::from(largest) <= 2.0 / 0.8796 / fan_in.sqrt() + 1e-6);
            }
        }
    });
}

#[test]
fn molecules_are_in_one_split_only_and_their_graphs_are_sound() {
    let splits = Pcba::open("test").unwrap();
    assert!(splits.skipped.is_empty());
    let mut seen = HashSet::new();
    for split in [&splits.train, &splits.validation, &splits.test] {
        let ids: Vec<usize> = (0..split.len()).collect();
        for ids in ids.chunks(500) {
            let batch = split.batch(ids);
            let values = |at: usize| match &batch.fields[at].values {
                HostValues::Int(values) => values.clone(),
                HostValues::Float(_) => panic!("these are integers"),
            };
            let (counts, labels) = (values(3), values(4));
            assert!(labels.iter().all(|l| (-1..=1).contains(l)));
            assert!(counts.chunks(2).all(|c| c[0] > 0 && c[1] < 2 * c[0]));
            // At least eight of sixteen labels are there.
            for labels in labels.chunks(16) {
                assert!(labels.iter().filter(|l| **l >= 0).count() >= 8);
            }
        }
        for id in 0..split.len() {
            let batch = split.batch(&[id]);
            let key: Vec<u32> = batch
                .fields
                .iter()
                .take(3)
                .flat_map(|field| match &field.values {
                    HostValues::Float(v) => v.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
                    HostValues::Int(v) => v.iter().map(|x| *x as u32).collect(),
                })
                .collect();
            seen.insert(key);
        }
    }
    // Isomers that differ in chirality alone have equal graphs; there are few.
    assert!(seen.len() > 9_900, "{}", seen.len());
}

#[test]
fn a_pass_repeats_itself() {
    let _lock = lock();
    let device = training_device();
    let workload = registry().workload("pcba_gnn").unwrap();
    let train = workload.open().unwrap().train;
    let mut model = build(&*workload, 3);
    let ids: Vec<usize> = (0..32).collect();
    let data = batch(&*train, &ids, &device);
    let mut once = || {
        device.seed(8);
        let output = model.pass(&data, &PassOptions::default()).unwrap();
        let params = model.params().clone();
        let gradients = params
            .iter()
            .map(|p| bits(output.gradients.get(p).unwrap()));
        (bits(output.losses), gradients.collect::<Vec<_>>())
    };
    assert_eq!(once(), once());
}

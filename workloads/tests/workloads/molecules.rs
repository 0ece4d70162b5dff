//! The molecules' kind: message passing against PyTorch and against differences, padding, official
//! sizes, splits, bad batches.

mod reference;
mod workloads;

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

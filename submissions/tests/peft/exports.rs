//! Adapters that were trained here and written as PEFT's. `round_trip.py` loads them in PEFT: with
//! `VELODROME_EXPORTS=DIR` the test leaves the folders in `DIR` for it.

use super::support::{again, cases, far};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use velodrome_submissions::adapters::interchange::{
    Bound, Config, Folder, Layer, Stored, Tensors, write,
};
use velodrome_submissions::adapters::layout::values;
use velodrome_submissions::adapters::{Adapted, Draw, METHODS, Options, Shape, checks};

const STEPS: usize = 30;

fn graph<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(tensor.clone())
}

/// A layer with trained factors in a graph: what it computes, and the factors.
fn layer(layer: &Layer, x: Tensor<2>) -> (Tensor<2>, Vec<Tensor<2>>) {
    let adapted = &layer.adapted;
    let trained = adapted.trained().iter().map(|t| graph(t).require_grad());
    let trained: Vec<Tensor<2>> = trained.collect();
    let constants = adapted.constants().iter().map(graph);
    let factors: Vec<Tensor<2>> = trained.iter().cloned().chain(constants).collect();
    let y = adapted
        .method()
        .forward(x, graph(adapted.frozen()), &factors);
    let bias = layer.bias.as_ref().unwrap();
    let bias = adapted.method().bias(graph(bias), &factors);
    (y + bias.unsqueeze_dim::<2>(0), trained)
}

/// Fresh factors instead of the file's, trained on a small regression.
fn train(bound: &mut Bound, x: &Tensor<2>) {
    let mut draw = Draw::seeded(5);
    for layer in bound.layers.values_mut() {
        let adapted = &layer.adapted;
        let fresh = adapted
            .method()
            .initial(adapted.frozen(), &mut draw)
            .unwrap();
        layer.adapted = adapted.retrained(fresh).unwrap();
    }
    let wanted = graph(&draw.normal([x.dims()[0], 8], 1.0, &Device::flex()));
    for _ in 0..STEPS {
        let (up, first) = layer(&bound.layers["up"], graph(x));
        let (down, second) = layer(&bound.layers["down"], up.tanh());
        let gradients = (down - wanted.clone()).square().mean().backward();
        let step = |adapted: &Adapted, factors: &[Tensor<2>]| {
            let moved = adapted
                .trained()
                .iter()
                .zip(factors)
                .map(|(value, factor)| {
                    let Some(gradient) = factor.grad(&gradients) else {
                        return value.clone();
                    };
                    let norm = gradient.clone().square().mean().sqrt().clamp_min(1e-9);
                    value.clone() - gradient.div(norm.reshape([1, 1])).mul_scalar(0.02)
                });
            adapted.retrained(moved.collect()).unwrap()
        };
        for (module, factors) in [("up", first), ("down", second)] {
            let layer = bound.layers.get_mut(module).unwrap();
            layer.adapted = step(&layer.adapted, &factors);
        }
    }
}

/// Trains an adapter with the options of `case` and writes it to `folder`, with what it computes.
fn export(case: &Path, folder: &Path) {
    let device = Device::flex();
    let source = Folder::read(case).unwrap();
    let held = Tensors::read(&case.join("case.safetensors")).unwrap();
    let base = held.under("base.");
    let mut bound = source.bind(&base, &device).unwrap();
    let stored = &held.held["input"];
    let shape = [stored.shape()[0], stored.shape()[1]];
    let x = TensorData::new(stored.values().unwrap(), shape);
    let x = Tensor::<2>::from_data(x, &device);
    train(&mut bound, &x);
    write(folder, &source.config, &bound).unwrap();

    let output = bound.layers["down"].forward(bound.layers["up"].forward(x).tanh());
    let rows = [output.dims()[0], output.dims()[1]];
    let mut all = BTreeMap::from([
        ("input".to_string(), stored.clone()),
        ("output".to_string(), Stored::floats(&values(output), &rows)),
    ]);
    for (prefix, tensors) in [("base", &base), ("merged", &bound.merge(&base))] {
        let named = tensors.held.iter();
        all.extend(named.map(|(name, t)| (format!("{prefix}.{name}"), t.clone())));
    }
    let file = folder.join("case.safetensors");
    Tensors {
        file: file.clone(),
        held: all,
    }
    .write(&file)
    .unwrap();
    let about = fs::read_to_string(case.join("case.json")).unwrap();
    let about = about.replace("peft 0.21.2", "velodrome");
    fs::write(folder.join("case.json"), about).unwrap();
}

#[test]
fn a_trained_adapter_is_written_and_computes_the_same_when_read() {
    let scratch = tempfile::tempdir().unwrap();
    let root = std::env::var_os("VELODROME_EXPORTS").map(PathBuf::from);
    let root = root.unwrap_or(scratch.path().to_path_buf());
    for case in cases() {
        let folder = root.join(case.file_name().unwrap());
        export(&case, &folder);
        let replay = again(&folder).unwrap();
        assert_eq!(replay.first_miss, None, "{}", case.display());
        // It is another adapter than the one whose options it has.
        let read = |folder: &Path| Folder::read(folder).unwrap().tensors.held;
        assert_ne!(read(&folder), read(&case), "{}", case.display());
    }
}

/// A method from its options, started on a weight of this repository's own layout, is the same once it
/// was written and read.
#[test]
fn an_adapter_from_options_is_read_again() {
    let device = Device::flex();
    let shape = Shape::new(128, 256);
    let mut draw = Draw::seeded(1);
    let base = draw.normal([shape.d_in, shape.d_out], 0.1, &device);
    let weight = Stored::floats(&values(base.clone().transpose()), &[256, 128]);
    let weights = Tensors {
        file: "base.safetensors".into(),
        held: BTreeMap::from([("layers.0.fc.weight".to_string(), weight)]),
    };
    for entry in METHODS {
        let options = checks::options(entry.example.0);
        let Some(config) = Config::of(entry, &options, &["fc"]) else {
            assert!(entry.peft_type.is_empty());
            continue;
        };
        let method = (entry.build)(&Options::new(&options, shape), shape).unwrap();
        let fresh = Adapted::start(Arc::from(method), base.clone(), &mut draw).unwrap();
        let moved = fresh.trained().iter().map(|f| {
            let noise = draw.normal(f.dims(), 0.1, &device);
            f.clone() + noise
        });
        let adapted = fresh.retrained(moved.collect()).unwrap();
        let wanted = adapted.weight();
        let layer = Layer {
            adapted,
            bias: None,
        };
        let layers = BTreeMap::from([("layers.0.fc".to_string(), layer)]);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &config, &Bound::of(entry, layers)).unwrap();
        let bound = Folder::read(folder.path()).unwrap().bind(&weights, &device);
        let bound = bound.unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        assert_eq!(bound.method, entry.name);
        // The weight lies in memory the other way round, so that sums may be rounded differently.
        let found = bound.layers["layers.0.fc"].adapted.weight();
        assert!(far(found, wanted) < 1e-6, "{}", entry.name);
    }
}

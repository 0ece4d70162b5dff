//! Adapters as Hugging Face PEFT saves them.

use super::parts;
use burn::tensor::Device;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use velodrome_submissions::adapters::interchange::{
    CONFIG, Config, Folder, InterchangeError, MODEL, Stored, Tensors,
};

/// The weights of a model with the layers `up` (12 inputs, 8 outputs) and `down` (8, 8), each with a bias.
fn model() -> Tensors {
    let tensor = |shape: &[usize]| {
        let entries: usize = shape.iter().product();
        let values: Vec<f32> = (0..entries).map(|i| (i as f32 * 0.7).sin()).collect();
        Stored::floats(&values, shape)
    };
    let held = [
        ("down.bias", tensor(&[8])),
        ("down.weight", tensor(&[8, 8])),
        ("up.bias", tensor(&[8])),
        ("up.weight", tensor(&[8, 12])),
    ];
    Tensors {
        file: PathBuf::from("model"),
        held: held.map(|(name, t)| (name.to_string(), t)).into(),
    }
}

/// Ties the adapter in `folder` to the model and folds it in.
fn fold(folder: &Path) -> Result<(), InterchangeError> {
    let model = model();
    let bound = Folder::read(folder)?.bind(&model, &Device::flex())?;
    let merged = bound.merge(&model);
    let shapes = |t: &Tensors| -> BTreeMap<String, Vec<usize>> {
        let held = t.held.iter();
        held.map(|(name, t)| (name.clone(), t.shape().to_vec()))
            .collect()
    };
    assert_eq!(shapes(&merged), shapes(&model));
    Ok(())
}

/// Configuration and tensors.
pub fn adapter(bytes: &[u8]) -> bool {
    let folder = TempDir::new().expect("a folder can be made");
    let [config, tensors] = parts(bytes);
    fs::write(folder.path().join(CONFIG), config).expect("a file can be written");
    fs::write(folder.path().join(MODEL), tensors).expect("a file can be written");
    fold(folder.path()).is_ok()
}

/// A configuration alone: which modules it means.
pub fn config(bytes: &[u8]) -> bool {
    let folder = TempDir::new().expect("a folder can be made");
    fs::write(folder.path().join(CONFIG), bytes).expect("a file can be written");
    let Ok(config) = Config::read(folder.path()) else {
        return false;
    };
    let modules = ["up", "model.layers.3.q_proj", "model.h.11.attn.c_attn"];
    let told = modules.map(|module| config.targets(module).is_ok());
    config.peft_type().is_ok() && told == [true; 3]
}

/// A file of tensors: read, converted, written and read again.
pub fn safetensors(bytes: &[u8]) -> bool {
    let folder = TempDir::new().expect("a folder can be made");
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    fs::write(&from, bytes).expect("a file can be written");
    let Ok(tensors) = Tensors::read(&from) else {
        return false;
    };
    for stored in tensors.held.values() {
        if let Some(values) = stored.values() {
            assert_eq!(values.len(), stored.shape().iter().product::<usize>());
        }
    }
    tensors.write(&to).expect("what was read can be written");
    let again = Tensors::read(&to).expect("what was written can be read");
    assert_eq!(again.held, tensors.held);
    true
}

//! Adapters written as PEFT does.

use super::bind::{PREFIX, keys};
use super::{Bound, CONFIG, Config, InterchangeError, Layer, MODEL, Stored, Tensors};
use crate::adapters::Entry;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

impl Config {
    /// The configuration of a method with these options on these modules; `None` for a method that
    /// PEFT does not have.
    pub fn of(entry: &Entry, options: &Map<String, Value>, modules: &[&str]) -> Option<Self> {
        if entry.peft_type.is_empty() {
            return None;
        }
        let mut values = options.clone();
        values.insert("peft_type".into(), entry.peft_type.into());
        values.insert("target_modules".into(), modules.to_vec().into());
        Some(Self {
            file: CONFIG.into(),
            values,
        })
    }
}

impl Bound {
    /// Adapted layers by module, of a model whose weights are stored as `[d_out, d_in]`.
    pub fn of(entry: &Entry, layers: BTreeMap<String, Layer>) -> Self {
        Self {
            method: entry.name,
            layers,
            replaced: BTreeMap::new(),
            fan_in_fan_out: false,
        }
    }
}

/// Writes an adapter as PEFT does: the configuration, and every factor under its name. `folder` is
/// made where it is missing.
pub fn write(folder: &Path, config: &Config, bound: &Bound) -> Result<(), InterchangeError> {
    fs::create_dir_all(folder).map_err(|e| InterchangeError::written(folder, e))?;
    let mut held = BTreeMap::new();
    for (module, layer) in &bound.layers {
        let (adapted, method) = (&layer.adapted, layer.adapted.method());
        let trained = method.trained().into_iter().zip(adapted.trained());
        let constants = method.constants().into_iter().zip(adapted.constants());
        // What PEFT derives itself is not written, except for what it writes as well.
        let constants = constants.filter(|(f, _)| !f.optional || f.name == "delora_w_norm");
        for (factor, tensor) in trained.chain(constants) {
            let values = factor.to_stored(tensor.clone());
            let stored = match factor.name.ends_with("indices") {
                true => Stored::integers(&values, factor.stored()),
                false => Stored::floats(&values, factor.stored()),
            };
            for key in keys(module, &factor) {
                held.insert(key, stored.clone());
            }
        }
    }
    for (name, stored) in &bound.replaced {
        held.insert(format!("{PREFIX}{name}"), stored.clone());
    }
    let file = folder.join(MODEL);
    let tensors = Tensors {
        file: file.clone(),
        held,
    };
    tensors.write(&file)?;
    config.write(folder)
}

//! What PEFT computed with an adapter, computed again.
//!
//! The format, `peft-forward/1`, is a folder with an adapter's two files, `case.json` (`format`,
//! `method`, `reference`, `trainable_parameters`) and `case.safetensors`: the weights `base.*` of the
//! model `y = down(tanh(up(x)))`, `input`, the adapted model's `output`, and the weights `merged.*`
//! after merging.

use super::{Folder, InterchangeError, Tensors};
use crate::adapters::layout::values;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The format that is read.
const FORMAT: &str = "peft-forward/1";

/// The largest error that passes. A tensor's error is its largest distance from the reference over the
/// reference's largest entry, or over 1 where that is smaller: 32-bit floats of a large tensor are no
/// more exact than that.
pub const TOLERANCE: f64 = 1e-5;

/// How a replay went.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The method that the case names.
    pub method: String,
    /// Largest error over all compared tensors.
    pub max_error: f64,
    /// The first tensor whose error is above [`TOLERANCE`].
    pub first_miss: Option<String>,
    /// Number of trained values here.
    pub trainable: usize,
    /// The same as the case states it.
    pub stated: Option<u64>,
}

/// Replays the case in `folder`. `method` is told as soon as it is known, for rows of cases that cannot
/// be replayed.
pub fn replay(
    folder: &Path,
    device: &Device,
    method: &mut Option<String>,
) -> Result<Replay, InterchangeError> {
    let (name, stated) = about(folder)?;
    *method = Some(name.clone());
    let case = Tensors::read(&folder.join("case.safetensors"))?;
    let (base, merged) = (case.under("base."), case.under("merged."));
    let adapter = Folder::read(folder)?;
    let bound = adapter.bind(&base, device)?;
    let ours = bound.merge(&base);

    let mut replay = Replay {
        method: name,
        max_error: 0.0,
        first_miss: None,
        trainable: bound.trainable(),
        stated,
    };
    for (name, stored) in &merged.held {
        let reference = merged.values(name, stored.shape())?;
        let found = ours.values(name, stored.shape())?;
        replay.compare(&format!("merged.{name}"), &found, &reference);
    }
    let x = rows(&case, "input", device)?;
    let y = rows(&case, "output", device)?;
    let reference = values(y);
    // The layers that are not adapted, and all of them once merged, are plain.
    let plain = |weights: &Tensors, module: &str, x: Tensor<2>| {
        layer(weights, module, adapter.config.fan_in_fan_out(), x)
    };
    let merged_layers = plain(&ours, "up", x.clone())?.tanh();
    let merged_layers = plain(&ours, "down", merged_layers)?;
    replay.compare(
        "output of merged weights",
        &values(merged_layers),
        &reference,
    );
    let adapted = |module: &str, x: Tensor<2>| match bound.layers.get(module) {
        Some(layer) => Ok(layer.forward(x)),
        None => plain(&ours, module, x),
    };
    let output = adapted("down", adapted("up", x)?.tanh())?;
    replay.compare("output", &values(output), &reference);
    Ok(replay)
}

impl Replay {
    fn compare(&mut self, name: &str, found: &[f32], reference: &[f32]) {
        let size = |x: &f32| f64::from(x.abs());
        let scale = reference.iter().map(size).fold(1.0, f64::max);
        let far = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs() / scale;
        let errors = found.iter().zip(reference).map(far);
        // A comparison with what is not a number fails.
        let error = errors.fold(0.0, |a: f64, b| if b >= a || b.is_nan() { b } else { a });
        let error = match found.len() == reference.len() && !error.is_nan() {
            true => error,
            false => f64::INFINITY,
        };
        self.max_error = self.max_error.max(error);
        if error > TOLERANCE && self.first_miss.is_none() {
            self.first_miss = Some(format!(
                "`{name}` is off by {error:.1e} (tolerance {TOLERANCE:.0e})"
            ));
        }
    }
}

/// The method and the number of trained values that `case.json` states.
fn about(folder: &Path) -> Result<(String, Option<u64>), InterchangeError> {
    let file = folder.join("case.json");
    let text = fs::read_to_string(&file).map_err(|e| InterchangeError::read(&file, e))?;
    let damaged = |e| InterchangeError::format(&file, format!("is not JSON: {e}"));
    let case: Value = serde_json::from_str(&text).map_err(damaged)?;
    let text = |name: &str| {
        let found = case.get(name).and_then(Value::as_str);
        let what = || InterchangeError::format(&file, format!("`{name}` is missing or no text"));
        found.ok_or_else(what)
    };
    let format = text("format")?;
    if format != FORMAT {
        let what = format!("`format` is `{format}`; read is `{FORMAT}`");
        return Err(InterchangeError::format(&file, what));
    }
    let stated = case.get("trainable_parameters").and_then(Value::as_u64);
    Ok((text("method")?.to_string(), stated))
}

/// A weight of any shape.
fn matrix(tensors: &Tensors, name: &str, device: &Device) -> Result<Tensor<2>, InterchangeError> {
    let Some([rows, columns]) = tensors.held.get(name).map(|s| s.shape()) else {
        let what = format!("tensor `{name}` is missing, or no matrix");
        return Err(InterchangeError::format(&tensors.file, what));
    };
    let shape = [*rows, *columns];
    let values = tensors.values(name, &shape)?;
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

/// Activations of two axes or more: all but the last are one.
fn rows(tensors: &Tensors, name: &str, device: &Device) -> Result<Tensor<2>, InterchangeError> {
    let Some([leading @ .., width]) = tensors.held.get(name).map(|s| s.shape()) else {
        let what = format!("tensor `{name}` is missing, or a single number");
        return Err(InterchangeError::format(&tensors.file, what));
    };
    let count: usize = leading.iter().product();
    let values = tensors.values(name, &[leading, &[*width]].concat())?;
    let data = TensorData::new(values, [count, *width]);
    Ok(Tensor::from_data(data, device))
}

/// A plain layer: `x` times the weight, plus the bias.
fn layer(
    weights: &Tensors,
    module: &str,
    fan_in_fan_out: bool,
    x: Tensor<2>,
) -> Result<Tensor<2>, InterchangeError> {
    let device = x.device();
    let weight = matrix(weights, &format!("{module}.weight"), &device)?;
    let weight = match fan_in_fan_out {
        true => weight,
        false => weight.transpose(),
    };
    let [_, d_out] = weight.dims();
    let y = x.matmul(weight);
    let name = format!("{module}.bias");
    if !weights.held.contains_key(&name) {
        return Ok(y);
    }
    let bias = TensorData::new(weights.values(&name, &[d_out])?, [1, d_out]);
    Ok(y + Tensor::from_data(bias, &device))
}

//! Files of tensors in the safetensors format.

use super::InterchangeError;
use burn::tensor::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// One tensor as a file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    /// A tensor of 32-bit floats; `values` are row-major and as many as `shape` has entries.
    pub fn floats(values: &[f32], shape: &[usize]) -> Self {
        Self {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// A tensor of 32-bit whole numbers.
    pub(super) fn integers(values: &[f32], shape: &[usize]) -> Self {
        Self {
            dtype: Dtype::I32,
            shape: shape.to_vec(),
            bytes: values
                .iter()
                .flat_map(|x| (*x as i32).to_le_bytes())
                .collect(),
        }
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its values as 32-bit floats, row-major; `None` for a type that is not read here.
    pub fn values(&self) -> Option<Vec<f32>> {
        fn each<const N: usize>(bytes: &[u8], one: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            let chunks = bytes.as_chunks::<N>().0.iter();
            chunks.map(|chunk| one(*chunk)).collect()
        }
        let bytes = &self.bytes;
        Some(match self.dtype {
            Dtype::F32 => each(bytes, f32::from_le_bytes),
            Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            _ => return None,
        })
    }

    /// Other values in the same shape and, where it is a floating-point one, of the same type.
    pub(super) fn with(&self, values: &[f32]) -> Self {
        let bytes = match self.dtype {
            Dtype::F64 => values
                .iter()
                .flat_map(|x| f64::from(*x).to_le_bytes())
                .collect(),
            Dtype::F16 => values
                .iter()
                .flat_map(|x| f16::from_f32(*x).to_le_bytes())
                .collect(),
            Dtype::BF16 => values
                .iter()
                .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
                .collect(),
            _ => return Self::floats(values, &self.shape),
        };
        Self {
            dtype: self.dtype,
            shape: self.shape.clone(),
            bytes,
        }
    }
}

/// The tensors of a file, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensors {
    /// The file, for messages.
    pub file: PathBuf,
    /// The tensors.
    pub held: BTreeMap<String, Stored>,
}

impl Tensors {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self, InterchangeError> {
        let bytes = fs::read(file).map_err(|e| InterchangeError::read(file, e))?;
        let damaged = |e| InterchangeError::format(file, format!("is no safetensors file: {e}"));
        let parsed = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let stored = |(name, view): (&str, TensorView)| {
            let stored = Stored {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                bytes: view.data().to_vec(),
            };
            (name.to_string(), stored)
        };
        Ok(Self {
            file: file.to_path_buf(),
            held: parsed.iter().map(stored).collect(),
        })
    }

    /// Writes the tensors to `file`, marked as PyTorch's (`format`: `pt`), as PEFT does.
    pub fn write(&self, file: &Path) -> Result<(), InterchangeError> {
        let fault = |e| InterchangeError::format(file, format!("cannot be written: {e}"));
        let mut views = BTreeMap::new();
        for (name, stored) in &self.held {
            let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes);
            views.insert(name, view.map_err(fault)?);
        }
        let about = HashMap::from([("format".to_string(), "pt".to_string())]);
        let bytes = safetensors::serialize(views, Some(about)).map_err(fault)?;
        fs::write(file, bytes).map_err(|e| InterchangeError::written(file, e))
    }

    /// The tensors whose names start with `prefix`, which is cut off.
    pub fn under(&self, prefix: &str) -> Self {
        let cut = |(name, stored): (&String, &Stored)| {
            Some((name.strip_prefix(prefix)?.to_string(), stored.clone()))
        };
        Self {
            file: self.file.clone(),
            held: self.held.iter().filter_map(cut).collect(),
        }
    }

    /// The tensor of this name and its values; an error where it is missing, has another shape than
    /// `expected`, or is of a type that is not read here.
    pub fn values(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, InterchangeError> {
        let Some(stored) = self.held.get(name) else {
            return Err(InterchangeError::Missing {
                file: self.file.clone(),
                tensor: name.to_string(),
                expected: expected.to_vec(),
            });
        };
        if stored.shape != expected {
            return Err(InterchangeError::Shape {
                file: self.file.clone(),
                tensor: name.to_string(),
                found: stored.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        stored.values().ok_or_else(|| {
            let what = format!(
                "tensor `{name}` is of type {:?}, which is not read",
                stored.dtype
            );
            InterchangeError::format(&self.file, what)
        })
    }
}

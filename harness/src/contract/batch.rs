//! Examples on their way from a data set to a model.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::fmt;

/// Values of one field of a batch, in main memory.
#[derive(Debug, Clone, PartialEq)]
pub enum HostValues {
    /// Real numbers.
    Float(Vec<f32>),
    /// Integers: labels, tokens, indices.
    Int(Vec<i32>),
}

/// One field of a batch in main memory; the first axis counts the examples.
#[derive(Debug, Clone, PartialEq)]
pub struct HostField {
    /// Name, agreed on between data set and model ("image", "label", "tokens").
    pub name: &'static str,
    /// Shape; `shape[0]` is the number of examples.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: HostValues,
}

/// A batch in main memory, as a data set makes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostBatch {
    /// The fields.
    pub fields: Vec<HostField>,
    /// Number of examples.
    pub examples: usize,
    /// Number of units that the workload counts beside examples (tokens, pixels, nodes).
    pub units: usize,
}

/// A data set: examples by index. Implementations are pure: the same indices give the same batch.
pub trait Dataset: Send + Sync {
    /// Number of examples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The examples at `indices` (each below [`Self::len`]), in that order.
    fn batch(&self, indices: &[usize]) -> HostBatch;

    /// The examples at `indices` as a race asks for them; by default [`Self::batch`].
    ///
    /// In training, `draws` holds a random number for each index, which depends on the trial's data
    /// seed and on the example's place in the stream alone. Augmentation takes all its chance from
    /// them, so that the same indices and draws give the same batch, and all submissions meet the same
    /// augmented examples. Evaluations give no draws.
    ///
    /// Fails where an example cannot be read, with the file's name: for data that is read on the way.
    fn load(&self, indices: &[usize], _draws: Option<&[u64]>) -> Result<HostBatch, String> {
        Ok(self.batch(indices))
    }
}

/// One field of a batch on the device, flat, with its shape.
#[derive(Debug, Clone)]
pub enum Field {
    /// Real numbers.
    Float(Tensor<1>, Vec<usize>),
    /// Integers.
    Int(Tensor<1, Int>, Vec<usize>),
}

/// A batch on the device.
#[derive(Debug, Clone)]
pub struct Batch {
    fields: Vec<(&'static str, Field)>,
    examples: usize,
    units: usize,
    ids: Vec<usize>,
}

/// A model asked a batch for a field that is not there, or of another type or rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError(String);

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FieldError {}

impl Batch {
    /// Moves a host batch to the device. `ids` are the examples' indices in their split.
    pub fn from_host(host: HostBatch, ids: Vec<usize>, device: &Device) -> Self {
        let fields = host
            .fields
            .into_iter()
            .map(|field| {
                let n = field.shape.iter().product::<usize>();
                let on_device = match field.values {
                    HostValues::Float(v) => Field::Float(
                        Tensor::from_data(TensorData::new(v, [n]), device),
                        field.shape,
                    ),
                    HostValues::Int(v) => Field::Int(
                        Tensor::from_data(TensorData::new(v, [n]), device),
                        field.shape,
                    ),
                };
                (field.name, on_device)
            })
            .collect();
        Self {
            fields,
            examples: host.examples,
            units: host.units,
            ids,
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples
    }

    /// Whether it holds no examples.
    pub fn is_empty(&self) -> bool {
        self.examples == 0
    }

    /// Number of tokens (or the workload's own unit).
    pub fn units(&self) -> usize {
        self.units
    }

    /// Indices of the examples in the training split: what a selection rule keeps statistics by.
    pub fn ids(&self) -> &[usize] {
        &self.ids
    }

    fn field(&self, name: &str) -> Result<&Field, FieldError> {
        self.fields
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, f)| f)
            .ok_or_else(|| FieldError(format!("the batch has no field `{name}`")))
    }

    /// The real field `name`, of rank `D`.
    pub fn float<const D: usize>(&self, name: &str) -> Result<Tensor<D>, FieldError> {
        match self.field(name)? {
            Field::Float(flat, shape) => Ok(flat.clone().reshape(to_rank::<D>(name, shape)?)),
            Field::Int(..) => Err(FieldError(format!("field `{name}` holds integers"))),
        }
    }

    /// The integer field `name`, of rank `D`.
    pub fn int<const D: usize>(&self, name: &str) -> Result<Tensor<D, Int>, FieldError> {
        match self.field(name)? {
            Field::Int(flat, shape) => Ok(flat.clone().reshape(to_rank::<D>(name, shape)?)),
            Field::Float(..) => Err(FieldError(format!("field `{name}` holds real numbers"))),
        }
    }

    /// The examples at the given positions of this batch, in that order (repeats allowed).
    /// Positions must be below [`Self::len`]; others are left out.
    pub fn pick(&self, positions: &[usize], device: &Device) -> Self {
        let keep: Vec<usize> = positions
            .iter()
            .copied()
            .filter(|&p| p < self.examples)
            .collect();
        let rows: Vec<i32> = keep.iter().map(|&p| p as i32).collect();
        let n = rows.len();
        let index = Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), device);
        let fields = self
            .fields
            .iter()
            .map(|(name, field)| {
                let picked = match field {
                    Field::Float(flat, shape) => {
                        let width: usize = shape[1..].iter().product();
                        let rows = flat.clone().reshape([self.examples, width]);
                        let flat = rows.select(0, index.clone()).reshape([n * width]);
                        Field::Float(flat, with_rows(shape, n))
                    }
                    Field::Int(flat, shape) => {
                        let width: usize = shape[1..].iter().product();
                        let rows = flat.clone().reshape([self.examples, width]);
                        let flat = rows.select(0, index.clone()).reshape([n * width]);
                        Field::Int(flat, with_rows(shape, n))
                    }
                };
                (*name, picked)
            })
            .collect();
        Self {
            fields,
            examples: n,
            units: self.units * n / self.examples.max(1),
            ids: keep
                .iter()
                .filter_map(|&p| self.ids.get(p).copied())
                .collect(),
        }
    }
}

impl Batch {
    /// Splits the batch in two: the examples whose index in the training split (see [`Self::ids`])
    /// is `chosen`, and the others; each in the order of this batch. Either part may be empty.
    pub fn partition(
        &self,
        mut chosen: impl FnMut(usize) -> bool,
        device: &Device,
    ) -> (Self, Self) {
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..self.examples).partition(|&p| self.ids.get(p).is_some_and(|&id| chosen(id)));
        (self.pick(&inside, device), self.pick(&outside, device))
    }
}

fn with_rows(shape: &[usize], rows: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[0] = rows;
    shape
}

fn to_rank<const D: usize>(name: &str, shape: &[usize]) -> Result<[usize; D], FieldError> {
    shape
        .try_into()
        .map_err(|_| FieldError(format!("field `{name}` has shape {shape:?}, not rank {D}")))
}

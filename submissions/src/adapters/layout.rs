//! Shapes, and how a factor is stored in Hugging Face's files: the one place where `[d_out, d_in]`
//! there meets `[d_in, d_out]` here.

use super::MethodError;
use burn::tensor::{Device, Tensor, TensorData};
use std::fmt;

/// The shape of an adapted weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of inputs (rows).
    pub d_in: usize,
    /// Number of outputs (columns).
    pub d_out: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} inputs and {} outputs", self.d_in, self.d_out)
    }
}

impl Shape {
    /// The shape of `[d_in, d_out]`.
    pub fn new(d_in: usize, d_out: usize) -> Self {
        Self { d_in, d_out }
    }

    /// The shape of a weight.
    pub fn of(weight: &Tensor<2>) -> Self {
        let [d_in, d_out] = weight.dims();
        Self { d_in, d_out }
    }

    /// The shorter side: the largest rank.
    pub fn short(self) -> usize {
        self.d_in.min(self.d_out)
    }

    /// The longer side.
    pub fn long(self) -> usize {
        self.d_in.max(self.d_out)
    }

    /// Number of entries.
    pub fn entries(self) -> usize {
        self.d_in * self.d_out
    }

    /// Number of blocks of `size` along the inputs; an error where they do not fill them.
    pub fn blocks_in(self, option: &'static str, size: usize) -> Result<usize, MethodError> {
        blocks(option, size, "inputs", self.d_in)
    }

    /// Number of blocks of `size` along the outputs; an error where they do not fill them.
    pub fn blocks_out(self, option: &'static str, size: usize) -> Result<usize, MethodError> {
        blocks(option, size, "outputs", self.d_out)
    }

    /// An error where `size` is larger than `limit`.
    pub fn at_most(
        self,
        option: &'static str,
        size: usize,
        limit: usize,
    ) -> Result<(), MethodError> {
        if size > limit {
            return Err(MethodError::TooLarge {
                option,
                size,
                limit,
                shape: self,
            });
        }
        Ok(())
    }
}

fn blocks(
    option: &'static str,
    size: usize,
    axis: &'static str,
    length: usize,
) -> Result<usize, MethodError> {
    if size == 0 || !length.is_multiple_of(size) {
        return Err(MethodError::Indivisible {
            option,
            size,
            axis,
            length,
        });
    }
    Ok(length / size)
}

/// How a file's tensor becomes a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `[a, b]` there is `[b, a]` here.
    Turned,
    /// The same order of entries: all axes but the last are one here, and a vector is one row.
    Flat,
}

/// Where a file holds a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// With the module.
    Module,
    /// Once for all modules, at the root.
    Root,
    /// At the root, and the same again with every module.
    Everywhere,
}

/// One matrix of a method, and the tensor that holds it in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Its name, as in Hugging Face's files (after the module's).
    pub name: &'static str,
    /// Where a file holds it.
    pub place: Place,
    /// Whether a file may leave it out, because the method derives it.
    pub optional: bool,
    stored: Vec<usize>,
    layout: Layout,
    /// Where the entries are places: below which number those of each row must lie.
    below: Vec<usize>,
}

impl Factor {
    /// A matrix that files hold the other way round, as `[rows, columns]`.
    pub fn turned(name: &'static str, rows: usize, columns: usize) -> Self {
        Self::with(name, &[rows, columns], Layout::Turned)
    }

    /// A tensor whose entries files hold in the same order, with the shape `stored`.
    pub fn flat(name: &'static str, stored: &[usize]) -> Self {
        Self::with(name, stored, Layout::Flat)
    }

    /// `count` places along axes of these lengths, as whole numbers: one row for each axis.
    pub fn places(name: &'static str, axes: &[usize], count: usize) -> Self {
        let stored = match axes {
            [_] => vec![count],
            _ => vec![axes.len(), count],
        };
        Self {
            below: axes.to_vec(),
            ..Self::flat(name, &stored)
        }
    }

    /// What is wrong with a file's values, if anything: a place outside of its axis.
    pub fn fault(&self, values: &[f32]) -> Option<String> {
        let rows = values.chunks(values.len().div_ceil(self.below.len().max(1)).max(1));
        rows.zip(&self.below).find_map(|(row, length)| {
            let inside = |x: &&f32| (0.0..*length as f32).contains(*x) && x.fract() == 0.0;
            let outside = row.iter().find(|x| !inside(x))?;
            Some(format!(
                "holds {outside}, which is no place on an axis of {length}"
            ))
        })
    }

    fn with(name: &'static str, stored: &[usize], layout: Layout) -> Self {
        Self {
            name,
            place: Place::Module,
            optional: false,
            stored: stored.to_vec(),
            layout,
            below: Vec::new(),
        }
    }

    /// The same, but a file may leave it out.
    pub fn optional(self, optional: bool) -> Self {
        Self { optional, ..self }
    }

    /// The same, but a file holds it once for all modules.
    pub fn at_root(self) -> Self {
        Self {
            place: Place::Root,
            ..self
        }
    }

    /// The same, but a file holds it at the root and again with every module.
    pub fn everywhere(self) -> Self {
        Self {
            place: Place::Everywhere,
            ..self
        }
    }

    /// Its shape in files.
    pub fn stored(&self) -> &[usize] {
        &self.stored
    }

    /// Its shape here.
    pub fn shape(&self) -> [usize; 2] {
        match (self.layout, self.stored.as_slice()) {
            (Layout::Turned, [rows, columns]) => [*columns, *rows],
            (_, [leading @ .., last]) => [leading.iter().product(), *last],
            (_, []) => [1, 1],
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.stored.iter().product()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The matrix from a file's values (row-major, as many as [`Self::len`]).
    pub fn from_stored(&self, values: Vec<f32>, device: &Device) -> Tensor<2> {
        match self.layout {
            Layout::Turned => {
                let [rows, columns] = self.shape();
                Tensor::<2>::from_data(TensorData::new(values, [columns, rows]), device).transpose()
            }
            Layout::Flat => Tensor::from_data(TensorData::new(values, self.shape()), device),
        }
    }

    /// A file's values (row-major) from the matrix.
    pub fn to_stored(&self, matrix: Tensor<2>) -> Vec<f32> {
        let matrix = match self.layout {
            Layout::Turned => matrix.transpose(),
            Layout::Flat => matrix,
        };
        values(matrix)
    }
}

/// A tensor's values on the host, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_into_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_survives_the_way_there_and_back() {
        let device = Device::flex();
        let six: Vec<f32> = (0..6).map(|i| i as f32).collect();
        for factor in [
            Factor::turned("a", 2, 3),
            Factor::flat("b", &[2, 3]),
            Factor::flat("c", &[6]),
            Factor::flat("d", &[3, 1, 2]),
        ] {
            let here = factor.from_stored(six.clone(), &device);
            assert_eq!(here.dims(), factor.shape(), "{}", factor.name);
            assert_eq!(factor.to_stored(here), six, "{}", factor.name);
        }
        assert_eq!(Factor::turned("a", 2, 3).shape(), [3, 2]);
        assert_eq!(Factor::flat("c", &[6]).shape(), [1, 6]);
        assert_eq!(Factor::flat("d", &[3, 1, 2]).shape(), [3, 2]);
    }

    #[test]
    fn places_lie_on_their_axes() {
        let factor = Factor::places("a", &[8, 4], 2);
        assert_eq!(factor.stored(), [2, 2]);
        assert_eq!(factor.fault(&[0.0, 7.0, 3.0, 0.0]), None);
        for bad in [[8.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0]] {
            let message = factor.fault(&bad).unwrap();
            assert!(message.contains("no place on an axis"), "{message}");
        }
        for bad in [-1.0, 0.5, f32::NAN, f32::INFINITY] {
            assert!(factor.fault(&[0.0, bad, 0.0, 0.0]).is_some(), "{bad}");
        }
        assert_eq!(Factor::places("b", &[8], 3).stored(), [3]);
        assert_eq!(Factor::flat("c", &[2]).fault(&[-1.0, f32::NAN]), None);
    }

    #[test]
    fn blocks_must_fill_an_axis() {
        let shape = Shape::new(12, 8);
        assert_eq!(shape.blocks_in("b", 4).unwrap(), 3);
        assert_eq!(
            shape.blocks_out("b", 3).unwrap_err().to_string(),
            "`b` is 3, which does not divide 8, the number of outputs"
        );
        assert!(shape.blocks_in("b", 0).is_err());
        let error = shape.at_most("r", 13, 8).unwrap_err().to_string();
        assert!(error.contains("12 inputs and 8 outputs"), "{error}");
    }
}

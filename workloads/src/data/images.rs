//! Labelled images in bytes.

use std::sync::Arc;
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues, Splits};

/// One split of labelled images. Gives the fields `image` (real, `[examples, ...shape]`) and
/// `label` (integer, `[examples]`).
#[derive(Debug, Clone)]
pub struct Images {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    shape: Vec<usize>,
    /// Normalised value of each byte.
    scale: Arc<[f32; 256]>,
}

impl Images {
    fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the example at `index`, before normalisation; empty behind the end.
    pub fn raw(&self, index: usize) -> &[u8] {
        let size = self.size();
        self.pixels
            .get(index * size..(index + 1) * size)
            .unwrap_or_default()
    }

    /// Label of each example.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }
}

impl Dataset for Images {
    fn len(&self) -> usize {
        self.labels.len()
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let mut pixels = Vec::with_capacity(indices.len() * self.size());
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            if let Some(label) = self.labels.get(index) {
                labels.push(i32::from(*label));
                let raw = self.raw(index).iter();
                pixels.extend(raw.map(|byte| self.scale[usize::from(*byte)]));
            }
        }
        let examples = labels.len();
        let mut shape = vec![examples];
        shape.extend(&self.shape);
        HostBatch {
            fields: vec![
                HostField {
                    name: "image",
                    shape,
                    values: HostValues::Float(pixels),
                },
                HostField {
                    name: "label",
                    shape: vec![examples],
                    values: HostValues::Int(labels),
                },
            ],
            examples,
            units: examples,
        }
    }
}

/// Pixels and labels of one split.
pub(crate) type RawSplit = (Vec<u8>, Vec<u8>);

/// The three splits of a set of labelled images, normalised by the training split.
#[derive(Debug, Clone)]
pub struct ImageSplits {
    /// Training images.
    pub train: Images,
    /// Validation images.
    pub validation: Images,
    /// Test images.
    pub test: Images,
}

impl ImageSplits {
    /// Splits from (pixels, labels) of each, in the order training, validation, test. Every image
    /// has `shape` bytes; a value `x` becomes `(x - mean) / deviation` with the mean and standard
    /// deviation over all training pixels.
    pub(crate) fn new(splits: [RawSplit; 3], shape: &[usize]) -> Self {
        let scale = Arc::new(normalisation(&splits[0].0));
        let [train, validation, test] = splits.map(|(pixels, labels)| Images {
            pixels,
            labels,
            shape: shape.to_vec(),
            scale: scale.clone(),
        });
        Self {
            train,
            validation,
            test,
        }
    }
}

impl From<ImageSplits> for Splits {
    fn from(splits: ImageSplits) -> Self {
        Self::new(splits.train, splits.validation, splits.test)
    }
}

/// Normalised value of each possible byte, from the mean and the (biased) standard deviation of
/// `bytes`. Sums of bytes are exact in integers, so the order does not matter.
fn normalisation(bytes: &[u8]) -> [f32; 256] {
    let n = bytes.len().max(1) as f64;
    let sum: u64 = bytes.iter().map(|b| u64::from(*b)).sum();
    let squares: u64 = bytes.iter().map(|b| u64::from(*b).pow(2)).sum();
    let mean = sum as f64 / n;
    let variance = (squares as f64 / n - mean * mean).max(0.0);
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    std::array::from_fn(|byte| ((byte as f64 - mean) / deviation) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> ImageSplits {
        let split = |values: &[u8]| (values.to_vec(), vec![1; values.len() / 2]);
        ImageSplits::new([split(&[0, 2, 4, 6]), split(&[1, 3]), split(&[5, 7])], &[2])
    }

    #[test]
    fn normalisation_is_by_the_training_split() {
        // Mean 3, variance (9 + 1 + 1 + 9) / 4 = 5.
        let batch = tiny().validation.batch(&[0]);
        let s = 5f64.sqrt();
        assert_eq!(
            batch.fields[0].values,
            HostValues::Float(vec![(-2.0 / s) as f32, 0.0])
        );
        assert_eq!(batch.fields[0].shape, [1, 2]);
    }

    #[test]
    fn batches_follow_the_indices_and_leave_out_what_is_not_there() {
        let train = tiny().train;
        let batch = train.batch(&[1, 0, 2, 1]);
        assert_eq!(batch.examples, 3);
        let one = train.batch(&[1]);
        let HostValues::Float(all) = &batch.fields[0].values else {
            panic!("images are real");
        };
        assert_eq!(HostValues::Float(all[..2].to_vec()), one.fields[0].values);
        assert_eq!(HostValues::Float(all[4..].to_vec()), one.fields[0].values);
    }

    #[test]
    fn constant_images_do_not_divide_by_zero() {
        assert!(normalisation(&[7, 7]).iter().all(|x| x.is_finite()));
    }
}

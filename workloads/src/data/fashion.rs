//! A class-balanced subset of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), 28x28 grey images.

use super::images::RawSplit;
use super::{Embedded, ImageSplits};
use velodrome_harness::contract::{DataSource, WorkloadError};

pub(super) const FILE: Embedded = Embedded {
    file: "fashion_mnist_8000.gz",
    sha256: "50df6a2976f1d8be20d0af32fcaace239c0ddb283c442056e9a7819e76783147",
    bytes: include_bytes!("../../data/fashion_mnist_8000.gz"),
};

/// The Fashion-MNIST subset: 600, 100 and 100 images of each class. Training and validation come
/// from the original training file, test from the original test file.
pub struct Fashion;

impl Fashion {
    /// Height and width of an image.
    pub const SIDE: usize = 28;
    /// Classes.
    pub const CLASSES: usize = 10;
    /// Training, validation and test images.
    pub const SPLIT_SIZES: [usize; 3] = [6000, 1000, 1000];
    /// What covers the upper body: T-shirts, pullovers, dresses, coats and shirts.
    pub const UPPER: [u8; 5] = [0, 2, 3, 4, 6];
    /// Trousers, sandals, sneakers, bags and boots.
    pub const OTHERS: [u8; 5] = [1, 5, 7, 8, 9];
    /// Training, validation and test images of five classes.
    pub const HALF_SIZES: [usize; 3] = [3000, 500, 500];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "Fashion-MNIST, 8000 images".into(),
            source: "dataset-fashion-mnist 0.0~git20200523.55506a9-1 (Debian)".into(),
            licence: "MIT".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// Opens the data: images of shape `[1, 28, 28]`.
    pub fn open(workload: &str) -> Result<ImageSplits, WorkloadError> {
        let content = FILE.unpack(workload)?;
        let splits = parse(&content).map_err(|m| FILE.fault(workload, &m))?;
        Ok(ImageSplits::new(splits, &[1, Self::SIDE, Self::SIDE]))
    }

    /// Opens the images of [`Self::UPPER`] (task 1) or of [`Self::OTHERS`] (task 0), normalised as all of
    /// them are; a label is a class's place in that list.
    pub fn open_half(workload: &str, upper: bool) -> Result<ImageSplits, WorkloadError> {
        let all = Self::open(workload)?;
        Ok(match upper {
            true => all.of_classes(&Self::UPPER, 1),
            false => all.of_classes(&Self::OTHERS, 0),
        })
    }
}

/// Reads the format that `data/make/fashion_mnist.py` describes.
fn parse(content: &[u8]) -> Result<[RawSplit; 3], String> {
    let (head, rest) = content.split_at_checked(28).ok_or("is cut short")?;
    if !head.starts_with(b"VIMG") {
        return Err("does not start with `VIMG`".into());
    }
    let number = |at: usize| {
        let bytes = head[4 * at..4 * at + 4].iter().rev();
        bytes.fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let found = [1, 2, 3, 4, 5, 6].map(number);
    let [train, validation, test] = Fashion::SPLIT_SIZES;
    let expected = [1, Fashion::SIDE, Fashion::SIDE, train, validation, test];
    if found != expected {
        return Err(format!("header is {found:?}, expected {expected:?}"));
    }
    let count = train + validation + test;
    let size = Fashion::SIDE * Fashion::SIDE;
    let (labels, pixels) = rest.split_at_checked(count).ok_or("is cut short")?;
    if pixels.len() != count * size {
        return Err(format!("holds {} bytes of pixels", pixels.len()));
    }
    if let Some(label) = labels.iter().find(|l| usize::from(**l) >= Fashion::CLASSES) {
        return Err(format!("label {label} is not below {}", Fashion::CLASSES));
    }
    let part = |from: usize, to: usize| {
        (
            pixels[from * size..to * size].to_vec(),
            labels[from..to].to_vec(),
        )
    };
    Ok([
        part(0, train),
        part(train, train + validation),
        part(train + validation, count),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_is_balanced() {
        let splits = Fashion::open("test").unwrap();
        for (images, each) in [
            (&splits.train, 600),
            (&splits.validation, 100),
            (&splits.test, 100),
        ] {
            let mut counts = [0; Fashion::CLASSES];
            for label in images.labels() {
                counts[usize::from(*label)] += 1;
            }
            assert_eq!(counts, [each; Fashion::CLASSES]);
        }
    }

    #[test]
    fn two_halves_of_the_classes_are_all_images() {
        let all = Fashion::open("test").unwrap();
        let mut images: Vec<(u8, &[u8])> = Vec::new();
        let halves = [(true, Fashion::UPPER), (false, Fashion::OTHERS)]
            .map(|(upper, classes)| (Fashion::open_half("test", upper).unwrap(), classes));
        for (half, classes) in &halves {
            let sizes = [&half.train, &half.validation, &half.test].map(|s| s.labels().len());
            assert_eq!(sizes, Fashion::HALF_SIZES);
            let labels = half.test.labels().iter().enumerate();
            images.extend(labels.map(|(i, l)| (classes[usize::from(*l)], half.test.raw(i))));
        }
        let labels = all.test.labels().iter().enumerate();
        let mut wanted: Vec<(u8, &[u8])> = labels.map(|(i, l)| (*l, all.test.raw(i))).collect();
        images.sort();
        wanted.sort();
        assert_eq!(images, wanted);
    }

    #[test]
    fn a_wrong_header_a_cut_file_and_a_wrong_label_are_refused() {
        let content = FILE.unpack("test").unwrap();
        assert!(parse(&content).is_ok());
        assert!(parse(&content[..20]).is_err());
        assert!(parse(&content[..content.len() - 1]).is_err());
        for (at, value) in [(0, b'X'), (4, 2), (8, 27), (28, 10)] {
            let mut bad = content.clone();
            bad[at] = value;
            assert!(parse(&bad).is_err(), "byte {at}");
        }
    }
}

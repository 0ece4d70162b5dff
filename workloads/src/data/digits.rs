//! UCI handwritten digits (Alpaydin and Kaynak 1998), 8x8 images in 17 grey levels.

use super::images::RawSplit;
use super::{Embedded, ImageSplits};
use velodrome_harness::contract::{DataSource, WorkloadError};

pub(super) const FILE: Embedded = Embedded {
    file: "digits.csv.gz",
    sha256: "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    bytes: include_bytes!("../../data/digits.csv.gz"),
};

/// The handwritten digits.
///
/// The split is fixed: among the images of one class, in file order, the fourth and fifth of every
/// five go to validation and test, the others to training. So the splits are balanced, and all of
/// them hold digits by all writers.
pub struct Digits;

impl Digits {
    /// Pixels of an image.
    pub const PIXELS: usize = 64;
    /// Classes.
    pub const CLASSES: usize = 10;
    /// Training, validation and test images.
    pub const SPLIT_SIZES: [usize; 3] = [1085, 357, 355];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "UCI handwritten digits".into(),
            source: "scikit-learn 1.5.2 (PyPI), sklearn/datasets/data/digits.csv.gz".into(),
            licence: "CC BY 4.0 (data), BSD-3-Clause (package)".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// Opens the data: images of shape `[64]`.
    pub fn open(workload: &str) -> Result<ImageSplits, WorkloadError> {
        let text = FILE.unpack(workload)?;
        let text = std::str::from_utf8(&text).map_err(|e| FILE.fault(workload, &e.to_string()))?;
        let mut splits: [RawSplit; 3] = Default::default();
        let mut seen = [0usize; Self::CLASSES];
        for (number, line) in text.lines().enumerate() {
            let (pixels, label) = parse(line)
                .map_err(|m| FILE.fault(workload, &format!("line {}: {m}", number + 1)))?;
            let nth = &mut seen[usize::from(label)];
            let split = [0, 0, 0, 1, 2][*nth % 5];
            *nth += 1;
            splits[split].0.extend(pixels);
            splits[split].1.push(label);
        }
        let sizes = [0, 1, 2].map(|i| splits[i].1.len());
        if sizes != Self::SPLIT_SIZES {
            let message = format!("holds {sizes:?} images, expected {:?}", Self::SPLIT_SIZES);
            return Err(FILE.fault(workload, &message));
        }
        Ok(ImageSplits::new(splits, &[Self::PIXELS]))
    }
}

/// One line: 64 pixels (0 to 16) and the label (0 to 9), between commas.
fn parse(line: &str) -> Result<(Vec<u8>, u8), String> {
    let mut values = line
        .split(',')
        .map(|field| {
            let field = field.trim();
            field
                .parse::<u8>()
                .map_err(|_| format!("`{field}` is not a number from 0 to 255"))
        })
        .collect::<Result<Vec<u8>, String>>()?;
    let label = values.pop().unwrap_or(u8::MAX);
    if values.len() != Digits::PIXELS || usize::from(label) >= Digits::CLASSES {
        return Err(format!(
            "expected 64 pixels and a label below 10, found {} and {label}",
            values.len()
        ));
    }
    Ok((values, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_image_is_the_well_known_zero() {
        let splits = Digits::open("test").unwrap();
        assert_eq!(splits.train.labels()[..3], [0, 1, 2]);
        assert_eq!(splits.train.raw(0)[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
    }

    #[test]
    fn bad_lines_are_refused() {
        assert!(parse("1,2,3").is_err());
        assert!(parse(&format!("{}12", "0,".repeat(64))).is_err());
        assert!(parse(&format!("{}x", "0,".repeat(64))).is_err());
        assert!(parse(&format!("{}9", "0,".repeat(64))).is_ok());
    }
}

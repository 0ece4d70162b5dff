//! The data sets. Embedded ones have their source, licence and way of cutting beside them in
//! `workloads/data/`; others are fetched ([`fetched`]) or lie in a folder that the user fills.

mod by_hash;
mod byte_level;
mod cifar;
mod criteo;
mod digits;
mod fashion;
pub mod fetched;
mod fft;
mod fineweb;
mod flights;
pub mod gguf;
mod imagenet;
mod images;
mod instructions;
mod moby_dick;
mod modular;
pub mod molecules;
pub mod mri;
mod official;
mod opinions;
mod pictures;
mod prose;
mod reviews;
mod shakespeare;
pub mod speech;
mod translation;
mod windows;
mod wordpiece;

pub use byte_level::ByteLevel;
pub use cifar::Cifar10;
pub use criteo::{Criteo, Lines};
pub use digits::Digits;
pub use fashion::Fashion;
pub use fineweb::{FineWeb, TokenWindows};
pub use flights::{Flight, FlightSplit, Flights, Route, Timetable, flight_splits, parse_parquet};
pub use gguf::{Gguf, GgufError};
pub use imagenet::ImageNet;
pub use images::{ImageSplits, Images};
pub(crate) use instructions::MODEL as SMOLLM2_MODEL;
pub use instructions::{Answers, Chat, Instructions};
pub use moby_dick::MobyDick;
pub use modular::{Equations, Modular, Operation};
pub use molecules::{Molpcba, Pcba, PcbaFull};
pub use official::{OFFICIAL, Official, folder};
pub use opinions::{OpinionSplits, Opinions};
pub use prose::Prose;
pub use reviews::Reviews;
pub use shakespeare::Shakespeare;
pub use translation::{
    BytePairs, Catalogue, Catalogues, CmuDict, Message, Packed, Pairs, Pieces, Sequences,
    TokenText, Wmt, is_catalogue, read_mo,
};
pub use windows::Windows;
pub use wordpiece::WordPiece;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::Read;
use velodrome_harness::contract::WorkloadError;

/// All embedded files.
pub fn embedded() -> Vec<Embedded> {
    vec![
        digits::FILE,
        fashion::FILE,
        flights::FILE,
        crate::garments_vit::WEIGHTS,
        moby_dick::FILE,
        crate::moby_gpt::WEIGHTS,
        molecules::FILE,
        mri::FILE,
        shakespeare::FILE,
        speech::FILE,
        translation::CMUDICT,
    ]
}

/// A gzip file that the library carries.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// Name of the file in `workloads/data/`.
    pub file: &'static str,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: &'static str,
    bytes: &'static [u8],
}

impl Embedded {
    /// A file of `workloads/data/`, with its checksum.
    pub(crate) const fn new(
        file: &'static str,
        sha256: &'static str,
        bytes: &'static [u8],
    ) -> Self {
        Self {
            file,
            sha256,
            bytes,
        }
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Checks the file's SHA-256 and unpacks it. `workload` is named in errors.
    pub fn unpack(&self, workload: &str) -> Result<Vec<u8>, WorkloadError> {
        let found = hex(&Sha256::digest(self.bytes));
        if found != self.sha256 {
            return Err(self.fault(
                workload,
                &format!(
                    "SHA-256 is {found}, expected {}; the build carries a damaged file, so \
                     restore workloads/data/{} and build again",
                    self.sha256, self.file
                ),
            ));
        }
        let mut content = Vec::new();
        GzDecoder::new(self.bytes)
            .read_to_end(&mut content)
            .map_err(|e| self.fault(workload, &format!("cannot be unpacked: {e}")))?;
        Ok(content)
    }

    /// An error about this file.
    pub(crate) fn fault(&self, workload: &str, message: &str) -> WorkloadError {
        WorkloadError::Data {
            workload: workload.to_string(),
            message: format!("{}: {message}", self.file),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(Embedded, &'static str)> {
        vec![
            (digits::FILE, include_str!("../../data/digits.md")),
            (molecules::FILE, include_str!("../../data/pcba_10000.md")),
            (fashion::FILE, include_str!("../../data/fashion_mnist.md")),
            (mri::FILE, include_str!("../../data/mri_heads_64.md")),
            (flights::FILE, include_str!("../../data/flights_400k.md")),
            (moby_dick::FILE, include_str!("../../data/moby_dick.md")),
            (
                crate::garments_vit::WEIGHTS,
                include_str!("../../data/fashion_others_vit.md"),
            ),
            (
                crate::moby_gpt::WEIGHTS,
                include_str!("../../data/shakespeare_bytes_gpt.md"),
            ),
            (speech::FILE, include_str!("../../data/spoken_prompts.md")),
            (
                shakespeare::FILE,
                include_str!("../../data/tiny_shakespeare.md"),
            ),
            (translation::CMUDICT, include_str!("../../data/cmudict.md")),
        ]
    }

    #[test]
    fn files_are_whole_and_their_readmes_state_the_checksum() {
        for (embedded, readme) in all() {
            assert!(!embedded.unpack("test").unwrap().is_empty());
            assert!(readme.contains(embedded.sha256), "{}", embedded.file);
            assert!(readme.contains("Licence"), "{}", embedded.file);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        for (embedded, _) in all() {
            let cut = Embedded {
                bytes: &embedded.bytes[..embedded.bytes.len() - 1],
                ..embedded
            };
            let error = cut.unpack("some_workload").unwrap_err().to_string();
            assert!(error.contains(embedded.file), "{error}");
            assert!(error.contains("some_workload"), "{error}");
        }
    }
}

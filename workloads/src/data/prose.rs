//! A text as windows of its bytes.

use super::{Embedded, Windows};
use std::sync::Arc;
use velodrome_harness::contract::{Splits, WorkloadError};

/// The three splits of a text: contiguous, in the order training, validation, test. A token is a byte.
/// No window crosses a border.
#[derive(Debug, Clone)]
pub struct Prose {
    /// Training windows, half overlapping.
    pub train: Windows,
    /// Validation windows, spread over their range (each predicts bytes that no other one predicts).
    pub validation: Windows,
    /// Test windows, likewise.
    pub test: Windows,
}

impl Prose {
    /// Bytes that a window predicts.
    pub const CONTEXT: usize = 64;
    /// Different tokens.
    pub const VOCABULARY: usize = 256;
    /// Validation windows, and as many test windows: few, since an evaluation must not take longer than a
    /// fifth of the training between two of them.
    pub const HELD_OUT: usize = 128;
    /// Bytes between the starts of two of these.
    const HELD_OUT_STRIDE: usize = 3 * Self::CONTEXT;
    /// Bytes of the validation range, and of the test range.
    const HELD_OUT_BYTES: usize = Self::HELD_OUT * Self::HELD_OUT_STRIDE + 1;
    /// Bytes between the starts of two training windows.
    const STRIDE: usize = Self::CONTEXT / 2;

    /// Training, validation and test windows of a text of `length` bytes.
    pub const fn split_sizes(length: usize) -> [usize; 3] {
        let train = length - 2 * Self::HELD_OUT_BYTES;
        [
            (train - Self::CONTEXT - 1) / Self::STRIDE + 1,
            Self::HELD_OUT,
            Self::HELD_OUT,
        ]
    }

    /// Opens an embedded text, which must have `length` bytes.
    pub(super) fn open(
        file: &Embedded,
        workload: &str,
        length: usize,
    ) -> Result<Self, WorkloadError> {
        let text = file.unpack(workload)?;
        if text.len() != length {
            return Err(file.fault(workload, &format!("{} bytes, not {length}", text.len())));
        }
        let tokens: Arc<[u8]> = text.into();
        let test = length - Self::HELD_OUT_BYTES;
        let validation = test - Self::HELD_OUT_BYTES;
        let windows = |range, stride| Windows::new(tokens.clone(), range, stride, Self::CONTEXT);
        Ok(Self {
            train: windows(0..validation, Self::STRIDE),
            validation: windows(validation..test, Self::HELD_OUT_STRIDE),
            test: windows(test..length, Self::HELD_OUT_STRIDE),
        })
    }
}

impl From<Prose> for Splits {
    fn from(splits: Prose) -> Self {
        Self::new(splits.train, splits.validation, splits.test)
    }
}

#[cfg(test)]
mod tests {
    use crate::data::{MobyDick, Prose, Shakespeare};
    use velodrome_harness::contract::{Dataset, HostValues};

    #[test]
    fn the_ranges_cover_the_text_without_overlap() {
        let moby = MobyDick::open("test").unwrap();
        let sizes = [&moby.train, &moby.validation, &moby.test].map(|w| w.len());
        assert_eq!(sizes, MobyDick::SPLIT_SIZES);
        for prose in [moby, Shakespeare::open_bytes("test").unwrap()] {
            let held_out = [&prose.validation, &prose.test].map(|w| w.len());
            assert_eq!(held_out, [Prose::HELD_OUT; 2]);
            let end = |w: &crate::data::Windows| w.range(w.len() - 1).end;
            assert!(end(&prose.train) <= prose.validation.range(0).start);
            assert!(end(&prose.validation) <= prose.test.range(0).start);
        }
    }

    #[test]
    fn tokens_are_bytes() {
        let prose = MobyDick::open("test").unwrap();
        let HostValues::Int(tokens) = prose.train.batch(&[0]).fields[0].values.clone() else {
            panic!("tokens are integers");
        };
        let bytes: Vec<u8> = tokens.iter().map(|t| u8::try_from(*t).unwrap()).collect();
        assert!(bytes.starts_with(b"CHAPTER 1. Loomings."), "{bytes:?}");
    }
}

//! Windows over a text of bytes: what a language model over bytes reads.

use std::ops::Range;
use std::sync::Arc;
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// Windows of bytes: one split of a text. Gives the field `tokens` (integer,
/// `[examples, context + 1]`): the model reads the first `context` and predicts the last
/// `context`.
#[derive(Debug, Clone)]
pub struct Windows {
    tokens: Arc<[u8]>,
    start: usize,
    stride: usize,
    context: usize,
    len: usize,
}

impl Windows {
    /// As many windows as lie in the positions `range` of `tokens`, one every `stride` positions.
    pub(super) fn new(
        tokens: Arc<[u8]>,
        range: Range<usize>,
        stride: usize,
        context: usize,
    ) -> Self {
        let room = range.end.min(tokens.len()).saturating_sub(range.start);
        let len = match room.checked_sub(context + 1) {
            Some(more) => more / stride.max(1) + 1,
            None => 0,
        };
        Self {
            tokens,
            start: range.start,
            stride: stride.max(1),
            context,
            len,
        }
    }

    /// Positions in the text that the window at `index` covers.
    pub fn range(&self, index: usize) -> Range<usize> {
        let from = self.start + index * self.stride;
        from..from + self.context + 1
    }
}

impl Dataset for Windows {
    fn len(&self) -> usize {
        self.len
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let mut values = Vec::with_capacity(indices.len() * (self.context + 1));
        let mut examples = 0;
        for &index in indices.iter().filter(|i| **i < self.len) {
            let window = self.tokens.get(self.range(index)).unwrap_or_default();
            values.extend(window.iter().map(|token| i32::from(*token)));
            examples += 1;
        }
        HostBatch {
            fields: vec![HostField {
                name: "tokens",
                shape: vec![examples, self.context + 1],
                values: HostValues::Int(values),
            }],
            examples,
            units: examples * self.context,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_in_their_range() {
        let tokens: Arc<[u8]> = (0..20).collect();
        for (start, end, stride, expected) in [
            (0, 20, 4, 4),
            (0, 17, 4, 4),
            (0, 16, 4, 3),
            (3, 8, 4, 1),
            (3, 7, 4, 0),
            (3, 99, 6, 3),
            (9, 3, 4, 0),
        ] {
            let range = start..end;
            let windows = Windows::new(tokens.clone(), range.clone(), stride, 4);
            assert_eq!(windows.len(), expected, "{range:?}");
            for index in 0..windows.len() {
                let covered = windows.range(index);
                assert!(covered.start >= range.start && covered.end <= range.end.min(20));
                let batch = windows.batch(&[index]);
                let all: Vec<i32> = covered.map(|t| t as i32).collect();
                assert_eq!(batch.fields[0].values, HostValues::Int(all));
            }
        }
    }
}

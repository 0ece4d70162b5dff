//! How the elements of a tensor are kept.

use burn::tensor::f16;

/// Elements of a block of a quantised kind.
const BLOCK: usize = 32;

/// The kinds of elements that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// 32 bits each.
    F32,
    /// Blocks of 32 elements `d q + m`: `d` and `m` in 16 bits, then `q` of 0 to 15. A byte has an
    /// element of the first half of the block below and one of the second half above.
    Q4_1,
    /// Blocks of 32 elements `d q`: `d` in 16 bits, then `q` in 8 bits with a sign.
    Q8_0,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::F32, Kind::Q4_1, Kind::Q8_0];

    /// The kind that a file calls `code`.
    pub(super) fn of(code: u32) -> Option<Self> {
        match code {
            0 => Some(Kind::F32),
            3 => Some(Kind::Q4_1),
            8 => Some(Kind::Q8_0),
            _ => None,
        }
    }

    /// Elements and bytes of a block.
    fn block(self) -> (usize, usize) {
        match self {
            Kind::F32 => (1, 4),
            Kind::Q4_1 => (BLOCK, 4 + BLOCK / 2),
            Kind::Q8_0 => (BLOCK, 2 + BLOCK),
        }
    }

    /// Bytes of a tensor. `None` where blocks do not fill its rows, and where there are more than can be
    /// addressed.
    pub(super) fn bytes(self, shape: &[usize]) -> Option<usize> {
        let (elements, bytes) = self.block();
        if !shape.first()?.is_multiple_of(elements) {
            return None;
        }
        let all = shape
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size))?;
        (all / elements).checked_mul(bytes)
    }

    /// The elements, from blocks that are whole.
    pub(super) fn elements(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Kind::F32 => {
                let (numbers, _) = bytes.as_chunks::<4>();
                numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()
            }
            Kind::Q4_1 => {
                let (blocks, _) = bytes.as_chunks::<20>();
                let mut elements = Vec::with_capacity(blocks.len() * BLOCK);
                for [d0, d1, m0, m1, codes @ ..] in blocks {
                    let (d, m) = (half(*d0, *d1), half(*m0, *m1));
                    let element = |code: u8| f32::from(code) * d + m;
                    elements.extend(codes.iter().map(|c| element(c & 15)));
                    elements.extend(codes.iter().map(|c| element(c >> 4)));
                }
                elements
            }
            Kind::Q8_0 => {
                let (blocks, _) = bytes.as_chunks::<34>();
                let mut elements = Vec::with_capacity(blocks.len() * BLOCK);
                for [d0, d1, codes @ ..] in blocks {
                    let d = half(*d0, *d1);
                    elements.extend(codes.iter().map(|c| f32::from(c.cast_signed()) * d));
                }
                elements
            }
        }
    }
}

fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

//! Dynamic code books: 256 numbers in -1..1 whose spacing follows their size (Dettmers et al., arXiv
//! 2110.02861, section 1.3).
//!
//! Seven decades, from `0.1..1` down to `1e-7..1e-6`. The smallest one is cut into one cell (signed)
//! or two (unsigned), each next one into twice as many. The entries are the middles of the cells, with
//! both signs in the signed book, and 0 and 1. The signed book reaches from -0.99296875 to 1.

use std::sync::LazyLock;

/// Decades of a book.
const DECADES: u32 = 7;
/// Bits of the mantissa that a bucket of [`Nearest`] is numbered by. In both books two borders lie
/// farther apart than a bucket is wide.
const MANTISSA: u32 = 7;
/// Bits that are dropped from a 32-bit float.
const SHIFT: u32 = f32::MANTISSA_DIGITS - 1 - MANTISSA;
/// Number of the first bucket, at 2^-23; what is smaller falls into it, too.
const FIRST: u32 = (127 - 23) << MANTISSA;
/// Buckets up to that of 1.
const BUCKETS: usize = ((127 << MANTISSA) - FIRST) as usize + 1;

/// Which numbers a code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Book {
    /// Numbers of both signs: averages of gradients.
    Signed,
    /// Numbers that are not negative: averages of squares.
    Unsigned,
}

/// A code book with its search tables.
#[derive(Debug)]
pub struct Codes {
    /// What each code stands for, in ascending order.
    values: [f32; 256],
    /// The code of 0.
    zero: u8,
    /// The buckets of the numbers from 0 up, then those of the negative ones.
    buckets: Vec<Bucket>,
}

/// A range of magnitudes that holds one border between codes at most. One look into a table and one
/// comparison find a code, without a branch on the sign (which would be guessed wrong every other time).
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Magnitudes above it have the code `beyond`.
    border: f32,
    /// The code of the others.
    code: u8,
    beyond: u8,
}

impl Bucket {
    /// All buckets, for ascending magnitudes (the first is 0) with these codes.
    fn all(magnitudes: &[f32], code: impl Fn(usize) -> u8) -> impl Iterator<Item = Self> {
        // In 64 bits, where the middle of two 32-bit numbers is exact.
        let border = |rank: usize| match (magnitudes.get(rank), magnitudes.get(rank + 1)) {
            (Some(&a), Some(&b)) => ((f64::from(a) + f64::from(b)) / 2.0) as f32,
            _ => f32::INFINITY,
        };
        let mut rank = 0;
        (0..BUCKETS as u32).map(move |bucket| {
            let low = f32::from_bits((FIRST + bucket) << SHIFT);
            while border(rank) < low {
                rank += 1;
            }
            Self {
                border: border(rank),
                code: code(rank),
                beyond: code(rank + 1),
            }
        })
    }
}

/// The middles of the cells, ascending: `cells` of them in the smallest decade.
fn middles(cells: u32) -> Vec<f32> {
    let decade = |i: u32| {
        let cells = cells << i;
        let scale = 10f64.powi(i as i32 - (DECADES as i32 - 1));
        (0..cells).map(move |j| {
            let middle = 0.1 + 0.9 * (f64::from(j) + 0.5) / f64::from(cells);
            (middle * scale) as f32
        })
    };
    (0..DECADES).flat_map(decade).collect()
}

impl Codes {
    fn new(book: Book) -> Self {
        let (positive, negative) = match book {
            Book::Signed => (middles(1), middles(1)),
            Book::Unsigned => (middles(2), Vec::new()),
        };
        let mut up = vec![0.0];
        up.extend(&positive);
        up.push(1.0);
        let mut down = vec![0.0];
        down.extend(&negative);
        let zero = negative.len() as u8;
        let mut values = [0.0; 256];
        let ascending = negative.iter().rev().map(|x| -x).chain(up.iter().copied());
        for (slot, value) in values.iter_mut().zip(ascending) {
            *slot = value;
        }
        Self {
            values,
            zero,
            buckets: Bucket::all(&up, |rank| zero.saturating_add(rank as u8))
                // Not 0, where there is another: the sign is kept.
                .chain(Bucket::all(&down, |rank| {
                    zero - (rank.max(1) as u8).min(zero)
                }))
                .collect(),
        }
    }

    /// The book's numbers, ascending; the code of each is its position.
    pub fn values(&self) -> &[f32; 256] {
        &self.values
    }

    /// The code that stands for 0.
    pub fn zero(&self) -> u8 {
        self.zero
    }

    /// The code whose number is nearest to `x` in -1..1; except that a negative number never
    /// becomes 0 in the signed book, so that its sign is kept (as in the published kernels).
    #[inline(always)]
    pub fn encode(&self, x: f32) -> u8 {
        let magnitude = x.abs();
        let bucket = (magnitude.to_bits() >> SHIFT).saturating_sub(FIRST) as usize;
        let negative = usize::from(x < 0.0);
        let bucket = self.buckets[bucket.min(BUCKETS - 1) + BUCKETS * negative];
        if magnitude > bucket.border {
            bucket.beyond
        } else {
            bucket.code
        }
    }

    /// The number of a code.
    #[inline(always)]
    pub fn decode(&self, code: u8) -> f32 {
        self.values[usize::from(code)]
    }
}

impl Book {
    /// The book's numbers and tables.
    pub fn codes(self) -> &'static Codes {
        static SIGNED: LazyLock<Codes> = LazyLock::new(|| Codes::new(Book::Signed));
        static UNSIGNED: LazyLock<Codes> = LazyLock::new(|| Codes::new(Book::Unsigned));
        match self {
            Book::Signed => &SIGNED,
            Book::Unsigned => &UNSIGNED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Book; 2] = [Book::Signed, Book::Unsigned];

    #[test]
    fn the_books_have_the_published_numbers() {
        for book in BOTH {
            let values = book.codes().values();
            assert!(values.is_sorted_by(|a, b| a < b), "{book:?}");
            assert_eq!(values.iter().filter(|x| **x == 0.0).count(), 1);
            assert_eq!(book.codes().decode(book.codes().zero()), 0.0);
            assert_eq!(values[255], 1.0);
        }
        let signed = Book::Signed.codes().values();
        assert_eq!([signed[0], signed[128]], [-0.99296875, 5.5e-7]);
        let unsigned = Book::Unsigned.codes().values();
        assert_eq!([unsigned[1], unsigned[254]], [3.25e-7, 0.9964844]);
    }

    /// The nearest number by looking at all of them.
    fn slow(book: Book, x: f32) -> (u8, f64) {
        let apart = |v: &f32| (f64::from(*v) - f64::from(x)).abs();
        let values = book.codes().values();
        let (code, value) = (0u8..=255)
            .zip(values)
            .min_by(|(_, a), (_, b)| apart(a).total_cmp(&apart(b)))
            .unwrap();
        (code, apart(value))
    }

    #[test]
    fn encoding_finds_the_nearest_number_and_keeps_the_sign() {
        // Both ends of every bucket, all borders and their neighbours, and a sweep.
        let mut inputs = vec![0.0, 1.0, f32::MIN_POSITIVE, 1e-30];
        for bucket in 0..BUCKETS as u32 {
            let low = (FIRST + bucket) << SHIFT;
            inputs.extend([low, low - 1, low + 1].map(f32::from_bits));
        }
        for book in BOTH {
            for pair in book.codes().values().windows(2) {
                let middle = ((f64::from(pair[0]) + f64::from(pair[1])) / 2.0) as f32;
                inputs.extend([pair[0].abs(), middle.abs()]);
                inputs.extend([middle.abs().next_up(), middle.abs().next_down()]);
            }
        }
        inputs.extend((0..20_000).map(|i| i as f32 / 20_000.0));
        inputs.retain(|x| (0.0..=1.0).contains(x));
        for book in BOTH {
            let codes = book.codes();
            for &x in &inputs {
                for x in if book == Book::Signed {
                    vec![x, -x]
                } else {
                    vec![x]
                } {
                    let (nearest, apart) = slow(book, x);
                    let found = codes.encode(x);
                    if x < 0.0 && nearest == codes.zero() {
                        assert_eq!(found, codes.zero() - 1, "{x} lost its sign");
                        continue;
                    }
                    let off = (f64::from(codes.decode(found)) - f64::from(x)).abs();
                    // A tie may go either way, and borders are rounded to 32 bits.
                    assert!(
                        off <= apart + 1.2e-7 * f64::from(x.abs()),
                        "{book:?} {x}: {found}"
                    );
                    assert!(codes.decode(found) * x >= 0.0, "{x} changed its sign");
                }
            }
        }
    }

    /// Half a cell of the decade, over the smallest number that is that far from its code: 1/64 of
    /// 0.45 over 0.1140625 in the largest decade.
    #[test]
    fn a_round_trip_is_off_by_half_a_cell_at_most() {
        let codes = Book::Signed.codes();
        let mut worst = [0f32; 2];
        for i in 1_000..=100_000 {
            let x = i as f32 / 100_000.0;
            let error = (codes.decode(codes.encode(x)) - x).abs() / x;
            let decade = usize::from(x < 0.1);
            worst[decade] = worst[decade].max(error);
        }
        assert!((0.061..0.0617).contains(&worst[0]), "{worst:?}");
        assert!((0.108..0.1098).contains(&worst[1]), "{worst:?}");
        assert_eq!(codes.decode(codes.encode(1.0)), 1.0);
        assert_eq!(codes.decode(codes.encode(0.0)), 0.0);
    }
}

//! Masks over k-space, and what is left of an image behind them.

use crate::data::fft::{Complex, Fft};

/// One column in so many is kept, on average.
const ACCELERATION: f64 = 4.0;
/// Share of the columns in the middle that are always kept.
const CENTRE: f64 = 0.08;

/// A stream of random numbers (splitmix64; Steele, Lea and Flood 2014), the same on every machine.
#[derive(Debug, Clone)]
pub(super) struct Stream(u64);

impl Stream {
    /// The stream of one slice: `seed` names the data set, `index` the slice.
    pub(super) fn new(seed: u64, index: usize) -> Self {
        let mut stream = Self(seed);
        Self(stream.next() ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Which of `columns` columns of k-space are kept; the zero frequency is at `columns / 2`.
///
/// The middle 8 % are kept, and of the others each with the probability that makes a quarter of all
/// on average.
pub(super) fn column_mask(columns: usize, stream: &mut Stream) -> Vec<bool> {
    let low = (columns as f64 * CENTRE) as usize;
    let from = (columns - low).div_ceil(2);
    let others = (columns - low).max(1) as f64;
    let probability = (columns as f64 / ACCELERATION - low as f64) / others;
    (0..columns)
        .map(|column| {
            let drawn = stream.uniform() < probability;
            drawn || (from..from + low).contains(&column)
        })
        .collect()
}

/// The magnitude of an image whose k-space is masked: both transforms, the mask between them.
///
/// `image` holds rows of `mask.len()` values. The mask does not depend on the row of k-space, so the
/// transforms along the columns undo each other and are left out.
pub(super) fn undersample(image: &[f64], mask: &[bool]) -> Vec<f64> {
    let n = mask.len();
    let fft = Fft::new(n);
    // The transform has the zero frequency first, the mask has it in the middle.
    let kept: Vec<bool> = (0..n).map(|k| mask[(k + n / 2) % n]).collect();
    let (mut values, mut spectrum) = (vec![(0.0, 0.0); n], vec![(0.0, 0.0); n]);
    let mut magnitudes = Vec::with_capacity(image.len());
    for row in image.chunks_exact(n.max(1)) {
        for (value, x) in values.iter_mut().zip(row) {
            *value = (*x, 0.0);
        }
        fft.forward(&values, &mut spectrum);
        for (value, _) in spectrum.iter_mut().zip(&kept).filter(|(_, kept)| !**kept) {
            *value = (0.0, 0.0);
        }
        fft.inverse(&spectrum, &mut values);
        magnitudes.extend(values.iter().map(|v: &Complex| v.0.hypot(v.1)));
    }
    magnitudes
}

/// The magnitude of the centred orthonormal inverse transform of masked k-space, cut to the middle
/// `side` by `side` pixels. `kspace` holds real and imaginary parts in turn.
pub(super) fn zero_filled(
    kspace: &[f64],
    [rows, columns]: [usize; 2],
    mask: &[bool],
    side: usize,
) -> Vec<f64> {
    let (down, along) = (Fft::new(rows), Fft::new(columns));
    let (top, left) = ((rows - side) / 2, (columns - side) / 2);
    // Along the columns first: of each, only the rows that stay are kept. Lengths and indices are
    // centred outside of the transforms: `n / 2` is the middle.
    let mut half = vec![(0.0, 0.0); side * columns];
    let (mut x, mut y) = (vec![(0.0, 0.0); rows], vec![(0.0, 0.0); rows]);
    for column in (0..columns).filter(|c| mask.get(*c) == Some(&true)) {
        for (i, value) in x.iter_mut().enumerate() {
            let at = 2 * ((i + rows / 2) % rows * columns + column);
            *value = (kspace[at], kspace[at + 1]);
        }
        down.inverse(&x, &mut y);
        for i in 0..side {
            half[i * columns + column] = y[(top + i + rows - rows / 2) % rows];
        }
    }
    let scale = ((rows * columns) as f64).sqrt();
    let (mut x, mut y) = (vec![(0.0, 0.0); columns], vec![(0.0, 0.0); columns]);
    let mut image = Vec::with_capacity(side * side);
    for row in half.chunks_exact(columns) {
        for (j, value) in x.iter_mut().enumerate() {
            *value = row[(j + columns / 2) % columns];
        }
        along.inverse(&x, &mut y);
        image.extend((0..side).map(|j| {
            let value: Complex = y[(left + j + columns - columns / 2) % columns];
            value.0.hypot(value.1) * scale
        }));
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: `numpy.abs(ifft2(ifftshift(fftshift(fft2(x)) * mask)))`, numpy 2.4.6, with `x[i, j]
    /// = (37 i + 11 j + i i j) mod 256` of 4 x 6 and columns 1, 3, 4 kept.
    #[test]
    fn undersampling_is_the_masked_transform() {
        let image: Vec<f64> = (0..24)
            .map(|at| {
                let (i, j) = (at / 6, at % 6);
                f64::from((37 * i + 11 * j + i * i * j) % 256)
            })
            .collect();
        let mask = [false, true, false, true, true, false];
        let found = undersample(&image, &mask);
        let expected: [f64; 24] = [
            17.6800263952,
            17.6800263952,
            30.2916380101,
            30.2916380101,
            39.0202938653,
            39.0202938653,
            55.4346462061,
            55.4346462061,
            68.4178339324,
            68.4178339324,
            79.3032155716,
            79.3032155716,
            96.8878217321,
            96.8878217321,
            112.8372722110,
            112.8372722110,
            126.7960961540,
            126.7960961540,
            141.4720231470,
            141.4720231470,
            162.6478814290,
            162.6478814290,
            181.3679501270,
            181.3679501270,
        ];
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-9, "{found:?}");
        }
        // An even and an odd length with everything kept.
        for (image, n) in [(&image[..], 6), (&image[..15], 5)] {
            let found = undersample(image, &vec![true; n]);
            for (f, e) in found.iter().zip(image) {
                assert!((f - e).abs() < 1e-9, "{n}");
            }
        }
    }

    #[test]
    fn masks_keep_the_middle_and_a_quarter_on_average() {
        for (columns, low) in [(64, 30..35), (372, 172..201), (368, 170..199)] {
            let mut kept = 0;
            for index in 0..400 {
                let mask = column_mask(columns, &mut Stream::new(1, index));
                assert_eq!(mask.len(), columns);
                assert!(mask[low.clone()].iter().all(|k| *k));
                kept += mask.iter().filter(|k| **k).count();
            }
            let share = kept as f64 / (400 * columns) as f64;
            assert!((share - 0.25).abs() < 0.01, "{columns}: {share}");
        }
    }
}

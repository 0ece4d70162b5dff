//! Undersampled slices: how k-space is masked and images are normalised, and a data set of the
//! result.
//!
//! The rules are AlgoPerf's for the fastMRI knees (Zbontar et al. 2018, arXiv 1811.08839): a random
//! mask over columns with a fully sampled centre, the magnitude of the zero-filled inverse
//! transform as input, and input and target normalised by the input's mean and deviation.

use super::fft::{Complex, Fft};
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// One column in so many is kept, on average.
const ACCELERATION: f64 = 4.0;
/// Share of the columns in the middle that are always kept.
const CENTRE: f64 = 0.08;
/// Normalised values are clipped to plus and minus this.
const CLIP: f64 = 6.0;

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

/// One slice, ready for a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Example {
    /// The zero-filled image, normalised and clipped.
    pub(super) input: Vec<f32>,
    /// The full image, normalised by the same numbers and clipped.
    pub(super) target: Vec<f32>,
    /// Mean of the zero-filled image.
    pub(super) mean: f32,
    /// Its standard deviation.
    pub(super) deviation: f32,
}

impl Example {
    /// Normalises `zero_filled` and `full` by the mean and the (biased) deviation of the first.
    pub(super) fn new(zero_filled: &[f64], full: &[f64]) -> Self {
        let n = zero_filled.len().max(1) as f64;
        let mean = zero_filled.iter().sum::<f64>() / n;
        let variance = zero_filled.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        // An empty slice has no deviation; fastMRI adds the same small number.
        let deviation = variance.sqrt().max(1e-11);
        let normalise = |image: &[f64]| {
            let scaled = image.iter().map(|x| (x - mean) / deviation);
            scaled.map(|x| x.clamp(-CLIP, CLIP) as f32).collect()
        };
        Self {
            input: normalise(zero_filled),
            target: normalise(full),
            mean: mean as f32,
            deviation: deviation as f32,
        }
    }
}

/// A head, as slices of one size.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// Intensities, slice by slice and row by row.
    pub(super) pixels: Vec<u8>,
}

/// Sizes and choices of [`Slices::emulate`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Emulation {
    /// Height and width of all slices.
    pub(super) side: usize,
    /// Fixes what is drawn for each example: its mask, and its view.
    pub(super) seed: u64,
    /// How often each slice occurs, each time with a mask and a view of its own. With one copy,
    /// slices are taken as they are.
    pub(super) copies: usize,
}

/// A slice as another scanner might have shown it: one of the eight flips and turns of a square, and
/// intensities `x` (0 to 1) as `x^e` with `e` between 1/2 and 2, all drawn from `stream`.
fn view(pixels: &[u8], side: usize, stream: &mut Stream) -> Vec<f64> {
    let exponent = 4f64.powf(stream.uniform() - 0.5);
    let curve: Vec<f64> = (0..256)
        .map(|x| 255.0 * (f64::from(x) / 255.0).powf(exponent))
        .collect();
    let [down, right, turn] = [(); 3].map(|()| stream.uniform() < 0.5);
    let flip = |i: usize, flipped: bool| if flipped { side - 1 - i } else { i };
    (0..side * side)
        .map(|at| {
            let (i, j) = (flip(at / side, down), flip(at % side, right));
            let from = if turn { j * side + i } else { i * side + j };
            curve[usize::from(pixels[from])]
        })
        .collect()
}

/// One split of undersampled slices. Gives the fields `input` and `target` (real, `[examples, rows,
/// columns]`), `mean`, `deviation` and `max` (real, `[examples]`): a normalised value `x` stands for
/// the intensity `x * deviation + mean`, and `max` is the largest intensity of the head that the
/// slice belongs to.
#[derive(Debug, Clone, Default)]
pub struct Slices {
    heads: Vec<Head>,
    how: Emulation,
    /// Examples that were made in advance; none where batches make theirs.
    ready: Vec<Ready>,
}

/// An example and the largest intensity of its volume.
pub(super) type Ready = (Example, f32);

impl Slices {
    /// Undersamples the slices of `heads`, each of `side` by `side` pixels, when a batch asks for them.
    /// The first copy of all slices comes before the second.
    pub(super) fn emulate(heads: Vec<Head>, how: Emulation) -> Self {
        Self {
            heads,
            how,
            ready: Vec::new(),
        }
    }

    /// The same, with all examples made now.
    pub(super) fn prepared(mut self) -> Self {
        let ready = in_parallel(self.len(), |index| self.make(index));
        self.ready = ready.into_iter().flatten().collect();
        self
    }

    fn size(&self) -> usize {
        (self.how.side * self.how.side).max(1)
    }

    fn slices(&self) -> usize {
        let each = self.heads.iter().map(|h| h.pixels.len() / self.size());
        each.sum()
    }

    /// The example at `index`: its slice, its mask and its view follow from the index alone.
    fn make(&self, index: usize) -> Option<Ready> {
        if index >= self.len() {
            return None;
        }
        let (mut slice, size) = (index % self.slices(), self.size());
        let head = self.heads.iter().find(|head| {
            let own = head.pixels.len() / size;
            let inside = slice < own;
            slice -= if inside { 0 } else { own };
            inside
        })?;
        let pixels = head.pixels.get(slice * size..(slice + 1) * size)?;
        let mut stream = Stream::new(self.how.seed, index);
        let mask = column_mask(self.how.side, &mut stream);
        let full = match self.how.copies {
            1 => pixels.iter().map(|p| f64::from(*p)).collect(),
            _ => view(pixels, self.how.side, &mut stream),
        };
        let max = head.pixels.iter().copied().max()?;
        let example = Example::new(&undersample(&full, &mask), &full);
        Some((example, f32::from(max)))
    }
}

impl Dataset for Slices {
    fn len(&self) -> usize {
        self.slices() * self.how.copies
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let shape = [self.how.side; 2];
        if self.ready.is_empty() {
            let made = in_parallel(indices.len(), |i| self.make(*indices.get(i)?));
            return collect(shape, made.iter().flatten());
        }
        collect(shape, indices.iter().filter_map(|i| self.ready.get(*i)))
    }
}

/// `make(0)`, `make(1)`, ... up to `count`, in order, made by as many threads as the machine has
/// processors.
pub(super) fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads).max(1);
    if count <= 1 || threads == 1 {
        return (0..count).map(make).collect();
    }
    let make = &make;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count)
            .step_by(share)
            .map(|from| {
                let part = from..(from + share).min(count);
                scope.spawn(move || part.map(make).collect::<Vec<T>>())
            })
            .collect();
        let parts = running.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        parts.flatten().collect()
    })
}

/// A batch of examples, each with the largest intensity of its volume.
pub(super) fn collect<'a>(
    [rows, columns]: [usize; 2],
    chosen: impl Iterator<Item = &'a Ready>,
) -> HostBatch {
    let [mut input, mut target] = [const { Vec::new() }; 2];
    let [mut mean, mut deviation, mut largest] = [const { Vec::new() }; 3];
    for (example, max) in chosen {
        input.extend(&example.input);
        target.extend(&example.target);
        mean.push(example.mean);
        deviation.push(example.deviation);
        largest.push(*max);
    }
    let examples = mean.len();
    let field = |name, shape: &[usize], values| HostField {
        name,
        shape: shape.to_vec(),
        values: HostValues::Float(values),
    };
    let images = [examples, rows, columns];
    HostBatch {
        fields: vec![
            field("input", &images, input),
            field("target", &images, target),
            field("mean", &[examples], mean),
            field("deviation", &[examples], deviation),
            field("max", &[examples], largest),
        ],
        examples,
        units: examples * rows * columns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(copies: usize) -> Emulation {
        Emulation {
            side: 8,
            seed: 3,
            copies,
        }
    }

    /// Two heads with two and one slices.
    fn heads() -> Vec<Head> {
        let pixels = |n: usize, salt: usize| {
            let value = |i: usize| (i * 37 + salt * 11 + i * i / 7) as u8;
            (0..64 * n).map(value).collect()
        };
        vec![
            Head {
                pixels: pixels(2, 1),
            },
            Head {
                pixels: pixels(1, 2).iter().map(|p: &u8| p / 2).collect(),
            },
        ]
    }

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

    #[test]
    fn normalisation_is_by_the_input_and_clipped() {
        let zero_filled = [1.0, 3.0, 1.0, 3.0];
        let example = Example::new(&zero_filled, &[2.0, 4.0, 2.0, 100.0]);
        assert_eq!((example.mean, example.deviation), (2.0, 1.0));
        assert_eq!(example.input, [-1.0, 1.0, -1.0, 1.0]);
        assert_eq!(example.target, [0.0, 2.0, 0.0, 6.0]);
        let empty = Example::new(&[0.0; 4], &[0.0; 4]);
        assert_eq!(empty.input, [0.0; 4]);
    }

    #[test]
    fn examples_follow_from_their_index_alone() {
        for copies in [1, 3] {
            let lazy = Slices::emulate(heads(), how(copies));
            assert_eq!(lazy.len(), 3 * copies);
            let ready = lazy.clone().prepared();
            let all: Vec<usize> = (0..lazy.len()).collect();
            assert_eq!(ready.batch(&all), lazy.batch(&all));
            assert_eq!(ready.batch(&[2, 99, 0, 2]), lazy.batch(&[2, 99, 0, 2]));
            assert_eq!(lazy.batch(&[2, 99, 0, 2]).examples, 3);
            assert_ne!(lazy.batch(&[0]), lazy.batch(&[2]));
            if copies == 3 {
                assert_ne!(lazy.batch(&[0]), lazy.batch(&[3]));
            }
        }
        let max = |batch: HostBatch| batch.fields[4].values.clone();
        let slices = Slices::emulate(heads(), how(1));
        let largest = |h: &Head| f32::from(*h.pixels.iter().max().unwrap());
        let expected = [largest(&heads()[0]), largest(&heads()[1])];
        assert_eq!(
            max(slices.batch(&[1, 2])),
            HostValues::Float(expected.to_vec())
        );
    }

    #[test]
    fn a_view_turns_flips_and_bends_but_keeps_the_order_of_intensities() {
        let pixels: Vec<u8> = (0..64).map(|i| i * 4).collect();
        let mut corners = std::collections::HashSet::new();
        for index in 0..64 {
            let mut seen = view(&pixels, 8, &mut Stream::new(7, index));
            corners.insert([0, 7, 56, 63].map(|at| seen[at].to_bits()).map(|b| b == 0));
            seen.sort_by(f64::total_cmp);
            let exponent = (seen[32] / 255.0).ln() / (128.0f64 / 255.0).ln();
            assert!((0.5..=2.0).contains(&exponent), "{exponent}");
            for (s, p) in seen.iter().zip(&pixels) {
                let bent = 255.0 * (f64::from(*p) / 255.0).powf(exponent);
                assert!((s - bent).abs() < 1e-9);
            }
        }
        assert_eq!(corners.len(), 4);
    }
}

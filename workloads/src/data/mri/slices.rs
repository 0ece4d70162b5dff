//! Undersampled slices: how images are normalised, and a data set of the result.
//!
//! The rules are AlgoPerf's for the fastMRI knees (Zbontar et al. 2018, arXiv 1811.08839): a random
//! mask over columns with a fully sampled centre, the magnitude of the zero-filled inverse
//! transform as input, and input and target normalised by the input's mean and deviation.

use super::kspace::{Stream, column_mask, undersample};
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// Normalised values are clipped to plus and minus this.
const CLIP: f64 = 6.0;

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

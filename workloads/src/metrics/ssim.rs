//! Structural similarity of reconstructed images, and their mean absolute error.

use velodrome_harness::contract::ModelError;
use velodrome_results::measures::Measures;

/// Height and width of the window.
const WINDOW: usize = 7;
/// Stabilises the ratio of the means, as a share of the range.
const K1: f64 = 0.01;
/// Stabilises the ratio of the variances, as a share of the range.
const K2: f64 = 0.03;

/// Mean structural similarity of two images (Wang et al. 2004), as fastMRI (Zbontar et al. 2018,
/// arXiv 1811.08839) and AlgoPerf measure it: a uniform window of 7 x 7 pixels, constants 0.01 and
/// 0.03, variances and covariances with `n - 1` in the denominator, the mean over all windows that
/// lie inside of the image.
///
/// Both images hold rows of `columns` values; `range` is the largest minus the smallest possible
/// intensity. NaN where the images differ in size or are smaller than the window.
pub fn structural_similarity(a: &[f64], b: &[f64], columns: usize, range: f64) -> f64 {
    let rows = a.len().checked_div(columns).unwrap_or(0);
    if a.len() != b.len() || a.len() != rows * columns || rows.min(columns) < WINDOW {
        return f64::NAN;
    }
    let n = (WINDOW * WINDOW) as f64;
    let (c1, c2) = ((K1 * range).powi(2), (K2 * range).powi(2));
    let mean = |value: &dyn Fn(f64, f64) -> f64| {
        let pairs = a.iter().zip(b);
        window_sums(pairs.map(|(x, y)| value(*x, *y)).collect(), columns)
    };
    let (sum_a, sum_b) = (mean(&|x, _| x), mean(&|_, y| y));
    let (sum_aa, sum_bb) = (mean(&|x, _| x * x), mean(&|_, y| y * y));
    let sum_ab = mean(&|x, y| x * y);
    let mut total = 0.0;
    for i in 0..sum_a.len() {
        let (ua, ub) = (sum_a[i] / n, sum_b[i] / n);
        let unbiased = n / (n - 1.0);
        let va = unbiased * (sum_aa[i] / n - ua * ua);
        let vb = unbiased * (sum_bb[i] / n - ub * ub);
        let vab = unbiased * (sum_ab[i] / n - ua * ub);
        let above = (2.0 * ua * ub + c1) * (2.0 * vab + c2);
        total += above / ((ua * ua + ub * ub + c1) * (va + vb + c2));
    }
    total / sum_a.len() as f64
}

/// Sums over all windows inside of an image, row by row.
fn window_sums(values: Vec<f64>, columns: usize) -> Vec<f64> {
    let along: Vec<Vec<f64>> = values
        .chunks_exact(columns)
        .map(|row| row.windows(WINDOW).map(|w| w.iter().sum()).collect())
        .collect();
    along
        .windows(WINDOW)
        .flat_map(|rows| {
            let width = columns + 1 - WINDOW;
            (0..width).map(move |j| rows.iter().map(|row| row[j]).sum())
        })
        .collect()
}

/// One reconstructed image: how its normalised values become intensities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intensities {
    /// Intensity of a normalised 0.
    pub mean: f32,
    /// Intensity of a normalised 1, less the mean.
    pub deviation: f32,
    /// Largest intensity of the volume, the range of the similarity; 0 counts as 1, as in AlgoPerf.
    pub max: f32,
}

/// Sums over the images seen so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reconstructions {
    images: u64,
    ssim: f64,
    loss: f64,
}

impl Reconstructions {
    /// No images yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image: the network's values and the correct ones, normalised, in rows of `columns`.
    /// The similarity is taken between intensities and cut off at -1 and 1; the loss between
    /// normalised values.
    pub fn add(
        &mut self,
        found: &[f32],
        target: &[f32],
        columns: usize,
        scale: Intensities,
    ) -> Result<(), ModelError> {
        let rows = found.len().checked_div(columns).unwrap_or(0);
        if found.len() != target.len()
            || found.len() != rows * columns
            || rows.min(columns) < WINDOW
        {
            return Err(ModelError::Compute(format!(
                "{} values for {} pixels in rows of {columns}: images need at least {WINDOW} rows \
                 and columns, and one value for each pixel",
                found.len(),
                target.len()
            )));
        }
        let intensities = |values: &[f32]| -> Vec<f64> {
            let (mean, deviation) = (f64::from(scale.mean), f64::from(scale.deviation));
            let values = values.iter().map(|x| f64::from(*x));
            values.map(|x| x * deviation + mean).collect()
        };
        let range = if scale.max == 0.0 { 1.0 } else { scale.max };
        let (a, b) = (intensities(found), intensities(target));
        let ssim = structural_similarity(&a, &b, columns, f64::from(range));
        let errors = found.iter().zip(target);
        let errors = errors.map(|(x, y)| (f64::from(*x) - f64::from(*y)).abs());
        self.images += 1;
        // `clamp` keeps NaN.
        self.ssim += ssim.clamp(-1.0, 1.0);
        self.loss += errors.sum::<f64>() / found.len() as f64;
        Ok(())
    }

    /// `ssim` (mean structural similarity) and `loss` (mean absolute error of normalised values);
    /// NaN where nothing was added.
    pub fn measures(&self) -> Measures {
        let n = self.images as f64;
        Measures::from([
            ("ssim".to_string(), self.ssim / n),
            ("loss".to_string(), self.loss / n),
        ])
    }
}

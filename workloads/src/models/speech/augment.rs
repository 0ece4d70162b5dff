//! SpecAugment.

use super::mask;
use burn::tensor::{Distribution, Int, Tensor};

/// Masks over features in training (Park et al. 2019, arXiv 1904.08779), drawn as AlgoPerf's workloads
/// draw them: `time_masks` stretches of up to `time_ratio` of an utterance and `band_masks` ranges of
/// up to `bands` bands are set to 0, their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpecAugment {
    /// Masks over bands; 0 for none.
    pub band_masks: usize,
    /// The most bands of a mask.
    pub bands: usize,
    /// Masks over time; 0 for none.
    pub time_masks: usize,
    /// The largest share of an utterance that a mask over time covers.
    pub time_ratio: f64,
}

impl SpecAugment {
    /// No masks.
    pub const NONE: Self = Self {
        band_masks: 0,
        bands: 0,
        time_masks: 0,
        time_ratio: 0.0,
    };

    /// Masks `features` of shape `[examples, frames, mels]`; padding stays as it is.
    pub fn apply(&self, features: Tensor<3>, frames: Tensor<1, Int>) -> Tensor<3> {
        let [examples, most, mels] = features.dims();
        let mut features = features;
        if self.time_masks > 0 {
            let range = frames.float().reshape([examples, 1]);
            let limit = range.clone().mul_scalar(self.time_ratio);
            let keep = keep(range, limit, self.time_masks, most);
            features = features * keep.reshape([examples, most, 1]);
        }
        if self.band_masks > 0 {
            let range = Tensor::<2>::full([examples, 1], mels as f64, &features.device());
            let limit = range.full_like(self.bands.min(mels) as f64);
            let keep = keep(range, limit, self.band_masks, mels);
            features = features * keep.reshape([examples, 1, mels]);
        }
        features
    }
}

/// 0 at the `places` that one of the masks covers, 1 elsewhere, shape `[examples, places]`. A mask's
/// length is uniform below `limit`, its start uniform among those where it lies within `range`
/// (both of shape `[examples, 1]`).
fn keep(range: Tensor<2>, limit: Tensor<2>, masks: usize, places: usize) -> Tensor<2> {
    let [examples, _] = range.dims();
    let device = range.device();
    let uniform =
        || Tensor::<2>::random([examples, masks], Distribution::Uniform(0.0, 1.0), &device);
    let length = (uniform() * limit.expand([examples, masks])).floor();
    let range = range.expand([examples, masks]);
    let start = (uniform() * (range - length.clone()).add_scalar(1.0)).floor();
    let start = start.int().reshape([examples * masks]);
    let end = length.int().reshape([examples * masks]) + start.clone();
    // Below the end and not below the start.
    let covered = mask(end, places) - mask(start, places);
    let covered = covered.reshape([examples, masks, places]).sum_dim(1);
    covered.lower_elem(0.5).float().reshape([examples, places])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn masks_are_as_many_and_as_long_as_they_may_be() {
        let _lock = crate::models::test_lock();
        let device = Device::flex();
        device.seed(4);
        let augment = SpecAugment {
            band_masks: 2,
            bands: 3,
            time_masks: 1,
            time_ratio: 0.25,
        };
        let frames = Tensor::<1, Int>::from_data([40, 20], &device);
        let (mut bands_masked, mut frames_masked) = (0, [0, 0]);
        for _ in 0..50 {
            let ones = Tensor::<3>::ones([2, 40, 10], &device);
            let found = augment.apply(ones, frames.clone());
            let values: Vec<f32> = found.into_data().try_to_vec().unwrap();
            for (example, length) in [40, 20].into_iter().enumerate() {
                let at = |frame: usize, band: usize| values[(example * 40 + frame) * 10 + band];
                let bands = (0..10)
                    .filter(|b| (0..40).all(|f| at(f, *b) == 0.0))
                    .count();
                let masked: Vec<usize> = (0..40)
                    .filter(|f| (0..10).all(|b| at(*f, b) == 0.0))
                    .collect();
                // Two masks of at most two bands (a length below 3), one below a quarter of the time.
                assert!(bands <= 4 && masked.len() < length / 4);
                assert!(masked.windows(2).all(|pair| pair[0] + 1 == pair[1]));
                assert!(masked.iter().all(|f| *f < length));
                bands_masked += bands;
                frames_masked[example] += masked.len();
            }
        }
        // Lengths are uniform: about 2 bands (less where masks meet) and 4.5 or 2 frames on average.
        assert!((120..230).contains(&bands_masked), "{bands_masked}");
        assert!((180..270).contains(&frames_masked[0]), "{frames_masked:?}");
        assert!((70..130).contains(&frames_masked[1]), "{frames_masked:?}");
        let ones = Tensor::<3>::ones([1, 4, 2], &device);
        let frames = Tensor::<1, Int>::from_data([4], &device);
        let same: Vec<f32> = SpecAugment::NONE
            .apply(ones, frames)
            .into_data()
            .try_to_vec()
            .unwrap();
        assert!(same.iter().all(|x| *x == 1.0));
    }
}

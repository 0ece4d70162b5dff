//! Logarithms of mel-band energies of 25 ms windows, every 10 ms: the front end of AlgoPerf's speech
//! workloads (which follows Lingvo's), with the mean and deviation of each utterance in the place of
//! constants of LibriSpeech.

use crate::data::fft::{Complex, Fft};
use std::sync::Arc;

/// Share of the sample before that is taken off each sample.
const PRE_EMPHASIS: f64 = 0.97;
/// Energies below this count as this.
const FLOOR: f64 = 1e-5;
/// Deviations below this count as this.
const LEAST_DEVIATION: f64 = 1e-3;

/// The front end for one sampling rate.
#[derive(Debug, Clone)]
pub struct LogMel {
    step: usize,
    mels: usize,
    size: usize,
    shared: Arc<Tables>,
}

#[derive(Debug)]
struct Tables {
    window: Vec<f64>,
    fft: Fft,
    /// First bin and weights of each mel band.
    bands: Vec<(usize, Vec<f64>)>,
}

/// `1127 ln(1 + f / 700)`.
fn mel(hertz: f64) -> f64 {
    1127.0 * (1.0 + hertz / 700.0).ln()
}

impl LogMel {
    /// `mels` triangular bands, evenly spaced in mels, between `low` and `high` hertz, for `rate` samples
    /// per second.
    pub fn new(rate: u32, mels: usize, low: f64, high: f64) -> Self {
        let window = (f64::from(rate) * 0.025).round() as usize;
        let step = ((f64::from(rate) * 0.010).round() as usize).max(1);
        // A frame has one sample more than a window, which pre-emphasis uses up.
        let size = (window + 1).next_power_of_two();
        let bins = size / 2 + 1;
        let width = (mel(high) - mel(low)) / (mels + 1) as f64;
        let bin_mel = |bin: usize| mel(bin as f64 * f64::from(rate) / size as f64);
        let bands = (0..mels).map(|band| {
            let lower = mel(low) + band as f64 * width;
            // The first bin (0 Hz) belongs to no band.
            let weights: Vec<(usize, f64)> = (1..bins)
                .map(|bin| {
                    let rising = (bin_mel(bin) - lower) / width;
                    (bin, rising.min(2.0 - rising))
                })
                .filter(|(_, weight)| *weight > 0.0)
                .collect();
            let first = weights.first().map_or(0, |(bin, _)| *bin);
            (first, weights.into_iter().map(|(_, w)| w).collect())
        });
        let angle = |i: usize| 2.0 * std::f64::consts::PI * i as f64 / window as f64;
        Self {
            step,
            mels,
            size,
            shared: Arc::new(Tables {
                window: (0..window).map(|i| 0.5 - 0.5 * angle(i).cos()).collect(),
                fft: Fft::new(size),
                bands: bands.collect(),
            }),
        }
    }

    /// Bands.
    pub fn mels(&self) -> usize {
        self.mels
    }

    /// Frames of so many samples; 0 where they do not fill one.
    pub fn frames(&self, samples: usize) -> usize {
        let frame = self.shared.window.len() + 1;
        samples.checked_sub(frame).map_or(0, |n| n / self.step + 1)
    }

    /// Features of 16-bit samples: for each frame, the logarithm of each band's energy.
    pub fn features(&self, samples: &[i16]) -> Vec<f32> {
        let frames = self.frames(samples.len());
        let mut features = Vec::with_capacity(frames * self.mels);
        let mut input = vec![(0.0, 0.0); self.size];
        let mut output = input.clone();
        for first in (0..frames).step_by(2) {
            // Two real frames go through one complex transform, as real and imaginary part.
            input.fill((0.0, 0.0));
            self.load(samples, first, &mut input, |value, x| value.0 = x);
            if first + 1 < frames {
                self.load(samples, first + 1, &mut input, |value, x| value.1 = x);
            }
            self.shared.fft.forward(&input, &mut output);
            self.bands(&output, |a, b| (a.0 + b.0, a.1 - b.1), &mut features);
            if first + 1 < frames {
                self.bands(&output, |a, b| (a.1 + b.1, b.0 - a.0), &mut features);
            }
        }
        features
    }

    /// Writes a windowed frame behind pre-emphasis: the first sample loses its own share, the others
    /// that of the sample before.
    fn load(
        &self,
        samples: &[i16],
        frame: usize,
        input: &mut [Complex],
        mut write: impl FnMut(&mut Complex, f64),
    ) {
        let samples = samples.get(frame * self.step..).unwrap_or_default();
        let mut before = samples.first().copied().unwrap_or(0);
        let window = self.shared.window.iter();
        for ((sample, weight), value) in samples.iter().zip(window).zip(input) {
            let x = f64::from(*sample) - PRE_EMPHASIS * f64::from(before);
            write(value, weight * x / 32768.0);
            before = *sample;
        }
    }

    /// Adds the bands of one of the two frames. With `z` the transform of both, `2 F(k)` is
    /// `part(z(k), z(n - k))`.
    fn bands(
        &self,
        spectrum: &[Complex],
        part: impl Fn(Complex, Complex) -> Complex,
        features: &mut Vec<f32>,
    ) {
        let n = spectrum.len();
        let at = |bin: usize| spectrum.get(bin).copied().unwrap_or((0.0, 0.0));
        for (first, weights) in &self.shared.bands {
            let energies = weights.iter().enumerate().map(|(i, weight)| {
                let bin = first + i;
                let (re, im) = part(at(bin), at(n - bin));
                weight * 0.25 * (re * re + im * im)
            });
            features.push(energies.sum::<f64>().max(FLOOR).ln() as f32);
        }
    }

    /// Features with mean 0 and standard deviation 1 in each band over the utterance.
    pub fn normalised(&self, samples: &[i16]) -> Vec<f32> {
        let mut features = self.features(samples);
        let frames = features.len() / self.mels.max(1);
        for band in 0..self.mels {
            let values = || {
                features
                    .iter()
                    .skip(band)
                    .step_by(self.mels)
                    .map(|x| f64::from(*x))
            };
            let mean = values().sum::<f64>() / frames as f64;
            let square = values().map(|x| (x - mean).powi(2)).sum::<f64>() / frames as f64;
            let scale = 1.0 / square.sqrt().max(LEAST_DEVIATION);
            for x in features.iter_mut().skip(band).step_by(self.mels) {
                *x = ((f64::from(*x) - mean) * scale) as f32;
            }
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone and a click, without a random generator.
    fn samples() -> Vec<i16> {
        (0..700)
            .map(|i| {
                let tone = 6000.0 * (2.0 * std::f64::consts::PI * 440.0 * i as f64 / 8000.0).sin();
                let click = if i == 333 { 9000.0 } else { 0.0 };
                (tone + click + ((i * 7919) % 101) as f64 - 50.0).round() as i16
            })
            .collect()
    }

    /// numpy 2.4.6: frames of 201 samples every 80, HTK pre-emphasis, `numpy.hanning(201)[:-1]`,
    /// `numpy.fft.rfft(x, 256)`, squared magnitude, triangles in mels, natural logarithm.
    #[test]
    fn values_of_numpy() {
        let front = LogMel::new(8000, 40, 125.0, 3800.0);
        let found = front.features(&samples());
        assert_eq!(found.len(), 7 * 40);
        for (at, expected) in [
            (0, -11.512925),
            (1, -10.521868),
            (9, -3.912867),
            (39, -8.399851),
            (40, -11.512925),
            (77, -4.306398),
            (131, -3.336091),
            (160, -11.392532),
            (200, -11.512925),
            (279, -8.397221),
        ] {
            assert!(
                (f64::from(found[at]) - expected).abs() < 1e-5,
                "{at}: {} {expected}",
                found[at]
            );
        }
        let total: f64 = found.iter().map(|x| f64::from(*x)).sum();
        assert!((total + 1841.584177).abs() < 1e-3, "{total}");
    }

    #[test]
    fn each_band_has_mean_0_and_deviation_1() {
        let front = LogMel::new(8000, 40, 125.0, 3800.0);
        let found = front.normalised(&samples());
        for band in 0..40 {
            let values: Vec<f64> = found
                .iter()
                .skip(band)
                .step_by(40)
                .map(|x| f64::from(*x))
                .collect();
            let mean = values.iter().sum::<f64>() / 7.0;
            let square = values.iter().map(|x| x * x).sum::<f64>() / 7.0;
            assert!(
                mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-4,
                "{mean} {square}"
            );
        }
        // Silence has no deviation to divide by.
        assert!(front.normalised(&[0; 500]).iter().all(|x| *x == 0.0));
    }

    #[test]
    fn too_few_samples_have_no_frame() {
        let front = LogMel::new(16000, 80, 125.0, 7600.0);
        assert_eq!(
            [0, 400, 401, 560, 561].map(|n| front.frames(n)),
            [0, 0, 1, 1, 2]
        );
        // AlgoPerf's longest utterance.
        assert_eq!(front.frames(320_000), 1998);
        assert!(front.features(&[1; 400]).is_empty());
    }
}

//! Random initial values.

use burn::tensor::{Device, Tensor, TensorData};

/// A stream of random numbers that depends on its seed alone (SplitMix64; Steele, Lea and Flood
/// 2014), so that an adapter starts the same on every device and beside any other work: burn's own
/// generator is one per process.
#[derive(Debug, Clone)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// The stream of a parameter in a trial of this seed.
    pub fn of(seed: u64, index: usize) -> Self {
        Self::seeded(seed.wrapping_add(index as u64 + 1))
    }

    /// The stream of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `limit` (0 where `limit` is 0).
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// Uniform on `[-bound, bound)`.
    pub fn uniform(&mut self, shape: [usize; 2], bound: f64, device: &Device) -> Tensor<2> {
        self.fill(shape, device, |draw| (2.0 * draw.unit() - 1.0) * bound)
    }

    /// Normal with mean 0 (Box and Muller's transform).
    pub fn normal(&mut self, shape: [usize; 2], deviation: f64, device: &Device) -> Tensor<2> {
        self.fill(shape, device, |draw| {
            let radius = (-2.0 * (1.0 - draw.unit()).ln()).sqrt();
            deviation * radius * (std::f64::consts::TAU * draw.unit()).cos()
        })
    }

    /// PyTorch's default for linear layers, `kaiming_uniform` with `a = sqrt(5)`: uniform on
    /// `±1/sqrt(fan_in)`.
    pub fn kaiming(&mut self, shape: [usize; 2], fan_in: usize, device: &Device) -> Tensor<2> {
        self.uniform(shape, 1.0 / (fan_in.max(1) as f64).sqrt(), device)
    }

    /// `count` different numbers below `of`, ascending (all where `count` is larger).
    pub fn positions(&mut self, count: usize, of: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..of).collect();
        let count = count.min(of);
        for i in 0..count {
            let j = i + self.below(of - i);
            all.swap(i, j);
        }
        all.truncate(count);
        all.sort_unstable();
        all
    }

    fn fill(
        &mut self,
        shape: [usize; 2],
        device: &Device,
        mut value: impl FnMut(&mut Self) -> f64,
    ) -> Tensor<2> {
        let values: Vec<f32> = (0..shape[0] * shape[1])
            .map(|_| value(self) as f32)
            .collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::layout::values;

    #[test]
    fn moments_and_bounds_are_as_stated() {
        let (mut draw, device) = (Draw::seeded(7), Device::flex());
        let normal = values(draw.normal([100, 100], 2.0, &device));
        let mean = normal.iter().sum::<f32>() / 1e4;
        let square = normal.iter().map(|x| x * x).sum::<f32>() / 1e4;
        assert!(
            mean.abs() < 0.1 && (square - 4.0).abs() < 0.2,
            "{mean} {square}"
        );
        let uniform = values(draw.kaiming([100, 100], 16, &device));
        assert!(uniform.iter().all(|x| x.abs() <= 0.25));
        assert!(uniform.iter().any(|x| *x > 0.24) && uniform.iter().any(|x| *x < -0.24));
    }

    #[test]
    fn positions_differ_and_are_sorted() {
        let positions = Draw::seeded(3).positions(50, 60);
        assert_eq!(positions.len(), 50);
        assert!(positions.windows(2).all(|w| w[0] < w[1]) && positions[49] < 60);
        assert_eq!(Draw::seeded(3).positions(9, 4), [0, 1, 2, 3]);
    }
}

//! FourierFT: a change of the weight by a few entries of its spectrum.
//!
//! `W' = W + s Re F(c)^T`, `F` the inverse two-dimensional Fourier transform of a `[d_out, d_in]`
//! matrix that is zero but for the `n` trained entries `c` at random frequencies. With frequencies
//! `(p, q)` that is `s / (d_in d_out) sum_k c_k cos(2 pi (p_k o / d_out + q_k i / d_in))` at input `i`
//! and output `o`, and by `cos(a + b) = cos a cos b - sin a sin b` a pair of matrices of inner size
//! `2 n`: no Fourier transform is needed, and lengths need not be powers of two.
//!
//! Start: zeros (PEFT's own default is normal: `init_weights` false): the weight itself, bit for bit.
//! The frequencies are the first `n` of PyTorch's permutation for `random_loc_seed`.
//!
//! Options: `n_frequency` 1000, `n_frequency_pattern`, `scaling` 150, `random_loc_seed` 777. Trained:
//! `n`; 1000 for 384 by 384.
//!
//! Sources: Gao et al., "Parameter-Efficient Fine-Tuning with Discrete Fourier Transform", arXiv
//! 2405.03003; Hugging Face PEFT 0.21.2, `tuners/fourierft`.

use super::torch_random::TorchRandom;
use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;
use std::f64::consts::TAU;

/// FourierFT.
#[derive(Debug, Clone)]
pub struct FourierFt {
    /// The weight's shape.
    pub shape: Shape,
    /// The scale over the number of entries.
    pub scale: f64,
    /// For each trained entry its frequency along the outputs and along the inputs.
    pub frequencies: Vec<(usize, usize)>,
}

impl FourierFt {
    /// `count` frequencies as PEFT draws them from `seed`.
    pub fn new(shape: Shape, count: usize, scale: f64, seed: u64) -> Result<Self, MethodError> {
        shape.at_most("n_frequency", count, shape.entries())?;
        let mut random = TorchRandom::seeded(seed);
        let places = random.permuted(count, shape.entries());
        let frequency = |place| (place / shape.d_in, place % shape.d_in);
        Ok(Self {
            shape,
            scale: scale / shape.entries() as f64,
            frequencies: places.into_iter().map(frequency).collect(),
        })
    }

    /// Cosines and then sines, `[length, 2 n]`, of the frequencies along one axis.
    fn waves(
        &self,
        length: usize,
        frequency: impl Fn(&(usize, usize)) -> usize,
        device: &Device,
    ) -> Tensor<2> {
        let count = self.frequencies.len();
        let mut values = Vec::with_capacity(2 * count * length);
        for at in 0..length {
            // Whole turns are taken off in whole numbers: large angles lose no digits.
            let angle = |f| TAU * ((frequency(f) * at) % length) as f64 / length as f64;
            values.extend(self.frequencies.iter().map(|f| angle(f).cos() as f32));
            values.extend(self.frequencies.iter().map(|f| angle(f).sin() as f32));
        }
        Tensor::from_data(TensorData::new(values, [length, 2 * count]), device)
    }
}

impl Parts for FourierFt {
    fn trained(&self) -> Vec<Factor> {
        vec![Factor::flat(
            "fourierft_spectrum",
            &[self.frequencies.len()],
        )]
    }

    fn constants(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        let twice = 2 * self.frequencies.len();
        // No file holds these.
        vec![
            Factor::flat("waves of the inputs", &[d_in, twice]).optional(true),
            Factor::flat("waves of the outputs", &[d_out, twice]).optional(true),
        ]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let shape = [1, self.frequencies.len()];
        Ok(vec![Tensor::zeros(shape, &base.device())])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let (Shape { d_in, d_out }, device) = (self.shape, base.device());
        Ok(vec![
            self.waves(d_in, |f| f.1, &device),
            self.waves(d_out, |f| f.0, &device),
        ])
    }
}

impl Pair for FourierFt {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let spectrum = factors[0].clone().mul_scalar(self.scale);
        let signed = Tensor::cat(vec![spectrum.clone(), spectrum.neg()], 1);
        (factors[1].clone() * signed, factors[2].clone().transpose())
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let count = options.count_by_module("n_frequency", "n_frequency_pattern", 1000)?;
    let scale = options.number("scaling", 150.0)?;
    let seed = options.count("random_loc_seed", 0, 777)? as u64;
    let method = FourierFt::new(shape, count, scale, seed)?;
    Ok(Box::new(Added(method)))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A few trained entries of the spectrum of the change",
    paper: "arXiv 2405.03003",
    size: ("frequencies", &[512.0, 256.0, 1024.0]),
    options: |s| json!({"n_frequency": s.size.min(s.shape.entries()), "random_loc_seed": s.seed}),
    learning_rate: [1e-2, 1.0, 1e-1],
};

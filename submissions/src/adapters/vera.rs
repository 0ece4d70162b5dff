//! VeRA: two random matrices that all layers share, and two trained vectors in each.
//!
//! `W' = W + A diag(d) B diag(b)`, `A` the first `d_in` rows of the shared `[largest d_in, r]`, `B` the
//! first `d_out` columns of the shared `[r, largest d_out]`.
//!
//! Start: `d` 0.1 (`d_initial`), `b` zero: the weight itself, bit for bit. The shared matrices are
//! uniform on `±sqrt(6 / fan_in)`, drawn by PyTorch's generator from `projection_prng_key`, so that
//! PEFT and we draw the same; a file may hold them (`save_projection`).
//!
//! Options: `r` 256, `d_initial` 0.1, `projection_prng_key` 0, `save_projection` true. Trained:
//! `r + d_out`; 640 for 384 by 384 at rank 256. Stored beside: `r (d_in + d_out)` once.
//!
//! Sources: Kopiczko, Blankevoort and Asano, "VeRA", arXiv 2310.11454; Hugging Face PEFT 0.21.2,
//! `tuners/vera`.

use super::torch_random::TorchRandom;
use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// VeRA.
#[derive(Debug, Clone)]
pub struct Vera {
    /// The weight's shape.
    pub shape: Shape,
    /// The longest axes of all adapted weights.
    pub largest: Shape,
    /// The rank `r`.
    pub rank: usize,
    /// Initial value of `d`.
    pub first: f64,
    /// The seed of the shared matrices.
    pub key: u64,
    /// Whether files hold the shared matrices.
    pub saved: bool,
}

impl Parts for Vera {
    fn trained(&self) -> Vec<Factor> {
        vec![
            Factor::flat("vera_lambda_b", &[self.shape.d_out]),
            Factor::flat("vera_lambda_d", &[self.rank]),
        ]
    }

    fn constants(&self) -> Vec<Factor> {
        let shared = |factor: Factor| factor.at_root().optional(!self.saved);
        vec![
            shared(Factor::turned("vera_A", self.rank, self.largest.d_in)),
            shared(Factor::turned("vera_B", self.largest.d_out, self.rank)),
        ]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let device = base.device();
        Ok(vec![
            Tensor::zeros([1, self.shape.d_out], &device),
            Tensor::full([1, self.rank], self.first, &device),
        ])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let mut random = TorchRandom::seeded(self.key);
        let shared = self.constants();
        Ok(shared
            .iter()
            .map(|factor| {
                let fan_in = factor.stored().last().copied().unwrap_or(1) as f64;
                let bound = (3.0f64.sqrt() * (2.0f64.sqrt() / fan_in.sqrt())) as f32;
                let values = random.uniform(factor.len(), -bound, bound);
                factor.from_stored(values, &base.device())
            })
            .collect())
    }
}

impl Pair for Vera {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (b, d) = (factors[0].clone(), factors[1].clone());
        let first = factors[2].clone().narrow(0, 0, self.shape.d_in);
        let second = factors[3].clone().narrow(1, 0, self.shape.d_out);
        (first * d, second * b)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    Ok(Box::new(Added(Vera {
        shape,
        largest: options.largest,
        rank: options.count("r", 1, 256)?,
        first: options.number("d_initial", 0.1)?,
        key: options.count("projection_prng_key", 0, 0)? as u64,
        saved: options.flag("save_projection", true)?,
    })))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Trained vectors between random matrices that all layers share",
    paper: "arXiv 2310.11454",
    size: ("rank", &[64.0, 32.0, 128.0]),
    options: |s| json!({"r": s.size, "projection_prng_key": s.seed}),
    learning_rate: Race::NUMBERS,
};

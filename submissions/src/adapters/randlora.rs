//! RandLoRA: a sum of random low-rank matrices with trained diagonals, of full rank.
//!
//! `W' = W + s P Q`, `s = alpha / r`, with `n = ceil(min(d_in, d_out) / r)` bases. The shared `A` of
//! `[r, shorter side]` is scaled by `L` (`[r, n]`) and `G` (`[n, shorter side]`):
//! `Q[(i, j), c] = L[i, j] A[i, c] G[j, c]`; the shared `B` of `[longer side, n, r]` is `P`, its two
//! last axes as one. The sides are exchanged where the weight has more inputs than outputs. PEFT lists
//! the two in different orders (`(i, j)` by rank first in `Q`, by base first in `P`), and so do we.
//!
//! Start: `L` zero, `G` one over its longer side: the weight itself, bit for bit. The shared matrices
//! come from PyTorch's generator and `projection_prng_key`, divided by their deviation: uniform in
//! bfloat16, or -1, 0 and 1 with `sparse` (a sixth each of the signs) or `very_sparse` (one over twice
//! the root of the shorter side).
//!
//! Options: `r` 32, `randlora_alpha` 640, `projection_prng_key` 0, `save_projection` true, `sparse`,
//! `very_sparse`. Trained: `r n + n min(d_in, d_out)`; 4992 for 384 by 384 at rank 32.
//!
//! Sources: Albert et al., "RandLoRA", arXiv 2502.00987; Hugging Face PEFT 0.21.2, `tuners/randlora`.

use super::torch_random::{TorchRandom, bf16};
use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// What the shared matrices hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bases {
    /// Uniform numbers.
    Dense,
    /// -1, 0 and 1, each sign with one half over this number.
    Sparse(f32),
}

/// RandLoRA.
#[derive(Debug, Clone)]
pub struct RandLora {
    /// The weight's shape.
    pub shape: Shape,
    /// The longest axes of all adapted weights.
    pub largest: Shape,
    /// The rank of each base.
    pub rank: usize,
    /// The scale `s`.
    pub scale: f64,
    /// The seed of the shared matrices.
    pub key: u64,
    /// What they hold.
    pub bases: Bases,
    /// Whether files hold them.
    pub saved: bool,
}

impl RandLora {
    /// Number of bases for a shorter side of this length.
    fn count(&self, short: usize) -> usize {
        short.div_ceil(self.rank)
    }
}

impl Parts for RandLora {
    fn trained(&self) -> Vec<Factor> {
        let short = self.shape.short();
        vec![
            Factor::flat("randlora_gamma", &[self.count(short), short]),
            Factor::flat("randlora_lambda", &[self.rank, self.count(short)]),
        ]
    }

    fn constants(&self) -> Vec<Factor> {
        let (short, long) = (self.largest.short(), self.largest.long());
        let shared = |factor: Factor| factor.everywhere().optional(!self.saved);
        let b = [long, self.count(short), self.rank];
        vec![
            shared(Factor::flat("randlora_A", &[self.rank, 1, short])),
            shared(Factor::flat("randlora_B", &b)),
        ]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (short, device) = (self.shape.short(), base.device());
        let count = self.count(short);
        let gamma = 1.0 / count.max(short) as f64;
        Ok(vec![
            Tensor::full([count, short], gamma, &device),
            Tensor::zeros([self.rank, count], &device),
        ])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let mut random = TorchRandom::seeded(self.key);
        let shared = self.constants();
        let device = base.device();
        Ok(shared
            .iter()
            .map(|factor| factor.from_stored(self.base(factor, &mut random), &device))
            .collect())
    }
}

impl RandLora {
    /// A shared matrix, in the order of files.
    fn base(&self, factor: &Factor, random: &mut TorchRandom) -> Vec<f32> {
        let stored = factor.stored();
        let (rows, bases) = (stored[0], stored[1]);
        let width = stored[2];
        match self.bases {
            Bases::Dense => {
                // One base after the other: each `[rows, 1, width]`, joined along the middle.
                let bound = 1.0 / (width as f32).sqrt();
                let mut values = vec![0.0; factor.len()];
                for base in 0..bases {
                    let drawn = random.uniform_bf16(rows * width, -bound, bound);
                    for (i, x) in drawn.into_iter().enumerate() {
                        let (row, column) = (i / width, i % width);
                        values[(row * bases + base) * width + column] = x;
                    }
                }
                let deviation = bf16(deviation(&values) as f32);
                values.iter().map(|x| bf16(x / deviation)).collect()
            }
            Bases::Sparse(sparsity) => {
                let edge = 1.0 / (2.0 * sparsity);
                let drawn = random.uniform(factor.len(), 0.0, 1.0);
                let sign = |x: &f32| match *x {
                    x if x < edge => -1.0,
                    x if x > 1.0 - edge => 1.0,
                    _ => 0.0,
                };
                let values: Vec<f32> = drawn.iter().map(sign).collect();
                let deviation = deviation(&values) as f32;
                values.iter().map(|x| x / deviation).collect()
            }
        }
    }
}

/// The deviation with one less in the divisor, as `torch.std`.
fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let square = |x: &f32| (f64::from(*x) - mean).powi(2);
    (values.iter().map(square).sum::<f64>() / (count - 1.0)).sqrt()
}

impl Pair for RandLora {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (short, long) = (self.shape.short(), self.shape.long());
        let (bases, rank) = (self.count(short), self.rank);
        let gamma = factors[0].clone().reshape([1, bases, short]);
        let lambda = factors[1].clone().reshape([rank, bases, 1]);
        let a = factors[2].clone().narrow(1, 0, short);
        let scaled = a.reshape([rank, 1, short]) * lambda * gamma;
        let q = scaled.reshape([rank * bases, short]);
        let all = self.count(self.largest.short());
        let b = factors[3].clone().reshape([self.largest.long(), all, rank]);
        let p = b.slice([0..long, 0..bases, 0..rank]);
        let p = p.reshape([long, bases * rank]).mul_scalar(self.scale);
        match self.shape.d_in <= self.shape.d_out {
            true => (q.transpose(), p.transpose()),
            false => (p, q),
        }
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 32)?;
    let alpha = options.number("randlora_alpha", 640.0)?;
    let sparse = options.flag("sparse", false)?;
    let very_sparse = options.flag("very_sparse", false)?;
    let bases = match (very_sparse, sparse) {
        (true, _) => Bases::Sparse((options.largest.short() as f32).sqrt()),
        (false, true) => Bases::Sparse(3.0),
        (false, false) => Bases::Dense,
    };
    Ok(Box::new(Added(RandLora {
        shape,
        largest: options.largest,
        rank,
        scale: alpha / rank as f64,
        key: options.count("projection_prng_key", 0, 0)? as u64,
        bases,
        saved: options.flag("save_projection", true)?,
    })))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A sum of random low-rank matrices with trained diagonals",
    paper: "arXiv 2502.00987",
    size: ("rank", &[16.0, 8.0, 32.0]),
    options: |s| json!({"r": s.rank(), "randlora_alpha": 20 * s.rank(), "projection_prng_key": s.seed}),
    learning_rate: Race::MATRICES,
};

//! GraLoRA: a grid of blocks, each with a low-rank pair of its own.
//!
//! The weight is cut into `k` by `k` blocks. Block `(n, j)` changes by `s A_nj B_nj` of rank `r / k`:
//! `A_n` of `[d_in / k, r]` holds the `k` matrices `A_nj` side by side, `B_j` of `[r, d_out / k]` the `k`
//! matrices `B_nj` one under the other. `hybrid_r` more ranks are a LoRA pair of the whole weight, and
//! `s = alpha / (r + hybrid_r)`.
//!
//! Start: every `A` uniform on plus and minus one over the root of its inputs, every `B` zero: the
//! weight itself, bit for bit.
//!
//! Options: `r` 32, `gralora_k` 2 (divides `r` and both sides), `alpha` 64, `hybrid_r` 0. Trained:
//! `(r + hybrid_r) (d_in + d_out)`; 6144 for 384 by 384 at rank 8.
//!
//! Sources: Jung et al., "GraLoRA: Granular Low-Rank Adaptation for Parameter-Efficient Fine-Tuning",
//! arXiv 2505.20355; Hugging Face PEFT 0.21.2, `tuners/gralora`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// GraLoRA.
#[derive(Debug, Clone)]
pub struct GraLora {
    /// The weight's shape.
    pub shape: Shape,
    /// Blocks along each side, `k`.
    pub k: usize,
    /// The rank `r` of a row of blocks.
    pub rank: usize,
    /// The rank of the pair of the whole weight.
    pub hybrid: usize,
    /// The scale `s`.
    pub scale: f64,
}

impl GraLora {
    /// The blocks' matrices: `[k (n), k (j), d_in / k, r / k]` and `[k (n), k (j), r / k, d_out / k]`.
    fn grid(&self, factors: &[Tensor<2>]) -> (Tensor<4>, Tensor<4>) {
        let (k, each) = (self.k, self.rank / self.k);
        let (rows, columns) = (self.shape.d_in / k, self.shape.d_out / k);
        let a = factors[0].clone().reshape([k, rows, k, each]);
        let b = factors[1].clone().reshape([k, k, each, columns]);
        (
            a.permute([0, 2, 1, 3]),
            b.permute([1, 0, 2, 3]).mul_scalar(self.scale),
        )
    }

    /// The scaled pair of the whole weight.
    fn whole(&self, factors: &[Tensor<2>]) -> Option<(Tensor<2>, Tensor<2>)> {
        let (a, b) = (factors.get(2)?.clone(), factors.get(3)?.clone());
        Some((a, b.mul_scalar(self.scale)))
    }
}

impl Parts for GraLora {
    fn trained(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        let (k, r) = (self.k, self.rank);
        let mut factors = vec![
            Factor::flat("gralora_A", &[k, d_in / k, r]),
            Factor::flat("gralora_B", &[k, r, d_out / k]),
        ];
        if self.hybrid > 0 {
            factors.push(Factor::turned(
                "gralora_A_general.weight",
                self.hybrid,
                d_in,
            ));
            factors.push(Factor::turned(
                "gralora_B_general.weight",
                d_out,
                self.hybrid,
            ));
        }
        factors
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let device = base.device();
        let fan_in = [self.shape.d_in / self.k, 0, self.shape.d_in, 0];
        let declared = self.trained().into_iter().zip(fan_in);
        let values = declared.map(|(factor, fan_in)| match fan_in {
            0 => Tensor::zeros(factor.shape(), &device),
            _ => draw.kaiming(factor.shape(), fan_in, &device),
        });
        Ok(values.collect())
    }
}

impl Method for GraLora {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (a, b) = self.grid(factors);
        let change = a.matmul(b).permute([0, 2, 1, 3]);
        let weight = frozen + change.reshape([self.shape.d_in, self.shape.d_out]);
        match self.whole(factors) {
            Some((a, b)) => weight + a.matmul(b),
            None => weight,
        }
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let ([rows, d_in], k, each) = (x.dims(), self.k, self.rank / self.k);
        let (a, b) = self.grid(factors);
        // [n, rows, d_in / k] by [n, d_in / k, r]: all blocks of a row of the grid at once.
        let a = a.permute([0, 2, 1, 3]).reshape([k, d_in / k, self.rank]);
        let parts = x.clone().reshape([rows, k, d_in / k]).swap_dims(0, 1);
        let inner = parts.matmul(a).reshape([k, rows, k, each]);
        let inner = inner.permute([2, 1, 0, 3]).reshape([k, rows, self.rank]);
        let b = b
            .permute([1, 0, 2, 3])
            .reshape([k, self.rank, self.shape.d_out / k]);
        let change = inner.matmul(b).swap_dims(0, 1);
        let y = x.clone().matmul(frozen) + change.reshape([rows, self.shape.d_out]);
        match self.whole(factors) {
            Some((a, b)) => y + x.matmul(a).matmul(b),
            None => y,
        }
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let k = options.count("gralora_k", 1, 2)?;
    let rank = options.count("r", 1, 32)?;
    let hybrid = options.count("hybrid_r", 0, 0)?;
    if !rank.is_multiple_of(k) {
        return Err(options.wrong("r", "divisible by `gralora_k`"));
    }
    shape.blocks_in("gralora_k", k)?;
    shape.blocks_out("gralora_k", k)?;
    Ok(Box::new(GraLora {
        shape,
        k,
        rank,
        hybrid,
        scale: options.number("alpha", 64.0)? / (rank + hybrid) as f64,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A grid of blocks with a low-rank pair each",
    paper: "arXiv 2505.20355",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "alpha": 2 * s.rank(), "gralora_k": s.shared_block(2)}),
    learning_rate: Race::MATRICES,
};

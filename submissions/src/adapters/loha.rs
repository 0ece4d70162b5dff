//! LoHa: the entrywise product of two low-rank matrices, of rank up to `r^2`.
//!
//! `W' = W + s (A1 B1) * (A2 B2)`, `s = alpha / r`, `A` of `[d_in, r]` and `B` of `[r, d_out]`.
//!
//! Start: all uniform as PyTorch's linear layers, but `A2` zero: the weight itself, bit for bit.
//!
//! Options: `r` 8, `alpha` 8, `rank_pattern`, `alpha_pattern`. Trained: `2 r (d_in + d_out)`; 12288 for
//! 384 by 384 at rank 8. The dense product cannot be avoided.
//!
//! Sources: Hyeon-Woo, Ye-Bin and Oh, "FedPara", arXiv 2108.06098; Hugging Face PEFT 0.21.2,
//! `tuners/loha` (whose `w1_a` is our `B1`, turned).

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// LoHa.
#[derive(Debug, Clone)]
pub struct LoHa {
    /// The weight's shape.
    pub shape: Shape,
    /// The rank of each product.
    pub rank: usize,
    /// The scale `s`.
    pub scale: f64,
}

impl Parts for LoHa {
    fn trained(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![
            Factor::turned("hada_w1_a", d_out, self.rank),
            Factor::turned("hada_w1_b", self.rank, d_in),
            Factor::turned("hada_w2_a", d_out, self.rank),
            Factor::turned("hada_w2_b", self.rank, d_in),
        ]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (Shape { d_in, d_out }, device) = (self.shape, base.device());
        // The fan-in is the last axis of the stored tensor.
        let b = |draw: &mut Draw| draw.kaiming([self.rank, d_out], self.rank, &device);
        let (b1, b2) = (b(draw), b(draw));
        let a1 = draw.kaiming([d_in, self.rank], d_in, &device);
        Ok(vec![b1, a1, b2, Tensor::zeros([d_in, self.rank], &device)])
    }
}

impl Method for LoHa {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let product = |b: &Tensor<2>, a: &Tensor<2>| a.clone().matmul(b.clone());
        let first = product(&factors[0], &factors[1]);
        let second = product(&factors[2], &factors[3]);
        frozen + (first * second).mul_scalar(self.scale)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    options.refuse(&["target_parameters"])?;
    let rank = options.count_by_module("r", "rank_pattern", 8)?;
    let alpha = options.number_by_module("alpha", "alpha_pattern", 8.0)?;
    Ok(Box::new(LoHa {
        shape,
        rank,
        scale: alpha / rank as f64,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "The entrywise product of two low-rank matrices",
    paper: "arXiv 2108.06098",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "alpha": 2 * s.rank()}),
    learning_rate: Race::MATRICES,
};

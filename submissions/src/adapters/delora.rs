//! DeLoRA: a low-rank change whose rank-one parts have length one, and a trained bound on the whole.
//!
//! `W' = W + lambda / r diag(w) A diag(1 / (|a_k| |b_k|)) B`, `A` of `[d_in, r]` with columns `a_k`, `B`
//! of `[r, d_out]` with rows `b_k`, norms at least 1e-4, and `w` the norms of the frozen weight's rows
//! (one for each input).
//!
//! Start: `A` uniform on `±1/sqrt(d_in)`, `B` zero, `lambda` 15: the weight itself, bit for bit.
//!
//! Options: `r` 8, `delora_lambda` 15, `rank_pattern`, `lambda_pattern`. Trained:
//! `r (d_in + d_out) + 1`; 6145 for 384 by 384 at rank 8.
//!
//! Sources: Bini, Girrbach and Akata, "Decoupling Angles and Strength in Low-rank Adaptation", arXiv
//! 2503.18225; Hugging Face PEFT 0.21.2, `tuners/delora`.

use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// The pair of DeLoRA.
#[derive(Debug, Clone)]
pub struct DeLora {
    /// The weight's shape.
    pub shape: Shape,
    /// The rank `r`.
    pub rank: usize,
    /// Initial bound.
    pub lambda: f64,
}

/// The norms along an axis, which stays with length 1.
fn norms(matrix: Tensor<2>, axis: usize) -> Tensor<2> {
    matrix.square().sum_dim(axis).sqrt()
}

impl Parts for DeLora {
    fn trained(&self) -> Vec<Factor> {
        vec![
            Factor::turned("delora_A", self.rank, self.shape.d_in),
            Factor::turned("delora_B", self.shape.d_out, self.rank),
            Factor::flat("delora_lambda", &[1]),
        ]
    }

    fn constants(&self) -> Vec<Factor> {
        vec![Factor::flat("delora_w_norm", &[self.shape.d_in]).optional(true)]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (Shape { d_in, d_out }, device) = (self.shape, base.device());
        Ok(vec![
            draw.kaiming([d_in, self.rank], d_in, &device),
            Tensor::zeros([self.rank, d_out], &device),
            Tensor::full([1, 1], self.lambda, &device),
        ])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        Ok(vec![norms(base.clone(), 1).transpose()])
    }
}

impl Pair for DeLora {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (a, b, lambda) = (&factors[0], &factors[1], &factors[2]);
        let rows = factors[3].clone().transpose();
        let length = |norm: Tensor<2>| norm.clamp_min(1e-4);
        let lengths =
            length(safe_norms(a.clone(), 0)) * length(safe_norms(b.clone(), 1)).transpose();
        let scale = lambda.clone().div_scalar(self.rank as f64) / lengths;
        (a.clone() * scale * rows, b.clone())
    }
}

/// [`norms`], whose gradient at zero is zero: `sqrt` has none there, and the start is there.
fn safe_norms(matrix: Tensor<2>, axis: usize) -> Tensor<2> {
    matrix.square().sum_dim(axis).clamp_min(1e-16).sqrt()
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    Ok(Box::new(Added(DeLora {
        shape,
        rank: options.count_by_module("r", "rank_pattern", 8)?,
        lambda: options.number_by_module("delora_lambda", "lambda_pattern", 15.0)?,
    })))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A low-rank change of normalised parts under a trained bound",
    paper: "arXiv 2503.18225",
    size: Race::RANK,
    options: |s| json!({"r": s.rank()}),
    learning_rate: Race::MATRICES,
};

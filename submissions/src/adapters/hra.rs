//! HRA: the inputs reflected at a chain of hyperplanes.
//!
//! `W' = H_r ... H_1 W`, `H_k = I - 2 u_k u_k^T` with `u_k` the `k`-th trained column over its norm.
//! With `apply_GS`, the columns are first made orthonormal (Gram and Schmidt).
//!
//! Start: pairs of equal columns, uniform on `±1/sqrt(r/2)`, whose reflections cancel: the weight up to
//! rounding. With an odd `r` all columns differ, and the adapted weight is not the weight; nor is it
//! with `apply_GS`, which leaves no direction to the second column of a pair. Both are PEFT's.
//!
//! Options: `r` 8, `apply_GS` false. Trained: `r d_in`; 3072 for 384 by 384 at rank 8. The activation
//! path reflects `x`, which costs `4 r d_in` operations a row and builds no matrix.
//!
//! Sources: Yuan, Liu and Xu, "Bridging The Gap between Low-rank and Orthogonal Adaptation via
//! Householder Reflection Adaptation", arXiv 2405.17484; Hugging Face PEFT 0.21.2, `tuners/hra`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// HRA.
#[derive(Debug, Clone)]
pub struct Hra {
    /// The weight's shape.
    pub shape: Shape,
    /// Number of reflections.
    pub rank: usize,
    /// Whether the directions are made orthonormal.
    pub orthonormal: bool,
}

impl Hra {
    /// The directions, each `[d_in, 1]` with norm 1.
    fn directions(&self, factors: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let mut found: Vec<Tensor<2>> = Vec::with_capacity(self.rank);
        for k in 0..self.rank {
            let mut u = factors[0].clone().narrow(1, k, 1);
            if self.orthonormal {
                for earlier in &found {
                    let along = (earlier.clone() * u.clone()).sum_dim(0);
                    u = u - earlier.clone() * along;
                }
            }
            let norm = u.clone().square().sum_dim(0).sqrt();
            found.push(u / norm);
        }
        found
    }
}

impl Parts for Hra {
    fn trained(&self) -> Vec<Factor> {
        vec![Factor::flat("hra_u", &[self.shape.d_in, self.rank])]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (d_in, device) = (self.shape.d_in, base.device());
        if !self.rank.is_multiple_of(2) {
            return Ok(vec![draw.kaiming([d_in, self.rank], self.rank, &device)]);
        }
        let half = self.rank / 2;
        let columns = draw.kaiming([d_in, half], half, &device);
        let twice = columns.reshape([d_in, half, 1]).repeat_dim(2, 2);
        Ok(vec![twice.reshape([d_in, self.rank])])
    }
}

impl Method for Hra {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let mut weight = frozen;
        for u in self.directions(factors) {
            let along = u.clone().transpose().matmul(weight.clone());
            weight = weight - u.matmul(along).mul_scalar(2.0);
        }
        weight
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let mut x = x;
        for u in self.directions(factors).into_iter().rev() {
            let along = x.clone().matmul(u.clone());
            x = x - along.matmul(u.transpose()).mul_scalar(2.0);
        }
        x.matmul(frozen)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    Ok(Box::new(Hra {
        shape,
        rank: options.count("r", 1, 8)?,
        orthonormal: options.flag("apply_GS", false)?,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Inputs reflected at a chain of hyperplanes",
    paper: "arXiv 2405.17484",
    size: Race::RANK,
    options: |s| json!({"r": s.rank()}),
    learning_rate: Race::MATRICES,
};

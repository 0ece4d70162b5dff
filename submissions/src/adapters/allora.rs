//! ALLoRA: LoRA without a scale, whose gradient is larger for outputs that have moved little.
//!
//! `W' = W + A B`. What the gradient of output `i` sends into the low-rank branch is multiplied by
//! `c_i = 1 / sqrt(|d_i| + 1 / eta^2)`, `d_i` the `i`-th column of `A B`: `eta` at the start, and less
//! as the column grows. The value is LoRA's, bit for bit: only the backward pass is scaled.
//!
//! The norms come from `B`'s columns and `A^T A`, at a cost of `r^2 (d_in + d_out)`; the coefficients
//! take no part in the gradient. Adam all but undoes a scale of gradients that changes slowly, so that
//! with it the method should scale the step instead: [`AlLora::coefficients`] gives the numbers.
//!
//! Start: as [`super::lora`]: the weight itself, bit for bit. Options: `r` 8, `eta` 2. Trained:
//! `r (d_in + d_out)`; 6144 for 384 by 384 at rank 8.
//!
//! Source: Huang and Balestriero, "ALLoRA: Adaptive Learning Rate Mitigates LoRA Fatal Flaws", arXiv
//! 2410.09692. There is no code by the authors: this is the paper's formula with the norm of the
//! product.

use super::lora::{Lora, Start};
use super::{Method, MethodError, Options, Pair, Parts, Race, Shape, Wraps};
use burn::tensor::Tensor;
use serde_json::json;

/// ALLoRA.
#[derive(Debug, Clone)]
pub struct AlLora {
    lora: Lora,
    /// The largest coefficient.
    pub eta: f64,
}

impl AlLora {
    /// ALLoRA of this rank.
    pub fn new(shape: Shape, rank: usize, eta: f64) -> Self {
        Self {
            lora: Lora {
                shape,
                rank,
                scale: 1.0,
                start: Start::Uniform,
                bias: false,
            },
            eta,
        }
    }

    /// The coefficients `c`, shape `[1, d_out]`, without graph.
    pub fn coefficients(&self, a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
        let (a, b) = (a.clone().detach(), b.clone().detach());
        let gram = a.clone().transpose().matmul(a);
        // |A b|^2 = b^T (A^T A) b, which rounding may bring below 0.
        let squares = (b.clone() * gram.matmul(b)).sum_dim(0).clamp_min(0.0);
        let least = 1.0 / (self.eta * self.eta);
        squares.sqrt().add_scalar(least).sqrt().recip()
    }

    /// The branch with its gradient scaled: its own value, since what is added is zero.
    fn scaled(&self, branch: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let c = self.coefficients(&factors[0], &factors[1]);
        let value = branch.clone().detach();
        value.clone() + (branch - value) * c
    }
}

impl Wraps for AlLora {
    fn inner(&self) -> &dyn Parts {
        &self.lora
    }
}

impl Method for AlLora {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (a, b) = self.lora.pair(factors);
        frozen + self.scaled(a.matmul(b), factors)
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (a, b) = self.lora.pair(factors);
        let branch = x.clone().matmul(a).matmul(b);
        x.matmul(frozen) + self.scaled(branch, factors)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let eta = options.number("eta", 2.0)?;
    if eta <= 0.0 {
        return Err(options.wrong("eta", "above 0"));
    }
    Ok(Box::new(AlLora::new(shape, options.count("r", 1, 8)?, eta)))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "LoRA without a scale that trains little-moved outputs faster",
    paper: "arXiv 2410.09692",
    size: Race::RANK,
    options: |s| json!({"r": s.rank()}),
    learning_rate: Race::MATRICES,
};

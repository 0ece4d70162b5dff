//! Hydra: a low-rank branch of the layer's input, and another of its output.
//!
//! `h = x W + b`; `y = h + s x A_p B_p + s h A_s B_s`, that is `W' = W (1 + s A_s B_s) + s A_p B_p` and
//! `b' = b (1 + s A_s B_s)`.
//!
//! Start: `A` uniform on plus and minus one over the root of its inputs, `B` zero: the weight itself,
//! bit for bit.
//!
//! Options: `r` 4 (parallel), `sequential_r` 4, `scale` 1. Trained: `r (d_in + d_out)` and
//! `2 sequential_r d_out`; 6144 for 384 by 384 with ranks of 4.
//!
//! Sources: Kim et al., "Hydra: Multi-head Low-rank Adaptation for Parameter Efficient Fine-tuning",
//! arXiv 2309.06922 (equations; the authors' merging of attention layers takes another layer's weight
//! and is not followed).

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// Hydra.
#[derive(Debug, Clone)]
pub struct Hydra {
    /// The weight's shape.
    pub shape: Shape,
    /// The rank of the branch of the input.
    pub parallel: usize,
    /// The rank of the branch of the output.
    pub sequential: usize,
    /// The scale `s`.
    pub scale: f64,
}

impl Hydra {
    /// `y A B s`.
    fn branch(&self, y: Tensor<2>, a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
        let inner = y.matmul(a.clone()).mul_scalar(self.scale);
        inner.matmul(b.clone())
    }
}

impl Parts for Hydra {
    fn trained(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![
            Factor::turned("parallel_A", self.parallel, d_in),
            Factor::turned("parallel_B", d_out, self.parallel),
            Factor::turned("sequential_A", self.sequential, d_out),
            Factor::turned("sequential_B", d_out, self.sequential),
        ]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let device = base.device();
        let pair = |rank: usize, inputs: usize, draw: &mut Draw| {
            [
                draw.kaiming([inputs, rank], inputs, &device),
                Tensor::zeros([rank, self.shape.d_out], &device),
            ]
        };
        let mut values = pair(self.parallel, self.shape.d_in, draw).to_vec();
        values.extend(pair(self.sequential, self.shape.d_out, draw));
        Ok(values)
    }

    fn bias(&self, bias: Tensor<1>, factors: &[Tensor<2>]) -> Tensor<1> {
        let d_out = self.shape.d_out;
        let row = bias.clone().reshape([1, d_out]);
        bias + self.branch(row, &factors[2], &factors[3]).reshape([d_out])
    }
}

impl Method for Hydra {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let parallel = factors[0].clone().matmul(factors[1].clone());
        let sequential = self.branch(frozen.clone(), &factors[2], &factors[3]);
        frozen + sequential + parallel.mul_scalar(self.scale)
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let h = x.clone().matmul(frozen);
        let sequential = self.branch(h.clone(), &factors[2], &factors[3]);
        h + sequential + self.branch(x, &factors[0], &factors[1])
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    Ok(Box::new(Hydra {
        shape,
        parallel: options.count("r", 1, 4)?,
        sequential: options.count("sequential_r", 1, 4)?,
        scale: options.number("scale", 1.0)?,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A low-rank branch of the layer's input and one of its output",
    paper: "arXiv 2309.06922",
    size: Race::RANK,
    options: |s| json!({"r": s.rank().div_ceil(2), "sequential_r": s.rank().div_ceil(2)}),
    learning_rate: Race::MATRICES,
};

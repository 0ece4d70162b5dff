//! S²FT: a few whole rows of the weight are trained.
//!
//! `W'[k, :] = W[k, :] + S[k, :]` for `k` in a fixed random set of inputs: channels of a feed-forward
//! layer's second matrix, or of a head. No scale.
//!
//! Start: zero: the weight itself, bit for bit. The gradient of `S` is the rows of full fine-tuning's,
//! and the activation path needs those columns of `x` alone.
//!
//! Options: `rows` 12, at most `d_in`; `seed` 0 chooses them. Trained: `rows d_out`; 4608 for 12 rows
//! of 384 by 384.
//!
//! Sources: Yang et al., "S²FT: Efficient, Scalable and Generalizable LLM Fine-tuning by Structured
//! Sparsity", arXiv 2412.06289; Infini-AI-Lab/S2FT `s2ft/s2.py`. The authors permute the channels to
//! make the rows neighbours; the choice here is the same without a permutation.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use serde_json::json;

/// S²FT.
#[derive(Debug, Clone)]
pub struct S2ft {
    /// The weight's shape.
    pub shape: Shape,
    /// Number of trained rows.
    pub rows: usize,
    /// The seed of the choice.
    pub seed: u64,
}

impl S2ft {
    fn places(factors: &[Tensor<2>]) -> Tensor<1, Int> {
        let [_, count] = factors[1].dims();
        factors[1].clone().int().reshape([count])
    }
}

impl Parts for S2ft {
    fn trained(&self) -> Vec<Factor> {
        vec![Factor::flat("s2ft_rows", &[self.rows, self.shape.d_out])]
    }

    fn constants(&self) -> Vec<Factor> {
        vec![Factor::places(
            "s2ft_indices",
            &[self.shape.d_in],
            self.rows,
        )]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let shape = [self.rows, self.shape.d_out];
        Ok(vec![Tensor::zeros(shape, &base.device())])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let places = Draw::seeded(self.seed).positions(self.rows, self.shape.d_in);
        let places: Vec<f32> = places.into_iter().map(|p| p as f32).collect();
        let data = TensorData::new(places, [1, self.rows]);
        Ok(vec![Tensor::from_data(data, &base.device())])
    }
}

impl Method for S2ft {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let add = IndexingUpdateOp::Add;
        frozen.select_assign(0, Self::places(factors), factors[0].clone(), add)
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let part = x.clone().select(1, Self::places(factors));
        x.matmul(frozen) + part.matmul(factors[0].clone())
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rows = options.count("rows", 1, 12)?;
    shape.at_most("rows", rows, shape.d_in)?;
    let seed = options.count("seed", 0, 0)? as u64;
    Ok(Box::new(S2ft { shape, rows, seed }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A few whole rows of the weights are trained",
    paper: "arXiv 2412.06289",
    size: ("rows", &[8.0, 4.0, 16.0]),
    options: |s| json!({"rows": s.size.min(s.shape.d_in), "seed": s.seed}),
    learning_rate: [1e-4, 1e-2, 1e-3],
};

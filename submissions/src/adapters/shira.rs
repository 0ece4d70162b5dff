//! SHiRA: a few entries of the weight, at fixed random places, are trained.
//!
//! `W' = W + S`, `S` zero but for `r (d_in + d_out)` entries, as many as LoRA trains.
//!
//! Start: zeros: the weight itself, bit for bit. The places are drawn from `random_seed`; a file holds
//! its own (`shira_indices`), since PEFT's come from its process's generator.
//!
//! Options: `r` 32, `random_seed`. Trained: `r (d_in + d_out)`, at most `d_in d_out`; 6144 for 384 by
//! 384 at rank 8.
//!
//! Sources: Bhardwaj et al., "Sparse High Rank Adapters", arXiv 2406.13175; Hugging Face PEFT 0.21.2,
//! `tuners/shira`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use serde_json::json;

/// SHiRA.
#[derive(Debug, Clone)]
pub struct Shira {
    /// The weight's shape.
    pub shape: Shape,
    /// Number of trained entries.
    pub count: usize,
    /// The seed of fresh places.
    pub seed: u64,
}

/// `matrix` with `values`, shape `[1, n]`, added at the places of `[2, n]`: outputs, then inputs, as
/// whole numbers (exact in 32-bit floats below 2^24 for each axis).
pub(super) fn scattered(matrix: Tensor<2>, values: Tensor<2>, places: Tensor<2>) -> Tensor<2> {
    let ([d_in, d_out], [_, count]) = (matrix.dims(), values.dims());
    let places = places.int();
    let outputs = places.clone().narrow(0, 0, 1).reshape([count]);
    let inputs = places.narrow(0, 1, 1).reshape([count]);
    let flat: Tensor<1, Int> = inputs.mul_scalar(d_out as i64) + outputs;
    let change = Tensor::<1>::zeros([d_in * d_out], &matrix.device());
    let add = IndexingUpdateOp::Add;
    let change = change.scatter(0, flat, values.reshape([count]), add);
    matrix + change.reshape([d_in, d_out])
}

impl Parts for Shira {
    fn trained(&self) -> Vec<Factor> {
        vec![Factor::flat("shira_weight", &[self.count])]
    }

    fn constants(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![Factor::places("shira_indices", &[d_out, d_in], self.count)]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        Ok(vec![Tensor::zeros([1, self.count], &base.device())])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let Shape { d_in, .. } = self.shape;
        let places = Draw::seeded(self.seed).positions(self.count, self.shape.entries());
        let outputs = places.iter().map(|p| (p / d_in) as f32);
        let inputs = places.iter().map(|p| (p % d_in) as f32);
        let values: Vec<f32> = outputs.chain(inputs).collect();
        let data = TensorData::new(values, [2, self.count]);
        Ok(vec![Tensor::from_data(data, &base.device())])
    }
}

impl Method for Shira {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        scattered(frozen, factors[0].clone(), factors[1].clone())
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 32)?;
    let limit = shape.entries() / (shape.d_in + shape.d_out);
    shape.at_most("r", rank, limit)?;
    Ok(Box::new(Shira {
        shape,
        count: rank * (shape.d_in + shape.d_out),
        seed: options.count("random_seed", 0, 0)? as u64,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A few entries at random places are trained",
    paper: "arXiv 2406.13175",
    size: Race::RANK,
    options: |s| {
        let limit = s.shape.entries() / (s.shape.d_in + s.shape.d_out);
        json!({"r": s.rank().min(limit.max(1)), "random_seed": s.seed})
    },
    learning_rate: [1e-4, 1e-2, 1e-3],
};

//! HiRA: the weight times a low-rank matrix, entry by entry, so that the change has a high rank.
//!
//! `W' = W + W * (A B)`, `A` of `[d_in, r]`, `B` of `[r, d_out]`; no scale.
//!
//! Start: `A` uniform on `±1/sqrt(d_in)` (or normal with deviation `1/r`, `init_weights` =
//! `gaussian`), `B` zero: the weight itself, bit for bit.
//!
//! Options: `r` 32, `rank_pattern` (which PEFT 0.21.2 reads and then does not heed: a file whose tensors
//! have the rank `r` is taken at its word). Trained: `r (d_in + d_out)`; 6144 for 384 by 384 at rank 8.
//!
//! Sources: Huang et al., "HiRA: Parameter-Efficient Hadamard High-Rank Adaptation", ICLR 2025; Hugging
//! Face PEFT 0.21.2, `tuners/hira`.

use super::{Draw, Factor, Method, MethodError, Multiplied, Options, Pair, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// The pair of HiRA.
#[derive(Debug, Clone)]
pub struct HiRa {
    /// The weight's shape.
    pub shape: Shape,
    /// The rank `r`.
    pub rank: usize,
    /// Whether `A` starts normal.
    pub normal: bool,
}

impl Parts for HiRa {
    fn trained(&self) -> Vec<Factor> {
        vec![
            Factor::turned("hira_A", self.rank, self.shape.d_in),
            Factor::turned("hira_B", self.shape.d_out, self.rank),
        ]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (Shape { d_in, d_out }, device) = (self.shape, base.device());
        let shape = [d_in, self.rank];
        let a = match self.normal {
            true => draw.normal(shape, 1.0 / self.rank as f64, &device),
            false => draw.kaiming(shape, d_in, &device),
        };
        Ok(vec![a, Tensor::zeros([self.rank, d_out], &device)])
    }
}

impl Pair for HiRa {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        (factors[0].clone(), factors[1].clone())
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let (plain, patterned) = (
        options.count("r", 1, 32)?,
        options.count_by_module("r", "rank_pattern", 32)?,
    );
    let saved = options.saved_shape("hira_A");
    let rank = match saved.as_deref() {
        Some([rank, _]) if *rank == plain => plain,
        _ => patterned,
    };
    Ok(Box::new(Multiplied(HiRa {
        shape,
        rank,
        normal: options.word("init_weights", "") == "gaussian",
    })))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "The weight times a low-rank matrix, entry by entry",
    paper: "openreview.net TwJrTz9cRS",
    size: Race::RANK,
    options: |s| json!({"r": s.rank()}),
    learning_rate: Race::MATRICES,
};

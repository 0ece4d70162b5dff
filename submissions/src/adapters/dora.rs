//! DoRA: the direction of each output's weights by LoRA, their length by a vector of its own.
//!
//! `V = W + s A B`; `W' = V diag(m / |V|)`, where `|V|` are the norms of the columns (one for each
//! output) and take no part in the gradient.
//!
//! Start: [`super::lora`]'s, and `m = |W|`: the weight itself, bit for bit.
//!
//! Options: LoRA's, with `use_dora`. Trained: `r (d_in + d_out) + d_out`; 6528 for 384 by 384 at
//! rank 8. The norms need the dense `V`, so that the activation path saves the backward pass through
//! it but not its memory.
//!
//! Sources: Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", arXiv 2402.09353 (the detached
//! norm is its section 4.3); Hugging Face PEFT 0.21.2, `tuners/lora/dora.py`.

use super::{Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// DoRA around a low-rank pair.
#[derive(Debug, Clone)]
pub struct Dora<P> {
    /// The weight's shape.
    pub shape: Shape,
    /// The direction's pair.
    pub pair: P,
}

/// The norms of the columns, shape `[1, columns]`.
fn norms(matrix: Tensor<2>) -> Tensor<2> {
    matrix.square().sum_dim(0).sqrt()
}

impl<P: Pair> Dora<P> {
    fn inner<'a>(&self, factors: &'a [Tensor<2>]) -> (&'a [Tensor<2>], Tensor<2>) {
        let last = factors.len() - 1;
        (&factors[..last], factors[last].clone())
    }
}

impl<P: Pair> Parts for Dora<P> {
    fn trained(&self) -> Vec<Factor> {
        let mut factors = self.pair.trained();
        let length = Factor::flat("lora_magnitude_vector", &[self.shape.d_out]);
        factors.push(length);
        factors
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let mut values = self.pair.initial(base, draw)?;
        let (a, b) = self.pair.pair(&values);
        let whole = self.pair.frozen(base.clone())? + a.matmul(b);
        values.push(norms(whole));
        Ok(values)
    }

    fn frozen(&self, base: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        self.pair.frozen(base)
    }

    fn bias(&self, bias: Tensor<1>, factors: &[Tensor<2>]) -> Tensor<1> {
        self.pair.bias(bias, self.inner(factors).0)
    }
}

impl<P: Pair> Method for Dora<P> {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (inner, length) = self.inner(factors);
        let (a, b) = self.pair.pair(inner);
        let whole = frozen + a.matmul(b);
        let scale = length / norms(whole.clone().detach());
        whole * scale
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (inner, length) = self.inner(factors);
        let (a, b) = self.pair.pair(inner);
        let whole = frozen.clone() + a.clone().detach().matmul(b.clone().detach());
        let scale = length / norms(whole);
        (x.clone().matmul(frozen) + x.matmul(a).matmul(b)) * scale
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let pair = super::lora::pair(options, shape)?;
    Ok(Box::new(Dora { shape, pair }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "The direction of each output by LoRA, its length by a number of its own",
    paper: "arXiv 2402.09353",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": 2 * s.rank(), "use_dora": true}),
    learning_rate: Race::MATRICES,
};

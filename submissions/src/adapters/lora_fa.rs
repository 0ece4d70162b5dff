//! LoRA-FA: LoRA whose `A` stays as it was drawn.
//!
//! `W' = W + s A B` as in [`super::lora`]; only `B` is trained, so that no activation of the layer's
//! input needs to be kept but `x A`, of width `r`.
//!
//! Start: `A` uniform on `±1/sqrt(d_in)`, drawn from `seed`, `B` zero: the weight itself, bit for bit.
//! The optimizer of the paper also projects `B`'s gradient by `(A^T A)^-1 / s^2`: the step on `B` whose
//! change of the weight is closest to full fine-tuning's ([`LoraFa::projected`]).
//!
//! Options: `r` 8, `lora_alpha` 8, `use_rslora`, `seed` 0. Trained: `r d_out`; 3072 for 384 by 384 at
//! rank 8.
//!
//! Sources: Zhang et al., "LoRA-FA: Memory-efficient Low-rank Adaptation for Large Language Models
//! Fine-tuning", arXiv 2308.03303; Hugging Face PEFT 0.21.2, `optimizers/lorafa.py`.

use super::lora::Lora;
use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use crate::linalg::{to_device, to_host};
use burn::tensor::Tensor;
use nalgebra::DMatrix;
use serde_json::json;

/// LoRA with a frozen `A`.
#[derive(Debug, Clone)]
pub struct LoraFa {
    lora: Lora,
    seed: u64,
}

impl LoraFa {
    /// `B`'s gradient, projected: `(A^T A)^-1 g / s^2`. `None` where `A`'s columns depend on each other.
    pub fn projected(&self, a: &Tensor<2>, gradient: Tensor<2>) -> Option<Tensor<2>> {
        let device = gradient.device();
        let host = to_host(a.clone())?;
        let gram: DMatrix<f64> = host.transpose() * host;
        let inverse = gram.cholesky()?.inverse() / (self.lora.scale * self.lora.scale);
        Some(to_device(&inverse, &device).matmul(gradient))
    }
}

impl Parts for LoraFa {
    fn trained(&self) -> Vec<Factor> {
        self.lora.trained().split_off(1)
    }

    fn constants(&self) -> Vec<Factor> {
        let mut factors = self.lora.trained();
        factors.truncate(1);
        factors
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        Ok(self.lora.initial(base, draw)?.split_off(1))
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        Ok(vec![self.lora.first(base, &mut Draw::seeded(self.seed))])
    }
}

impl Pair for LoraFa {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (b, a) = (factors[0].clone(), factors[1].clone());
        (a, b.mul_scalar(self.lora.scale))
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    options.refuse(&["lora_bias"])?;
    let lora = Lora::from_options(options, shape)?;
    let seed = options.count("seed", 0, 0)? as u64;
    Ok(Box::new(Added(LoraFa { lora, seed })))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "LoRA whose first matrix stays as it was drawn",
    paper: "arXiv 2308.03303",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": 2 * s.rank(), "seed": s.seed}),
    learning_rate: Race::MATRICES,
};

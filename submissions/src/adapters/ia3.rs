//! (IA)³: one trained factor for each output, or for each input of a feed-forward layer's second
//! matrix.
//!
//! `W' = W diag(l)`, `b' = b l`; with `feedforward_modules` naming the module, `W' = diag(l) W` and `b`
//! stays.
//!
//! Start: ones: the weight itself, bit for bit. Options: `feedforward_modules`, a list of ends of
//! names or a pattern of whole names. Trained: `d_out`, or `d_in`; 384 for 384 by 384.
//!
//! Sources: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context
//! Learning", arXiv 2205.05638; Hugging Face PEFT 0.21.2, `tuners/ia3`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use regex::Regex;
use serde_json::{Value, json};

/// (IA)³.
#[derive(Debug, Clone)]
pub struct Ia3 {
    /// The weight's shape.
    pub shape: Shape,
    /// Whether inputs are scaled, not outputs.
    pub inputs: bool,
}

impl Parts for Ia3 {
    fn trained(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![match self.inputs {
            true => Factor::turned("ia3_l", 1, d_in),
            false => Factor::turned("ia3_l", d_out, 1),
        }]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let shape = self.trained()[0].shape();
        Ok(vec![Tensor::ones(shape, &base.device())])
    }

    fn bias(&self, bias: Tensor<1>, factors: &[Tensor<2>]) -> Tensor<1> {
        match self.inputs {
            true => bias,
            false => bias * factors[0].clone().reshape([self.shape.d_out]),
        }
    }
}

impl Method for Ia3 {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        frozen * factors[0].clone()
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let scale = factors[0].clone();
        match self.inputs {
            true => (x * scale.transpose()).matmul(frozen),
            false => x.matmul(frozen) * scale,
        }
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let wrong = || options.wrong("feedforward_modules", "a list of names, or a pattern");
    let inputs = match options.value("feedforward_modules") {
        None => false,
        Some(Value::String(pattern)) => Regex::new(&format!("^({pattern})$"))
            .map_err(|_| wrong())?
            .is_match(options.module()),
        Some(Value::Array(ends)) => {
            let ends: Option<Vec<&str>> = ends.iter().map(Value::as_str).collect();
            let mut ends = ends.ok_or_else(wrong)?.into_iter();
            ends.any(|end| options.module().ends_with(end))
        }
        Some(_) => return Err(wrong()),
    };
    Ok(Box::new(Ia3 { shape, inputs }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "One trained factor for each output",
    paper: "arXiv 2205.05638",
    size: Race::SIZELESS,
    options: |_| json!({}),
    learning_rate: Race::NUMBERS,
};

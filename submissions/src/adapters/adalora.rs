//! AdaLoRA's matrices: a singular value decomposition whose values can be pruned.
//!
//! `W' = W + alpha / (r0 + 1e-5) A diag(e) B`, `A` of `[d_in, r]`, `e` of `r`, `B` of `[r, d_out]`.
//! `r0` (`init_r`) is the rank at the start: it stays in the divisor when triplets are pruned and a
//! file holds fewer (`rank_pattern`). Where `alpha` is 0, `r` takes its place.
//!
//! Start: `A` and `B` normal with deviation 0.02, `e` zero: the weight itself, bit for bit.
//!
//! Options: `init_r` 12, `lora_alpha` 8; `r` is ignored, as in PEFT. Trained: `r (d_in + d_out + 1)`;
//! 9228 for 384 by 384 at rank 12. Which values are pruned, and the penalty that keeps `A` and `B`
//! orthonormal, belong to the training loop.
//!
//! Sources: Zhang et al., "Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning", arXiv
//! 2303.10512; Hugging Face PEFT 0.21.2, `tuners/adalora`.

use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Shape};
use burn::tensor::Tensor;
use serde_json::Value;

/// The triplets of AdaLoRA.
#[derive(Debug, Clone)]
pub struct AdaLora {
    /// The weight's shape.
    pub shape: Shape,
    /// The number of triplets.
    pub rank: usize,
    /// The scale of the product.
    pub scale: f64,
}

impl Parts for AdaLora {
    fn trained(&self) -> Vec<Factor> {
        vec![
            Factor::turned("lora_A", self.rank, self.shape.d_in),
            Factor::turned("lora_B", self.shape.d_out, self.rank),
            Factor::turned("lora_E", self.rank, 1),
        ]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let device = base.device();
        Ok(vec![
            draw.normal([self.shape.d_in, self.rank], 0.02, &device),
            draw.normal([self.rank, self.shape.d_out], 0.02, &device),
            Tensor::zeros([1, self.rank], &device),
        ])
    }
}

impl Pair for AdaLora {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (a, b, e) = (&factors[0], &factors[1], &factors[2]);
        (a.clone() * e.clone().mul_scalar(self.scale), b.clone())
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let first = options.count("init_r", 1, 12)?;
    let alpha = options.number("lora_alpha", 8.0)?;
    let rank = kept(options)?.unwrap_or(first);
    let alpha = if alpha > 0.0 { alpha } else { rank as f64 };
    Ok(Box::new(Added(AdaLora {
        shape,
        rank,
        scale: alpha / (first as f64 + 1e-5),
    })))
}

/// How many triplets of the module `rank_pattern` keeps, where it lists the module.
fn kept(options: &Options) -> Result<Option<usize>, MethodError> {
    let wanted = "an object of names and lists of true and false";
    let Some(patterns) = options.value("rank_pattern") else {
        return Ok(None);
    };
    let wrong = || options.wrong("rank_pattern", wanted);
    let patterns = patterns.as_object().ok_or_else(wrong)?;
    let key = format!("{}.lora_E", options.module());
    // Names are as the saving program saw them: maybe with its own prefix, or the adapter's name.
    let ours = |name: &str| {
        let name = name.strip_suffix(".default").unwrap_or(name);
        name == key || name.ends_with(&format!(".{key}"))
    };
    let Some((_, mask)) = patterns.iter().find(|(name, _)| ours(name)) else {
        return Ok(None);
    };
    let mask = mask.as_array().ok_or_else(wrong)?;
    let keep: Option<Vec<bool>> = mask.iter().map(Value::as_bool).collect();
    let keep = keep.ok_or_else(wrong)?;
    Ok(Some(keep.iter().filter(|k| **k).count()))
}

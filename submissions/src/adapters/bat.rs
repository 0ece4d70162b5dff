//! BAT, the first form of Bone: every block of the weight gets an affine change that blocks of the same
//! outputs share.
//!
//! The weight is cut into blocks of `r` by `r`; `W'_ji = W_ji + C_i (W_ji + 1)` (`1` the identity), with
//! one trained `C_i` for the `i`-th block of outputs. In PEFT's layout that is `W B_i + B_i` with `B_i`
//! the transpose of `C_i`.
//!
//! Start: zero: the weight itself, bit for bit.
//!
//! Options: `r` 64, which divides both sides; `init_weights` is `bat`. Trained: `r d_out`; 3072 for 384
//! by 384 at rank 8. The change needs the dense weight at every step.
//!
//! "Bone" has changed its meaning: version 1 of arXiv 2409.15371 is this; later versions are
//! [`super::miss`].
//!
//! Sources: Kang, "Bone: Block Affine Transformation as Parameter Efficient Fine-tuning Methods for
//! Large Language Models", arXiv 2409.15371v1; Hugging Face PEFT 0.21.2, `tuners/miss`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// BAT.
#[derive(Debug, Clone)]
pub struct Bat {
    /// The weight's shape.
    pub shape: Shape,
    /// The block's side `r`.
    pub size: usize,
}

impl Parts for Bat {
    fn trained(&self) -> Vec<Factor> {
        let blocks = [self.shape.d_out / self.size, self.size, self.size];
        vec![Factor::flat("miss_block", &blocks)]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let shape = [self.shape.d_out, self.size];
        Ok(vec![Tensor::zeros(shape, &base.device())])
    }
}

impl Method for Bat {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (Shape { d_in, d_out }, r) = (self.shape, self.size);
        let (n, m) = (d_in / r, d_out / r);
        // [m, 1, r, r]: C_i for all blocks of inputs.
        let c = factors[0].clone().reshape([m, r, r]).swap_dims(1, 2);
        let c = c.unsqueeze_dim::<4>(1);
        let blocks = frozen.clone().reshape([n, r, m, r]).permute([2, 0, 1, 3]);
        let change = c.clone().expand([m, n, r, r]).matmul(blocks) + c;
        let change = change.permute([1, 2, 0, 3]).reshape([d_in, d_out]);
        frozen + change
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let size = options.count("r", 1, 64)?;
    shape.blocks_in("r", size)?;
    shape.blocks_out("r", size)?;
    Ok(Box::new(Bat { shape, size }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "An affine change of every block of the weight",
    paper: "arXiv 2409.15371v1",
    size: ("block", &[8.0, 4.0, 16.0]),
    options: |s| json!({"r": s.block(), "init_weights": "bat"}),
    learning_rate: Race::MATRICES,
};

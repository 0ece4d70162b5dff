//! MiSS, the additive form of Bone: one short matrix, repeated along the inputs.
//!
//! `W'[i, o] = W[i, o] + M[i mod r, o]`, `M` of `[r, d_out]`; where `r` does not divide `d_in`, the last
//! repetition is cut. With `init_weights` = `mini`, `M` is `[r, mini_r]` and repeated along the outputs
//! too. The form of the first version of the paper, `bat`, is [`super::bat`].
//!
//! Start: zero: the weight itself, bit for bit.
//!
//! Options: `r` 64 (at most `d_in`), `mini_r` 1 (divides `d_out`). Trained: `r d_out`, or `r mini_r`;
//! 3072 for 384 by 384 at rank 8, 512 with 64 repeated columns. The activation path adds up the pieces
//! of `x` and multiplies once: cheaper than LoRA.
//!
//! Sources: Kang and Yin, "MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing
//! Structure", arXiv 2409.15371 (versions 2 and later, there also "Bone"); Hugging Face PEFT 0.21.2,
//! `tuners/miss`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// MiSS.
#[derive(Debug, Clone)]
pub struct Miss {
    /// The weight's shape.
    pub shape: Shape,
    /// Rows of `M`.
    pub rank: usize,
    /// Columns of `M`: `d_out`, or a divisor of it.
    pub width: usize,
}

impl Miss {
    /// `M` repeated along the outputs.
    fn wide(&self, factors: &[Tensor<2>]) -> Tensor<2> {
        let times = self.shape.d_out / self.width;
        factors[0].clone().repeat_dim(1, times)
    }
}

impl Parts for Miss {
    fn trained(&self) -> Vec<Factor> {
        vec![Factor::flat("miss_block", &[self.rank, self.width])]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let shape = [self.rank, self.width];
        Ok(vec![Tensor::zeros(shape, &base.device())])
    }
}

impl Method for Miss {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let times = self.shape.d_in.div_ceil(self.rank);
        let tall = self.wide(factors).repeat_dim(0, times);
        frozen + tall.narrow(0, 0, self.shape.d_in)
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let [rows, d_in] = x.dims();
        let times = d_in.div_ceil(self.rank);
        let missing = times * self.rank - d_in;
        let padded = match missing {
            0 => x.clone(),
            n => Tensor::cat(vec![x.clone(), Tensor::zeros([rows, n], &x.device())], 1),
        };
        let pieces = padded.reshape([rows, times, self.rank]).sum_dim(1);
        let change = pieces.reshape([rows, self.rank]).matmul(self.wide(factors));
        x.matmul(frozen) + change
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 64)?;
    shape.at_most("r", rank, shape.d_in)?;
    let mini = options.word("init_weights", "") == "mini";
    let width = match mini {
        true => options.count("mini_r", 1, 1)?,
        false => shape.d_out,
    };
    shape.blocks_out("mini_r", width)?;
    Ok(Box::new(Miss { shape, rank, width }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "One short matrix, repeated along the inputs",
    paper: "arXiv 2409.15371",
    size: Race::RANK,
    options: |s| json!({"r": s.rank()}),
    learning_rate: Race::MATRICES,
};

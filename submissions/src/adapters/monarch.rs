//! MoRe: a Monarch matrix beside the weight: two block-diagonal matrices with a fixed shuffle between
//! and after them.
//!
//! With `k` blocks of rank `r`: block `n` of the inputs gives `r` numbers `h_n = x_n A_n`, the `k r`
//! numbers are dealt out anew, `g_j[n'] = h at place n' k + j`, and block `j` gives `g_j B_j`, whose
//! outputs are interleaved: output `o` of block `j` is the layer's output `o k + j`. `A_n` of
//! `[d_in / k, r]`, `B_j` of `[r, d_out / k]`; no scale.
//!
//! Start: `A` uniform on plus and minus one over the root of its inputs, `B` zero: the weight itself,
//! bit for bit.
//!
//! Options: `blocks` 4 (divides both sides), `r` 4 (the rank of a block; the change has up to
//! `blocks r`). Trained: `r (d_in + d_out)`; 3072 for 384 by 384.
//!
//! Sources: Tan et al., "MoRe Fine-Tuning with 10x Fewer Parameters", arXiv 2408.17383; Dao et al.,
//! "Monarch: Expressive Structured Matrices for Efficient and Accurate Training", arXiv 2204.00595
//! (the shuffle is `blockdiag_butterfly_multiply`'s). By the papers' equations; no reference's values
//! were compared.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// A Monarch matrix beside the weight.
#[derive(Debug, Clone)]
pub struct Monarch {
    /// The weight's shape.
    pub shape: Shape,
    /// Number of blocks `k` of each factor.
    pub blocks: usize,
    /// The rank `r` of a block.
    pub rank: usize,
}

impl Monarch {
    /// `x` of `[rows, d_in]` times the Monarch matrix.
    fn times(&self, x: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let ([rows, d_in], k, r) = (x.dims(), self.blocks, self.rank);
        let columns = self.shape.d_out / k;
        let a = factors[0].clone().reshape([k, d_in / k, r]);
        let b = factors[1].clone().reshape([k, r, columns]);
        let inner = x.reshape([rows, k, d_in / k]).swap_dims(0, 1).matmul(a);
        // [rows, k r], dealt to the second factor's blocks in turn.
        let inner = inner.swap_dims(0, 1).reshape([rows, r, k]);
        let outer = inner.permute([2, 0, 1]).matmul(b);
        // [k, rows, columns] to outputs `column * k + block`.
        outer.permute([1, 2, 0]).reshape([rows, self.shape.d_out])
    }
}

impl Parts for Monarch {
    fn trained(&self) -> Vec<Factor> {
        let (Shape { d_in, d_out }, k, r) = (self.shape, self.blocks, self.rank);
        vec![
            Factor::flat("monarch_A", &[k, d_in / k, r]),
            Factor::flat("monarch_B", &[k, r, d_out / k]),
        ]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let device = base.device();
        let inputs = self.shape.d_in / self.blocks;
        let shape = [self.blocks * self.rank, self.shape.d_out / self.blocks];
        Ok(vec![
            draw.kaiming([self.shape.d_in, self.rank], inputs, &device),
            Tensor::zeros(shape, &device),
        ])
    }
}

impl Method for Monarch {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let one = Tensor::eye(self.shape.d_in, &frozen.device());
        frozen + self.times(one, factors)
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        x.clone().matmul(frozen) + self.times(x, factors)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let blocks = options.count("blocks", 1, 4)?;
    let rank = options.count("r", 1, 4)?;
    shape.blocks_in("blocks", blocks)?;
    shape.blocks_out("blocks", blocks)?;
    Ok(Box::new(Monarch {
        shape,
        blocks,
        rank,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Two block-diagonal matrices with a fixed shuffle",
    paper: "arXiv 2408.17383",
    size: ("rank", &[4.0, 2.0, 8.0]),
    options: |s| json!({"r": s.rank(), "blocks": s.shared_block(4)}),
    learning_rate: Race::MATRICES,
};

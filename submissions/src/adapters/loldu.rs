//! LoLDU: the diagonal of a triangular decomposition is trained, nothing else.
//!
//! The transpose of the weight is `P L diag(d) U`, with partial pivoting and unit diagonals. With the
//! first `r` columns of `P L` (`Q`), the first `r` rows of `U` and a vector `z` that starts at `d`:
//! `W' = R + s U_r^T diag(z) Q^T`, `R = W - s U_r^T diag(d) Q^T` frozen.
//!
//! Start: `W` up to rounding, whatever `s` is. The decomposition is computed on the host in 64 bits; a
//! weight whose leading pivots are zero has none.
//!
//! Options: `r` 768 in the authors' code; here 8, at most the shorter side; `lora_alpha` `r`, so that
//! `s = alpha / r` is 1. Trained: `r`; 384 for 384 by 384 at full rank. Stored beside:
//! `r (d_in + d_out)`, which follow from the weight.
//!
//! Sources: Shi et al., "LoLDU: Low-Rank Adaptation via Lower-Diag-Upper Decomposition", arXiv
//! 2410.13618; SKDDJ/LoLDU `minloldu/loldu.py`, whose other starts of `z` leave the weight and are not
//! offered.

use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use crate::linalg::{to_device, to_host};
use burn::tensor::Tensor;
use nalgebra::DMatrix;
use serde_json::json;

/// LoLDU.
#[derive(Debug, Clone)]
pub struct LoLdu {
    /// The weight's shape.
    pub shape: Shape,
    /// Number of trained entries.
    pub rank: usize,
    /// The scale `s`.
    pub scale: f64,
}

impl LoLdu {
    /// `U_r^T` of `[d_in, r]`, `Q^T` of `[r, d_out]` and `d` of `[1, r]`.
    fn decomposed(&self, base: &Tensor<2>) -> Result<[DMatrix<f64>; 3], MethodError> {
        let missing = || MethodError::Decomposition("triangular decomposition");
        let host = to_host(base.clone().transpose()).ok_or_else(missing)?;
        let lu = host.lu();
        let mut q = lu.l();
        lu.p().inv_permute_rows(&mut q);
        let mut u = lu.u();
        let d = DMatrix::from_fn(1, self.rank, |_, k| u[(k, k)]);
        for k in 0..self.rank {
            if d[(0, k)] == 0.0 {
                return Err(missing());
            }
            u.row_mut(k).scale_mut(1.0 / d[(0, k)]);
        }
        let rows = u.rows(0, self.rank).transpose();
        let columns = q.columns(0, self.rank).transpose();
        Ok([rows, columns, d])
    }
}

impl Parts for LoLdu {
    fn trained(&self) -> Vec<Factor> {
        vec![Factor::flat("vector_z", &[self.rank])]
    }

    fn constants(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![
            Factor::turned("upper", self.rank, d_in).optional(true),
            Factor::turned("lower", d_out, self.rank).optional(true),
        ]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let [_, _, d] = self.decomposed(base)?;
        Ok(vec![to_device(&d, &base.device())])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let [rows, columns, _] = self.decomposed(base)?;
        let device = base.device();
        Ok(vec![
            to_device(&rows, &device),
            to_device(&columns, &device),
        ])
    }

    fn frozen(&self, base: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        let [rows, columns, d] = self.decomposed(&base)?;
        let middle = DMatrix::from_diagonal(&d.row(0).transpose());
        let part = rows * middle * columns * self.scale;
        let device = base.device();
        Ok(base - to_device(&part, &device))
    }
}

impl Pair for LoLdu {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (z, rows, columns) = (&factors[0], &factors[1], &factors[2]);
        let z = z.clone().mul_scalar(self.scale);
        (rows.clone() * z, columns.clone())
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 8)?;
    shape.at_most("r", rank, shape.short())?;
    let alpha = options.number("lora_alpha", rank as f64)?;
    Ok(Box::new(Added(LoLdu {
        shape,
        rank,
        scale: alpha / rank as f64,
    })))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "The diagonal of a triangular decomposition is trained",
    paper: "arXiv 2410.13618",
    size: Race::SIZELESS,
    options: |s| json!({"r": s.shape.short()}),
    learning_rate: Race::NUMBERS,
};

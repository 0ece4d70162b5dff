//! LoKr: the Kronecker product of a small matrix and a larger, maybe low-rank one.
//!
//! `W' = W + s (C ⊗ D)`, `s = alpha / r`, `C` of `[m_in, m_out]`, `D` of `[n_in, n_out]`, where
//! `d_in = m_in n_in` and `d_out = m_out n_out`: `m` is `decompose_factor` where that divides, else the
//! largest divisor up to it that is closest to the square root. `D = D1 D2` of rank `r` where `r` is
//! below half the longer side of `D`; with `decompose_both`, `C` likewise.
//!
//! Start: `C` (or the factor of it that is `C2` here) zero, the rest uniform as PyTorch's linear
//! layers: the weight itself, bit for bit. LyCORIS zeroes `D` instead.
//!
//! Options: `r` 8, `alpha` 8, `decompose_factor` -1 (the square root), `decompose_both` false,
//! `rank_pattern`, `alpha_pattern`. Trained: `m_in m_out + r (n_in + n_out)` with a low-rank `D`; 640
//! for 384 by 384 at rank 8.
//!
//! Sources: Yeh et al., "Navigating Text-To-Image Customization" (LyCORIS), arXiv 2309.14859; Hugging
//! Face PEFT 0.21.2, `tuners/lokr`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// LoKr.
#[derive(Debug, Clone)]
pub struct LoKr {
    /// The shape of `C`.
    pub outer: Shape,
    /// The shape of `D`.
    pub inner: Shape,
    /// The rank of what is decomposed.
    pub rank: usize,
    /// Whether `C` is decomposed.
    pub low_outer: bool,
    /// Whether `D` is decomposed.
    pub low_inner: bool,
    /// The scale `s`.
    pub scale: f64,
}

impl LoKr {
    /// `C` and `D`.
    fn matrices(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let mut factors = factors.iter().cloned();
        // A missing factor cannot be: the shapes were checked. It would count as zero.
        let zero = |shape: Shape, like: Option<&Tensor<2>>| {
            let device = like.map(Tensor::device).unwrap_or_default();
            Tensor::zeros([shape.d_in, shape.d_out], &device)
        };
        let mut next = |low: bool, shape: Shape| match (factors.next(), low) {
            (Some(b), true) => match factors.next() {
                Some(a) => a.matmul(b),
                None => zero(shape, Some(&b)),
            },
            (Some(whole), false) => whole,
            (None, _) => zero(shape, None),
        };
        let outer = next(self.low_outer, self.outer);
        (outer, next(self.low_inner, self.inner))
    }
}

impl Parts for LoKr {
    fn trained(&self) -> Vec<Factor> {
        let factors = |low: bool, shape: Shape, names: [&'static str; 3]| {
            let Shape { d_in, d_out } = shape;
            match low {
                true => vec![
                    Factor::turned(names[1], d_out, self.rank),
                    Factor::turned(names[2], self.rank, d_in),
                ],
                false => vec![Factor::turned(names[0], d_out, d_in)],
            }
        };
        let outer = ["lokr_w1", "lokr_w1_a", "lokr_w1_b"];
        let inner = ["lokr_w2", "lokr_w2_a", "lokr_w2_b"];
        let mut all = factors(self.low_outer, self.outer, outer);
        all.extend(factors(self.low_inner, self.inner, inner));
        all
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let device = base.device();
        let declared = self.trained();
        let values = declared.iter().enumerate().map(|(i, factor)| match i {
            0 => Tensor::zeros(factor.shape(), &device),
            // The fan-in is the last axis of the stored tensor, the first one here.
            _ => draw.kaiming(factor.shape(), factor.shape()[0], &device),
        });
        Ok(values.collect())
    }
}

impl Method for LoKr {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (c, d) = self.matrices(factors);
        let ([m_in, m_out], [n_in, n_out]) = (c.dims(), d.dims());
        let c = c.reshape([m_in, 1, m_out, 1]).mul_scalar(self.scale);
        let product = c * d.reshape([1, n_in, 1, n_out]);
        frozen + product.reshape([m_in * n_in, m_out * n_out])
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (c, d) = self.matrices(factors);
        let ([m_in, m_out], [n_in, n_out]) = (c.dims(), d.dims());
        let [rows, _] = x.dims();
        // (C ⊗ D) one side after the other: nothing of the weight's size is built.
        let inner = x.clone().reshape([rows * m_in, n_in]).matmul(d);
        let inner = inner.reshape([rows, m_in, n_out]).swap_dims(1, 2);
        let outer = inner.reshape([rows * n_out, m_in]).matmul(c);
        let outer = outer.reshape([rows, n_out, m_out]).swap_dims(1, 2);
        let change = outer.reshape([rows, m_out * n_out]).mul_scalar(self.scale);
        x.matmul(frozen) + change
    }
}

/// Two factors of `length`, the smaller first: `factor` where it divides, else the pair with the
/// smallest sum whose first is at most `factor` (or any, for -1).
fn factors_of(length: usize, factor: Option<usize>) -> (usize, usize) {
    if let Some(m) = factor.filter(|f| *f > 0 && length.is_multiple_of(*f)) {
        return (m, length / m);
    }
    let limit = factor.unwrap_or(length);
    let mut best = (1, length);
    let mut m = 1;
    while m * m < length {
        m += 1;
        if length.is_multiple_of(m) {
            let n = length / m;
            if m + n > 1 + length || m > limit {
                break;
            }
            best = (m.min(n), m.max(n));
            if m >= n {
                break;
            }
        }
    }
    best
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    options.refuse(&["target_parameters"])?;
    let rank = options.count_by_module("r", "rank_pattern", 8)?;
    let alpha = options.number_by_module("alpha", "alpha_pattern", 8.0)?;
    let wanted = "-1, or a whole number of at least 1";
    let factor = match options.number("decompose_factor", -1.0)? {
        -1.0 => None,
        x if x >= 1.0 && x.fract() == 0.0 => Some(x as usize),
        _ => return Err(options.wrong("decompose_factor", wanted)),
    };
    let (m_in, n_in) = factors_of(shape.d_in, factor);
    let (m_out, n_out) = factors_of(shape.d_out, factor);
    let (outer, inner) = (Shape::new(m_in, m_out), Shape::new(n_in, n_out));
    let low = |shape: Shape| 2 * rank < shape.long();
    Ok(Box::new(LoKr {
        outer,
        inner,
        rank,
        low_outer: options.flag("decompose_both", false)? && low(outer),
        low_inner: low(inner),
        scale: alpha / rank as f64,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A Kronecker product beside the frozen weights",
    paper: "arXiv 2309.14859",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "alpha": 2 * s.rank()}),
    learning_rate: Race::MATRICES,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_peft_s() {
        // The examples of PEFT's `factorization`.
        assert_eq!(factors_of(256, None), (16, 16));
        assert_eq!(factors_of(128, None), (8, 16));
        assert_eq!(factors_of(127, None), (1, 127));
        assert_eq!(factors_of(128, Some(4)), (4, 32));
        assert_eq!(factors_of(36, Some(5)), (4, 9));
        assert_eq!(factors_of(2, Some(64)), (1, 2));
        assert_eq!(factors_of(16, Some(8)), (8, 2));
    }
}

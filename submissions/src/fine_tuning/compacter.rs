//! Compacter: bottlenecks whose matrices are sums of Kronecker products, with one small factor for all
//! layers.
//!
//! `y' = y + gelu(y D + d) U + u` behind the attention and the feed-forward part of each block, with
//! `D = sum_i S_i ⊗ (a_i b_i^T)` over `n` terms, and `U` in the same way: `S_i` of `[n, n]` belongs to all
//! branches of the model together, the vectors to each matrix. `n` is 4, or the largest power of two below
//! that divides width and rank.
//!
//! Start: `S` normal with deviation 0.01, the vectors uniform on `±sqrt(12 / (length + 1))`, biases zero: near
//! the model itself. The norms of the model train too. The rest: [`super::bottleneck`].
//!
//! `S` is held once for each branch; each copy gets the sum of all copies' gradients, so that they stay
//! equal. The record counts every copy (64 elements each).
//!
//! Sources: Mahabadi et al., "Compacter: Efficient Low-Rank Hypercomplex Adapter Layers", arXiv 2106.04647;
//! rabeehk/compacter `seq2seq/hypercomplex/layers.py`, `inits.py` (whose layers' default deviation of `S` is
//! 0.01; the released configurations take 1e-4).

use super::bottleneck::{Bottleneck, Made, Place};
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

/// Terms of a sum.
const TERMS: usize = 4;

/// The submission.
pub const COMPACTER: Bottleneck = Bottleneck {
    name: "compacter",
    summary: "Bottlenecks of Kronecker products with a factor for all layers",
    paper: "arXiv 2106.04647",
    reference: "rabeehk/compacter",
    place: Place::BehindBoth,
    shared: true,
    norms: true,
    make: |width, rank, draw, device| {
        let n = terms(width, rank);
        let bound = |length: usize| (12.0 / (length as f64 + 1.0)).sqrt();
        let mut vectors = |length: usize| draw.uniform([n, length / n], bound(length / n), device);
        let (down, up) = (
            [vectors(width), vectors(rank)],
            [vectors(rank), vectors(width)],
        );
        let [down_in, down_out] = down;
        let [up_in, up_out] = up;
        let factors = vec![
            draw.normal([n, n * n], 0.01, device),
            down_in,
            down_out,
            Tensor::zeros([1, rank], device),
            up_in,
            up_out,
            Tensor::zeros([1, width], device),
        ];
        Made::new(factors, |x, factors| {
            let [rule, a, b, down, c, d, up] = [0, 1, 2, 3, 4, 5, 6].map(|i| factors[i].clone());
            let hidden = gelu(x.matmul(kronecker(rule.clone(), a, b)) + down);
            hidden.matmul(kronecker(rule, c, d)) + up
        })
    },
};

/// The largest power of two up to [`TERMS`] that divides both.
fn terms(width: usize, rank: usize) -> usize {
    let mut n = TERMS;
    while !width.is_multiple_of(n) || !rank.is_multiple_of(n) {
        n /= 2;
    }
    n
}

/// `sum_i S_i ⊗ (a_i b_i^T)`, shape `[n p, n q]`: `rule` holds the `S_i` as rows `[n, n n]`, `a` and `b` the
/// vectors as rows `[n, p]` and `[n, q]`.
fn kronecker(rule: Tensor<2>, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let ([n, p], [_, q]) = (a.dims(), b.dims());
    let outer = a.reshape([n, p, 1]) * b.reshape([n, 1, q]);
    let all = rule.transpose().matmul(outer.reshape([n, p * q]));
    all.reshape([n, n, p, q])
        .swap_dims(1, 2)
        .reshape([n * p, n * q])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Draw;
    use burn::tensor::Device;

    #[test]
    fn the_matrix_is_the_sum_of_kronecker_products() {
        let (device, mut draw) = (Device::flex(), Draw::seeded(3));
        let (n, p, q) = (2, 3, 5);
        let rule = draw.uniform([n, n * n], 1.0, &device);
        let (a, b) = (
            draw.uniform([n, p], 1.0, &device),
            draw.uniform([n, q], 1.0, &device),
        );
        let values = |t: &Tensor<2>| t.to_data().try_into_vec::<f32>().unwrap();
        let (s, u, v) = (values(&rule), values(&a), values(&b));
        let found = values(&kronecker(rule, a, b));
        for row in 0..n * p {
            for column in 0..n * q {
                let terms = (0..n).map(|i| {
                    let rule = s[i * n * n + row / p * n + column / q];
                    rule * u[i * p + row % p] * v[i * q + column % q]
                });
                let expected: f32 = terms.sum();
                let error = (found[row * n * q + column] - expected).abs();
                assert!(error < 1e-6, "{row}, {column}: {error}");
            }
        }
    }

    #[test]
    fn a_branch_has_as_many_numbers_as_the_paper_s() {
        let made = (COMPACTER.make)(384, 12, &mut Draw::seeded(1), &Device::flex());
        let numbers = made.factors.iter().map(|f| f.dims()[0] * f.dims()[1]);
        // 2 (384 + 12) for the vectors, 384 + 12 biases, and 4 * 4 * 4 for all branches together.
        assert_eq!(numbers.sum::<usize>(), 1188 + 64);
        let start = made.factors[0].clone();
        assert_eq!(start.dims(), [4, 16]);
    }
}

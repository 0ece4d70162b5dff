//! Rotations of blocks: skew-symmetric matrices, Cayley's transform, block-diagonal products.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Skew-symmetric matrices `[blocks, size, size]` from their entries above the diagonal, row by row:
/// `[blocks, size (size - 1) / 2]`.
pub(super) fn skew(upper: Tensor<2>, size: usize) -> Tensor<3> {
    let ([blocks, _], device) = (upper.dims(), upper.device());
    if size < 2 {
        return Tensor::zeros([blocks, size, size], &device);
    }
    let mut indices = vec![0i64; size * size];
    let mut signs = vec![0.0f32; size * size];
    let pairs = (0..size).flat_map(|row| (row + 1..size).map(move |column| (row, column)));
    for (at, (row, column)) in pairs.enumerate() {
        for (entry, sign) in [(row * size + column, 1.0), (column * size + row, -1.0)] {
            indices[entry] = at as i64;
            signs[entry] = sign;
        }
    }
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [size * size]), &device);
    let signs = Tensor::<2>::from_data(TensorData::new(signs, [1, size * size]), &device);
    (upper.select(1, indices) * signs).reshape([blocks, size, size])
}

/// `(I - Q) (I + Q)^-1` of skew-symmetric matrices: orthogonal, and 1 for 0.
pub(super) fn cayley(skew: Tensor<3>) -> Tensor<3> {
    let [blocks, size, _] = skew.dims();
    let one = ones(blocks, size, &skew.device());
    (one.clone() - skew.clone()).matmul(inverse(one + skew))
}

/// The first `terms` terms of `(I + Q) (I - Q)^-1 = 1 + 2 Q + 2 Q^2 + ...`, the last with half its weight
/// where there are three or more, as PEFT cuts it (three and four give the same). It turns the other
/// way than [`cayley`]: PEFT's exact and cut forms differ in the sign of `Q`.
pub(super) fn neumann(skew: Tensor<3>, terms: usize) -> Tensor<3> {
    let [blocks, size, _] = skew.dims();
    let mut sum = ones(blocks, size, &skew.device());
    if terms > 1 {
        sum = sum + skew.clone().mul_scalar(2.0);
    }
    if terms > 2 {
        let mut power = skew.clone().matmul(skew.clone());
        sum = sum + power.clone().mul_scalar(2.0);
        for _ in 3..terms - 1 {
            power = power.matmul(skew.clone());
            sum = sum + power.clone().mul_scalar(2.0);
        }
        sum = sum + power.matmul(skew);
    }
    sum
}

/// Identity matrices.
fn ones(blocks: usize, size: usize, device: &Device) -> Tensor<3> {
    Tensor::<2>::eye(size, device)
        .unsqueeze_dim::<3>(0)
        .expand([blocks, size, size])
}

/// The inverse by halves (Schur's complement), differentiable. No pivots are taken, so that all
/// leading blocks must have inverses: they do for `I + Q` with `Q` skew-symmetric.
fn inverse(matrix: Tensor<3>) -> Tensor<3> {
    let [blocks, size, _] = matrix.dims();
    if size < 2 {
        return matrix.recip();
    }
    let half = size / 2;
    let (all, first, last) = (0..blocks, 0..half, half..size);
    let part = |rows: &std::ops::Range<usize>, columns: &std::ops::Range<usize>| {
        let part = [all.clone(), rows.clone(), columns.clone()];
        matrix.clone().slice(part)
    };
    let a = inverse(part(&first, &first));
    let right = a.clone().matmul(part(&first, &last));
    let below = part(&last, &first);
    let left = below.clone().matmul(a.clone());
    let s = inverse(part(&last, &last) - below.matmul(right.clone()));
    let upper_right = right.matmul(s.clone());
    let upper_left = a + upper_right.clone().matmul(left.clone());
    let lower_left = s.clone().matmul(left).neg();
    let upper = Tensor::cat(vec![upper_left, upper_right.neg()], 2);
    let lower = Tensor::cat(vec![lower_left, s], 2);
    Tensor::cat(vec![upper, lower], 1)
}

/// The block-diagonal matrix of `blocks`, shape `[n, size, size]`, times `[n size, columns]`.
pub(super) fn blocks_times(blocks: Tensor<3>, matrix: Tensor<2>) -> Tensor<2> {
    let ([n, size, _], [rows, columns]) = (blocks.dims(), matrix.dims());
    let parts = matrix.reshape([n, size, columns]);
    blocks.matmul(parts).reshape([rows, columns])
}

/// `[rows, n size]` times the block-diagonal matrix of `blocks`, shape `[n, size, size]`.
pub(super) fn times_blocks(matrix: Tensor<2>, blocks: Tensor<3>) -> Tensor<2> {
    let ([n, size, _], [rows, columns]) = (blocks.dims(), matrix.dims());
    let parts = matrix.reshape([rows, n, size]).swap_dims(0, 1);
    let turned = parts.matmul(blocks).swap_dims(0, 1);
    turned.reshape([rows, columns])
}

/// Rows (or, with `dim` 1, columns) in another order.
pub(super) fn reordered(matrix: Tensor<2>, dim: usize, order: &[usize]) -> Tensor<2> {
    let order: Vec<i64> = order.iter().map(|i| *i as i64).collect();
    let length = order.len();
    let device = matrix.device();
    let order = Tensor::<1, Int>::from_data(TensorData::new(order, [length]), &device);
    matrix.select(dim, order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Draw;
    use crate::adapters::layout::values;

    fn distance<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        let (a, b) = (values(a), values(b));
        assert_eq!(a.len(), b.len());
        let far = |(a, b): (&f32, &f32)| (a - b).abs();
        a.iter().zip(&b).map(far).fold(0.0, f32::max)
    }

    #[test]
    fn cayley_of_a_skew_matrix_is_orthogonal() {
        let device = Device::flex();
        for size in [1, 2, 3, 5, 8, 13] {
            let upper = Draw::seeded(1).normal([4, size * (size - 1) / 2], 1.0, &device);
            let q = skew(upper, size);
            assert_eq!(distance(q.clone(), q.clone().swap_dims(1, 2).neg()), 0.0);
            let r = cayley(q.clone());
            let square = r.clone().matmul(r.clone().swap_dims(1, 2));
            assert!(distance(square, ones(4, size, &device)) < 1e-5, "{size}");
            let one = ones(4, size, &device);
            let back = r.matmul(one.clone() + q.clone());
            assert!(distance(back, one - q) < 1e-5, "{size}");
        }
    }

    #[test]
    fn the_series_comes_close_for_small_angles() {
        let device = Device::flex();
        let q = skew(Draw::seeded(2).normal([3, 6], 0.02, &device), 4);
        let exact = cayley(q.clone().neg());
        assert!(distance(neumann(q.clone(), 8), exact.clone()) < 1e-6);
        assert!(distance(neumann(q.clone(), 2), exact) > 1e-3);
        assert_eq!(distance(neumann(q.clone(), 3), neumann(q, 4)), 0.0);
    }

    #[test]
    fn both_block_products_are_one_matrix() {
        let device = Device::flex();
        let blocks = Draw::seeded(3)
            .normal([6, 2], 1.0, &device)
            .reshape([3, 2, 2]);
        let dense = blocks_times(blocks.clone(), Tensor::eye(6, &device));
        let x = Draw::seeded(4).normal([5, 6], 1.0, &device);
        let (a, b) = (times_blocks(x.clone(), blocks), x.matmul(dense));
        assert!(distance(a, b) < 1e-6);
    }
}

//! Products along one axis of a tensor at a time.

use burn::tensor::Tensor;

/// The tensor with each of its axes contracted with a matrix of that side: entry
/// `[j0, j1, ...]` is the sum over `i0, i1, ...` of `tensor[i0, i1, ...] m0[i0, j0] m1[i1, j1] ...`,
/// and with `back` of `m0[j0, i0] ...`. `None` leaves an axis as it is.
pub fn turn<const D: usize>(
    tensor: Tensor<D>,
    matrices: &[Option<&Tensor<2>>],
    back: bool,
) -> Tensor<D> {
    let shape = tensor.dims();
    let n = shape.iter().product::<usize>();
    turn_flat(tensor.reshape([n]), &shape, matrices, back).reshape(shape)
}

/// [`turn`] for row-major values of `shape`.
pub fn turn_flat(
    mut flat: Tensor<1>,
    shape: &[usize],
    matrices: &[Option<&Tensor<2>>],
    back: bool,
) -> Tensor<1> {
    let n = shape.iter().product::<usize>();
    if n == 0 || matrices.iter().all(Option::is_none) {
        return flat;
    }
    // The first axis is contracted and goes to the end; after all axes the order is the old one.
    for (k, &side) in shape.iter().enumerate() {
        let last = flat.reshape([side, n / side]).transpose();
        let turned = match matrices.get(k).copied().flatten() {
            Some(matrix) if back => last.matmul(matrix.clone().transpose()),
            Some(matrix) => last.matmul(matrix.clone()),
            None => last,
        };
        flat = turned.reshape([n]);
    }
    flat
}

/// `X X^T` of the tensor unfolded along `axis`: a square matrix of that side.
pub fn gram<const D: usize>(tensor: Tensor<D>, axis: usize) -> Tensor<2> {
    square(unfold(tensor, axis))
}

/// [`gram`] for row-major values of `shape`.
pub fn gram_flat(flat: Tensor<1>, shape: &[usize], axis: usize) -> Tensor<2> {
    square(unfold_flat(flat, shape, axis))
}

fn square(rows: Tensor<2>) -> Tensor<2> {
    rows.clone().matmul(rows.transpose())
}

/// The tensor as a matrix whose rows run along `axis`; the columns keep the order of the other axes,
/// counted on from `axis` and round.
pub fn unfold<const D: usize>(tensor: Tensor<D>, axis: usize) -> Tensor<2> {
    let shape = tensor.dims();
    let n = shape.iter().product::<usize>();
    unfold_flat(tensor.reshape([n]), &shape, axis)
}

fn unfold_flat(flat: Tensor<1>, shape: &[usize], axis: usize) -> Tensor<2> {
    let n = shape.iter().product::<usize>();
    let before: usize = shape.iter().take(axis).product::<usize>().max(1);
    let side = shape.get(axis).copied().unwrap_or(1).max(1);
    let turned = flat.reshape([before, n / before]).transpose();
    turned.reshape([side, n / side])
}

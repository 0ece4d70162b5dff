//! Decompositions of dense matrices for the rules that precondition: eigenvectors, orthonormal
//! columns, roots.
//!
//! Large products stay on the device in 32 bits. A decomposition runs on the host in 64 bits
//! (`nalgebra`), which is deterministic and cheap beside the steps between two of them. A matrix with
//! an entry that is not finite has no decomposition here (`None`): a rule then keeps what it had, and
//! the gradient itself shows that the trial diverged.

mod axes;
mod blocks;

pub use axes::{gram, gram_flat, turn, turn_flat, unfold};
pub use blocks::Blocks;

use burn::tensor::{Device, Int, Tensor, TensorData};
use nalgebra::{DMatrix, SymmetricEigen};

/// Sweeps per row after which an eigendecomposition is given up (two or three are usual).
const SWEEPS: usize = 60;

/// Eigenvalues of a symmetric matrix from the largest to the smallest, and the eigenvectors as
/// columns in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// Eigenvalues, descending.
    pub values: Vec<f64>,
    /// Orthonormal columns.
    pub vectors: DMatrix<f64>,
}

/// A tensor's values on the host, or `None` where one is not finite.
pub fn to_host(tensor: Tensor<2>) -> Option<DMatrix<f64>> {
    let [rows, columns] = tensor.dims();
    let values = tensor.into_data().convert::<f32>();
    let values = values.as_slice::<f32>().ok()?;
    values.iter().all(|x| x.is_finite()).then(|| {
        let wide = values.iter().map(|&x| f64::from(x));
        DMatrix::from_row_iterator(rows, columns, wide)
    })
}

/// A matrix on the device, rounded to 32 bits.
pub fn to_device(matrix: &DMatrix<f64>, device: &Device) -> Tensor<2> {
    let (rows, columns) = matrix.shape();
    // nalgebra stores columns; their transpose lists rows.
    let values: Vec<f32> = matrix.transpose().iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Eigendecomposition of a symmetric matrix (its lower triangle is read).
pub fn eigen(matrix: DMatrix<f64>) -> Option<Eigen> {
    let n = matrix.nrows();
    if n == 0 || !matrix.is_square() || matrix.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let found = SymmetricEigen::try_new(matrix, f64::EPSILON, SWEEPS * (n + 1))?;
    let mut order: Vec<usize> = (0..n).collect();
    // Ties keep their order, so that the result is one and the same.
    order.sort_by(|&a, &b| found.eigenvalues[b].total_cmp(&found.eigenvalues[a]));
    Some(Eigen {
        values: order.iter().map(|&i| found.eigenvalues[i]).collect(),
        vectors: found.eigenvectors.select_columns(&order),
    })
}

/// Orthonormal columns that span the same nested subspaces as the columns of `matrix` (the `Q` of a
/// QR decomposition by Householder's reflections), for as many columns as rows or fewer.
pub fn orthonormal(matrix: Tensor<2>) -> Option<Tensor<2>> {
    let device = matrix.device();
    let host = to_host(matrix)?;
    (host.nrows() >= host.ncols() && !host.is_empty()).then(|| to_device(&host.qr().q(), &device))
}

/// `(matrix + ridge I)^(-1/root)` of a symmetric matrix without negative eigenvalues (those from
/// rounding count as 0). `None` for a matrix of zeros without a ridge.
pub fn inverse_root(matrix: Tensor<2>, root: f64, ridge: Ridge) -> Option<Tensor<2>> {
    inverse_root_and_ridge(matrix, root, ridge).map(|(root, _)| root)
}

/// [`inverse_root`], and the number that the ridge added to the diagonal.
pub fn inverse_root_and_ridge(
    matrix: Tensor<2>,
    root: f64,
    ridge: Ridge,
) -> Option<(Tensor<2>, f64)> {
    let device = matrix.device();
    let found = eigen(to_host(matrix)?)?;
    let added = ridge.of(&found.values);
    let scaled = scale(&found.vectors, &inverse_powers(&found.values, root, added)?);
    let root = to_device(&(scaled * found.vectors.transpose()), &device);
    Some((root, added))
}

/// What is added to the diagonal before a root is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ridge {
    /// This number.
    Absolute(f64),
    /// This share of the largest eigenvalue.
    Relative(f64),
}

impl Ridge {
    /// The number to add, for eigenvalues from the largest on.
    fn of(self, values: &[f64]) -> f64 {
        match self {
            Ridge::Absolute(x) => x,
            Ridge::Relative(share) => share * values.first().copied().unwrap_or_default().max(0.0),
        }
    }
}

fn inverse_powers(values: &[f64], root: f64, added: f64) -> Option<Vec<f64>> {
    let power = |x: &f64| (x.max(0.0) + added).powf(-1.0 / root);
    let powers: Vec<f64> = values.iter().map(power).collect();
    powers.iter().all(|x| x.is_finite()).then_some(powers)
}

/// The columns, each multiplied by its factor.
fn scale(columns: &DMatrix<f64>, factors: &[f64]) -> DMatrix<f64> {
    let mut scaled = columns.clone();
    for (mut column, factor) in scaled.column_iter_mut().zip(factors) {
        column *= *factor;
    }
    scaled
}

/// Orthonormal columns that span the `rank` leading left singular vectors of `matrix`, shape
/// `[rows, rank]` (fewer where `matrix` has fewer rows). From the eigenvectors of `matrix matrix^T` in
/// 64 bits: the small side should be the rows.
pub fn leading_left(matrix: Tensor<2>, rank: usize) -> Option<Tensor<2>> {
    let device = matrix.device();
    let host = to_host(matrix)?;
    let found = eigen(&host * host.transpose())?;
    let rank = rank.min(host.nrows());
    Some(to_device(&found.vectors.columns(0, rank).into(), &device))
}

/// Indices on the device.
pub fn indices(order: &[usize], device: &Device) -> Tensor<1, Int> {
    let order: Vec<i32> = order.iter().map(|&i| i as i32).collect();
    let n = order.len();
    Tensor::from_data(TensorData::new(order, [n]), device)
}

//! A tensor of CASPR's as a matrix in blocks, and what belongs to one block.

use super::super::parts::ema;
use crate::linalg::{self, Blocks, Ridge};
use burn::tensor::{Device, Tensor};

/// A tensor as a matrix in blocks.
pub(super) struct Plan {
    pub(super) blocks: Blocks,
    /// Its rows and columns as it is stored.
    pub(super) stored: [usize; 2],
    /// Whether the matrix is the transpose of that.
    pub(super) turned: bool,
}

impl Plan {
    pub(super) fn split<const D: usize>(&self, tensor: Tensor<D>) -> Vec<Tensor<1>> {
        let matrix: Tensor<2> = tensor.reshape(self.stored);
        let matrix = if self.turned {
            matrix.transpose()
        } else {
            matrix
        };
        let n = self.stored[0] * self.stored[1];
        self.blocks.split(matrix.reshape([n]))
    }

    pub(super) fn join<const D: usize>(
        &self,
        blocks: Vec<Tensor<1>>,
        shape: [usize; D],
    ) -> Tensor<D> {
        let [rows, columns] = self.stored;
        let flat = self.blocks.join(blocks);
        if self.turned {
            flat.reshape([columns, rows]).transpose().reshape(shape)
        } else {
            flat.reshape(shape)
        }
    }
}

/// Matrices of one block.
#[derive(Debug, Clone)]
pub struct CasprBlock {
    /// Average of `G G^T`.
    pub left: Tensor<2>,
    /// The left average, with its ridge, that the roots were last computed from.
    pub last_left: Tensor<2>,
    /// Its inverse square root.
    pub left_root: Tensor<2>,
    /// Average of what the left root makes of `G`, times its transpose.
    pub right: Tensor<2>,
    /// Its inverse square root.
    pub right_root: Tensor<2>,
}

impl CasprBlock {
    pub(super) fn new(shape: &[usize], epsilon: f64, device: &Device) -> Self {
        let eye = |axis: usize| Tensor::<2>::eye(shape.get(axis).copied().unwrap_or(1), device);
        Self {
            left: eye(0).mul_scalar(epsilon),
            last_left: eye(0).mul_scalar(epsilon * (1.0 + epsilon)),
            left_root: eye(0),
            right: eye(1),
            right_root: eye(1),
        }
    }

    /// Takes in the block's gradient.
    pub(super) fn see(&mut self, gradient: Tensor<2>, beta2: f64) {
        let rows = gradient.dims()[0].max(1) as f64;
        let product = gradient.clone().matmul(gradient.clone().transpose());
        self.left = ema(Some(self.left.clone()), product, beta2);
        let whitened = self.left_root.clone().matmul(gradient);
        let product = whitened.clone().transpose().matmul(whitened);
        self.right = ema(Some(self.right.clone()), product.div_scalar(rows), beta2);
    }

    /// Computes both roots; `None` where one does not exist.
    pub(super) fn refreshed(&self, epsilon: f64) -> Option<Self> {
        let root = |matrix: &Tensor<2>| {
            linalg::inverse_root_and_ridge(matrix.clone(), 2.0, Ridge::Relative(epsilon))
        };
        let (left_root, added) = root(&self.left)?;
        let (right_root, _) = root(&self.right)?;
        let rows = self.left.dims()[0];
        let seen = left_root.clone() * self.last_left.clone().matmul(left_root.clone());
        let carried = seen.sum().clamp_min(0.0).div_scalar(rows.max(1) as f64);
        let eye = Tensor::<2>::eye(rows, &self.left.device());
        Some(Self {
            left: self.left.clone(),
            last_left: self.left.clone() + eye.mul_scalar(added),
            left_root,
            right: self.right.clone() * carried.reshape([1, 1]),
            right_root,
        })
    }

    pub(super) fn from_matrices(matrices: &[Tensor<2>]) -> Option<Self> {
        let [left, last_left, left_root, right, right_root] = matrices else {
            return None;
        };
        Some(Self {
            left: left.clone(),
            last_left: last_left.clone(),
            left_root: left_root.clone(),
            right: right.clone(),
            right_root: right_root.clone(),
        })
    }

    pub(super) fn into_matrices(self) -> [Tensor<2>; 5] {
        [
            self.left,
            self.last_left,
            self.left_root,
            self.right,
            self.right_root,
        ]
    }
}

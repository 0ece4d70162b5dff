//! The part of SOAP's first bases that no gradient determines, read off a reference trajectory.
//!
//! Let the columns of `U` span the null space of the first factor of one axis: `U^T L U = 0`. The
//! reference used `U W` with some orthogonal `W`. Its step `t` tells `N_t`, the direction that it
//! subtracted; with the other axes turned into their bases, `A_t = U^T N_t` and `H_t = U^T G_t`, and
//! every column `w` of `W` satisfies `w^T A_t = adam(w^T H_1, ..., w^T H_t)` for all `t` before the bases
//! turn. These equations are solved for one `w` after the other, by Levenberg and Marquardt's method
//! from many starts; signs and order of the columns do not matter to Adam.

use super::Soap;
use crate::linalg::{self, Eigen};
use nalgebra::{DMatrix, DVector};
use std::sync::Arc;
use velodrome_harness::contract::SubmissionError;

/// Eigenvalues below this share of the largest count as zero.
const NULL: f64 = 1e-12;
/// Steps of a trajectory that are read, at most.
const STEPS: usize = 9;
/// Starts for one column, at most.
const STARTS: usize = 3000;
/// Root mean square of the residuals below which a column counts as found.
const FOUND: f64 = 1e-5;

/// The beginning of one parameter's reference trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct Beginning {
    /// Shape of the parameter.
    pub shape: Vec<usize>,
    /// For each step the gradient and the value after it, flat (row-major). The first step changes no
    /// value; of the others at most nine are read.
    pub steps: Vec<(Vec<f64>, Vec<f64>)>,
}

/// A basis of the null space of one axis of one parameter, known from its first gradient.
#[derive(Debug, Clone)]
pub(super) struct NullSpace {
    shape: Vec<usize>,
    axis: usize,
    /// The first gradient, unfolded along the axis.
    rows: DMatrix<f64>,
    columns: DMatrix<f64>,
}

impl NullSpace {
    /// Whether this belongs to the parameter of `shape` whose first gradient, unfolded along `axis`,
    /// is `rows`, up to rounding to 32 bits.
    pub(super) fn fits(&self, shape: &[usize], axis: usize, rows: &DMatrix<f64>) -> bool {
        let close = || (&self.rows - rows).amax() <= 1e-6 * self.rows.amax();
        self.shape == shape && self.axis == axis && self.rows.shape() == rows.shape() && close()
    }

    /// Puts the known columns in the last places of `vectors`.
    pub(super) fn put_into(&self, vectors: &mut DMatrix<f64>) {
        let n = vectors.ncols().saturating_sub(self.columns.ncols());
        for (i, column) in self.columns.column_iter().enumerate() {
            vectors.set_column(n + i, &column);
        }
    }
}

impl Soap {
    /// The rule for following a trajectory of other code, run at the constant `learning_rate`. Where
    /// the first gradient of a parameter leaves a part of a basis undetermined, that part (and nothing
    /// else) is found from the first values in `beginnings`. Also returns one sentence for each such
    /// part, to be shown beside the result.
    pub fn starting_as(
        mut self,
        learning_rate: f64,
        beginnings: &[Beginning],
    ) -> Result<(Self, Vec<String>), SubmissionError> {
        let mut known = Vec::new();
        let mut notes = Vec::new();
        for beginning in beginnings {
            let n = beginning.shape.iter().product::<usize>();
            let whole = |(g, p): &(Vec<f64>, Vec<f64>)| g.len() == n && p.len() == n;
            if !beginning.steps.iter().all(whole) {
                return Err("soap: a trajectory's values do not have its shape".into());
            }
            self.search(learning_rate, beginning, &mut known, &mut notes);
        }
        self.known = Arc::from(known);
        Ok((self, notes))
    }

    fn search(
        &self,
        learning_rate: f64,
        beginning: &Beginning,
        known: &mut Vec<NullSpace>,
        notes: &mut Vec<String>,
    ) {
        let shape = &beginning.shape;
        let Some((first, _)) = beginning.steps.first() else {
            return;
        };
        let mut bases: Vec<Option<Eigen>> = vec![None; shape.len()];
        for k in self.axes(shape) {
            let rows = unfold(first, shape, k);
            bases[k] = linalg::eigen(&rows * rows.transpose());
        }
        let found: Vec<Option<&DMatrix<f64>>> = bases
            .iter()
            .map(|b| b.as_ref().map(|b| &b.vectors))
            .collect();
        let nulls: Vec<usize> = bases
            .iter()
            .map(|b| b.as_ref().map_or(0, nullity))
            .collect();
        for (axis, &dimension) in nulls.iter().enumerate() {
            let Some(basis) = found[axis].filter(|_| dimension > 0) else {
                continue;
            };
            let null = basis
                .columns(shape[axis] - dimension, dimension)
                .into_owned();
            // One direction is known up to its sign, which does not matter.
            if dimension == 1 {
                continue;
            }
            let what = format!(
                "soap: the first gradient of shape {shape:?} leaves {dimension} directions of axis {axis} \
                 undetermined (the reference's rounding chose them)"
            );
            let mut others = found.clone();
            others[axis] = None;
            let seen = seen_columns(shape, &nulls, axis);
            let view = |flat: &[f64]| {
                let turned = unfold(&turned(flat, shape, &others), shape, axis);
                null.tr_mul(&turned.select_columns(&seen))
            };
            let steps = self.shown(learning_rate, beginning);
            let problem = Problem {
                shown: steps.iter().map(|(n, _)| view(n)).collect(),
                gradients: steps.iter().map(|(_, g)| view(g)).collect(),
                rule: self,
            };
            if steps.is_empty() || seen.is_empty() {
                notes.push(format!("{what}; the trajectory does not show them"));
                continue;
            }
            let (w, residual) = problem.solve(dimension);
            if residual <= FOUND {
                let count = steps.len() + 1;
                notes.push(format!(
                    "{what}; they were found from its first {count} values, residual {residual:.1e}"
                ));
                known.push(NullSpace {
                    shape: shape.clone(),
                    axis,
                    rows: unfold(first, shape, axis),
                    columns: null * w,
                });
            } else {
                notes.push(format!(
                    "{what}; they could not be found from its first values, residual {residual:.1e}"
                ));
            }
        }
    }

    /// For each step before the bases turn, the direction that was subtracted, and the gradient.
    fn shown(&self, learning_rate: f64, beginning: &Beginning) -> Vec<(Vec<f64>, Vec<f64>)> {
        let kept = 1.0 - learning_rate * self.weight_decay;
        if !(learning_rate > 0.0 && kept > 0.0) {
            return Vec::new();
        }
        let pairs = beginning.steps.iter().zip(beginning.steps.iter().skip(1));
        let pairs = pairs.take(STEPS.min(self.frequency)).enumerate();
        pairs
            .map(|(i, ((_, before), (gradient, after)))| {
                let rate = self.rate(learning_rate, i + 1);
                let direction = before.iter().zip(after);
                let direction = direction.map(|(p, q)| (p - q / kept) / rate).collect();
                (direction, gradient.clone())
            })
            .collect()
    }
}

fn nullity(basis: &Eigen) -> usize {
    let largest = basis.values.first().copied().unwrap_or_default();
    let zero = |x: &&f64| **x <= NULL * largest;
    basis.values.iter().filter(zero).count()
}

/// Row-major values as a matrix whose rows run along `axis`; columns as in [`linalg::unfold`].
fn unfold(flat: &[f64], shape: &[usize], axis: usize) -> DMatrix<f64> {
    let before: usize = shape.iter().take(axis).product();
    let (side, n) = (shape[axis], flat.len());
    // Columns in memory are rows of the transposed matrix.
    let turned = DMatrix::from_row_slice(before, n / before, flat);
    DMatrix::from_row_slice(side, n / side, turned.as_slice())
}

/// As [`linalg::turn`], in 64 bits.
fn turned(flat: &[f64], shape: &[usize], matrices: &[Option<&DMatrix<f64>>]) -> Vec<f64> {
    let mut flat = flat.to_vec();
    for (&side, matrix) in shape.iter().zip(matrices) {
        let x = DMatrix::from_row_slice(side, flat.len() / side, &flat);
        let x = match matrix {
            Some(matrix) => matrix.tr_mul(&x),
            None => x,
        };
        flat = x.as_slice().to_vec();
    }
    flat
}

/// The columns of the tensor unfolded along `axis` whose places on the other axes are determined.
fn seen_columns(shape: &[usize], nulls: &[usize], axis: usize) -> Vec<usize> {
    let rank = shape.len();
    let others: Vec<usize> = (1..rank).map(|i| (axis + i) % rank).collect();
    let count: usize = others.iter().map(|&k| shape[k]).product();
    let determined = |column: &usize| {
        let mut rest = *column;
        others.iter().rev().all(|&k| {
            let place = rest % shape[k];
            rest /= shape[k];
            place < shape[k] - nulls[k]
        })
    };
    (0..count).filter(determined).collect()
}

/// The equations for the columns of `W`; one matrix per step, a row for each unknown direction.
struct Problem<'a> {
    shown: Vec<DMatrix<f64>>,
    gradients: Vec<DMatrix<f64>>,
    rule: &'a Soap,
}

impl Problem<'_> {
    /// An orthogonal matrix, and the root mean square of its residuals.
    fn solve(&self, dimension: usize) -> (DMatrix<f64>, f64) {
        let mut found = DMatrix::zeros(dimension, 0);
        let mut left = DMatrix::identity(dimension, dimension);
        let mut worst = 0.0f64;
        for i in 0..dimension {
            let within = |m: &DMatrix<f64>| left.tr_mul(m);
            let part = Problem {
                shown: self.shown.iter().map(within).collect(),
                gradients: self.gradients.iter().map(within).collect(),
                rule: self.rule,
            };
            let (u, residual) = part.column(left.ncols());
            worst = worst.max(residual);
            found = found.insert_column(i, 0.0);
            found.set_column(i, &(&left * &u));
            // What is orthogonal to `u`: the eigenvectors of `u u^T` behind the first.
            if let Some(basis) = linalg::eigen(&u * u.transpose()) {
                let rest = left.ncols() - 1;
                left = &left * basis.vectors.columns(1, rest);
            }
        }
        (found, worst)
    }

    /// One unit vector of this length that satisfies the equations best.
    fn column(&self, length: usize) -> (DVector<f64>, f64) {
        let mut numbers = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = move || {
            numbers = numbers
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (numbers >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let mut best = (DVector::zeros(length), f64::INFINITY);
        for _ in 0..if length == 1 { 1 } else { STARTS } {
            let start = DVector::from_fn(length, |_, _| next());
            let Some(start) = start.try_normalize(1e-6) else {
                continue;
            };
            let (w, residual) = self.descend(start);
            if residual < best.1 {
                best = (w, residual);
            }
            if best.1 <= 0.01 * FOUND {
                break;
            }
        }
        best
    }

    /// Levenberg and Marquardt's method on the unit sphere.
    fn descend(&self, mut w: DVector<f64>) -> (DVector<f64>, f64) {
        let (mut r, mut jacobian) = self.residuals(&w);
        let mut damping = 1e-3;
        for _ in 0..60 {
            let square = jacobian.tr_mul(&jacobian);
            let damped = square + DMatrix::identity(w.len(), w.len()) * damping;
            let step = damped.cholesky().map(|c| c.solve(&jacobian.tr_mul(&r)));
            let Some(next) = step.and_then(|step| (&w - step).try_normalize(1e-12)) else {
                break;
            };
            let (next_r, next_jacobian) = self.residuals(&next);
            if next_r.norm_squared() < r.norm_squared() {
                (w, r, jacobian) = (next, next_r, next_jacobian);
                damping = (damping * 0.1).max(1e-12);
            } else {
                damping *= 10.0;
            }
            if r.amax() < 1e-12 || damping > 1e6 {
                break;
            }
        }
        let residual = (r.norm_squared() / r.len().max(1) as f64).sqrt();
        (w, residual)
    }

    /// `w^T A_t - adam(...)` for all steps and columns, and the derivatives by `w`.
    fn residuals(&self, w: &DVector<f64>) -> (DVector<f64>, DMatrix<f64>) {
        let Soap {
            beta1,
            beta2,
            epsilon,
            ..
        } = *self.rule;
        let columns = self.shown.first().map_or(0, DMatrix::ncols);
        let mut r = DVector::zeros(columns * self.shown.len());
        let mut jacobian = DMatrix::zeros(r.len(), w.len());
        for j in 0..columns {
            let (mut m, mut v) = (0.0, 0.0);
            let mut dm = DVector::zeros(w.len());
            let mut dv = DVector::zeros(w.len());
            for (t, (shown, gradient)) in self.shown.iter().zip(&self.gradients).enumerate() {
                let (a, h) = (shown.column(j), gradient.column(j));
                let x = w.dot(&h);
                m = beta1 * m + (1.0 - beta1) * x;
                v = beta2 * v + (1.0 - beta2) * x * x;
                dm = dm * beta1 + h * (1.0 - beta1);
                dv = dv * beta2 + h * (2.0 * (1.0 - beta2) * x);
                let root = f64::max(v, 1e-300).sqrt();
                let below = root + epsilon;
                let row = t * columns + j;
                r[row] = w.dot(&a) - m / below;
                let slope = a - &dm / below + &dv * (m / (2.0 * root * below * below));
                jacobian.set_row(row, &slope.transpose());
            }
        }
        (r, jacobian)
    }
}

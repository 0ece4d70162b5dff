//! Products of matrices that lie in slices with gaps.

use gemm::Parallelism;

/// Products of two numbers from which a second thread is worth waking: what burn takes.
const SHARED: usize = 192 * 192 * 192;

/// A matrix in a slice: element `(i, j)` is at `i * row + j`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// From one row to the next.
    pub(crate) row: usize,
    /// Whether the product takes rows as columns.
    pub(crate) turned: bool,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows are `row` elements apart.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize, row: usize) -> Self {
        Self {
            values,
            rows,
            columns,
            row,
            turned: false,
        }
    }

    /// Its transpose.
    pub(crate) fn turned(self) -> Self {
        Self {
            turned: !self.turned,
            ..self
        }
    }

    fn dims(&self) -> (usize, usize) {
        if self.turned {
            (self.columns, self.rows)
        } else {
            (self.rows, self.columns)
        }
    }

    /// Distances from one row to the next, and from one column to the next.
    fn strides(&self) -> (isize, isize) {
        let (row, column) = (self.row.cast_signed(), 1);
        if self.turned {
            (column, row)
        } else {
            (row, column)
        }
    }

    fn fits(&self) -> bool {
        fits(self.values.len(), self.rows, self.columns, self.row)
    }
}

/// Whether so many rows and columns, `row` elements apart, lie within `length` elements.
fn fits(length: usize, rows: usize, columns: usize, row: usize) -> bool {
    rows == 0 || columns == 0 || (columns <= row && (rows - 1) * row + columns <= length)
}

/// `out = keep * out + factor * a b`, by one thread; `out` has rows that are `row` elements apart. Does
/// nothing where the sizes do not go together, which is a mistake of the caller.
pub(crate) fn product(
    out: &mut [f32],
    row: usize,
    keep: bool,
    factor: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    multiply(out, row, (keep, factor), a, b, Parallelism::None);
}

/// `out = keep * out + a b`, by all threads where it is worth while: the same bits as by one.
pub(crate) fn shared_product(out: &mut [f32], keep: bool, a: Matrix<'_>, b: Matrix<'_>) {
    let ((m, k), (_, n)) = (a.dims(), b.dims());
    let threads = match m.saturating_mul(k).saturating_mul(n) < SHARED {
        true => Parallelism::None,
        false => Parallelism::Rayon(0),
    };
    multiply(out, n, (keep, 1.0), a, b, threads);
}

fn multiply(
    out: &mut [f32],
    row: usize,
    (keep, factor): (bool, f32),
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Parallelism,
) {
    let ((m, k), (inner, n)) = (a.dims(), b.dims());
    let sizes = k == inner && a.fits() && b.fits() && fits(out.len(), m, n, row);
    debug_assert!(sizes, "sizes of a product");
    if !sizes {
        return;
    }
    let ((a_row, a_column), (b_row, b_column)) = (a.strides(), b.strides());
    // SAFETY: `fits` holds for all three, so that each element that the strides and sizes reach lies inside
    // its slice; `out` is borrowed mutably and cannot overlap the others.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            row.cast_signed(),
            keep,
            a.values.as_ptr(),
            a_column,
            a_row,
            b.values.as_ptr(),
            b_column,
            b_row,
            1.0,
            factor,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Small integers, which sums leave exact.
    pub(crate) fn values(n: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 31 + seed * 17) % 23) as f32 - 11.0;
        (0..n).map(value).collect()
    }

    /// By loops, for every combination of transposes and gaps. Small integers are exact.
    #[test]
    fn products_are_those_of_loops() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 4), (17, 9, 33), (64, 32, 64)] {
            for (turn_a, turn_b, gap, keep) in [
                (false, false, 0, false),
                (true, false, 2, true),
                (false, true, 3, false),
                (true, true, 1, true),
            ] {
                let sides = |turn: bool, r: usize, c: usize| if turn { (c, r) } else { (r, c) };
                let (ar, ac) = sides(turn_a, m, k);
                let (br, bc) = sides(turn_b, k, n);
                let (a, b) = (values(ar * (ac + gap), 1), values(br * (bc + gap), 2));
                let before = values(m * (n + gap), 3);
                let mut out = before.clone();
                let turn = |m: Matrix<'static>, turn| if turn { m.turned() } else { m };
                let (a, b): (&'static [f32], &'static [f32]) = (a.leak(), b.leak());
                product(
                    &mut out,
                    n + gap,
                    keep,
                    2.0,
                    turn(Matrix::new(a, ar, ac, ac + gap), turn_a),
                    turn(Matrix::new(b, br, bc, bc + gap), turn_b),
                );
                for i in 0..m {
                    for j in 0..n + gap {
                        let at = |v: &[f32], turn: bool, r: usize, c: usize, row: usize| {
                            if turn { v[c * row + r] } else { v[r * row + c] }
                        };
                        let element =
                            |p| at(a, turn_a, i, p, ac + gap) * at(b, turn_b, p, j, bc + gap);
                        let old = before[i * (n + gap) + j];
                        let expected = if j >= n {
                            old
                        } else {
                            let sum: f32 = (0..k).map(element).sum();
                            2.0 * sum + if keep { old } else { 0.0 }
                        };
                        assert_eq!(out[i * (n + gap) + j], expected);
                    }
                }
            }
        }
    }
}

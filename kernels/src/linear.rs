//! Linear maps of rows: `x W + b` and its gradients, one product of matrices each for all rows.

use crate::pass::{self, total};
use crate::product::{Matrix, shared_product};
use crate::wide::vectorized;
use rayon::prelude::*;

/// Elements that a part of a sum over rows has at least.
const PART: usize = 1 << 13;

/// Sizes of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Sizes {
    fn of_inputs(self, x: &[f32]) -> Matrix<'_> {
        Matrix::new(x, self.rows, self.inputs, self.inputs)
    }

    fn of_outputs(self, y: &[f32]) -> Matrix<'_> {
        Matrix::new(y, self.rows, self.outputs, self.outputs)
    }

    fn weight(self, weight: &[f32]) -> Matrix<'_> {
        Matrix::new(weight, self.inputs, self.outputs, self.outputs)
    }
}

/// `x W + b`, `[rows, outputs]`, from `x`, `[rows, inputs]`, `W`, `[inputs, outputs]`, and `b`, `[outputs]`,
/// which is empty where there is none.
pub(crate) fn linear(sizes: Sizes, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; sizes.rows * sizes.outputs];
    if !bias.is_empty() {
        out.par_chunks_mut((PART / bias.len()).max(1) * bias.len())
            .flat_map_iter(|rows| rows.chunks_exact_mut(bias.len()))
            .for_each(|row| row.copy_from_slice(bias));
    }
    let (x, weight) = (sizes.of_inputs(x), sizes.weight(weight));
    shared_product(&mut out, !bias.is_empty(), x, weight);
    out
}

/// The gradient of `x`: `G W^T`.
pub(crate) fn input_gradient(sizes: Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; sizes.rows * sizes.inputs];
    shared_product(
        &mut out,
        false,
        sizes.of_outputs(gradient),
        sizes.weight(weight).turned(),
    );
    out
}

/// The gradient of `W`: `x^T G`.
pub(crate) fn weight_gradient(sizes: Sizes, gradient: &[f32], x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; sizes.inputs * sizes.outputs];
    shared_product(
        &mut out,
        false,
        sizes.of_inputs(x).turned(),
        sizes.of_outputs(gradient),
    );
    out
}

/// The gradient of `b`: the sum of the rows.
pub(crate) fn bias_gradient(gradient: &[f32], outputs: usize) -> Vec<f32> {
    let outputs = outputs.max(1);
    let rows = gradient.len() / outputs;
    let parts = (gradient.len() / PART).clamp(1, pass::PARTS);
    let each = rows.div_ceil(parts).max(1);
    let parts = gradient.par_chunks(each * outputs);
    let parts = parts.map(|rows| column_sums(rows, outputs));
    let sums = total(parts.collect());
    match sums.is_empty() {
        true => vec![0.0; outputs],
        false => sums,
    }
}

fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(width) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += *x);
            }
        },
    );
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::tests::values;

    /// By loops, in one task and in several. Small integers are exact.
    #[test]
    fn maps_are_those_of_loops() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 3, 7), (0, 4, 2), (200, 130, 90)] {
            let sizes = Sizes {
                rows,
                inputs,
                outputs,
            };
            let [x, w, b] = [rows * inputs, inputs * outputs, outputs].map(|n| values(n, n));
            let g = values(rows * outputs, 5);
            let y = linear(sizes, &x, &w, &b);
            let without = linear(sizes, &x, &w, &[]);
            for r in 0..rows {
                for o in 0..outputs {
                    let sum: f32 = (0..inputs)
                        .map(|i| x[r * inputs + i] * w[i * outputs + o])
                        .sum();
                    assert_eq!(y[r * outputs + o], sum + b[o]);
                    assert_eq!(without[r * outputs + o], sum);
                }
            }
            let of_x = input_gradient(sizes, &g, &w);
            for r in 0..rows {
                for i in 0..inputs {
                    let sum: f32 = (0..outputs)
                        .map(|o| g[r * outputs + o] * w[i * outputs + o])
                        .sum();
                    assert_eq!(of_x[r * inputs + i], sum);
                }
            }
            let of_w = weight_gradient(sizes, &g, &x);
            for i in 0..inputs {
                for o in 0..outputs {
                    let sum: f32 = (0..rows)
                        .map(|r| x[r * inputs + i] * g[r * outputs + o])
                        .sum();
                    assert_eq!(of_w[i * outputs + o], sum);
                }
            }
            let of_b = bias_gradient(&g, outputs);
            let column = |o: usize| (0..rows).map(|r| g[r * outputs + o]).sum::<f32>();
            assert_eq!(of_b, (0..outputs).map(column).collect::<Vec<_>>());
        }
    }
}

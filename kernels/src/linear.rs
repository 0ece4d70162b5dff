//! Linear maps of rows: `x W + b` and its gradients, one product of matrices each for all rows.

use crate::pass::{self, total};
use crate::product::{Matrix, product};
use crate::wide::vectorized;
use rayon::prelude::*;

/// Rows of a result that one task makes at least: each task packs the other matrix for itself.
const ROWS: usize = 32;
/// Products of two numbers that one task adds up at least.
const WORK: usize = 1 << 18;
/// Tasks at most, however many threads there are.
const TASKS: usize = 16;
/// Elements that a part of a sum over rows has at least.
const PART: usize = 1 << 13;

/// Sizes of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// How many of `rows` rows of a result one task makes, where each takes `each` products.
fn share(rows: usize, each: usize) -> usize {
    let by_work = rows.saturating_mul(each) / WORK;
    let tasks = by_work.min(rows / ROWS).clamp(1, TASKS);
    rows.div_ceil(tasks).max(1)
}

/// `x W + b`, `[rows, outputs]`, from `x`, `[rows, inputs]`, `W`, `[inputs, outputs]`, and `b`, `[outputs]`,
/// which is empty where there is none.
pub(crate) fn linear(sizes: Sizes, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    let mut out = vec![0.0; rows * outputs];
    let weight = Matrix::new(weight, inputs, outputs, outputs);
    let each = share(rows, inputs * outputs);
    let pieces = out.par_chunks_mut((each * outputs).max(1));
    let pieces = pieces.zip(x.par_chunks((each * inputs).max(1)));
    pieces.for_each(|(out, x)| {
        for row in out.chunks_exact_mut(outputs.max(1)) {
            // Nothing to copy of no bias.
            row.iter_mut()
                .zip(bias)
                .for_each(|(out, bias)| *out = *bias);
        }
        let x = Matrix::new(x, x.len() / inputs.max(1), inputs, inputs);
        product(out, outputs, !bias.is_empty(), 1.0, x, weight);
    });
    out
}

/// The gradient of `x`: `G W^T`.
pub(crate) fn input_gradient(sizes: Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    let mut out = vec![0.0; rows * inputs];
    let weight = Matrix::new(weight, inputs, outputs, outputs).turned();
    let each = share(rows, inputs * outputs);
    let pieces = out.par_chunks_mut((each * inputs).max(1));
    let pieces = pieces.zip(gradient.par_chunks((each * outputs).max(1)));
    pieces.for_each(|(out, gradient)| {
        let rows = gradient.len() / outputs.max(1);
        let gradient = Matrix::new(gradient, rows, outputs, outputs);
        product(out, inputs, false, 1.0, gradient, weight);
    });
    out
}

/// The gradient of `W`: `x^T G`.
pub(crate) fn weight_gradient(sizes: Sizes, gradient: &[f32], x: &[f32]) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    let mut out = vec![0.0; inputs * outputs];
    let gradient = Matrix::new(gradient, rows, outputs, outputs);
    let each = share(inputs, rows * outputs);
    let pieces = out.par_chunks_mut((each * outputs).max(1)).enumerate();
    pieces.for_each(|(nth, out)| {
        // Columns of `x` from this task's first on; the last one's row ends where `x` does.
        let first = nth * each;
        let columns = out.len() / outputs.max(1);
        let x = x.get(first..).unwrap_or_default();
        let x = Matrix::new(x, rows, columns, inputs).turned();
        product(out, outputs, false, 1.0, x, gradient);
    });
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

    fn values(n: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 31 + seed * 17) % 23) as f32 - 11.0;
        (0..n).map(value).collect()
    }

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

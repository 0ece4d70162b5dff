//! Rows by their numbers, and sums of rows by where they belong: each the gradient of the other.

use rayon::prelude::*;

/// Elements that one task handles at least.
const CHUNK: usize = 1 << 14;
/// Tasks of a sum at most: each looks at all numbers.
const TASKS: usize = 8;

/// Row `index[i]` of `x`, whose rows have `width` elements, as row `i`; zeros where there is no such row.
pub(crate) fn gather(x: &[f32], width: usize, index: &[usize]) -> Vec<f32> {
    let width = width.max(1);
    let mut out = vec![0.0; index.len() * width];
    let rows = (CHUNK / width).max(1);
    let pieces = out.par_chunks_mut(rows * width).zip(index.par_chunks(rows));
    pieces.for_each(|(out, index)| {
        for (out, row) in out.chunks_exact_mut(width).zip(index) {
            if let Some(row) = row_of(x, width, *row) {
                out.copy_from_slice(row);
            }
        }
    });
    out
}

/// Row `i` of `x` added to row `index[i]` of `count` rows of zeros, in the order of `i`; left out where there is
/// no such row.
pub(crate) fn sum(x: &[f32], width: usize, index: &[usize], count: usize) -> Vec<f32> {
    let width = width.max(1);
    let mut out = vec![0.0; count * width];
    let tasks = (x.len() / CHUNK).clamp(1, TASKS);
    let rows = count.div_ceil(tasks).max(1);
    let pieces = out.par_chunks_mut(rows * width).enumerate();
    pieces.for_each(|(nth, out)| {
        let own = nth * rows..(nth + 1) * rows;
        for (row, to) in x.chunks_exact(width).zip(index) {
            if !own.contains(to) {
                continue;
            }
            let from = (to - own.start) * width;
            if let Some(out) = out.get_mut(from..from + width) {
                out.iter_mut().zip(row).for_each(|(out, x)| *out += *x);
            }
        }
    });
    out
}

fn row_of(x: &[f32], width: usize, row: usize) -> Option<&[f32]> {
    let from = row.checked_mul(width)?;
    x.get(from..from.checked_add(width)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_place_are_zeros_or_left_out() {
        let x = [1.0, 2.0, 3.0, 4.0];
        let outside = [1, 2, usize::MAX, 0];
        let rows = gather(&x, 2, &outside);
        assert_eq!(rows, [3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(sum(&rows, 2, &[0, 5, 0, usize::MAX], 1), [3.0, 4.0]);
    }

    /// In several tasks, by loops. Small integers are exact.
    #[test]
    fn sums_are_those_of_loops() {
        let (n, width, count) = (3000, 37, 101);
        let x: Vec<f32> = (0..n * width).map(|i| ((i * 31) % 23) as f32).collect();
        let index: Vec<usize> = (0..n).map(|i| (i * i) % count).collect();
        let mut expected = vec![0.0; count * width];
        for (row, to) in x.chunks_exact(width).zip(&index) {
            for (at, x) in row.iter().enumerate() {
                expected[to * width + at] += x;
            }
        }
        assert!(x.len() / CHUNK > 1);
        assert_eq!(sum(&x, width, &index, count), expected);
    }
}

//! Passes over slices: in vector code of the machine that runs them, by the threads of rayon's pool.
//!
//! Which elements go together is fixed by their places alone, so that any number of threads gives the
//! same bits.

use crate::wide::vectorized;
use rayon::prelude::*;

/// Elements that one task handles.
const CHUNK: usize = 1 << 14;
/// Sums over examples run in so many parts, however many threads there are.
pub(crate) const PARTS: usize = 8;
/// Sums run in so many lanes side by side.
const LANES: usize = 16;

/// `f` of each element.
pub(crate) fn map(x: &[f32], f: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let chunks = out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
    chunks.for_each(|(out, x)| {
        vectorized(
            #[inline(always)]
            || {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = f(*x);
                }
            },
        );
    });
    out
}

/// Each element of `y` becomes `f` of it and that of `x`.
pub(crate) fn update(y: &mut [f32], x: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    let chunks = y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
    chunks.for_each(|(y, x)| {
        vectorized(
            #[inline(always)]
            || {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = f(*y, *x);
                }
            },
        );
    });
}

/// Calls `each` with pieces of whole rows, of `width` elements each, of `y` and of `x`. Collects what it gives
/// in order.
pub(crate) fn rows<R: Send>(
    y: &mut [f32],
    x: &[f32],
    width: usize,
    each: impl Fn(&mut [f32], &[f32]) -> R + Sync,
) -> Vec<R> {
    rows_at(
        y,
        x,
        width,
        #[inline(always)]
        |_, y, x| each(y, x),
    )
}

/// [`rows`], where `each` gets the number of the first row too.
pub(crate) fn rows_at<R: Send>(
    y: &mut [f32],
    x: &[f32],
    width: usize,
    each: impl Fn(usize, &mut [f32], &[f32]) -> R + Sync,
) -> Vec<R> {
    let width = width.max(1);
    let rows = (CHUNK / width).max(1);
    let pieces = y
        .par_chunks_mut(rows * width)
        .zip(x.par_chunks(rows * width));
    let results = pieces.enumerate().map(|(nth, (y, x))| {
        vectorized(
            #[inline(always)]
            || each(nth * rows, y, x),
        )
    });
    results.collect()
}

/// `f` of each row, of `width` elements, and its number.
pub(crate) fn each(x: &[f32], width: usize, f: impl Fn(usize, &[f32]) -> f32 + Sync) -> Vec<f32> {
    let width = width.max(1);
    let rows = (CHUNK / width).max(1);
    let mut out = vec![0.0; x.len() / width];
    let pieces = out.par_chunks_mut(rows).zip(x.par_chunks(rows * width));
    pieces.enumerate().for_each(|(nth, (out, x))| {
        vectorized(
            #[inline(always)]
            || {
                let all = out.iter_mut().zip(x.chunks_exact(width));
                for (at, (out, x)) in all.enumerate() {
                    *out = f(nth * rows + at, x);
                }
            },
        );
    });
    out
}

/// The sum of parts of equal length, element by element in their order.
pub(crate) fn total(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
    total
}

/// The sum of `f` over pairs.
#[inline(always)]
pub(crate) fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(*a, *b);
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest: f32 = rest.map(|(a, b)| f(*a, *b)).sum();
    fold(lanes, |a, b| a + b) + rest
}

/// The sum of `f` over elements.
#[inline(always)]
pub(crate) fn sum(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    for a in whole {
        for (lane, a) in lanes.iter_mut().zip(a) {
            *lane += f(*a);
        }
    }
    let rest: f32 = rest.iter().map(|a| f(*a)).sum();
    fold(lanes, |a, b| a + b) + rest
}

/// The largest element; minus infinity of none.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    for a in whole {
        for (lane, a) in lanes.iter_mut().zip(a) {
            *lane = larger(*lane, *a);
        }
    }
    let rest = rest.iter().copied().fold(f32::NEG_INFINITY, larger);
    larger(fold(lanes, larger), rest)
}

/// Halves by halves, as vector registers do.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_of_every_length() {
        for n in 0..70 {
            let a: Vec<f32> = (0..n).map(|i| ((i * 37) % 71) as f32 - 30.0).collect();
            let total: f32 = a.iter().sum();
            assert_eq!(sum(&a, |x| x), total);
            let squares: f32 = a.iter().map(|x| x * x).sum();
            assert_eq!(sum2(&a, &a, |x, y| x * y), squares);
            let largest = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&a), largest);
        }
    }

    #[test]
    fn pieces_are_whole_rows_in_order() {
        let width = 1000;
        let x: Vec<f32> = (0..70 * width).map(|i| i as f32).collect();
        let mut y = vec![0.0; x.len()];
        let found = rows(&mut y, &x, width, |y, x| {
            y.copy_from_slice(x);
            (x.len(), x.first().copied())
        });
        assert_eq!(x, y);
        assert!(found.len() > 1);
        let mut at = 0;
        for (n, first) in found {
            assert_eq!((n % width, first), (0, Some(at as f32)));
            at += n;
        }
        assert_eq!(at, x.len());
    }
}

//! A discrete Fourier transform of any length.
//!
//! Lengths are split into prime factors (Cooley and Tukey 1965), so a length `n` costs about `n`
//! times the sum of its factors. The lengths of scans (64, 224, 372, 640) have small ones.

/// Real and imaginary part.
pub(super) type Complex = (f64, f64);

fn multiply(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// A transform of one length.
#[derive(Debug, Clone)]
pub(super) struct Fft {
    /// `exp(-2 pi i k / n)` for each `k`.
    roots: Vec<Complex>,
    /// Prime factors, ascending.
    factors: Vec<usize>,
}

impl Fft {
    /// A transform of `n` values.
    pub(super) fn new(n: usize) -> Self {
        let angle = |k: usize| -2.0 * std::f64::consts::PI * k as f64 / n as f64;
        let mut factors = Vec::new();
        let (mut rest, mut factor) = (n, 2);
        while rest > 1 {
            if rest.is_multiple_of(factor) {
                factors.push(factor);
                rest /= factor;
            } else {
                factor += 1;
            }
        }
        Self {
            roots: (0..n).map(|k| (angle(k).cos(), angle(k).sin())).collect(),
            factors,
        }
    }

    /// `out[k] = sum_j x[j] exp(-2 pi i j k / n)`. Both slices have the transform's length; missing
    /// values count as zero.
    pub(super) fn forward(&self, x: &[Complex], out: &mut [Complex]) {
        let mut scratch = vec![(0.0, 0.0); self.factors.last().copied().unwrap_or(1)];
        self.part(x, 1, &self.factors, out, &mut scratch);
    }

    /// The inverse of [`Self::forward`]: with `exp(+...)` and divided by the length.
    pub(super) fn inverse(&self, x: &[Complex], out: &mut [Complex]) {
        let swapped: Vec<Complex> = x.iter().map(|v| (v.1, v.0)).collect();
        self.forward(&swapped, out);
        let n = self.roots.len().max(1) as f64;
        for value in out {
            *value = (value.1 / n, value.0 / n);
        }
    }

    /// Transforms every `stride`-th value of `x`; `out` has as many elements as `factors` multiply
    /// to.
    fn part(
        &self,
        x: &[Complex],
        stride: usize,
        factors: &[usize],
        out: &mut [Complex],
        scratch: &mut [Complex],
    ) {
        let Some((&p, rest)) = factors.split_first() else {
            if let (Some(to), Some(from)) = (out.first_mut(), x.first()) {
                *to = *from;
            }
            return;
        };
        let m = out.len() / p;
        for (r, chunk) in out.chunks_exact_mut(m).enumerate() {
            self.part(
                x.get(r * stride..).unwrap_or_default(),
                stride * p,
                rest,
                chunk,
                scratch,
            );
        }
        // Twiddles of this level: the root of order m * p is every `stride`-th of the table.
        let n = self.roots.len();
        for k in 0..m {
            for (r, slot) in scratch[..p].iter_mut().enumerate() {
                *slot = multiply(out[r * m + k], self.roots[r * k * stride % n]);
            }
            for q in 0..p {
                let terms = scratch[..p].iter().enumerate();
                let sum = terms.fold((0.0, 0.0), |sum: Complex, (r, value)| {
                    let term = multiply(*value, self.roots[r * q % p * (n / p)]);
                    (sum.0 + term.0, sum.1 + term.1)
                });
                out[q * m + k] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(n: usize) -> Vec<Complex> {
        (0..n)
            .map(|i| {
                let i = i as f64;
                ((i * 12.9898).sin(), (i * 78.233).cos())
            })
            .collect()
    }

    #[test]
    fn equals_the_sum_for_all_kinds_of_lengths() {
        for n in [1, 2, 3, 4, 6, 8, 12, 31, 64, 75, 372] {
            let x = signal(n);
            let mut found = vec![(0.0, 0.0); n];
            Fft::new(n).forward(&x, &mut found);
            for (k, f) in found.iter().enumerate() {
                let mut sum = (0.0, 0.0);
                for (j, v) in x.iter().enumerate() {
                    let angle = -2.0 * std::f64::consts::PI * (j * k % n) as f64 / n as f64;
                    let term = multiply(*v, (angle.cos(), angle.sin()));
                    sum = (sum.0 + term.0, sum.1 + term.1);
                }
                let off = (f.0 - sum.0).abs() + (f.1 - sum.1).abs();
                assert!(off < 1e-10 * n as f64, "{n} {k}: {off}");
            }
        }
    }

    #[test]
    fn the_inverse_gives_the_signal_back() {
        for n in [1, 5, 64, 224, 640] {
            let (x, fft) = (signal(n), Fft::new(n));
            let (mut there, mut back) = (vec![(0.0, 0.0); n], vec![(0.0, 0.0); n]);
            fft.forward(&x, &mut there);
            fft.inverse(&there, &mut back);
            for (a, b) in x.iter().zip(&back) {
                assert!((a.0 - b.0).abs() + (a.1 - b.1).abs() < 1e-12, "{n}");
            }
        }
    }
}

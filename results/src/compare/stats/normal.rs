//! The normal distribution, also far out, where corrected levels lie.

/// Probability that a standard normal value is at least `z`; its relative error is below 1e-9.
///
/// Near the middle by the power series, further out by the continued fraction (formulas 26.2.10 and
/// 26.2.14 of Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964).
pub(super) fn tail(z: f64) -> f64 {
    let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    if z < -2.5 {
        return 1.0 - tail(-z);
    }
    if z <= 2.5 {
        let (mut term, mut sum) = (z, z);
        for n in 1..60 {
            let n = f64::from(n);
            term *= -0.5 * z * z * (2.0 * n - 1.0) / (n * (2.0 * n + 1.0));
            sum += term;
        }
        return 0.5 - sum / std::f64::consts::TAU.sqrt();
    }
    let fraction = (1..=100).rev().fold(z, |f, n| z + f64::from(n) / f);
    density / fraction
}

/// The value that a standard normal one stays below with probability `p`, by bisection.
pub(super) fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-38.0, 38.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        // The smaller tail is the more exact one.
        let below = if middle < 0.0 {
            tail(-middle) < p
        } else {
            tail(middle) > 1.0 - p
        };
        if below {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_the_tabled_ones() {
        // By the `erfc` of the C library (glibc 2.36).
        for (z, p) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457),
            (2.499, 0.006_227_215_551_988),
            (2.501, 0.006_192_158_920_326),
            (5.0, 2.866_515_718_791_94e-7),
            (8.0, 6.220_960_574_271_78e-16),
        ] {
            assert!((tail(z) / p - 1.0).abs() < 1e-8, "{z}: {}", tail(z));
            assert!((tail(-z) - (1.0 - p)).abs() < 1e-12, "{z}");
        }
        assert!((quantile(0.975) - 1.959_963_984_540).abs() < 1e-9);
        assert!((quantile(0.025) + 1.959_963_984_540).abs() < 1e-9);
    }
}

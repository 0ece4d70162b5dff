//! Scalar functions without branches, so that a loop over them becomes vector code.
//!
//! Products and sums are separate instructions, never fused: every machine gives the same bits.

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// `ln 2` in two parts, of which the first one has few digits: its product with an integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Adding it rounds to an integer, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `e^x` to 2 units in the last place; 0 below -87.33, infinite above 88.37.
///
/// Reduction to `[-ln 2 / 2, ln 2 / 2]` and the polynomial of Cephes 2.2 (Moshier 1992, `expf`).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let fraction = p * (r * r) + r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);
    let value = fraction * power;
    let value = if x > 88.37 { f32::INFINITY } else { value };
    let value = if x < -87.33 { 0.0 } else { value };
    if x.is_nan() { x } else { value }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `s = 1 / (1 + e^-x)` and `s (1 - s)`, without the digits that `1 - s` would lose.
#[inline(always)]
pub(crate) fn sigmoid_and_slope(x: f32) -> (f32, f32) {
    let e = exp(-x.abs());
    let larger = 1.0 / (1.0 + e);
    let smaller = e * larger;
    let s = if x > 0.0 { larger } else { smaller };
    (if x.is_nan() { x } else { s }, larger * smaller)
}

/// Hyperbolic tangent: a polynomial around 0 (Cephes 2.2, `tanhf`), by the exponential function
/// elsewhere.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * z + 2.063_909e-2;
    p = p * z - 5.373_971_6e-2;
    p = p * z + 1.333_144_2e-1;
    p = p * z - 3.333_328e-1;
    let near = p * z * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    let value = if size < 0.625 { near } else { far };
    if x.is_nan() { x } else { value }
}

/// The share of the standard normal distribution below `x`, with a relative error below 1e-6 from -4 on, and
/// below 4e-6 down to -7 (where it is 1e-12).
///
/// From the complementary error function by a fit of Chebyshev's kind (Press et al., "Numerical Recipes in
/// C", second edition, section 6.2).
#[inline(always)]
pub(crate) fn normal_share(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = 0.170_872_77;
    p = p * t - 0.822_152_2;
    p = p * t + 1.488_515_9;
    p = p * t - 1.135_204;
    p = p * t + 0.278_868_07;
    p = p * t - 0.186_288_06;
    p = p * t + 0.096_784_18;
    p = p * t + 0.374_091_96;
    p = p * t + 1.000_023_7;
    p = p * t - 1.265_512_2;
    let tail = 0.5 * t * exp(p - 0.5 * (x * x));
    let value = if x > 0.0 { 1.0 - tail } else { tail };
    if x.is_nan() { x } else { value }
}

/// The density of the standard normal distribution.
#[inline(always)]
pub(crate) fn normal_density(x: f32) -> f32 {
    // 1 / sqrt(2 pi)
    exp(-0.5 * (x * x)) * 0.398_942_3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worst error relative to the true value over a grid, where that is above `least` in size.
    fn worst(f: fn(f32) -> f32, truth: fn(f64) -> f64, from: f64, to: f64, least: f64) -> f64 {
        let steps = 200_001;
        (0..steps)
            .filter_map(|i| {
                let x = (from + (to - from) * f64::from(i) / f64::from(steps - 1)) as f32;
                let truth = truth(f64::from(x));
                let error = (f64::from(f(x)) - truth).abs() / truth.abs();
                (truth.abs() > least).then_some(error)
            })
            .fold(0.0, f64::max)
    }

    /// By the series around 0 and the continued fraction far from it.
    fn normal_share_64(x: f64) -> f64 {
        let z = x.abs();
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let tail = if z < 3.0 {
            let mut term = z;
            let mut sum = z;
            for n in 1..200 {
                term *= z * z / f64::from(2 * n + 1);
                sum += term;
            }
            0.5 - density * sum
        } else {
            let fraction = (1..200).rev().fold(0.0, |f, n| f64::from(n) / (z + f));
            density / (z + fraction)
        };
        if x > 0.0 { 1.0 - tail } else { tail }
    }

    #[test]
    fn functions_are_close_to_the_true_ones() {
        let ulp = f64::from(f32::EPSILON);
        assert!(worst(exp, f64::exp, -87.0, 88.0, 0.0) < 2.0 * ulp);
        assert!(worst(tanh, f64::tanh, -20.0, 20.0, 1e-30) < 3.0 * ulp);
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(worst(sigmoid, logistic, -80.0, 80.0, 0.0) < 4.0 * ulp);
        let tail = worst(normal_share, normal_share_64, -7.0, 7.0, 1e-12);
        assert!(tail < 4e-6, "{tail}");
        assert!(worst(normal_share, normal_share_64, -4.0, 7.0, 0.0) < 1e-6);
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(1e9), f32::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((tanh(1e9), tanh(-1e9), tanh(0.0)), (1.0, -1.0, 0.0));
        assert_eq!((sigmoid(1e9), sigmoid(-1e9)), (1.0, 0.0));
        assert_eq!((normal_share(1e9), normal_share(-1e9)), (1.0, 0.0));
        for f in [exp, tanh, sigmoid, normal_share, normal_density] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}

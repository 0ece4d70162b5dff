//! Axes: where a value lies, which ticks are drawn, and how they are written.

/// A linear or logarithmic axis from `lo` to `hi`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    lo: f64,
    hi: f64,
    log: bool,
}

/// How many times larger the largest value is than the smallest when an axis becomes logarithmic.
pub(super) const LOG_FROM: f64 = 20.0;

impl Scale {
    /// A linear axis. An empty or non-finite range becomes 0..1 or is widened.
    pub fn linear(lo: f64, hi: f64) -> Self {
        let (mut lo, mut hi) = if lo.is_finite() && hi.is_finite() {
            (lo, hi)
        } else {
            (0.0, 1.0)
        };
        if lo > hi {
            (lo, hi) = (hi, lo);
        }
        // Less than this and neighbouring ticks would be the same number.
        let least = lo.abs().max(hi.abs()) * 1e-9;
        if hi - lo <= least {
            let pad = if hi == 0.0 { 1.0 } else { hi.abs() * 0.1 };
            (lo, hi) = (lo - pad, hi + pad);
        }
        Self { lo, hi, log: false }
    }

    /// A logarithmic axis where both ends are positive and finite, else a linear one.
    pub fn log(lo: f64, hi: f64) -> Self {
        if lo > 0.0 && hi > lo && hi.is_finite() {
            Self { lo, hi, log: true }
        } else {
            Self::linear(lo, hi)
        }
    }

    /// An axis from 0 that holds `values` (positive and finite ones), logarithmic where they span
    /// more than a factor [`LOG_FROM`].
    pub fn of_times(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut min, mut max) = (f64::INFINITY, 0.0_f64);
        for v in values {
            min = min.min(v);
            max = max.max(v);
        }
        if min > 0.0 && max > min * LOG_FROM {
            Self::log(min / 1.4, max * 1.2)
        } else if max > 0.0 {
            Self::linear(0.0, max * 1.06)
        } else {
            Self::linear(0.0, 1.0)
        }
    }

    /// Whether the axis is logarithmic.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// Position of `v` from 0 (low end) to 1 (high end), held to the ends. NaN lies at the low end.
    pub fn unit(&self, v: f64) -> f64 {
        let u = self.raw_unit(v);
        if u.is_nan() { 0.0 } else { u.clamp(0.0, 1.0) }
    }

    /// [`Self::unit`] without its bounds, within a million axis lengths of them.
    pub fn raw_unit(&self, v: f64) -> f64 {
        let u = if self.log {
            (v.max(f64::MIN_POSITIVE) / self.lo).ln() / (self.hi / self.lo).ln()
        } else {
            (v - self.lo) / (self.hi - self.lo)
        };
        u.clamp(-1e6, 1e6)
    }

    /// Round values between the ends, about `wanted` of them, with their labels.
    pub fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if self.log {
            self.log_ticks(wanted)
        } else {
            self.linear_ticks(wanted)
        }
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let rough = (self.hi - self.lo) / wanted.max(1) as f64;
        let power = rough.log10().floor();
        let base = 10f64.powf(power);
        // The round step nearest to the wished one, by ratio.
        let off = |s: &f64| (s / rough).ln().abs();
        let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * base);
        let step = steps
            .into_iter()
            .min_by(|a, b| off(a).total_cmp(&off(b)))
            .unwrap_or(base);
        let decimals = (-(step * 1.0001).log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.lo / step - 1e-9).ceil();
        let last = (self.hi / step + 1e-9).floor();
        let count = (last - first + 1.0).clamp(0.0, 100.0) as usize;
        (0..count)
            .map(|i| {
                let n = first + i as f64;
                // `+ 0.0` turns a negative zero into zero.
                let v = n * step + 0.0;
                (v, label(v, decimals))
            })
            .collect()
    }

    fn log_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let decades = (self.hi / self.lo).log10();
        let wanted = wanted.max(2) as f64;
        let (digits, every): (&[i32], i32) = if decades * 3.0 <= wanted * 1.5 {
            (&[1, 2, 5], 1)
        } else if decades * 2.0 <= wanted * 1.5 {
            (&[1, 3], 1)
        } else {
            (&[1], (decades / wanted).ceil().max(1.0) as i32)
        };
        let first = self.lo.log10().floor() as i32;
        let last = self.hi.log10().ceil() as i32;
        let mut ticks = Vec::new();
        for power in (first..=last).filter(|p| p.rem_euclid(every) == 0) {
            for digit in digits {
                let v = f64::from(*digit) * 10f64.powi(power);
                if v >= self.lo * 0.9999 && v <= self.hi * 1.0001 {
                    ticks.push((v, label(v, (-power).max(0) as usize)));
                }
            }
        }
        ticks
    }
}

/// `v` with so many decimals, or as a power of ten where that would be long.
fn label(v: f64, decimals: usize) -> String {
    if v != 0.0 && (v.abs() >= 1e6 || decimals > 5) {
        format!("{:e}", (v * 1e12).round() / 1e12).replace("e0", "")
    } else {
        format!("{v:.decimals$}")
    }
}

/// Seconds in words that stand beside a mark: three significant digits.
pub(super) fn seconds(t: f64) -> String {
    let decimals = match t {
        t if t >= 100.0 => 0,
        t if t >= 10.0 => 1,
        t if t >= 1.0 => 2,
        _ => 3,
    };
    format!("{t:.decimals$} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, wanted: usize) -> Vec<String> {
        scale.ticks(wanted).into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(Scale::linear(0.0, 1.0), 5),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(Scale::linear(1.0, 4.0), 6),
            ["1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"]
        );
        assert_eq!(
            labels(Scale::linear(0.0, 137.0), 6),
            ["0", "20", "40", "60", "80", "100", "120"]
        );
        assert_eq!(
            labels(Scale::log(0.03, 4.0), 6),
            ["0.05", "0.1", "0.2", "0.5", "1", "2"]
        );
        assert_eq!(labels(Scale::log(1e-9, 1e9), 6).len(), 7);
    }

    #[test]
    fn degenerate_ranges_are_widened() {
        for scale in [
            Scale::linear(f64::NAN, 1.0),
            Scale::linear(3.0, 3.0),
            Scale::linear(0.0, 0.0),
            Scale::log(0.0, 5.0),
            Scale::log(2.0, 2.0),
            Scale::of_times([]),
            Scale::of_times([f64::INFINITY]),
        ] {
            assert!(scale.lo < scale.hi, "{scale:?}");
            assert!(!scale.ticks(5).is_empty(), "{scale:?}");
            assert!((0.0..=1.0).contains(&scale.unit(f64::NAN)));
            assert!((0.0..=1.0).contains(&scale.unit(f64::INFINITY)));
        }
    }

    #[test]
    fn times_become_logarithmic_over_a_factor_of_twenty() {
        assert!(!Scale::of_times([1.0, 19.0]).is_log());
        assert!(Scale::of_times([1.0, 21.0]).is_log());
        assert_eq!(Scale::of_times([1.0, 21.0]).unit(0.0), 0.0);
    }
}

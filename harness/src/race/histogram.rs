//! Step times as a histogram with buckets that grow by 5 %.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use velodrome_results::StepSummary;

const GROWTH: f64 = 1.05;
/// Lower edge of bucket 0, in seconds.
const SMALLEST: f64 = 1e-6;

/// A histogram that can be saved and continued.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    buckets: BTreeMap<i32, u64>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Histogram {
    /// Adds a time in seconds.
    pub fn add(&mut self, seconds: f64) {
        let bucket = ((seconds / SMALLEST).max(1.0).ln() / GROWTH.ln()) as i32;
        *self.buckets.entry(bucket).or_default() += 1;
        self.min = if self.count == 0 {
            seconds
        } else {
            self.min.min(seconds)
        };
        self.max = self.max.max(seconds);
        self.count += 1;
        self.sum += seconds;
    }

    /// The summary that records hold. Quantiles are the geometric middles of their buckets, so
    /// they are within 2.5 %.
    pub fn summary(&self) -> StepSummary {
        if self.count == 0 {
            return StepSummary::default();
        }
        let edge = |bucket: i32| SMALLEST * GROWTH.powi(bucket);
        let quantile = |q: f64| {
            let rank = (q * self.count as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            for (&bucket, &n) in &self.buckets {
                seen += n;
                if seen >= rank {
                    return (edge(bucket) * GROWTH.sqrt()).clamp(self.min, self.max);
                }
            }
            self.max
        };
        StepSummary {
            count: self.count,
            mean: self.sum / self.count as f64,
            quantiles: [0.05, 0.25, 0.5, 0.75, 0.95].map(quantile),
            min: self.min,
            max: self.max,
            histogram: self.buckets.iter().map(|(&b, &n)| (edge(b), n)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_the_bucket_width() {
        let mut h = Histogram::default();
        for i in 1..=1000 {
            h.add(f64::from(i) * 1e-3);
        }
        let s = h.summary();
        assert_eq!(s.count, 1000);
        assert!((s.mean - 0.5005).abs() < 1e-9);
        for (q, exact) in s.quantiles.iter().zip([0.05, 0.25, 0.5, 0.75, 0.95]) {
            assert!((q / exact - 1.0).abs() < 0.03, "{q} {exact}");
        }
        assert_eq!((s.min, s.max), (1e-3, 1.0));
        assert_eq!(s.histogram.iter().map(|(_, n)| n).sum::<u64>(), 1000);
    }
}

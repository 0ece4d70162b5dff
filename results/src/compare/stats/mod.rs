//! Permutation tests, rank intervals and the correction for many tests.
//!
//! Every test here is exact under its assumption, or a seeded sample of an exact one, or, above
//! [`LARGE`] values, the normal limit of the permutation distribution. Positive values mean that the
//! candidate is worse.

mod normal;
mod permutation;
mod ranks;

pub use permutation::p_worse;
pub(crate) use ranks::middle_ranks;

use normal::quantile;
use ranks::{cut, rank_sum_shares, signed_rank_shares};
use std::collections::BTreeMap;

/// Most values of exact and sampled tests; above it the normal limit stands in for them.
pub(crate) const LARGE: usize = 200;

/// The values of one row: differences of pairs, or two samples that share no seeds.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// Candidate minus base, one for each seed.
    Paired(Vec<f64>),
    /// Base and candidate, from different seeds.
    Apart(Vec<f64>, Vec<f64>),
}

impl Sample {
    /// Pairs, or values of the smaller side.
    pub fn size(&self) -> usize {
        match self {
            Sample::Paired(d) => d.len(),
            Sample::Apart(a, b) => a.len().min(b.len()),
        }
    }

    /// The sample with the candidate moved by `by`.
    pub fn shifted(&self, by: f64) -> Self {
        let moved = |v: &[f64]| v.iter().map(|x| x + by).collect();
        match self {
            Sample::Paired(d) => Sample::Paired(moved(d)),
            Sample::Apart(a, b) => Sample::Apart(a.clone(), moved(b)),
        }
    }

    /// The sample with base and candidate in each other's place.
    pub fn mirrored(&self) -> Self {
        match self {
            Sample::Paired(d) => Sample::Paired(d.iter().map(|x| -x).collect()),
            Sample::Apart(a, b) => Sample::Apart(b.clone(), a.clone()),
        }
    }

    /// The shift, and an interval of at least the coverage `confidence`; `None` where there is nothing,
    /// or too little for any such interval.
    ///
    /// The shift is Hodges and Lehmann's estimate (Annals of Mathematical Statistics 34, 1963): the
    /// median of the means of all two pairs, or of all differences between the samples. The interval
    /// belongs to the signed rank test of pairs (Wilcoxon 1945) or the rank sum test of two samples
    /// (Mann and Whitney 1947). Of large samples both belong to the mean.
    pub fn shift(&self, confidence: f64) -> (Option<f64>, Option<(f64, f64)>) {
        self.shift_within(&Cuts::new([self], confidence))
    }

    /// [`Self::shift`] with the coverage, and the cut of its size, from `cuts`.
    pub(crate) fn shift_within(&self, cuts: &Cuts) -> (Option<f64>, Option<(f64, f64)>) {
        let Some(values) = self.spread() else {
            return (None, None);
        };
        let n = values.len();
        let estimate = 0.5 * (values[(n - 1) / 2] + values[n / 2]);
        let around = |error: f64| {
            let reach = quantile(1.0 - cuts.tail) * error;
            Some((estimate - reach, estimate + reach))
        };
        let interval = match self {
            Sample::Paired(d) if self.is_large() => around(mean_and_error(d).1),
            Sample::Apart(a, b) if self.is_large() => {
                around(mean_and_error(a).1.hypot(mean_and_error(b).1))
            }
            _ => {
                let cut = cuts.of_size.get(&self.sizes()).copied().flatten();
                cut.and_then(|cut| Some((*values.get(cut)?, *values.get(n - 1 - cut)?)))
            }
        };
        (Some(estimate), interval)
    }

    /// Pairs, or values of both sides.
    fn sizes(&self) -> (usize, Option<usize>) {
        match self {
            Sample::Paired(d) => (d.len(), None),
            Sample::Apart(a, b) => (a.len(), Some(b.len())),
        }
    }

    fn is_large(&self) -> bool {
        let (n, m) = self.sizes();
        n + m.unwrap_or(0) > LARGE
    }

    /// The sorted values whose median is the estimate; of large samples the mean alone.
    fn spread(&self) -> Option<Vec<f64>> {
        let mut values = Vec::new();
        match self {
            Sample::Paired(d) if self.is_large() => values.push(mean_and_error(d).0),
            Sample::Apart(a, b) if self.is_large() => {
                values.push(mean_and_error(b).0 - mean_and_error(a).0);
            }
            Sample::Paired(d) => {
                for (i, x) in d.iter().enumerate() {
                    values.extend(d[i..].iter().map(|y| 0.5 * (x + y)));
                }
            }
            Sample::Apart(a, b) => {
                for y in b {
                    values.extend(a.iter().map(|x| y - x));
                }
            }
        }
        values.sort_unstable_by(f64::total_cmp);
        (!values.is_empty()).then_some(values)
    }
}

/// How many of the sorted values lie beyond the interval at each end, by the sizes of samples: the same
/// for a hundred rows of the same size, and slow to find.
pub(crate) struct Cuts {
    tail: f64,
    of_size: BTreeMap<(usize, Option<usize>), Option<usize>>,
}

impl Cuts {
    /// For intervals of `samples` with the coverage `confidence`.
    pub fn new<'a>(samples: impl IntoIterator<Item = &'a Sample>, confidence: f64) -> Self {
        let mut cuts = Self {
            tail: 0.5 * (1.0 - confidence),
            of_size: BTreeMap::new(),
        };
        for sample in samples.into_iter().filter(|s| !s.is_large()) {
            let sizes = sample.sizes();
            cuts.of_size.entry(sizes).or_insert_with(|| {
                let shares = match sizes {
                    (n, None) => signed_rank_shares(n),
                    (n, Some(m)) => rank_sum_shares(n, m),
                };
                cut(&shares, cuts.tail)
            });
        }
        cuts
    }
}

/// Adjusts p-values so that calling all below `alpha` errs anywhere with probability at most `alpha`
/// (Holm, Scandinavian Journal of Statistics 6, 1979).
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        least = least.max(p[i] * (p.len() - rank) as f64).min(1.0);
        adjusted[i] = least;
    }
    adjusted
}

/// The middle of `values`, which are put in order; of an even number the mean of the two. `None` where
/// there are none.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| 0.5 * (values[(n - 1) / 2] + values[n / 2]))
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0) / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    #[test]
    fn holm_orders_and_never_decreases() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (a, e) in adjusted.iter().zip(expected) {
            assert!((a - e).abs() < 1e-12, "{adjusted:?}");
        }
    }

    #[test]
    fn estimates_lie_in_their_intervals_whatever_the_size() {
        for n in [6, 50, LARGE, LARGE + 1, 5000] {
            let skewed: Vec<f64> = (0..n)
                .map(|i| (f64::from(i as u32) / 7.0).sin().exp())
                .collect();
            let other: Vec<f64> = skewed.iter().rev().map(|x| x * 1.3).collect();
            for sample in [Sample::Paired(skewed.clone()), Sample::Apart(skewed, other)] {
                let (estimate, interval) = sample.shift(0.95);
                let (estimate, (low, high)) = (estimate.unwrap(), interval.unwrap());
                assert!(
                    low <= estimate && estimate <= high,
                    "{n}: {low} {estimate} {high}"
                );
            }
        }
    }

    /// 2000 comparisons of equal things: each test errs as often as it says.
    #[test]
    fn unchanged_candidates_are_rarely_called_worse() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let (mut paired, mut apart) = (0, 0);
        for _ in 0..2000 {
            // Skewed noise; differences of it are symmetric.
            let mut noise = |n: usize| -> Vec<f64> { (0..n).map(|_| -unit().ln()).collect() };
            let (a, b) = (noise(7), noise(7));
            let d = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            paired += u32::from(p_worse(&[Sample::Paired(d)], 0) <= 0.05);
            apart += u32::from(p_worse(&[Sample::Apart(a, b)], 0) <= 0.05);
        }
        // 100 expected; more than 140 has a probability below 1e-4.
        assert!((40..=140).contains(&paired), "{paired}");
        assert!((40..=140).contains(&apart), "{apart}");
    }
}

//! Permutation tests, rank intervals and the correction for many tests.
//!
//! Every test here is exact under its assumption, or a seeded sample of an exact one, or, from
//! [`LARGE`] values on, the normal limit of the permutation distribution. Positive values mean that the
//! candidate is worse.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Sign patterns or arrangements that are enumerated one by one.
const ENUMERATED: u64 = 1 << 16;
/// Sampled arrangements where there are more than [`ENUMERATED`].
const SAMPLED: u32 = 20_000;
/// Values from which on the normal limit stands in for the permutation distribution.
const LARGE: usize = 200;
/// Sums that differ by less than this share are ties: the order of additions must not decide a test.
const TIE: f64 = 1e-12;

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

    /// Hodges and Lehmann's estimate of the shift (Annals of Mathematical Statistics 34, 1963): the
    /// median of the means of all two pairs, or of all differences between the samples. `None` where
    /// there is nothing.
    pub fn estimate(&self) -> Option<f64> {
        let values = self.spread()?;
        let n = values.len();
        Some(0.5 * (values[(n - 1) / 2] + values[n / 2]))
    }

    /// The interval of the shift that belongs to the signed rank test of pairs (Wilcoxon 1945) or the
    /// rank sum test of two samples (Mann and Whitney 1947), with at least the coverage `confidence`.
    /// `None` where there are too few values for any such interval.
    pub fn interval(&self, confidence: f64) -> Option<(f64, f64)> {
        let tail = 0.5 * (1.0 - confidence);
        let values = self.spread()?;
        let cut = match self {
            Sample::Paired(d) if d.len() > LARGE => {
                let (mean, error) = mean_and_error(d);
                let z = normal_quantile(1.0 - tail);
                return Some((mean - z * error, mean + z * error));
            }
            Sample::Paired(d) => cut(&signed_rank_counts(d.len()), tail)?,
            Sample::Apart(a, b) if a.len() + b.len() > LARGE => {
                let ((ma, ea), (mb, eb)) = (mean_and_error(a), mean_and_error(b));
                let (z, error) = (normal_quantile(1.0 - tail), ea.hypot(eb));
                return Some((mb - ma - z * error, mb - ma + z * error));
            }
            Sample::Apart(a, b) => cut(&rank_sum_counts(a.len(), b.len()), tail)?,
        };
        Some((*values.get(cut)?, *values.get(values.len() - 1 - cut)?))
    }

    /// The sorted values whose median is the estimate; for large samples one for each value.
    fn spread(&self) -> Option<Vec<f64>> {
        let mut values: Vec<f64> = match self {
            Sample::Paired(d) if d.len() > LARGE => d.clone(),
            Sample::Paired(d) => {
                let means = |(i, x): (usize, &f64)| -> Vec<f64> {
                    d[i..].iter().map(|y| 0.5 * (x + y)).collect()
                };
                d.iter().enumerate().flat_map(means).collect()
            }
            Sample::Apart(a, b) if a.len() + b.len() > LARGE => {
                let (ma, mb) = (mean_and_error(a).0, mean_and_error(b).0);
                vec![mb - ma]
            }
            Sample::Apart(a, b) => {
                let differences = |y: &f64| -> Vec<f64> { a.iter().map(|x| y - x).collect() };
                b.iter().flat_map(differences).collect()
            }
        };
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(values)
    }
}

/// Probability that strata of an unchanged candidate would be at least as much worse, in sum, as these:
/// signs of pairs and labels of samples are exchangeable then (Fisher 1935, "The Design of
/// Experiments", section 21).
pub fn p_worse(strata: &[Sample], seed: u64) -> f64 {
    let observed: f64 = strata.iter().map(excess).sum();
    let scale: f64 = strata.iter().map(magnitude).sum();
    if scale == 0.0 {
        return 1.0;
    }
    let floor = observed - TIE * scale;
    let sizes: usize = strata.iter().map(elements).sum();
    if sizes > LARGE {
        let variance: f64 = strata.iter().map(variance).sum();
        return 1.0 - normal_distribution(observed / variance.sqrt());
    }
    match strata {
        [Sample::Paired(d)] if 1u64 << d.len().min(63) <= ENUMERATED => sign_flips(d, floor),
        [Sample::Apart(a, b)] if choose(a.len() + b.len(), b.len()) <= ENUMERATED as f64 => {
            arrangements(a, b, floor)
        }
        _ => sampled(strata, floor, seed),
    }
}

/// How much worse the candidate is, in sum over its values.
fn excess(sample: &Sample) -> f64 {
    match sample {
        Sample::Paired(d) => d.iter().sum(),
        Sample::Apart(a, b) => {
            let mean = (a.iter().sum::<f64>() + b.iter().sum::<f64>()) / (a.len() + b.len()) as f64;
            b.iter().map(|x| x - mean).sum()
        }
    }
}

fn magnitude(sample: &Sample) -> f64 {
    match sample {
        Sample::Paired(d) => d.iter().map(|x| x.abs()).sum(),
        Sample::Apart(a, b) => {
            let mean = (a.iter().sum::<f64>() + b.iter().sum::<f64>()) / (a.len() + b.len()) as f64;
            a.iter().chain(b).map(|x| (x - mean).abs()).sum()
        }
    }
}

fn elements(sample: &Sample) -> usize {
    match sample {
        Sample::Paired(d) => d.len(),
        Sample::Apart(a, b) => a.len() + b.len(),
    }
}

/// Variance of [`excess`] under permutation.
fn variance(sample: &Sample) -> f64 {
    match sample {
        Sample::Paired(d) => d.iter().map(|x| x * x).sum(),
        Sample::Apart(a, b) => {
            let (n, m) = (a.len() as f64, b.len() as f64);
            let all = n + m;
            let mean = (a.iter().sum::<f64>() + b.iter().sum::<f64>()) / all;
            let squares: f64 = a.iter().chain(b).map(|x| (x - mean).powi(2)).sum();
            squares / (all - 1.0).max(1.0) * n * m / all
        }
    }
}

fn sign_flips(d: &[f64], floor: f64) -> f64 {
    let all = 1u64 << d.len();
    let sum = |signs: u64| -> f64 {
        let signed = |(i, x): (usize, &f64)| if signs >> i & 1 == 1 { -x } else { *x };
        d.iter().enumerate().map(signed).sum()
    };
    let hits = (0..all).filter(|&signs| sum(signs) >= floor).count();
    hits as f64 / all as f64
}

/// All ways to call `b.len()` of the values the candidate's.
fn arrangements(a: &[f64], b: &[f64], floor: f64) -> f64 {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let centred: Vec<f64> = all.iter().map(|x| x - mean).collect();
    let mut chosen: Vec<usize> = (0..b.len()).collect();
    let (mut hits, mut count) = (0u64, 0u64);
    loop {
        count += 1;
        hits += u64::from(chosen.iter().map(|&i| centred[i]).sum::<f64>() >= floor);
        // The next combination in lexicographic order.
        let last = |i: usize| centred.len() - chosen.len() + i;
        let Some(at) = (0..chosen.len()).rev().find(|&i| chosen[i] < last(i)) else {
            return hits as f64 / count as f64;
        };
        chosen[at] += 1;
        for i in at + 1..chosen.len() {
            chosen[i] = chosen[i - 1] + 1;
        }
    }
}

fn sampled(strata: &[Sample], floor: f64, seed: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut strata = strata.to_vec();
    let mut hits = 1u32;
    for _ in 0..SAMPLED {
        let mut sum = 0.0;
        for sample in &mut strata {
            match sample {
                Sample::Paired(d) => {
                    let mut bits = 0;
                    for (i, x) in d.iter().enumerate() {
                        if i % 64 == 0 {
                            bits = rng.next_u64();
                        }
                        sum += if bits >> (i % 64) & 1 == 1 { -x } else { *x };
                    }
                }
                Sample::Apart(a, b) => {
                    shuffle_across(a, b, &mut rng);
                    let sample = Sample::Apart(std::mem::take(a), std::mem::take(b));
                    sum += excess(&sample);
                    if let Sample::Apart(x, y) = sample {
                        (*a, *b) = (x, y);
                    }
                }
            }
        }
        hits += u32::from(sum >= floor);
    }
    f64::from(hits) / f64::from(SAMPLED + 1)
}

/// Fisher and Yates over both samples as one.
fn shuffle_across(a: &mut [f64], b: &mut [f64], rng: &mut ChaCha8Rng) {
    let n = a.len();
    for i in (1..n + b.len()).rev() {
        let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        match (i < n, j < n) {
            (true, _) => a.swap(i, j),
            (false, false) => b.swap(i - n, j - n),
            (false, true) => std::mem::swap(&mut b[i - n], &mut a[j]),
        }
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

/// How many sign patterns of `n` pairs have each signed rank sum, as shares of all.
fn signed_rank_counts(n: usize) -> Vec<f64> {
    let mut counts = vec![1.0];
    for rank in 1..=n {
        let mut next = vec![0.0; counts.len() + rank];
        for (sum, count) in counts.iter().enumerate() {
            next[sum] += 0.5 * count;
            next[sum + rank] += 0.5 * count;
        }
        counts = next;
    }
    counts
}

/// Shares of the arrangements of `n` and `m` values by Mann and Whitney's statistic.
fn rank_sum_counts(n: usize, m: usize) -> Vec<f64> {
    // Gaussian binomial coefficients: the product of (1 - q^(m + i)) / (1 - q^i) over i up to n.
    let top = n * m;
    let mut counts = vec![0.0; top + 1];
    counts[0] = 1.0;
    for i in 1..=n {
        for sum in (m + i..=top).rev() {
            counts[sum] -= counts[sum - m - i];
        }
        for sum in i..=top {
            counts[sum] += counts[sum - i];
        }
    }
    let all: f64 = counts.iter().sum();
    counts.iter().map(|c| c / all).collect()
}

/// The largest number of extreme values that may be cut off at each end; `None` where even cutting
/// none leaves more than `tail` outside.
fn cut(shares: &[f64], tail: f64) -> Option<usize> {
    let mut below = 0.0;
    let mut cut = None;
    for (sum, share) in shares.iter().enumerate() {
        below += share;
        if below > tail {
            break;
        }
        cut = Some(sum);
    }
    cut
}

fn choose(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64)
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0) / n).sqrt())
}

/// The normal distribution function, by formula 7.1.26 of Abramowitz and Stegun ("Handbook of
/// Mathematical Functions", 1964); its error is below 1e-7.
fn normal_distribution(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [
        0.254_829_592,
        -0.284_496_736,
        1.421_413_741,
        -1.453_152_027,
        1.061_405_429,
    ];
    let sum = series.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    let outside = 0.5 * sum * (-x * x).exp();
    if z > 0.0 { 1.0 - outside } else { outside }
}

/// Where [`normal_distribution`] is `p`, by bisection.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if normal_distribution(middle) < p {
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
    fn rank_intervals_have_their_tabled_coverage() {
        // Signed ranks: the tabled two-sided 5 % critical value is 0 for 6 pairs, 8 for 10; of no
        // use for 5 (Wilcoxon 1945, table I).
        assert_eq!(cut(&signed_rank_counts(5), 0.025), None);
        assert_eq!(cut(&signed_rank_counts(6), 0.025), Some(0));
        assert_eq!(cut(&signed_rank_counts(10), 0.025), Some(8));
        // Rank sums: 2 for 5 and 5, 23 for 10 and 10; of no use for 3 and 3.
        assert_eq!(cut(&rank_sum_counts(3, 3), 0.025), None);
        assert_eq!(cut(&rank_sum_counts(5, 5), 0.025), Some(2));
        assert_eq!(cut(&rank_sum_counts(10, 10), 0.025), Some(23));
    }

    #[test]
    fn exact_tests_count_what_they_say() {
        let d = vec![0.1, 0.2, 0.3, 0.4];
        assert_eq!(p_worse(&[Sample::Paired(d.clone())], 0), 1.0 / 16.0);
        let mirrored = Sample::Paired(d).mirrored();
        assert_eq!(p_worse(&[mirrored], 0), 1.0);
        let apart = Sample::Apart(vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]);
        assert_eq!(p_worse(std::slice::from_ref(&apart), 0), 1.0 / 20.0);
        assert_eq!(apart.estimate(), Some(3.0));
        assert_eq!(p_worse(&[Sample::Paired(vec![0.0; 9])], 0), 1.0);
    }

    #[test]
    fn sampled_and_normal_tests_agree_with_the_exact_one() {
        let d: Vec<f64> = (0..14)
            .map(|i| ((i * 7) % 14) as f64 / 14.0 - 0.35)
            .collect();
        let exact = p_worse(&[Sample::Paired(d.clone())], 0);
        // As two strata the same signs are flipped, but sampled.
        let (one, two) = d.split_at(6);
        let halves = [Sample::Paired(one.to_vec()), Sample::Paired(two.to_vec())];
        let sampled = p_worse(&halves, 1);
        assert!((sampled - exact).abs() < 0.01, "{sampled} {exact}");
        let long: Vec<f64> = d.iter().cycle().take(14 * 15).copied().collect();
        let normal = p_worse(&[Sample::Paired(long.clone())], 0);
        let (a, b) = long.split_at(105);
        let again = p_worse(&[Sample::Paired(a.to_vec())], 0);
        assert!(normal < again && b.len() == 105, "{normal} {again}");
        assert!((normal_distribution(1.959_964) - 0.975).abs() < 1e-6);
        assert!((normal_quantile(0.975) - 1.959_964).abs() < 1e-5);
    }

    #[test]
    fn holm_orders_and_never_decreases() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (a, e) in adjusted.iter().zip(expected) {
            assert!((a - e).abs() < 1e-12, "{adjusted:?}");
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

//! Permutation tests: all arrangements, a sample of them, or their normal limit.

use super::ranks::middle_ranks;
use super::{LARGE, Sample, normal};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Sign patterns or arrangements that are enumerated one by one.
const ENUMERATED: u64 = 1 << 16;
/// Most arrangements that are drawn where there are more than [`ENUMERATED`].
const SAMPLED: u32 = 400_000;
/// Drawing ends once so many arrangements were as extreme: the p-value is known to 2 % then.
const ENOUGH: u32 = 2_000;
/// Sums that differ by less than this share are ties: the order of additions must not decide a test.
const TIE: f64 = 1e-12;

/// Probability that strata of an unchanged candidate would be at least as much worse, in sum of ranks, as
/// these: signs of pairs and labels of samples are exchangeable then (Fisher 1935, "The Design of
/// Experiments", section 21). Ranks, within each stratum, because step times have outliers: Wilcoxon's
/// signed ranks for pairs, his rank sum for samples (Biometrics Bulletin 1, 1945).
pub fn p_worse(strata: &[Sample], seed: u64) -> f64 {
    let ranked: Vec<Sample> = strata.iter().map(ranked).collect();
    let strata = ranked.as_slice();
    let observed: f64 = strata.iter().map(excess).sum();
    let scale: f64 = strata.iter().map(magnitude).sum();
    if scale == 0.0 {
        return 1.0;
    }
    let floor = observed - TIE * scale;
    let sizes: usize = strata.iter().map(elements).sum();
    if sizes > LARGE {
        let variance: f64 = strata.iter().map(variance).sum();
        return normal::tail(observed / variance.sqrt());
    }
    match strata {
        [Sample::Paired(d)] if 1u64 << d.len().min(63) <= ENUMERATED => sign_flips(d, floor),
        [Sample::Apart(a, b)] if choose(a.len() + b.len(), b.len()) <= ENUMERATED as f64 => {
            arrangements(a, b, floor)
        }
        _ => sampled(strata, floor, seed),
    }
}

/// The sample with ranks for its values. Pairs keep their signs, and those without a difference have the
/// rank 0.
fn ranked(sample: &Sample) -> Sample {
    match sample {
        Sample::Paired(d) => {
            let sizes: Vec<f64> = d.iter().map(|x| x.abs()).collect();
            let zeros = sizes.iter().filter(|x| **x == 0.0).count() as f64;
            let ranks = middle_ranks(&sizes);
            let signed = d.iter().zip(ranks).map(|(x, rank)| match *x {
                0.0 => 0.0,
                x => (rank - zeros).copysign(x),
            });
            Sample::Paired(signed.collect())
        }
        Sample::Apart(a, b) => {
            let all: Vec<f64> = a.iter().chain(b).copied().collect();
            let mut ranks = middle_ranks(&all);
            let of_b = ranks.split_off(a.len());
            Sample::Apart(ranks, of_b)
        }
    }
}

/// How much worse the candidate is, in sum over its values.
fn excess(sample: &Sample) -> f64 {
    match sample {
        Sample::Paired(d) => d.iter().sum(),
        Sample::Apart(a, b) => centred(a, b)[a.len()..].iter().sum(),
    }
}

fn magnitude(sample: &Sample) -> f64 {
    match sample {
        Sample::Paired(d) => d.iter().map(|x| x.abs()).sum(),
        Sample::Apart(a, b) => centred(a, b).iter().map(|x| x.abs()).sum(),
    }
}

/// Both samples, one behind the other, about their common mean.
fn centred(a: &[f64], b: &[f64]) -> Vec<f64> {
    let n = (a.len() + b.len()) as f64;
    let mean = (a.iter().sum::<f64>() + b.iter().sum::<f64>()) / n;
    a.iter().chain(b).map(|x| x - mean).collect()
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
            let squares: f64 = centred(a, b).iter().map(|x| x * x).sum();
            squares / (n + m - 1.0).max(1.0) * n * m / (n + m)
        }
    }
}

/// The sums of all sign patterns of `d`; bit `i` of an index turns value `i`.
fn sums(d: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for x in d {
        let n = sums.len();
        sums.extend_from_within(..);
        sums[..n].iter_mut().for_each(|s| *s += x);
        sums[n..].iter_mut().for_each(|s| *s -= x);
    }
    sums
}

fn sign_flips(d: &[f64], floor: f64) -> f64 {
    let sums = sums(d);
    let hits = sums.iter().filter(|s| **s >= floor).count();
    hits as f64 / sums.len() as f64
}

/// All ways to call `b.len()` of the values the candidate's.
fn arrangements(a: &[f64], b: &[f64], floor: f64) -> f64 {
    let centred = centred(a, b);
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

/// One stratum, ready to be drawn many times.
enum Urn {
    /// For each eight values the sums of all their sign patterns.
    Signs(Vec<Vec<f64>>),
    /// Centred values, the size of the smaller side, and whether that side is the base: then the
    /// candidate's sum is the negative of its sum.
    Labels(Vec<f64>, usize, bool),
}

impl Urn {
    fn new(sample: &Sample) -> Self {
        match sample {
            Sample::Paired(d) => Urn::Signs(d.chunks(8).map(sums).collect()),
            Sample::Apart(a, b) => {
                Urn::Labels(centred(a, b), a.len().min(b.len()), a.len() < b.len())
            }
        }
    }

    /// The excess of one random arrangement.
    fn draw(&mut self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Urn::Signs(chunks) => {
                let (mut bits, mut sum) = (0, 0.0);
                for (i, sums) in chunks.iter().enumerate() {
                    if i % 8 == 0 {
                        bits = rng.next_u64();
                    }
                    sum += sums[bits as usize & (sums.len() - 1)];
                    bits >>= 8;
                }
                sum
            }
            Urn::Labels(values, size, of_base) => {
                // The first steps of Fisher and Yates's shuffle choose the smaller side.
                let mut sum = 0.0;
                for i in 0..*size {
                    let left = (values.len() - i) as u64;
                    let j = i + ((u64::from(rng.next_u32()) * left) >> 32) as usize;
                    values.swap(i, j);
                    sum += values[i];
                }
                if *of_base { -sum } else { sum }
            }
        }
    }
}

/// A sequential sample: it ends early where the p-value is large (Besag and Clifford, Biometrika 78,
/// 1991).
fn sampled(strata: &[Sample], floor: f64, seed: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut urns: Vec<Urn> = strata.iter().map(Urn::new).collect();
    let mut hits = 0;
    for drawn in 1..=SAMPLED {
        let sum: f64 = urns.iter_mut().map(|urn| urn.draw(&mut rng)).sum();
        hits += u32::from(sum >= floor);
        if hits == ENOUGH {
            return f64::from(hits) / f64::from(drawn);
        }
    }
    f64::from(hits + 1) / f64::from(SAMPLED + 1)
}

fn choose(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_tests_count_what_they_say() {
        let d = vec![0.1, 0.2, 0.3, 0.4];
        assert_eq!(p_worse(&[Sample::Paired(d.clone())], 0), 1.0 / 16.0);
        let mirrored = Sample::Paired(d).mirrored();
        assert_eq!(p_worse(&[mirrored], 0), 1.0);
        let apart = Sample::Apart(vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]);
        assert_eq!(p_worse(std::slice::from_ref(&apart), 0), 1.0 / 20.0);
        assert_eq!(apart.shift(0.95), (Some(3.0), None));
        assert_eq!(p_worse(&[Sample::Paired(vec![0.0; 9])], 0), 1.0);
        // Pairs without a difference say nothing, and a wild one no more than any other.
        let wild = Sample::Paired(vec![0.0, 0.1, 0.0, 0.2, 0.3, 1e9]);
        assert_eq!(p_worse(&[wild], 0), 1.0 / 16.0);
        assert_eq!(
            ranked(&Sample::Paired(vec![0.0, -0.5, 0.1, 0.1])),
            Sample::Paired(vec![0.0, -3.0, 1.5, 1.5])
        );
        // Two rows of two and two: both must be worse by themselves.
        let row = Sample::Apart(vec![1.0, 2.0], vec![3.0, 4.0]);
        let low = Sample::Apart(vec![-9.0, -8.0], vec![-7.0, -6.0]);
        let p = p_worse(&[row, low], 0);
        assert!((p * 36.0 - 1.0).abs() < 0.1, "{p}");
    }

    #[test]
    fn sampled_and_normal_tests_agree_with_the_exact_one() {
        let d: Vec<f64> = (0..14)
            .map(|i| ((i * 5) % 14) as f64 / 14.0 - 0.3)
            .collect();
        let sample = ranked(&Sample::Paired(d.clone()));
        let Sample::Paired(ranks) = &sample else {
            return;
        };
        let floor = excess(&sample) - 1e-9;
        let (exact, drawn) = (
            sign_flips(ranks, floor),
            sampled(std::slice::from_ref(&sample), floor, 1),
        );
        assert!((drawn / exact - 1.0).abs() < 0.1, "{drawn} {exact}");

        let long: Vec<f64> = (0..LARGE + 1).map(|i| d[i % 14] - 0.12).collect();
        let sample = Sample::Paired(long);
        let normal = p_worse(std::slice::from_ref(&sample), 0);
        let sample = ranked(&sample);
        let drawn = sampled(std::slice::from_ref(&sample), excess(&sample) - 1e-9, 1);
        assert!(
            normal < 0.2 && (drawn / normal - 1.0).abs() < 0.1,
            "{drawn} {normal}"
        );
    }

    #[test]
    fn labels_are_drawn_alike_whichever_side_is_smaller() {
        let a: Vec<f64> = (0..9).map(|i| f64::from(i * i % 11)).collect();
        let b: Vec<f64> = (0..8).map(|i| f64::from(i * 5 % 13) + 2.0).collect();
        for sample in [Sample::Apart(a.clone(), b.clone()), Sample::Apart(b, a)] {
            let floor = excess(&sample) - 1e-9;
            let drawn = sampled(std::slice::from_ref(&sample), floor, 5);
            let Sample::Apart(a, b) = &sample else { return };
            let exact = arrangements(a, b, floor);
            assert!((drawn / exact - 1.0).abs() < 0.1, "{drawn} {exact}");
        }
    }
}

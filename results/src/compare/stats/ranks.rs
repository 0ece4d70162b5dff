//! The distributions of Wilcoxon's signed rank sum and of Mann and Whitney's rank sum.

/// Ranks from 1; equal values share the middle of theirs.
pub(crate) fn middle_ranks(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = |v: &f64| {
        let below = sorted.partition_point(|s| s.total_cmp(v).is_lt());
        let upto = sorted.partition_point(|s| s.total_cmp(v).is_le());
        (below + upto + 1) as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

/// How many sign patterns of `n` pairs have each signed rank sum, as shares of all.
pub(super) fn signed_rank_shares(n: usize) -> Vec<f64> {
    let mut shares = vec![1.0];
    for rank in 1..=n {
        let mut next = vec![0.0; shares.len() + rank];
        for (sum, share) in shares.iter().enumerate() {
            next[sum] += 0.5 * share;
            next[sum + rank] += 0.5 * share;
        }
        shares = next;
    }
    shares
}

/// Shares of the arrangements of `n` and `m` values by Mann and Whitney's statistic.
pub(super) fn rank_sum_shares(n: usize, m: usize) -> Vec<f64> {
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
pub(super) fn cut(shares: &[f64], tail: f64) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_intervals_have_their_tabled_coverage() {
        // Signed ranks: the tabled two-sided 5 % critical value is 0 for 6 pairs, 8 for 10; of no
        // use for 5 (Wilcoxon 1945, table I).
        assert_eq!(cut(&signed_rank_shares(5), 0.025), None);
        assert_eq!(cut(&signed_rank_shares(6), 0.025), Some(0));
        assert_eq!(cut(&signed_rank_shares(10), 0.025), Some(8));
        // Rank sums: 2 for 5 and 5, 23 for 10 and 10; of no use for 3 and 3.
        assert_eq!(cut(&rank_sum_shares(3, 3), 0.025), None);
        assert_eq!(cut(&rank_sum_shares(5, 5), 0.025), Some(2));
        assert_eq!(cut(&rank_sum_shares(10, 10), 0.025), Some(23));
    }
}

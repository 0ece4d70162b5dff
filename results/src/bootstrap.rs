//! How sure a score is: bootstrap intervals over studies, and ranks when one submission leaves.

use crate::score::{Matrix, Options, ScoreError, StudyTimes, score_times};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Settings of the bootstrap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BootstrapOptions {
    /// Resamples; 0 switches the intervals off.
    pub resamples: usize,
    /// Coverage, between 0 and 1.
    pub confidence: f64,
    /// Seed: the same seed gives the same intervals on every machine.
    pub seed: u64,
}

impl Default for BootstrapOptions {
    fn default() -> Self {
        Self {
            resamples: 2000,
            confidence: 0.95,
            seed: 0,
        }
    }
}

/// Percentile interval of one submission.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Score (low, high).
    pub score: (f64, f64),
    /// Rank (low, high).
    pub rank: (usize, usize),
}

/// Percentile bootstrap over studies (Efron and Tibshirani, "An Introduction to the Bootstrap",
/// 1993, chapter 13), one interval per submission in the table's order.
///
/// Each resample draws as many study numbers as there are, with replacement, and uses the same
/// draw for every submission and workload: studies share their seeds, so the pairing is kept.
/// Percentiles are sample values, the next one outwards where the percentile lies between two.
/// With few studies such an interval is a rough guide: with two there are only three different
/// resamples.
///
/// `None` with fewer than 2 studies, or 0 resamples.
///
/// # Errors
/// [`ScoreError::Setting`] when the confidence is not between 0 and 1; else as [`score_times`].
pub fn bootstrap(
    studies: &StudyTimes,
    options: &Options,
    settings: &BootstrapOptions,
) -> Result<Option<Vec<Interval>>, ScoreError> {
    if !(settings.confidence > 0.0 && settings.confidence < 1.0) {
        return Err(ScoreError::Setting {
            setting: "the confidence of the intervals",
            found: settings.confidence.to_string(),
            expected: "between 0 and 1",
        });
    }
    let numbers = studies.studies();
    if numbers.len() < 2 || settings.resamples == 0 {
        return Ok(None);
    }
    let submissions = studies.cells.len();
    let mut scores = vec![Vec::with_capacity(settings.resamples); submissions];
    let mut ranks = vec![Vec::with_capacity(settings.resamples); submissions];
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut draw = vec![0; numbers.len()];
    for _ in 0..settings.resamples {
        for number in &mut draw {
            *number = numbers[below(&mut rng, numbers.len())];
        }
        let scored = score_times(&studies.medians_of(&draw), options)?;
        for s in 0..submissions {
            scores[s].push(scored.scores[s]);
            ranks[s].push(scored.ranks[s]);
        }
    }
    let intervals = scores.iter_mut().zip(&mut ranks).map(|(scores, ranks)| {
        scores.sort_by(f64::total_cmp);
        ranks.sort_unstable();
        let (low, high) = percentiles(scores.len(), settings.confidence);
        Interval {
            score: (scores[low], scores[high]),
            rank: (ranks[low], ranks[high]),
        }
    });
    Ok(Some(intervals.collect()))
}

/// A number below `n`, by the high half of a 64 x 64 bit product. Written out here because a
/// library's sampling may change with its version, and the intervals must not.
fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// Positions of the two percentiles in `n` sorted values, rounded outwards.
fn percentiles(n: usize, confidence: f64) -> (usize, usize) {
    let last = n.saturating_sub(1);
    let tail = (1.0 - confidence) / 2.0;
    let low = (tail * last as f64).floor() as usize;
    (low, last - low.min(last))
}

/// The ranks (best, worst) that each submission takes when any one other is left out of the
/// comparison, in the numbering of the full board: where a submission ahead of it leaves, its
/// rank among the others is counted one further back. So (rank, rank) means that its place does
/// not depend on who else takes part. It can, because ratios are taken over the best time of
/// those present.
///
/// `None` with fewer than 2 submissions.
///
/// # Errors
/// As [`score_times`].
pub fn leave_one_submission_out(
    times: &Matrix,
    options: &Options,
) -> Result<Option<Vec<(usize, usize)>>, ScoreError> {
    if times.len() < 2 {
        return Ok(None);
    }
    let full = score_times(times, options)?.ranks;
    let mut ranges = vec![(usize::MAX, 0); times.len()];
    for out in 0..times.len() {
        let mut rest = times.clone();
        rest.remove(out);
        let scored = score_times(&rest, options)?;
        let others = (0..times.len()).filter(|s| *s != out);
        for (submission, rank) in others.zip(scored.ranks) {
            let place = rank + usize::from(full[out] < full[submission]);
            let range = &mut ranges[submission];
            *range = (range.0.min(place), range.1.max(place));
        }
    }
    Ok(Some(ranges))
}

//! CTC's loss with its gradient (Graves et al. 2006), from scores.
//!
//! The states of an example are its tokens with blanks around and between them. `a_t(s)` is the weight of all
//! beginnings that end in state `s` at position `t`, `b_t(s)` that of all ends behind it; the share of paths
//! through a state is `a b` over its sum, and the gradient of a score is the softmax less the shares of its
//! token. Weights are plain numbers, scaled at each position; where they vanish all the same (a model that is
//! sure of something else), their logarithms.

use crate::pass::{max, sum};
use rayon::prelude::*;

/// The token between tokens.
const BLANK: usize = 0;

/// A batch: scores `[examples, positions, classes]`, tokens `[examples, most tokens]`, and how many positions and
/// tokens each example has.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) logits: &'a [f32],
    pub(crate) positions: usize,
    pub(crate) classes: usize,
    pub(crate) tokens: &'a [usize],
    pub(crate) most: usize,
    pub(crate) lengths: [&'a [usize]; 2],
}

/// A weight of paths.
trait Weight: Copy {
    const NONE: Self;
    fn of_log(log: f64) -> Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn over(self, other: Self) -> Self;
    fn log(self) -> f64;
    fn value(self) -> f64;

    fn total(weights: &[Self]) -> Self {
        weights.iter().fold(Self::NONE, |sum, w| sum.plus(*w))
    }
}

/// The weight itself.
#[derive(Clone, Copy)]
struct Plain(f64);

impl Weight for Plain {
    const NONE: Self = Self(0.0);

    fn of_log(log: f64) -> Self {
        Self(log.exp())
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    fn times(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }

    fn over(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }

    fn log(self) -> f64 {
        self.0.ln()
    }

    fn value(self) -> f64 {
        self.0
    }
}

/// Its logarithm.
#[derive(Clone, Copy)]
struct Log(f64);

impl Weight for Log {
    const NONE: Self = Self(f64::NEG_INFINITY);

    fn of_log(log: f64) -> Self {
        Self(log)
    }

    fn plus(self, other: Self) -> Self {
        let (small, large) = if self.0 < other.0 {
            (self.0, other.0)
        } else {
            (other.0, self.0)
        };
        if small == f64::NEG_INFINITY {
            return Self(large);
        }
        Self(large + (small - large).exp().ln_1p())
    }

    fn times(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    fn over(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    fn log(self) -> f64 {
        self.0
    }

    fn value(self) -> f64 {
        self.0.exp()
    }
}

/// One example.
struct Example<'a> {
    /// `[positions, classes]` without padding.
    logits: &'a [f32],
    classes: usize,
    tokens: &'a [usize],
}

impl Example<'_> {
    fn states(&self) -> usize {
        2 * self.tokens.len() + 1
    }

    /// The token of a state.
    fn token(&self, state: usize) -> usize {
        match state % 2 {
            0 => BLANK,
            _ => self.tokens.get(state / 2).copied().unwrap_or(BLANK),
        }
    }

    /// Whether a path may go from the state two before to this one: over the blank between two tokens that
    /// differ.
    fn skips(&self, state: usize) -> bool {
        state % 2 == 1 && state >= 3 && self.token(state) != self.token(state - 2)
    }

    /// For each position the weight of each state's token, `[positions, states]`.
    fn weights<W: Weight>(&self) -> Vec<W> {
        let rows = self.logits.chunks_exact(self.classes.max(1));
        let row = |logits: &[f32]| {
            let largest = max(logits);
            let total = sum(logits, |x| crate::scalar::exp(x - largest));
            let log = f64::from(largest) + f64::from(total).ln();
            let weight = |state| match logits.get(self.token(state)) {
                Some(logit) => W::of_log(f64::from(*logit) - log),
                None => W::NONE,
            };
            (0..self.states()).map(weight).collect::<Vec<W>>()
        };
        rows.flat_map(row).collect()
    }

    /// `-ln p(tokens)`, and where wanted the shares of paths through each state, `[positions, states]`. `None`
    /// where no path has a weight.
    fn paths<W: Weight>(&self, shares: bool) -> Option<(f64, Vec<f64>)> {
        let states = self.states();
        let weights = self.weights::<W>();
        let rows: Vec<&[W]> = weights.chunks_exact(states).collect();
        let mut begun: Vec<Vec<W>> = Vec::with_capacity(rows.len());
        let mut log = 0.0;
        for row in &rows {
            let mut next: Vec<W> = match begun.last() {
                None => row.iter().take(2).copied().collect(),
                Some(before) => (0..states)
                    .map(|s| self.before(before, s).times(row[s]))
                    .collect(),
            };
            next.resize(states, W::NONE);
            let total = W::total(&next);
            if total.log() == f64::NEG_INFINITY {
                return None;
            }
            next.iter_mut().for_each(|w| *w = w.over(total));
            log += total.log();
            begun.push(next);
        }
        let last = begun.last()?;
        log += W::total(&last[states.saturating_sub(2)..]).log();
        if log == f64::NEG_INFINITY {
            return None;
        }
        let shares = if shares {
            self.shares(&rows, &begun)
        } else {
            Vec::new()
        };
        Some((-log, shares))
    }

    /// The sum over the states from which a path gets to this one.
    fn before<W: Weight>(&self, weights: &[W], state: usize) -> W {
        let at = |back: usize| state.checked_sub(back).and_then(|s| weights.get(s));
        let sum = at(0).copied().unwrap_or(W::NONE);
        let sum = at(1).map_or(sum, |w| sum.plus(*w));
        match at(2).filter(|_| self.skips(state)) {
            Some(w) => sum.plus(*w),
            None => sum,
        }
    }

    fn shares<W: Weight>(&self, rows: &[&[W]], begun: &[Vec<W>]) -> Vec<f64> {
        let states = self.states();
        let mut ends = vec![W::NONE; states];
        for end in ends.iter_mut().rev().take(2) {
            *end = W::of_log(0.0);
        }
        let mut shares = vec![0.0; rows.len() * states];
        let positions = shares.chunks_exact_mut(states).zip(begun).enumerate();
        for (position, (shares, begun)) in positions.rev() {
            if let Some(row) = rows.get(position + 1) {
                let onward: Vec<W> = ends.iter().zip(*row).map(|(e, w)| e.times(*w)).collect();
                for (state, end) in ends.iter_mut().enumerate() {
                    let mut sum = onward[state];
                    if let Some(w) = onward.get(state + 1) {
                        sum = sum.plus(*w);
                    }
                    if let Some(w) = onward.get(state + 2).filter(|_| self.skips(state + 2)) {
                        sum = sum.plus(*w);
                    }
                    *end = sum;
                }
                let total = W::total(&ends);
                ends.iter_mut().for_each(|w| *w = w.over(total));
            }
            let through: Vec<W> = begun.iter().zip(&ends).map(|(b, e)| b.times(*e)).collect();
            let total = W::total(&through);
            for (share, through) in shares.iter_mut().zip(through) {
                *share = through.over(total).value();
            }
        }
        shares
    }

    /// The loss; with `out`, `[positions, classes]`, the gradient of the scores too. Both are 0 where no
    /// path spells the tokens.
    fn solve(&self, out: Option<&mut [f32]>) -> f32 {
        let wanted = out.is_some();
        let paths = self.paths::<Plain>(wanted);
        let Some((loss, shares)) = paths.or_else(|| self.paths::<Log>(wanted)) else {
            return 0.0;
        };
        if let Some(out) = out {
            let classes = self.classes.max(1);
            let rows = out
                .chunks_exact_mut(classes)
                .zip(self.logits.chunks_exact(classes));
            for ((out, logits), shares) in rows.zip(shares.chunks_exact(self.states())) {
                out.copy_from_slice(logits);
                crate::rows::softmax_row(out);
                for (state, share) in shares.iter().enumerate() {
                    if let Some(out) = out.get_mut(self.token(state)) {
                        *out -= *share as f32;
                    }
                }
            }
        }
        loss as f32
    }
}

impl<'a> Batch<'a> {
    fn example(&self, nth: usize) -> Option<Example<'a>> {
        let size = self.positions * self.classes;
        let logits = self.logits.get(nth * size..(nth + 1) * size)?;
        let [positions, tokens] = self.lengths.map(|l| l.get(nth).copied().unwrap_or(0));
        let all = self.tokens.get(nth * self.most..(nth + 1) * self.most)?;
        Some(Example {
            logits: logits.get(..positions.min(self.positions) * self.classes)?,
            classes: self.classes,
            tokens: all.get(..tokens.min(self.most))?,
        })
    }

    /// The loss of each example.
    pub(crate) fn losses(&self) -> Vec<f32> {
        let examples = 0..self.lengths[0].len();
        let loss = |nth| self.example(nth).map_or(f32::NAN, |e| e.solve(None));
        examples.into_par_iter().map(loss).collect()
    }

    /// The loss of each example, and its gradient: zero at padding.
    pub(crate) fn losses_and_gradient(&self) -> (Vec<f32>, Vec<f32>) {
        let size = (self.positions * self.classes).max(1);
        let mut gradient = vec![0.0; self.logits.len()];
        let examples = gradient.par_chunks_mut(size).enumerate();
        let losses = examples.map(|(nth, out)| {
            self.example(nth).map_or(f32::NAN, |example| {
                let length = example.logits.len();
                example.solve(out.get_mut(..length))
            })
        });
        (losses.collect(), gradient)
    }
}

/// Multiplies each of so many equal parts by its factor.
pub(crate) fn scale(values: &mut [f32], factors: &[f32]) {
    let size = (values.len() / factors.len().max(1)).max(1);
    let parts = values.par_chunks_mut(size).zip(factors);
    parts.for_each(|(part, factor)| part.iter_mut().for_each(|v| *v *= *factor));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both kinds of weights give the same, and scores that let all plain weights vanish have a loss still.
    #[test]
    fn logarithms_take_over() {
        let tokens = [1, 2];
        let example = |logits| Example {
            logits,
            classes: 3,
            tokens: &tokens,
        };
        let mild: Vec<f32> = (0..15).map(|i| ((i * 7) % 11) as f32 * 0.3).collect();
        let mild = example(&mild);
        let (plain, log) = (mild.paths::<Plain>(true), mild.paths::<Log>(true));
        let ((a, of_a), (b, of_b)) = (plain.unwrap(), log.unwrap());
        assert!((a - b).abs() < 1e-12);
        assert!(of_a.iter().zip(&of_b).all(|(a, b)| (a - b).abs() < 1e-12));
        // The blank is far ahead at each of five positions: two tokens cost 2 * 900.
        let sure: Vec<f32> = (0..15)
            .map(|i| if i % 3 == 0 { 900.0 } else { 0.0 })
            .collect();
        let sure = example(&sure);
        assert!(sure.paths::<Plain>(false).is_none());
        let mut gradient = vec![0.0; 15];
        let loss = sure.solve(Some(&mut gradient));
        assert!((loss - 1800.0).abs() < 3.0, "{loss}");
        assert!(gradient.iter().all(|g| g.is_finite()));
        assert!(gradient.iter().any(|g| *g < -0.1));
    }

    #[test]
    fn without_an_alignment_there_is_no_loss() {
        let example = Example {
            logits: &[0.0; 6],
            classes: 3,
            tokens: &[1, 1],
        };
        let mut gradient = vec![0.0; 6];
        // Two equal tokens need a blank between them, and so three positions.
        assert_eq!(example.solve(Some(&mut gradient)), 0.0);
        assert_eq!(gradient, [0.0; 6]);
    }
}

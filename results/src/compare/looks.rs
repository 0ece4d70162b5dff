//! Looking at a race while it goes on, without paying for it in false alarms.

use super::CompareOptions;
use serde::{Deserialize, Serialize};

/// The looks at a race so far, and what the next one may spend.
///
/// Who looks often and stops at the first alarm errs more often than each test says. So the error is
/// spent as the race goes on, in proportion to the share of its pairs (the linear spending function of
/// Lan and DeMets, Biometrika 70, 1983): a look may err with what has been spent since the look before.
/// All looks together then err with at most the whole, however they depend on each other (Bonferroni),
/// and however many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// Pairs that the race has at most.
    pub most: usize,
    /// Pairs at each look so far.
    pub at: Vec<usize>,
}

impl Looks {
    /// No look yet at a race of at most `most` pairs.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            at: Vec::new(),
        }
    }

    fn last(&self) -> usize {
        self.at.last().copied().unwrap_or(0)
    }

    /// Whether `pairs` are enough for the next look: a fifth more than at the last one, since a look
    /// that comes too soon has little to spend, or all.
    pub fn is_due(&self, pairs: usize) -> bool {
        let last = self.last();
        pairs > last && (pairs >= self.most || pairs - last >= last.div_ceil(5))
    }

    /// The share of the whole error that a look at `pairs` may spend.
    pub fn share(&self, pairs: usize) -> f64 {
        let fresh = pairs.min(self.most).saturating_sub(self.last());
        fresh as f64 / self.most.max(1) as f64
    }

    /// The options of a look at `pairs`: those of the whole race with this look's share of both errors.
    pub fn options(&self, whole: &CompareOptions, pairs: usize) -> CompareOptions {
        let share = self.share(pairs);
        CompareOptions {
            family_error: whole.family_error * share,
            confidence: 1.0 - (1.0 - whole.confidence) * share,
            ..*whole
        }
    }

    /// Books a look.
    pub fn book(&mut self, pairs: usize) {
        self.at.push(pairs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_looks_spend_the_error_once() {
        let whole = CompareOptions::default();
        for (most, block) in [(40, 1), (80, 2), (7, 3), (1, 1)] {
            let mut looks = Looks::new(most);
            let (mut error, mut miss, mut spent) = (0.0, 0.0, Vec::new());
            let blocks = (1..).map(|b| (b * block).min(most));
            for pairs in blocks.take(most) {
                if looks.is_due(pairs) {
                    let of_look = looks.options(&whole, pairs);
                    error += of_look.family_error;
                    miss += 1.0 - of_look.confidence;
                    spent.push(looks.share(pairs));
                    looks.book(pairs);
                }
            }
            assert_eq!(looks.at.last(), Some(&most), "{looks:?}");
            assert!((error - whole.family_error).abs() < 1e-12, "{error}");
            assert!((miss - (1.0 - whole.confidence)).abs() < 1e-12, "{miss}");
            // Later looks, which decide most races, have enough to spend.
            assert!(spent.last().is_some_and(|s| *s > 0.1), "{spent:?}");
            assert!(looks.at.len() < 20, "{looks:?}");
        }
    }
}

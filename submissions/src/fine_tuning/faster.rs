//! Two learning rates in one schedule.

use crate::fused::{Now, Number, Rule};

/// A rule at a multiple of the scheduled learning rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faster<R> {
    /// The rule.
    pub(super) rule: R,
    /// The multiple.
    pub(super) factor: f64,
}

impl<R: Rule<S>, const S: usize> Rule<S> for Faster<R> {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; S]) -> (N, [N; S]) + Sync {
        self.rule.rule(Now {
            lr: now.lr * self.factor,
            ..now
        })
    }
}

//! Two learning rates in one schedule.

use crate::fused::{Fused, Now, Number, Rule};
use crate::optimizers::adamw::AdamW;
use burn::optim::ModuleOptimizer;
use std::collections::BTreeSet;
use velodrome_harness::contract::{Point, SubmissionError, Trainee};

/// A rule at a multiple of the scheduled learning rate.
#[derive(Debug, Clone, Copy)]
struct Faster<R> {
    /// The rule.
    rule: R,
    /// The multiple.
    factor: f64,
}

impl<R: Rule<S>, const S: usize> Rule<S> for Faster<R> {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; S]) -> (N, [N; S]) + Sync {
        self.rule.rule(Now {
            lr: now.lr * self.factor,
            ..now
        })
    }
}

/// AdamW with the point's numbers; the parameters of the indices in `group` at `factor` times the rate.
pub(super) fn two_rates(
    trainee: &Trainee,
    point: &Point,
    group: &BTreeSet<usize>,
    factor: f64,
) -> Result<ModuleOptimizer, SubmissionError> {
    let rule = AdamW::from_point(point)?;
    Ok(ModuleOptimizer::from(Fused(rule)).with_group(
        trainee.group(|p| group.contains(&p.index)),
        Fused(Faster { rule, factor }),
        None,
    ))
}

//! Elementwise rules, written once and fused into one pass over memory.
//!
//! An author implements [`Rule`]: a closure from one entry of a parameter, its gradient and its
//! state to their new values. From that text come
//! - on the CPU device, one pass that reads and writes each number once, on all threads;
//! - on any other device, the same rule as tensor expressions;
//! - a burn [`Optimizer`], [`Fused`].
//!
//! With a name and a search space ([`Elementwise`]) it is a submission, [`Racing`], whose state
//! size is known. `submissions/src/optimizers/lion.rs` is a short example.

mod number;
mod pass;

pub use number::Number;

pub(crate) use number::Entry;
pub(crate) use pass::{EntryRule, entries};

use crate::common::with_regularisation;
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::{Schedule, WarmupCosine};
use burn::optim::{Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use burn_pack::Scalar;
use std::marker::PhantomData;
use velodrome_harness::contract::{
    Algorithm, Claim, Description, Hints, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// What the file of an elementwise submission needs.
pub mod prelude {
    pub use super::{Elementwise, Now, Number, Rule};
    pub use crate::common::{PRETRAIN, fraction, non_negative};
    pub use velodrome_harness::contract::{
        Claim, Description, Hints, Point, SearchSpace, SubmissionError,
    };
}

/// What a rule knows of the present step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// The scheduled learning rate.
    pub lr: f64,
    /// Number of this parameter's step, from 1.
    pub time: usize,
}

impl Now {
    /// `1 - beta^time`: what an average from zero has to be divided by.
    pub fn correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.time as f64)
    }
}

/// A rule that treats every entry of a parameter alike and by itself, with `S` numbers of state per
/// entry (all from zero).
pub trait Rule<const S: usize>: Clone + Send + Sync + 'static {
    /// The step: from a parameter's entry, its gradient and its state to the new entry and state.
    /// Scalars computed before the closure cost nothing per entry.
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; S]) -> (N, [N; S]) + Sync;
}

/// A [`Rule`] that races: one gradient per step at the scheduled learning rate.
pub trait Elementwise<const S: usize>: Rule<S> {
    /// What the submission says of itself.
    const CARD: Description;

    /// What the manual claims; `verify` checks it.
    const CLAIMS: &'static [Claim] = &[];

    /// Its hyperparameters; `label_smoothing` and `dropout` are added behind them.
    fn space() -> SearchSpace;

    /// The rule at a point; refuses values that are out of range.
    fn new(point: &Point, hints: &Hints) -> Result<Self, SubmissionError>;

    /// The learning rate; by default [`WarmupCosine`] from `learning_rate` and `warmup_factor`.
    fn schedule(context: &StartContext) -> Result<Box<dyn Schedule>, SubmissionError> {
        Ok(Box::new(WarmupCosine::start(context)?))
    }

    /// Largest global norm of the gradients; `None` does not clip.
    fn clip_norm(&self) -> Option<f64> {
        None
    }
}

/// A rule as a burn optimizer.
#[derive(Debug, Clone, Copy)]
pub struct Fused<R, const S: usize>(pub R);

/// State of a [`Fused`] rule for one parameter.
#[derive(Debug, Clone)]
pub struct Slots<R, const S: usize, const D: usize> {
    /// Steps taken.
    time: usize,
    /// Tensors of the parameter's shape.
    slots: [Tensor<D>; S],
    rule: PhantomData<fn() -> R>,
}

impl<R, const S: usize, const D: usize> Slots<R, S, D> {
    fn new(time: usize, slots: [Tensor<D>; S]) -> Self {
        let rule = PhantomData;
        Self { time, slots, rule }
    }

    /// Name of number `index` in a saved state. It holds the rule's, so that another rule's state
    /// of the same size is refused.
    fn name(index: usize) -> String {
        let path = std::any::type_name::<R>();
        let rule = path.rsplit("::").next().unwrap_or(path);
        format!("{rule}.{index}")
    }
}

impl<R: 'static, const S: usize, const D: usize> RecordState for Slots<R, S, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, TIME, Scalar::from(self.time));
        for (index, tensor) in self.slots.iter().enumerate() {
            out.push_tensor(prefix, &Self::name(index), tensor.clone().into_data());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let time = usize::try_from(source.take_scalar(prefix, TIME)?).ok()?;
        let mut slots = Vec::with_capacity(S);
        for index in 0..S {
            let data = source.take_tensor(prefix, &Self::name(index))?;
            slots.push(Tensor::from_data(data, device));
        }
        Some(Self::new(time, slots.try_into().ok()?))
    }
}

/// Name of the number of steps in a saved state.
const TIME: &str = "time";

impl<R: Rule<S>, const S: usize> Optimizer for Fused<R, S> {
    type State<const D: usize> = Slots<R, S, D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, slots) = match state {
            Some(state) => (state.time + 1, state.slots),
            None => (1, std::array::from_fn(|_| tensor.zeros_like())),
        };
        let now = Now {
            lr: learning_rate,
            time,
        };
        let (tensor, slots) = pass::step(&self.0, now, tensor, grad, slots);
        (tensor, Some(Slots::new(time, slots)))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        Slots::new(state.time, state.slots.map(|s| s.to_device(device)))
    }
}

/// One step of a rule outside a burn optimizer: for algorithms that hold the state themselves.
/// All tensors have one shape.
pub fn step<R: Rule<S>, const S: usize, const D: usize>(
    rule: &R,
    now: Now,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: [Tensor<D>; S],
) -> (Tensor<D>, [Tensor<D>; S]) {
    pass::step(rule, now, parameter, gradient, state)
}

/// The submission of an elementwise rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Racing<R, const S: usize>(PhantomData<fn() -> R>);

impl<R, const S: usize> Racing<R, S> {
    /// For the table of submissions.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Elementwise<S>, const S: usize> Submission for Racing<R, S> {
    fn describe(&self) -> Description {
        R::CARD
    }

    fn search_space(&self) -> SearchSpace {
        with_regularisation(R::space())
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        let trainable = params.iter().filter(|p| p.trainable);
        Some(trainable.map(|p| 4 * S as u64 * p.len() as u64).sum())
    }

    fn claims(&self) -> Vec<Claim> {
        R::CLAIMS.to_vec()
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = R::new(&context.point, &context.hints)?;
        let clip = rule.clip_norm();
        let algorithm = ScheduledOptimizer::racing(Fused(rule), R::schedule(context)?, context)?;
        Ok(Box::new(match clip {
            Some(norm) => algorithm.with_clip_norm(norm),
            None => algorithm,
        }))
    }
}

#[cfg(test)]
mod tests;

//! The Lion-K family: Lion with the sign replaced by a subgradient of any convex `K` (Chen et al., arXiv
//! 2310.05898).
//!
//! With gradient `g`, parameter `p`, average `m` from zero:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr dK(c)
//! m = beta2 m + (1 - beta2) g
//! ```
//! `K` has its least value at 0. What the rule minimises is `f(p) + K*(-wd p) / wd`: weight decay and `K`
//! together set a constraint, that `wd p` is in the domain of the conjugate `K*`, and whatever the
//! gradients are, the distance from it shrinks by `1 - lr wd` in each step ([`ball`] checks that). Lion is
//! the case where `K` is the sum of absolute values, and the domain a box.
//!
//! `K` that treat entries alike and by themselves are fused rules ([`huber`], [`shrink`]); a [`Kernel`]
//! looks at a whole tensor.

pub mod ball;
pub mod group;
pub mod huber;
pub mod l2;
pub mod nuclear;
pub mod shrink;
pub mod top;

use super::parts::{decay, ema};
use crate::common::{fraction, non_negative, with_regularisation};
use crate::flat;
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use std::marker::PhantomData;
use velodrome_harness::contract::{
    Algorithm, Claim, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// A convex function of a tensor that makes a member of the family.
pub trait Kernel: Clone + Send + Sync + 'static {
    /// What the submission says of itself.
    const CARD: Description;

    /// Adds the hyperparameters of `K` to those of the family.
    fn space(space: SearchSpace) -> SearchSpace;

    /// `K` at a point; refuses values that are out of range.
    fn new(point: &Point) -> Result<Self, SubmissionError>;

    /// A subgradient of `K` at `c`, of the same shape; 0 at 0.
    fn subgradient<const D: usize>(&self, c: Tensor<D>) -> Tensor<D>;

    /// The constraint that the manual states.
    fn claims() -> Vec<Claim>;
}

/// The family's update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LionK<K> {
    /// Share of the average in the step, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// `K`.
    pub kernel: K,
}

impl<K: Kernel> LionK<K> {
    /// From the hyperparameters of the search space.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            weight_decay: non_negative(point, "weight_decay")?,
            kernel: K::new(point)?,
        })
    }
}

/// State of [`LionK`] for one parameter.
#[derive(RecordState, Clone)]
pub struct LionKState<const D: usize> {
    /// Average of gradients.
    pub average: Tensor<D>,
}

impl<K: Kernel> Optimizer for LionK<K> {
    type State<const D: usize> = LionKState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let before = state.map(|s| s.average);
        let c = ema(before.clone(), grad.clone(), self.beta1);
        let step = self.kernel.subgradient(c).mul_scalar(lr);
        let tensor = decay(tensor, lr, self.weight_decay) - step;
        let average = ema(before, grad, self.beta2);
        (tensor, Some(LionKState { average }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        LionKState {
            average: state.average.to_device(device),
        }
    }
}

/// The submission of a [`Kernel`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Riding<K>(PhantomData<fn() -> K>);

impl<K> Riding<K> {
    /// For the table of submissions.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// The hyperparameters that all members share, with Lion's ranges.
pub fn space() -> SearchSpace {
    SearchSpace::new()
        .log_uniform("learning_rate", 3e-5, 3e-3, 1.5e-3)
        .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
        .one_minus_log_uniform("beta2", 0.005, 0.05, 0.99)
        .log_uniform("weight_decay", 0.02, 5.0, 0.5)
        .fixed("warmup_factor", 0.05)
}

impl<K: Kernel> Submission for Riding<K> {
    fn describe(&self) -> Description {
        K::CARD
    }

    fn search_space(&self) -> SearchSpace {
        with_regularisation(K::space(space()))
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(flat::bytes_per_entry(params, 1))
    }

    fn claims(&self) -> Vec<Claim> {
        K::claims()
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        ScheduledOptimizer::cosine(LionK::<K>::from_point(&context.point)?, context)
    }
}

/// The tensor in the direction of `c` whose Euclidean norms over the `axes` are 1; 0 where they are 0
/// in `c`.
fn unit<const D: usize>(c: Tensor<D>, axes: &[usize]) -> Tensor<D> {
    let over = |mut tensor: Tensor<D>, reduce: fn(Tensor<D>, usize) -> Tensor<D>| {
        for &axis in axes {
            tensor = reduce(tensor, axis);
        }
        tensor
    };
    // Divided by the largest entry first: squares of small numbers are 0 in 32 bits.
    let largest = over(c.clone().abs(), |t, axis| t.max_dim(axis));
    let x = c / largest.clamp_min(f32::MIN_POSITIVE);
    let norm = over(x.clone().square(), |t, axis| t.sum_dim(axis)).sqrt();
    x / norm.clamp_min(1.0)
}

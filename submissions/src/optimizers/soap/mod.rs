//! SOAP: Adam in the slowly turning eigenbasis of Shampoo's statistics.
//!
//! # Rule
//! A tensor of two or more axes keeps for each axis `k` (no longer than `max_precondition_dim`) a factor
//! `L_k` and an orthonormal basis `Q_k`; `G_k` is the gradient unfolded along that axis. The first
//! gradient moves nothing:
//! ```text
//! L_k = (1 - beta2) G_k G_k^T,   Q_k = eigenvectors of L_k, largest first
//! ```
//! At each later gradient `g`, with `t` from 1 and averages `m` and `v` from zero:
//! ```text
//! r = g turned into the bases (contracted with Q_k along each axis)
//! m = beta1 m + (1 - beta1) r
//! v = beta2 v + (1 - beta2) r^2
//! p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) (m / (sqrt(v) + epsilon), turned back)
//! p = (1 - lr wd) p
//! L_k = beta2 L_k + (1 - beta2) G_k G_k^T
//! ```
//! and after every `precondition_frequency` of them one step of the power method turns the bases:
//! ```text
//! columns of Q_k by diag(Q_k^T L_k Q_k), largest first, and v along that axis likewise
//! Q_k = orthonormal columns of L_k Q_k (the Q of its QR decomposition)
//! m   = m turned back by the old bases and into the new ones
//! ```
//! Longer axes have no factor and the basis `I`; tensors of one axis take the same Adam without any.
//! Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 3e-3 | 1e-4 to 2e-2, logarithmic |
//! | `beta1` | 0.95 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.95 | fixed; also the decay rate of the factors |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.01 | 1e-3 to 1, logarithmic |
//! | `precondition_frequency` | 10 | fixed; whole steps |
//! | `max_precondition_dim` | 1024 | fixed; the authors' code has 10000 |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per parameter for `m` and `v`, and `8 d^2` bytes for each axis of side `d` that has a factor:
//! a matrix `m` by `n` takes `8 m n + 8 (m^2 + n^2)` bytes. Tensors of one axis: 8 per parameter.
//!
//! # Sources
//! Vyas et al., arXiv 2409.11321. Checked against `SOAP` of `pytorch_optimizer` 4.1.0.
//!
//! # What differs
//! Off in the authors' code by default, and not built: merging short axes, factors for tensors of one
//! axis, steps divided by their root mean square. The limit of `max_precondition_dim` is lower, since a
//! decomposition of side 10000 takes minutes on a CPU. The first eigenvectors and the orthonormal columns
//! are computed in 64 bits (the package takes the latter in 32).
//!
//! Where the first gradient has a null space (a matrix that is not square always has), nothing but the
//! rounding of an eigenvalue routine chooses the basis in it, and Adam's step depends on that choice. So
//! a trajectory of other code cannot be followed from its gradients alone: [`Soap::starting_as`] finds
//! that part of the basis, and no other, from the first values of the trajectory.

mod beginning;

pub use beginning::Beginning;

use super::parts::{bias_correction, decay, ema};
use crate::bowl;
use crate::common::{PRETRAIN, fraction, non_negative, whole, with_regularisation};
use crate::linalg;
use crate::scheduled::ScheduledOptimizer;
use beginning::NullSpace;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use std::sync::Arc;
use velodrome_harness::contract::{
    Algorithm, Claim, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone)]
pub struct Soap {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients and of the factors, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second average, which is not corrected for its bias.
    pub epsilon: f64,
    /// Weight decay after the step; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Steps between two turns of the bases.
    pub frequency: usize,
    /// Longest axis that gets a factor.
    pub max_side: usize,
    /// Parts of first bases that are known from elsewhere.
    known: Arc<[NullSpace]>,
}

impl Soap {
    /// From the hyperparameters of the search space.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            frequency: whole(point, "precondition_frequency")?,
            max_side: whole(point, "max_precondition_dim")?,
            known: Arc::default(),
        })
    }

    /// The axes of a tensor of this shape that get a factor.
    fn axes(&self, shape: &[usize]) -> Vec<usize> {
        let matrix = shape.len() >= 2 && !shape.contains(&0);
        (0..shape.len())
            .filter(|&k| matrix && shape[k] <= self.max_side)
            .collect()
    }

    /// Bytes of state of a tensor of this shape.
    pub fn state_bytes(&self, shape: &[usize]) -> u64 {
        let square = |k: usize| (shape[k] * shape[k]) as u64;
        let factors: u64 = self.axes(shape).into_iter().map(square).sum();
        8 * (shape.iter().product::<usize>() as u64 + factors)
    }

    /// The state after the first gradient.
    fn begin<const D: usize>(&self, gradient: Tensor<D>) -> SoapState<D> {
        let axes = self.axes(&gradient.dims());
        let factor = |&k: &usize| linalg::gram(gradient.clone(), k).mul_scalar(1.0 - self.beta2);
        let basis = |&k: &usize| {
            first_basis(&gradient, k, &self.known)
                .unwrap_or_else(|| Tensor::eye(gradient.dims()[k], &gradient.device()))
        };
        SoapState {
            time: 0,
            moment_1: gradient.zeros_like(),
            moment_2: gradient.zeros_like(),
            factors: axes.iter().map(factor).collect(),
            bases: axes.iter().map(basis).collect(),
        }
    }

    /// One step of the power method for each basis. A factor without decomposition keeps its basis.
    fn turn_bases<const D: usize>(&self, state: SoapState<D>) -> SoapState<D> {
        let shape = state.moment_1.dims();
        let axes = self.axes(&shape);
        let old = by_axis(D, &axes, &state.bases);
        let m = linalg::turn(state.moment_1, &old, true);
        let mut v = state.moment_2;
        let mut bases = Vec::with_capacity(axes.len());
        for ((&k, factor), basis) in axes.iter().zip(&state.factors).zip(&state.bases) {
            match turned_basis(factor, basis) {
                Some((order, turned)) => {
                    v = v.select(k, linalg::indices(&order, &factor.device()));
                    bases.push(turned);
                }
                None => bases.push(basis.clone()),
            }
        }
        let moment_1 = linalg::turn(m, &by_axis(D, &axes, &bases), false);
        SoapState {
            time: state.time,
            moment_1,
            moment_2: v,
            factors: state.factors,
            bases,
        }
    }
}

/// Matrices in the places of their axes.
fn by_axis<'a>(
    rank: usize,
    axes: &[usize],
    matrices: &'a [Tensor<2>],
) -> Vec<Option<&'a Tensor<2>>> {
    let mut places = vec![None; rank];
    for (&k, matrix) in axes.iter().zip(matrices) {
        if let Some(place) = places.get_mut(k) {
            *place = Some(matrix);
        }
    }
    places
}

/// Eigenvectors of the first factor along `axis`, from the gradient in 64 bits.
fn first_basis<const D: usize>(
    gradient: &Tensor<D>,
    axis: usize,
    known: &[NullSpace],
) -> Option<Tensor<2>> {
    let rows = linalg::to_host(linalg::unfold(gradient.clone(), axis))?;
    let mut vectors = linalg::eigen(&rows * rows.transpose())?.vectors;
    if let Some(part) = known
        .iter()
        .find(|part| part.fits(&gradient.dims(), axis, &rows))
    {
        part.put_into(&mut vectors);
    }
    Some(linalg::to_device(&vectors, &gradient.device()))
}

/// The order in which the columns were taken, and the new basis.
fn turned_basis(factor: &Tensor<2>, basis: &Tensor<2>) -> Option<(Vec<usize>, Tensor<2>)> {
    let product = factor.clone().matmul(basis.clone());
    let sizes = (basis.clone() * product.clone()).sum_dim(0);
    let sizes = sizes.into_data().convert::<f32>();
    let sizes = sizes.as_slice::<f32>().ok()?;
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|&a, &b| sizes[b].total_cmp(&sizes[a]));
    let sorted = product.select(1, linalg::indices(&order, &factor.device()));
    Some((order, linalg::orthonormal(sorted)?))
}

/// State of [`Soap`] for one parameter.
#[derive(RecordState, Clone)]
pub struct SoapState<const D: usize> {
    /// Steps taken: gradients after the first.
    pub time: usize,
    /// Average of gradients, in the bases.
    pub moment_1: Tensor<D>,
    /// Average of squares of gradients in the bases.
    pub moment_2: Tensor<D>,
    /// Factors of the axes that have one, in order.
    pub factors: Vec<Tensor<2>>,
    /// Their bases, by columns.
    pub bases: Vec<Tensor<2>>,
}

impl Optimizer for Soap {
    type State<const D: usize> = SoapState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let Some(mut state) = state else {
            return (tensor, Some(self.begin(grad)));
        };
        state.time += 1;
        let axes = self.axes(&tensor.dims());
        let bases = by_axis(D, &axes, &state.bases);
        let turned = linalg::turn(grad.clone(), &bases, false);
        let (b1, b2) = (self.beta1, self.beta2);
        state.moment_1 = ema(Some(state.moment_1), turned.clone(), b1);
        state.moment_2 = ema(Some(state.moment_2), turned.square(), b2);
        let root = state.moment_2.clone().sqrt().add_scalar(self.epsilon);
        let step = linalg::turn(state.moment_1.clone() / root, &bases, true);
        let rate = self.rate(lr, state.time);
        let tensor = decay(tensor - step.mul_scalar(rate), lr, self.weight_decay);
        let advance = |(&k, factor)| ema(Some(factor), linalg::gram(grad.clone(), k), b2);
        state.factors = axes.iter().zip(state.factors).map(advance).collect();
        if !axes.is_empty() && state.time.is_multiple_of(self.frequency) {
            state = self.turn_bases(state);
        }
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let on =
            |matrices: Vec<Tensor<2>>| matrices.into_iter().map(|m| m.to_device(device)).collect();
        SoapState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            factors: on(state.factors),
            bases: on(state.bases),
        }
    }
}

impl Soap {
    /// The rate of step `time` (from 1), with both corrections for bias.
    fn rate(&self, lr: f64, time: usize) -> f64 {
        lr * bias_correction(self.beta2, time).sqrt() / bias_correction(self.beta1, time)
    }
}

/// The submission `soap`.
#[derive(Debug, Clone, Copy)]
pub struct SoapSubmission;

impl Submission for SoapSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "soap",
            summary: "Adam in the eigenbasis of Shampoo's statistics, warm-up and cosine decay",
            paper: "arXiv 2409.11321",
            reference: "pytorch_optimizer 4.1.0 SOAP",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 2e-2, 3e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.95)
            .fixed("beta2", 0.95)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 1e-3, 1.0, 0.01)
            .fixed("precondition_frequency", 10.0)
            .fixed("max_precondition_dim", 1024.0)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = Soap::from_point(point).ok()?;
        let trainable = params.iter().filter(|p| p.trainable);
        Some(trainable.map(|p| rule.state_bytes(&p.shape)).sum())
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "the first gradient moves nothing, the second does, and 40 of them leave the \
                        bases orthonormal",
            check: bases_stay_orthonormal,
        }]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        ScheduledOptimizer::cosine(Soap::from_point(&context.point)?, context)
    }
}

fn bases_stay_orthonormal() -> Result<(bool, String), SubmissionError> {
    let rule = Soap::from_point(&SoapSubmission.search_space().default_point())?;
    let start = bowl::gradient(99, 6, 5);
    let (mut tensor, mut state) = (start.clone(), None);
    let mut moved = Vec::new();
    for t in 0..40 {
        (tensor, state) = rule.step(0.01, tensor, bowl::gradient(t, 6, 5), state);
        moved.push(largest(tensor.clone() - start.clone()));
    }
    let bases = state.map(|s| s.bases).unwrap_or_default();
    let off = |q: &Tensor<2>| {
        let gram = q.clone().transpose().matmul(q.clone());
        largest(gram - Tensor::eye(q.dims()[1], &q.device()))
    };
    let skew = bases.iter().map(off).fold(0.0, f64::max);
    let found = format!("moved by {:?}, bases off by {skew:.1e}", &moved[..2]);
    Ok((
        moved[0] == 0.0 && moved[1] > 1e-3 && bases.len() == 2 && skew < 1e-5,
        found,
    ))
}

/// Largest size of an entry.
fn largest(tensor: Tensor<2>) -> f64 {
    f64::from(tensor.abs().max().into_scalar::<f32>())
}

//! GaLore: Adam on the gradient's projection to a few directions, refreshed now and then.
//!
//! # Rule
//! For hidden matrices with sides `a <= b`, with gradient `G` (turned so that it is `a` by `b`),
//! `r = min(rank, a)`, step `t` from 1 and averages `M`, `V` from zero:
//! ```text
//! P = the r leading left singular vectors of G      (at steps 1, U + 1, 2 U + 1, ...)
//! R = P^T G
//! M = beta1 M + (1 - beta1) R
//! V = beta2 V + (1 - beta2) R^2
//! p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) scale P (M / (sqrt(V) + epsilon))
//! p = (1 - lr wd) p
//! ```
//! `U` is `update_gap`. A new `P` neither turns nor resets the averages, although they belong to the
//! old directions; the step number runs on. All other parameters take the same Adam with `R = G` and
//! scale 1. Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 0.01 | 1e-3 to 5e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-6 | fixed; added to the root without correction for bias |
//! | `weight_decay` | 0 | 0, 0.01, 0.1 |
//! | `rank` | 32 | 16, 32, 64, 128 |
//! | `update_gap` | 200 | fixed; steps |
//! | `scale` | 0.25 | fixed |
//! | `warmup_factor` | 0.1 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! A hidden matrix with sides `a <= b`: `8 r b + 4 r a` bytes, for `M`, `V` and `P`. Others: 8 per
//! parameter.
//!
//! # Sources
//! Zhao et al., arXiv 2403.03507; the rule follows the authors' package `galore_torch` (type `std`).
//! Checked against closed forms, not against a trajectory of the package.
//!
//! # What differs
//! The authors' rank of 128 is a quarter of a width of 512 or less of a larger one; the widths here are
//! smaller, and so is the default. The singular vectors come from the eigenvectors of `G G^T` in 64 bits.
//! The 8-bit states and the updates layer by layer of the paper are not built.

use super::parts::{bias_correction, decay, ema};
use crate::bowl;
use crate::common::{PRETRAIN, fraction, non_negative, positive, whole, with_regularisation};
use crate::linalg;
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{ModuleOptimizer, Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Claim, Description, ParamInfo, ParamKind, Point, SearchSpace, StartContext,
    Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaLore {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second average, which is not corrected for its bias.
    pub epsilon: f64,
    /// Weight decay after the step; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Directions that are kept of a matrix; `None` projects nothing.
    pub projection: Option<Projection>,
}

/// How matrices are projected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Projection {
    /// Most directions.
    pub rank: usize,
    /// Steps between two choices of directions.
    pub update_gap: usize,
    /// Factor of the step.
    pub scale: f64,
}

impl GaLore {
    /// The rule for hidden matrices, from the hyperparameters of the search space.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: positive(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            projection: Some(Projection {
                rank: whole(point, "rank")?,
                update_gap: whole(point, "update_gap")?,
                scale: non_negative(point, "scale")?,
            }),
        })
    }

    /// The rule for all other parameters.
    pub fn plain(self) -> Self {
        Self {
            projection: None,
            ..self
        }
    }

    /// Whether a parameter is projected.
    pub fn takes(parameter: &ParamInfo) -> bool {
        parameter.kind == ParamKind::Matrix && parameter.shape.len() == 2
    }

    /// Bytes of state of a matrix with these sides.
    pub fn state_bytes(&self, rows: usize, columns: usize) -> u64 {
        let (short, long) = (rows.min(columns), rows.max(columns));
        match self.projection {
            Some(p) => {
                let rank = p.rank.min(short);
                (8 * rank * long + 4 * rank * short) as u64
            }
            None => 8 * (rows * columns) as u64,
        }
    }
}

/// State of [`GaLore`] for one parameter.
#[derive(RecordState, Clone)]
pub struct GaLoreState {
    /// Steps taken.
    pub time: usize,
    /// Average of projected gradients, `[rank, long side]`; `[1, entries]` without projection.
    pub moment_1: Tensor<2>,
    /// Average of their squares.
    pub moment_2: Tensor<2>,
    /// Directions by columns, `[short side, rank]`; `None` without projection.
    pub directions: Option<Tensor<2>>,
}

impl Optimizer for GaLore {
    type State<const D: usize> = GaLoreState;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let shape = tensor.dims();
        let n = shape.iter().product::<usize>();
        let projection = self.projection.filter(|_| D == 2 && n > 0);
        let (rows, columns) = match (projection, shape.as_slice()) {
            (Some(_), &[rows, columns]) => (rows, columns),
            _ => (1, n),
        };
        let tall = projection.is_some() && rows > columns;
        let g: Tensor<2> = grad.reshape([rows, columns]);
        let g = if tall { g.transpose() } else { g };
        let (before, m, v, old) = match state {
            Some(s) => (s.time, Some(s.moment_1), Some(s.moment_2), s.directions),
            None => (0, None, None, None),
        };
        let directions = projection.map(|p| match old {
            Some(old) if !before.is_multiple_of(p.update_gap) => old,
            old => {
                let short = rows.min(columns);
                let rank = p.rank.min(short);
                linalg::leading_left(g.clone(), rank)
                    .or(old)
                    .unwrap_or_else(|| Tensor::<2>::eye(short, &g.device()).narrow(1, 0, rank))
            }
        });
        let seen = match &directions {
            Some(p) => p.clone().transpose().matmul(g),
            None => g,
        };
        let time = before + 1;
        let moment_1 = ema(m, seen.clone(), self.beta1);
        let moment_2 = ema(v, seen.square(), self.beta2);
        let step = moment_1.clone() / moment_2.clone().sqrt().add_scalar(self.epsilon);
        let rate =
            lr * bias_correction(self.beta2, time).sqrt() / bias_correction(self.beta1, time);
        let step = match (&directions, projection) {
            (Some(p), Some(projection)) => {
                let step = p.clone().matmul(step).mul_scalar(rate * projection.scale);
                if tall { step.transpose() } else { step }
            }
            _ => step.mul_scalar(rate),
        };
        let tensor = decay(tensor - step.reshape(shape), lr, self.weight_decay);
        let state = GaLoreState {
            time,
            moment_1,
            moment_2,
            directions,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        GaLoreState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            directions: state.directions.map(|p| p.to_device(device)),
        }
    }
}

/// The submission `galore`.
#[derive(Debug, Clone, Copy)]
pub struct GaLoreSubmission;

impl Submission for GaLoreSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "galore",
            summary: "Adam on low-rank projections of the gradients, warm-up and cosine decay",
            paper: "arXiv 2403.03507",
            reference: "galore_torch 1.0, by its equations",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-3, 5e-2, 0.01)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-6)
            .choice("weight_decay", &[0.0, 0.01, 0.1], 0.0)
            .choice("rank", &[16.0, 32.0, 64.0, 128.0], 32.0)
            .fixed("update_gap", 200.0)
            .fixed("scale", 0.25)
            .fixed("warmup_factor", 0.1);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = GaLore::from_point(point).ok()?;
        let bytes = |p: &ParamInfo| match p.shape.as_slice() {
            &[rows, columns] if GaLore::takes(p) => rule.state_bytes(rows, columns),
            _ => rule.plain().state_bytes(1, p.len()),
        };
        Some(params.iter().filter(|p| p.trainable).map(bytes).sum())
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "without decay a matrix moves by at most `rank` directions in a period, and by \
                        more in two",
            check: moves_in_few_directions,
        }]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let matrices = GaLore::from_point(&context.point)?;
        let optimizer = ModuleOptimizer::from(matrices.plain()).with_group(
            trainee.group(GaLore::takes),
            matrices,
            None,
        );
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

fn moves_in_few_directions() -> Result<(bool, String), SubmissionError> {
    let projection = Projection {
        rank: 2,
        update_gap: 8,
        scale: 1.0,
    };
    let rule = GaLore {
        weight_decay: 0.0,
        projection: Some(projection),
        ..GaLore::from_point(&GaLoreSubmission.search_space().default_point())?
    };
    // Squares of the singular values of what 7 by 6 weights moved by, as shares of the largest.
    let shares = |steps| {
        let (mut tensor, mut state) = (bowl::gradient(0, 7, 6).mul_scalar(0.0), None);
        for t in 0..steps {
            (tensor, state) = rule.step(0.01, tensor, bowl::gradient(t, 7, 6), state);
        }
        let moved = linalg::to_host(tensor)?;
        let values = linalg::eigen(moved.transpose() * moved)?.values;
        Some((
            values.get(2)? / values.first()?,
            values.get(3)? / values.first()?,
        ))
    };
    let missing = || SubmissionError::from("nothing to decompose");
    let one = shares(8).ok_or_else(missing)?;
    let two = shares(16).ok_or_else(missing)?;
    let found = format!("third and fourth share: {one:?} after a period, {two:?} after two");
    Ok((one.0.abs() < 1e-10 && two.1 > 1e-6, found))
}

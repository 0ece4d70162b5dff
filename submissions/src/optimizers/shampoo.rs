//! Shampoo in blocks: gradients divided by the roots of their second moments along each axis, with
//! step lengths of RMSProp.
//!
//! # Rule
//! Neighbouring axes of a tensor are merged as long as their product stays within `merge_limit` (from
//! the last on), and what results is cut into blocks with sides of at most `block_size`. Each of the `r`
//! axes `k` of a block has a factor `L_k = matrix_epsilon I` and a root `P_k = I` to begin with; `G_k` is
//! the block of the gradient `g`, unfolded along that axis. Averages begin at zero. At step `n`, from 0:
//! ```text
//! L_k = beta2 L_k + (1 - beta2) G_k G_k^T
//! P_k = (L_k + matrix_epsilon largest-eigenvalue(L_k) I)^(-1 / (2 r))      every precondition_frequency steps
//! s   = g / |g|
//! v   = beta2 v + (1 - beta2) s^2
//! d   = s / (sqrt(v) + epsilon)
//! q   = blocks of g contracted with their P_k along each axis
//! d'  = |d| q / |q|
//! m   = beta1 m  + (1 - beta1) (d  + wd p)
//! m'  = beta1 m' + (1 - beta1) (d' + wd p)
//! p   = p - lr (beta1 m  + (1 - beta1) (d  + wd p))      for n < start
//! p   = p - lr (beta1 m' + (1 - beta1) (d' + wd p))      from then on
//! ```
//! Norms are those of the whole tensor. Tensors of one axis are treated likewise (`r = 1`). A tensor with
//! an axis longer than `max_side` has no factors: `d' = d`. A factor whose root cannot be computed keeps
//! the root that it had. Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.01 to 0.15, logarithmic |
//! | `beta2` | 0.999 | fixed; also the decay rate of the factors |
//! | `epsilon` | 1e-8 | fixed |
//! | `matrix_epsilon` | 1e-6 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic; inside the momentum |
//! | `block_size` | 128 | fixed; AlgoPerf has 1024 |
//! | `merge_limit` | 128 | fixed; AlgoPerf has 4096 |
//! | `max_side` | 4096 | fixed |
//! | `precondition_frequency` | 20 | fixed; whole steps |
//! | `start` | 101 | fixed; steps with RMSProp's direction |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 12 bytes per parameter for `v`, `m` and `m'`, and `8 d^2` bytes for each axis of side `d` of each
//! block: a matrix `m` by `n` in one block takes `12 m n + 8 (m^2 + n^2)` bytes.
//!
//! # Sources
//! Gupta et al., arXiv 1802.09568; Anil et al., arXiv 2002.09018. Rule, schedule and search space are
//! those of AlgoPerf's baseline (arXiv 2306.07179, JAX). Checked against the equations in 64 bits, not
//! against a trajectory of the baseline.
//!
//! # What differs
//! The roots come from eigenvectors in 64 bits, not from a coupled Newton iteration. Blocks are smaller
//! than AlgoPerf's, since a root of side 1024 takes seconds on a CPU; axes are therefore merged less, too.
//! Merging runs from the last axis on, which joins the same axes of a convolution as AlgoPerf's order
//! does in its memory layout.

use super::parts::{ema, graft, normalized};
use crate::bowl;
use crate::common::{PRETRAIN, fraction, non_negative, positive, whole, with_regularisation};
use crate::linalg::{self, Blocks, Ridge};
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Claim, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shampoo {
    /// Decay rate of the momentum, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the factors and of RMSProp's squares, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of RMSProp's average.
    pub epsilon: f64,
    /// First diagonal of the factors, and ridge as a share of the largest eigenvalue.
    pub matrix_epsilon: f64,
    /// Weight decay, added to the direction before the momentum.
    pub weight_decay: f64,
    /// Longest side of a block.
    pub block_size: usize,
    /// Largest product of axes that are merged.
    pub merge_limit: usize,
    /// Longest axis of a tensor with factors.
    pub max_side: usize,
    /// Steps between two computations of the roots.
    pub frequency: usize,
    /// First step, from 0, that the roots take part in.
    pub start: usize,
}

/// State of [`Shampoo`] for one parameter.
#[derive(RecordState, Clone)]
pub struct ShampooState<const D: usize> {
    /// Steps taken.
    pub time: usize,
    /// Average of squares of normalized gradients.
    pub squares: Tensor<D>,
    /// Average of RMSProp's directions.
    pub graft_momentum: Tensor<D>,
    /// Average of Shampoo's directions.
    pub momentum: Tensor<D>,
    /// Factors, block after block, in each axis after axis.
    pub factors: Vec<Tensor<2>>,
    /// Their roots.
    pub roots: Vec<Tensor<2>>,
}

impl Shampoo {
    /// From the hyperparameters of the search space.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            matrix_epsilon: positive(point, "matrix_epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            block_size: whole(point, "block_size")?,
            merge_limit: whole(point, "merge_limit")?,
            max_side: whole(point, "max_side")?,
            frequency: whole(point, "precondition_frequency")?,
            start: whole(point, "start")?,
        })
    }

    /// The blocks of a tensor of this shape; `None` where it has no factors.
    pub fn blocks(&self, shape: &[usize]) -> Option<Blocks> {
        let fits = shape.iter().all(|&side| 0 < side && side <= self.max_side);
        fits.then(|| Blocks::merged(shape, self.merge_limit, self.block_size))
    }

    /// Bytes of state of a tensor of this shape.
    pub fn state_bytes(&self, shape: &[usize]) -> u64 {
        let shapes = self.blocks(shape).map(|b| b.shapes()).unwrap_or_default();
        let squares: usize = shapes.iter().flatten().map(|side| side * side).sum();
        (12 * shape.iter().product::<usize>() + 8 * squares) as u64
    }

    fn begin<const D: usize>(&self, gradient: &Tensor<D>) -> ShampooState<D> {
        let shapes = self.blocks(&gradient.dims()).map(|b| b.shapes());
        let eye = |&side: &usize| Tensor::<2>::eye(side, &gradient.device());
        let roots: Vec<_> = shapes
            .unwrap_or_default()
            .iter()
            .flatten()
            .map(eye)
            .collect();
        let small = |root: &Tensor<2>| root.clone().mul_scalar(self.matrix_epsilon);
        ShampooState {
            time: 0,
            squares: gradient.zeros_like(),
            graft_momentum: gradient.zeros_like(),
            momentum: gradient.zeros_like(),
            factors: roots.iter().map(small).collect(),
            roots,
        }
    }

    /// Takes a gradient into factors, roots and squares; returns RMSProp's direction and Shampoo's.
    fn directions<const D: usize>(
        &self,
        gradient: Tensor<D>,
        state: &mut ShampooState<D>,
    ) -> (Tensor<D>, Tensor<D>) {
        let seen = normalized(gradient.clone());
        state.squares = ema(
            Some(state.squares.clone()),
            seen.clone().square(),
            self.beta2,
        );
        let plain = seen / state.squares.clone().sqrt().add_scalar(self.epsilon);
        let shape = gradient.dims();
        let Some(blocks) = self.blocks(&shape) else {
            return (plain.clone(), plain);
        };
        let n = shape.iter().product::<usize>();
        let shapes = blocks.shapes();
        let order = blocks.order();
        let pieces = blocks.split(gradient.reshape([n]));
        for (piece, (shape, factors)) in pieces
            .iter()
            .zip(shapes.iter().zip(state.factors.chunks_mut(order)))
        {
            for (k, factor) in factors.iter_mut().enumerate() {
                let gram = linalg::gram_flat(piece.clone(), shape, k);
                *factor = ema(Some(factor.clone()), gram, self.beta2);
            }
        }
        if state.time.is_multiple_of(self.frequency) {
            let ridge = Ridge::Relative(self.matrix_epsilon);
            for (root, factor) in state.roots.iter_mut().zip(&state.factors) {
                if let Some(new) = linalg::inverse_root(factor.clone(), 2.0 * order as f64, ridge) {
                    *root = new;
                }
            }
        }
        let turned = pieces
            .into_iter()
            .zip(shapes.iter().zip(state.roots.chunks(order)))
            .map(|(piece, (shape, roots))| {
                let roots: Vec<_> = roots.iter().map(Some).collect();
                linalg::turn_flat(piece, shape, &roots, false)
            });
        let joined = blocks.join(turned.collect()).reshape(shape);
        (plain.clone(), graft(joined, plain))
    }
}

impl Optimizer for Shampoo {
    type State<const D: usize> = ShampooState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let mut state = state.unwrap_or_else(|| self.begin(&grad));
        let (plain, turned) = self.directions(grad, &mut state);
        let b1 = self.beta1;
        let decayed = |d: Tensor<D>| match self.weight_decay {
            0.0 => d,
            wd => d + tensor.clone().mul_scalar(wd),
        };
        let (plain, turned) = (decayed(plain), decayed(turned));
        state.graft_momentum = ema(Some(state.graft_momentum), plain.clone(), b1);
        state.momentum = ema(Some(state.momentum), turned.clone(), b1);
        let step = if state.time < self.start {
            ema(Some(state.graft_momentum.clone()), plain, b1)
        } else {
            ema(Some(state.momentum.clone()), turned, b1)
        };
        state.time += 1;
        (tensor - step.mul_scalar(lr), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let on =
            |matrices: Vec<Tensor<2>>| matrices.into_iter().map(|m| m.to_device(device)).collect();
        ShampooState {
            time: state.time,
            squares: state.squares.to_device(device),
            graft_momentum: state.graft_momentum.to_device(device),
            momentum: state.momentum.to_device(device),
            factors: on(state.factors),
            roots: on(state.roots),
        }
    }
}

/// The submission `shampoo`.
#[derive(Debug, Clone, Copy)]
pub struct ShampooSubmission;

impl Submission for ShampooSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "shampoo",
            summary: "roots of second moments along each axis, in blocks, with RMSProp's step lengths",
            paper: "arXiv 1802.09568, arXiv 2002.09018",
            reference: "AlgoPerf baseline (arXiv 2306.07179), by its equations",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 1e-3)
            .one_minus_log_uniform("beta1", 0.01, 0.15, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .fixed("matrix_epsilon", 1e-6)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("block_size", 128.0)
            .fixed("merge_limit", 128.0)
            .fixed("max_side", 4096.0)
            .fixed("precondition_frequency", 20.0)
            .fixed("start", 101.0)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = Shampoo::from_point(point).ok()?;
        let trainable = params.iter().filter(|p| p.trainable);
        Some(trainable.map(|p| rule.state_bytes(&p.shape)).sum())
    }

    fn claims(&self) -> Vec<Claim> {
        vec![
            Claim {
                statement: "a direction of Shampoo is as long as RMSProp's, and points elsewhere",
                check: lengths_are_grafted,
            },
            Claim {
                statement: "blocks at least as large as the tensor change no bit; smaller ones matter",
                check: one_block_is_the_whole,
            },
        ]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        ScheduledOptimizer::cosine(Shampoo::from_point(&context.point)?, context)
    }
}

/// Directions for the last of ten gradients of 6 by 5, in blocks of this side.
fn tenth(block_size: usize) -> Result<[Vec<f32>; 2], SubmissionError> {
    let space = ShampooSubmission.search_space();
    let rule = Shampoo {
        block_size,
        merge_limit: 1,
        frequency: 3,
        ..Shampoo::from_point(&space.default_point())?
    };
    let gradient = |t| bowl::gradient(t, 6, 5);
    let mut state = rule.begin(&gradient(0));
    let mut last = [Vec::new(), Vec::new()];
    for t in 0..10 {
        let (plain, turned) = rule.directions(gradient(t), &mut state);
        state.time += 1;
        let read = |d: Tensor<2>| d.into_data().try_to_vec::<f32>().unwrap_or_default();
        last = [read(plain), read(turned)];
    }
    Ok(last)
}

fn lengths_are_grafted() -> Result<(bool, String), SubmissionError> {
    let [plain, turned] = tenth(4)?;
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum()
    };
    let (one, other) = (
        product(&plain, &plain).sqrt(),
        product(&turned, &turned).sqrt(),
    );
    let cosine = product(&plain, &turned) / (one * other);
    let found = format!("lengths {one:.7} and {other:.7}, cosine between them {cosine:.3}");
    Ok(((one / other - 1.0).abs() < 1e-5 && cosine < 0.99, found))
}

fn one_block_is_the_whole() -> Result<(bool, String), SubmissionError> {
    let [exact, large, small] = [tenth(6)?, tenth(1000)?, tenth(3)?].map(|[_, turned]| turned);
    let found = format!(
        "first entries {:?} of one block, {:?} of blocks of 3",
        exact.first(),
        small.first()
    );
    Ok((exact == large && exact != small && !exact.is_empty(), found))
}

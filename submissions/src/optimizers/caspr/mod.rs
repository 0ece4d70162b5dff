//! CASPR Adaptive: gradients whitened from the left, then what is left of their shape from the right,
//! with step lengths of NAdamW.
//!
//! # Rule
//! A tensor of more than two axes becomes the matrix of its other axes by its first (the inputs of a
//! convolution by its outputs). A matrix with sides of at most `max_side` is cut into blocks with sides
//! of at most `block_size`. A block of `a` rows has averages `L = matrix_epsilon I` and `R = I` and roots
//! `P = Q = I` to begin with. With its gradient `G`, at step `t` from 1:
//! ```text
//! L = beta2 L + (1 - beta2) G G^T
//! R = beta2 R + (1 - beta2) (P G)^T (P G) / a
//! every precondition_frequency steps, with S^ = S + matrix_epsilon largest-eigenvalue(S) I:
//!     P = L^^(-1/2),   Q = R^^(-1/2)
//!     R = R trace(P K P) / a,   then K = L^         (K: the last L^, matrix_epsilon I at first)
//! ```
//! The change of `R` carries over what an older `P` had seen. NAdamW gives for all entries:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! n = (beta1 m + (1 - beta1) g) / (1 - beta1^t)
//! u = n / (sqrt(v / (1 - beta2^t)) + epsilon)
//! d = |u| q / |q|   with q the blocks of n, each as P n Q
//! p = (1 - lr wd) p - lr d
//! ```
//! Norms are those of the whole tensor. For `t <= start`, for tensors of one axis and for longer matrices
//! `d = u`. A root that cannot be computed leaves all of its block as it was. Schedule: three nested
//! cosine decays ([`crate::schedules::NestedCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.15, logarithmic |
//! | `beta2` | 0.998 | complement 1e-3 to 0.4, logarithmic |
//! | `epsilon` | 1e-8 | fixed |
//! | `matrix_epsilon` | 1e-6 | fixed |
//! | `weight_decay` | 0.1 | 0.05 to 0.2, logarithmic |
//! | `block_size` | 128 | fixed; the entry has 1024 |
//! | `max_side` | 40000 | fixed |
//! | `precondition_frequency` | 20 | fixed; whole steps |
//! | `start` | 101 | fixed; steps that are NAdamW's |
//! | `warmup_factor` | 0.05 | 0.02, 0.05, 0.1 |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! # State
//! 8 bytes per parameter for `m` and `v`. A block of `a` by `b` has `L`, `K`, `P`, `R` and `Q`: `12 a^2 +
//! 8 b^2` bytes.
//!
//! # Sources
//! AlgoPerf v0.5 entry CASPR Adaptive; Duvvuri et al., "Combining Axes Preconditioners through Kronecker
//! Approximation for Deep Learning" (ICLR 2024), is where the name comes from. Checked against the
//! entry's equations in 64 bits, not against a trajectory.
//!
//! # What differs
//! The roots come from eigenvectors in 64 bits, not from a coupled Newton iteration, and the entry rescales
//! `R` one step later, which is the same number. Blocks are smaller. The entry's five points are a search
//! space around them here. Its code cannot cut a matrix along both sides (its shapes do not fit); here
//! that works as along one. Where it divides zero by zero, this takes a step of zero.

mod block;

pub use block::CasprBlock;

use super::parts::{bias_correction, decay, ema, graft};
use crate::bowl;
use crate::common::{PRETRAIN, fraction, non_negative, positive, whole, with_regularisation};
use crate::linalg::Blocks;
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::NestedCosine;
use block::Plan;
use burn::optim::{Optimizer, RecordState};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{
    Algorithm, Claim, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Caspr {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the averages of squares and of products, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the average of squares.
    pub epsilon: f64,
    /// First diagonal of the left average, and ridge as a share of the largest eigenvalue.
    pub matrix_epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
    /// Longest side of a block.
    pub block_size: usize,
    /// Longest side of a matrix with roots.
    pub max_side: usize,
    /// Steps between two computations of the roots.
    pub frequency: usize,
    /// Steps before the roots take part.
    pub start: usize,
}

/// State of [`Caspr`] for one parameter.
#[derive(RecordState, Clone)]
pub struct CasprState<const D: usize> {
    /// Steps taken.
    pub time: usize,
    /// Average of gradients.
    pub moment_1: Tensor<D>,
    /// Average of their squares.
    pub moment_2: Tensor<D>,
    /// The matrices of [`CasprBlock`] in their order, block after block.
    pub matrices: Vec<Tensor<2>>,
}

impl<const D: usize> CasprState<D> {
    /// The blocks' matrices; none for a tensor without roots.
    pub fn blocks(&self) -> Vec<CasprBlock> {
        let blocks = self.matrices.chunks(5);
        blocks.filter_map(CasprBlock::from_matrices).collect()
    }
}

impl Caspr {
    /// From the hyperparameters of the search space.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            matrix_epsilon: positive(point, "matrix_epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
            block_size: whole(point, "block_size")?,
            max_side: whole(point, "max_side")?,
            frequency: whole(point, "precondition_frequency")?,
            start: whole(point, "start")?,
        })
    }

    fn plan(&self, shape: &[usize]) -> Option<Plan> {
        let (&first, others) = shape.split_first()?;
        let rest = others.iter().product::<usize>();
        let turned = shape.len() > 2;
        let fits = shape.len() > 1 && first * rest > 0 && first.max(rest) <= self.max_side;
        let matrix = if turned { [rest, first] } else { [first, rest] };
        fits.then(|| Plan {
            blocks: Blocks::new(&matrix, self.block_size),
            stored: [first, rest],
            turned,
        })
    }

    fn shapes(&self, shape: &[usize]) -> Vec<Vec<usize>> {
        self.plan(shape)
            .map(|p| p.blocks.shapes())
            .unwrap_or_default()
    }

    /// Bytes of state of a tensor of this shape.
    pub fn state_bytes(&self, shape: &[usize]) -> u64 {
        let shapes = self.shapes(shape);
        let bytes = |s: &Vec<usize>| 12 * s[0] * s[0] + 8 * s[1] * s[1];
        let matrices: usize = shapes.iter().map(bytes).sum();
        (8 * shape.iter().product::<usize>() + matrices) as u64
    }

    fn begin<const D: usize>(&self, gradient: &Tensor<D>) -> CasprState<D> {
        let device = gradient.device();
        let shapes = self.shapes(&gradient.dims());
        let block = |shape: &Vec<usize>| {
            CasprBlock::new(shape, self.matrix_epsilon, &device).into_matrices()
        };
        CasprState {
            time: 0,
            moment_1: gradient.zeros_like(),
            moment_2: gradient.zeros_like(),
            matrices: shapes.iter().flat_map(block).collect(),
        }
    }

    /// Takes a gradient into the state; returns NAdamW's direction and, where there are roots, CASPR's.
    fn directions<const D: usize>(
        &self,
        gradient: Tensor<D>,
        state: &mut CasprState<D>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        state.time += 1;
        let (b1, b2, time) = (self.beta1, self.beta2, state.time);
        state.moment_1 = ema(Some(state.moment_1.clone()), gradient.clone(), b1);
        state.moment_2 = ema(Some(state.moment_2.clone()), gradient.clone().square(), b2);
        let ahead = ema(Some(state.moment_1.clone()), gradient.clone(), b1)
            .div_scalar(bias_correction(b1, time));
        let root = state
            .moment_2
            .clone()
            .div_scalar(bias_correction(b2, time))
            .sqrt();
        let plain = ahead.clone() / root.add_scalar(self.epsilon);
        let shape = gradient.dims();
        let Some(plan) = self.plan(&shape) else {
            return (plain, None);
        };
        let shapes = plan.blocks.shapes();
        let matrix = |flat: Tensor<1>, s: &Vec<usize>| flat.reshape([s[0], s[1]]);
        let refresh = time.is_multiple_of(self.frequency);
        let mut blocks = state.blocks();
        state.matrices.clear();
        for ((block, flat), s) in blocks.iter_mut().zip(plan.split(gradient)).zip(&shapes) {
            block.see(matrix(flat, s), b2);
            if refresh && let Some(new) = block.refreshed(self.matrix_epsilon) {
                *block = new;
            }
        }
        let turned = blocks.iter().zip(plan.split(ahead)).zip(&shapes);
        let turned = turned.map(|((block, flat), s)| {
            let left = block.left_root.clone().matmul(matrix(flat, s));
            left.matmul(block.right_root.clone()).reshape([s[0] * s[1]])
        });
        let direction = plan.join(turned.collect(), shape);
        let matrices = blocks.into_iter().flat_map(CasprBlock::into_matrices);
        state.matrices = matrices.collect();
        (plain.clone(), Some(graft(direction, plain)))
    }
}

impl Optimizer for Caspr {
    type State<const D: usize> = CasprState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let mut state = state.unwrap_or_else(|| self.begin(&grad));
        let (plain, turned) = self.directions(grad, &mut state);
        let turned = turned.filter(|_| state.time > self.start);
        let step = turned.unwrap_or(plain).mul_scalar(lr);
        (decay(tensor, lr, self.weight_decay) - step, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let matrices = state.matrices.into_iter().map(|m| m.to_device(device));
        CasprState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            matrices: matrices.collect(),
        }
    }
}

/// The submission `caspr`.
#[derive(Debug, Clone, Copy)]
pub struct CasprSubmission;

impl Submission for CasprSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "caspr",
            summary: "whitening from the left and from the right, with NAdamW's step lengths",
            paper: "ICLR 2024 (CASPR), arXiv 2502.15015",
            reference: "AlgoPerf v0.5 entry CASPR Adaptive, by its equations",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.15, 0.9)
            .one_minus_log_uniform("beta2", 1e-3, 0.4, 0.998)
            .fixed("epsilon", 1e-8)
            .fixed("matrix_epsilon", 1e-6)
            .log_uniform("weight_decay", 0.05, 0.2, 0.1)
            .fixed("block_size", 128.0)
            .fixed("max_side", 40_000.0)
            .fixed("precondition_frequency", 20.0)
            .fixed("start", 101.0)
            .choice("warmup_factor", &[0.02, 0.05, 0.1], 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = Caspr::from_point(point).ok()?;
        let trainable = params.iter().filter(|p| p.trainable);
        Some(trainable.map(|p| rule.state_bytes(&p.shape)).sum())
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "a direction is as long as NAdamW's, and points elsewhere",
            check: lengths_are_grafted,
        }]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = Caspr::from_point(&context.point)?;
        let schedule = NestedCosine::start(context)?;
        Ok(Box::new(ScheduledOptimizer::racing(
            rule, schedule, context,
        )?))
    }
}

fn lengths_are_grafted() -> Result<(bool, String), SubmissionError> {
    let rule = Caspr {
        block_size: 4,
        frequency: 5,
        ..Caspr::from_point(&CasprSubmission.search_space().default_point())?
    };
    // Mixed, so that there is something to whiten.
    let gradient = |t| bowl::gradient(t, 6, 5).matmul(bowl::gradient(50, 5, 5));
    let mut state = rule.begin(&gradient(0));
    let (mut plain, mut turned) = rule.directions(gradient(0), &mut state);
    for t in 1..20 {
        (plain, turned) = rule.directions(gradient(t), &mut state);
    }
    let read = |d: Tensor<2>| d.into_data().try_to_vec::<f32>().unwrap_or_default();
    let (plain, turned) = (read(plain), turned.map(read).unwrap_or_default());
    let product = |a: &[f32], b: &[f32]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    let one = product(&plain, &plain).sqrt();
    let other = product(&turned, &turned).sqrt();
    let cosine = product(&plain, &turned) / (one * other);
    let found = format!("lengths {one:.7} and {other:.7}, cosine between them {cosine:.3}");
    Ok(((one / other - 1.0).abs() < 1e-5 && cosine < 0.99, found))
}

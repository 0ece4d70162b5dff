//! Muon: momentum made nearly orthogonal for hidden matrices and convolutions, AdamW for the rest.
//!
//! # Rule
//! For hidden matrices and convolutions, with gradient `g`, parameter `p`, average `m` from zero:
//! ```text
//! m = momentum m + (1 - momentum) g
//! u = (1 - momentum) g + momentum m      (Nesterov's look-ahead)
//! X = u as a matrix of fan-out by fan-in, divided by its Frobenius norm (at least 1e-7)
//! five times:  A = X X^T,  X = 3.4445 X + (-4.775 A + 2.0315 A A) X
//! p = (1 - lr wd) p - lr sqrt(max(1, fan_out / fan_in)) X
//! ```
//! A kernel of a convolution is flattened behind its first axis. Where fan-out exceeds fan-in, the
//! iteration runs on the transposed matrix. It brings all singular values that are not tiny to
//! between 0.68 and 1.13. As in the published code, `X`, its norm, `A` and each bracket are rounded to
//! bfloat16 (here they are held in 32 bits, so that the products run on any device).
//!
//! Embeddings, positions, the head, biases and normalisation take AdamW's step at the rate
//! `lr adam_learning_rate / learning_rate`, so that one schedule drives both:
//! ```text
//! m = adam_beta1 m + (1 - adam_beta1) g,  v = adam_beta2 v + (1 - adam_beta2) g^2
//! p = (1 - lr' wd) p - lr' (m / (1 - adam_beta1^t)) / (sqrt(v / (1 - adam_beta2^t)) + adam_epsilon)
//! ```
//! burn's own `Muon` takes the first axis of a matrix for fan-out (burn's linear layers keep fan-in
//! there), takes nothing but matrices, and uses another momentum by default; [`Muon`] is ours.
//! Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 0.02 | 2e-3 to 0.1, logarithmic |
//! | `momentum` | 0.95 | complement 0.02 to 0.2, logarithmic |
//! | `adam_learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `adam_beta1` | 0.9 | fixed |
//! | `adam_beta2` | 0.95 | fixed |
//! | `adam_epsilon` | 1e-10 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges lie around the author's settings; Adam's are AdamW's in AlgoPerf.
//!
//! # State
//! 4 bytes per parameter in hidden matrices and convolutions, 8 in the others, in 32 bits. A step
//! costs `5 (2 a^2 b + a^3)` multiplications per matrix of sides `a <= b`.
//!
//! # Sources
//! Jordan 2024, "Muon: An optimizer for hidden layers in neural networks". Checked against
//! `torch.optim.Muon` 2.15, bfloat16 and all.
//!
//! # What differs
//! The author's code takes fan-out and fan-in of a convolution from the last two axes of the kernel,
//! which makes its factor 1; here they are those of the flattened matrix. Without the roundings the
//! trajectories leave PyTorch's by more than its tolerance, though not in any way that matters to
//! training.

use super::adamw::AdamW;
use super::parts::{decay, ema, norm};
use crate::common::{PRETRAIN, fraction, non_negative, positive, with_regularisation};
use crate::fused::{Fused, Now, Number, Rule};
use crate::scheduled::ScheduledOptimizer;
use burn::optim::{ModuleOptimizer, Optimizer, RecordState};
use burn::tensor::{Device, FloatDType, Tensor};
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, ParamKind, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// Coefficients of `x`, `x^3` and `x^5` in the map that acts on the singular values.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Applications of that map.
const ITERATIONS: usize = 5;
/// Least norm that a matrix is divided by.
const LEAST_NORM: f64 = 1e-7;

/// The rule for matrices `[fan_in, fan_out]` and kernels `[fan_out, ...]`. A tensor of one axis is
/// taken for a matrix of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub momentum: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl Muon {
    /// From `momentum` and `weight_decay`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            momentum: fraction(point, "momentum")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }

    /// Whether a parameter is one for this rule.
    pub fn takes(parameter: &ParamInfo) -> bool {
        let kind = matches!(parameter.kind, ParamKind::Matrix | ParamKind::Convolution);
        kind && parameter.shape.len() >= 2
    }
}

/// To the precision of bfloat16 (8 bits), kept in 32 bits.
fn rounded<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.cast(FloatDType::BF16).cast(FloatDType::F32)
}

/// The matrix with its singular values brought near 1 by Newton and Schulz's iteration.
pub fn orthogonalised(matrix: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = matrix.dims();
    let tall = rows > columns;
    let mut x = rounded(if tall { matrix.transpose() } else { matrix });
    let length = rounded(norm(x.clone())).clamp_min(LEAST_NORM);
    x = rounded(x / length.unsqueeze());
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let gram = rounded(x.clone().matmul(x.clone().transpose()));
        let square = gram.clone().matmul(gram.clone());
        let bracket = rounded(gram.mul_scalar(b) + square.mul_scalar(c));
        x = rounded(x.clone().mul_scalar(a) + bracket.matmul(x));
    }
    if tall { x.transpose() } else { x }
}

/// State of [`Muon`] for one parameter.
#[derive(RecordState, Clone)]
pub struct MuonState<const D: usize> {
    /// Average of gradients.
    pub average: Tensor<D>,
}

impl Optimizer for Muon {
    type State<const D: usize> = MuonState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let average = ema(state.map(|s| s.average), grad.clone(), self.momentum);
        let u = ema(Some(average.clone()), grad, self.momentum);
        let shape = tensor.dims();
        let rest = shape.iter().skip(1).product::<usize>();
        let flat: Tensor<2> = u.reshape([shape[0], rest]);
        let (fan_out, fan_in, x) = if D == 2 {
            let x = orthogonalised(flat.transpose()).transpose();
            (shape[1], shape[0], x)
        } else {
            (shape[0], rest, orthogonalised(flat))
        };
        let scale = (fan_out as f64 / fan_in as f64).max(1.0).sqrt();
        let step = x.mul_scalar(lr * scale).reshape(shape);
        let tensor = decay(tensor, lr, self.weight_decay) - step;
        (tensor, Some(MuonState { average }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        MuonState {
            average: state.average.to_device(device),
        }
    }
}

/// AdamW at a share of the scheduled rate, for what [`Muon`] does not take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Companion {
    /// Share of the learning rate.
    pub lr_ratio: f64,
    /// The rule.
    pub adamw: AdamW,
}

impl Companion {
    /// From the two learning rates, `adam_beta1`, `adam_beta2`, `adam_epsilon` and `weight_decay`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        let rate = non_negative(point, "adam_learning_rate")?;
        Ok(Self {
            lr_ratio: rate / positive(point, "learning_rate")?,
            adamw: AdamW {
                beta1: fraction(point, "adam_beta1")?,
                beta2: fraction(point, "adam_beta2")?,
                epsilon: non_negative(point, "adam_epsilon")?,
                weight_decay: non_negative(point, "weight_decay")?,
            },
        })
    }
}

impl Rule<2> for Companion {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let lr = now.lr * self.lr_ratio;
        self.adamw.rule(Now { lr, ..now })
    }
}

/// The submission `muon`.
#[derive(Debug, Clone, Copy)]
pub struct MuonSubmission;

impl Submission for MuonSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "muon",
            summary: "Orthogonalised momentum for hidden matrices, AdamW for the rest, cosine decay",
            paper: "Jordan 2024, kellerjordan.github.io/posts/muon",
            reference: "torch.optim.Muon 2.15",
            version: "2",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 2e-3, 0.1, 0.02)
            .one_minus_log_uniform("momentum", 0.02, 0.2, 0.95)
            .log_uniform("adam_learning_rate", 1e-4, 1e-2, 6e-3)
            .fixed("adam_beta1", 0.9)
            .fixed("adam_beta2", 0.95)
            .fixed("adam_epsilon", 1e-10)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        let numbers = |p: &ParamInfo| if Muon::takes(p) { 1 } else { 2 };
        let trainable = params.iter().filter(|p| p.trainable);
        Some(trainable.map(|p| 4 * numbers(p) * p.len() as u64).sum())
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let matrices = Muon::from_point(&context.point)?;
        let optimizer = ModuleOptimizer::from(Fused(Companion::from_point(&context.point)?))
            .with_group(trainee.group(Muon::takes), matrices, None);
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

//! Lion-K with the nuclear norm: steps whose singular values are all alike.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero, per tensor:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr u
//! m = beta2 m + (1 - beta2) g
//! ```
//! where, for tensors of two and more axes, `u = sqrt(max(rows, columns)) U V^T` from the singular value
//! decomposition `c = U S V^T`; kernels of convolutions are flattened behind their first axis. `K` is
//! `sqrt(max(rows, columns))` times the sum of the singular values. Weight decay holds each matrix where
//! its largest singular value is at most `sqrt(max(rows, columns)) / wd`. Tensors of one axis take Lion's
//! `u = sign(c)` and box. With `rescale = 0` the factor is missing in both.
//!
//! `U V^T` comes from Newton and Schulz's iteration: eight steps with Muon's coefficients, which lift
//! small singular values, then six of `1.5 x - 0.5 x^3`, which make them 1 and none larger. Those below
//! `5e-5` of the Frobenius norm may stay below 1, which the constraint allows. burn has no such rule, so
//! [`LionK`](super::LionK) is ours. Schedule: linear warm-up, cosine decay
//! ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1.5e-3 | 3e-5 to 3e-3, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | complement 0.005 to 0.05, logarithmic |
//! | `weight_decay` | 0.5 | 0.02 to 5, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `rescale` | 1 | fixed; 0 for the plain norm |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Those of `lion`; rescaling makes an entry of the step 1 in the root mean square.
//!
//! # State
//! 4 bytes per parameter: `m` in 32 bits.
//!
//! # Sources
//! Chen et al., arXiv 2310.05898. The direction is Muon's (Jordan 2024). Checked: singular values of a step.
//!
//! # What differs
//! The paper names matrix norms without code. Muon looks ahead by its own momentum, leaves embeddings and
//! the head to Adam, and its five steps leave singular values between 0.68 and 1.13; here all matrices
//! take the rule. A step costs `14 (2 a^2 b)` multiplications and `8 a^3` more per matrix of sides
//! `a <= b`.

use super::ball::{Ball, COLUMNS, DECAY, ROWS, enters};
use super::{Kernel, LionK, unit};
use crate::common::{PRETRAIN, switch};
use burn::tensor::Tensor;
use velodrome_harness::contract::{Claim, Description, Point, SearchSpace, SubmissionError};

/// Muon's coefficients of `x`, `x^3` and `x^5`.
const LIFT: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Steps with them.
const LIFTS: usize = 8;
/// Steps that bring the singular values to 1.
const POLISHES: usize = 6;

/// The nuclear norm of a matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nuclear {
    /// Whether it is multiplied by the root of the longer side.
    pub rescale: bool,
}

/// `U V^T` of a matrix `U S V^T`; see the manual.
pub fn polar(matrix: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = matrix.dims();
    let tall = rows > columns;
    let mut x = unit(if tall { matrix.transpose() } else { matrix }, &[0, 1]);
    let gram = |x: &Tensor<2>| x.clone().matmul(x.clone().transpose());
    let [a, b, c] = LIFT;
    for _ in 0..LIFTS {
        let g = gram(&x);
        let bracket = g.clone().mul_scalar(b) + g.clone().matmul(g).mul_scalar(c);
        x = x.clone().mul_scalar(a) + bracket.matmul(x);
    }
    for _ in 0..POLISHES {
        let g = gram(&x);
        x = x.clone().mul_scalar(1.5) - g.matmul(x).mul_scalar(0.5);
    }
    if tall { x.transpose() } else { x }
}

/// The largest singular value, by power iteration.
fn spectral(values: &[f32]) -> f64 {
    let rows: Vec<&[f32]> = values.chunks(COLUMNS).collect();
    let mut v = [1.0, 0.9, 1.1, 0.8];
    let mut size = 0.0;
    for _ in 0..3000 {
        let mut next = [0.0; COLUMNS];
        for row in &rows {
            let dot: f64 = row.iter().zip(v).map(|(x, y)| f64::from(*x) * y).sum();
            for (next, x) in next.iter_mut().zip(*row) {
                *next += dot * f64::from(*x);
            }
        }
        size = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        v = next.map(|x| x / size.max(f64::MIN_POSITIVE));
    }
    // `v` has length 1, so that `size` is the largest eigenvalue of the transposed times the matrix.
    size.sqrt()
}

impl Kernel for Nuclear {
    const CARD: Description = Description {
        name: "lion_k_nuclear",
        summary: "Lion with the nuclear norm: steps with equal singular values",
        paper: "arXiv 2310.05898",
        reference: "the paper's equations",
        ..PRETRAIN
    };

    fn space(space: SearchSpace) -> SearchSpace {
        space.fixed("rescale", 1.0)
    }

    fn new(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            rescale: switch(point, "rescale")?,
        })
    }

    fn subgradient<const D: usize>(&self, c: Tensor<D>) -> Tensor<D> {
        if D < 2 {
            return c.sign();
        }
        let shape = c.dims();
        let rows = shape[0];
        let columns = shape.iter().skip(1).product::<usize>();
        let u = polar(c.reshape([rows, columns])).reshape(shape);
        if self.rescale {
            u.mul_scalar((rows.max(columns) as f64).sqrt())
        } else {
            u
        }
    }

    fn claims() -> Vec<Claim> {
        vec![Claim {
            statement: "each matrix enters the ball where its largest singular value is at most sqrt(longer side) / weight_decay, its excess shrinking by 1 - lr wd per step",
            check: || {
                let rule = LionK {
                    beta1: 0.9,
                    beta2: 0.99,
                    weight_decay: DECAY,
                    kernel: Self { rescale: true },
                };
                let ball = Ball {
                    name: "largest singular value",
                    norm: spectral,
                    radius: (ROWS as f64).sqrt() / DECAY,
                };
                enters(rule, &[ball])
            },
        }]
    }
}

//! Lion-K with the Euclidean norm: a step of fixed length along the averaged gradient.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero, per tensor:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr u
//! m = beta2 m + (1 - beta2) g
//! ```
//! where `u = sqrt(n) c / |c|_2` over the `n` entries of the tensor (0 where `c` is 0): every tensor moves
//! by `lr` per entry in the root mean square. `K` is `sqrt(n) |x|_2`. Weight decay holds each tensor in
//! the ball `|p|_2 <= sqrt(n) / wd`. With `rescale = 0` the factor `sqrt(n)` is missing in both. burn has
//! no such rule, so [`LionK`](super::LionK) is ours. Schedule: linear warm-up, cosine decay
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
//! Those of `lion`; rescaling makes its rates fit.
//!
//! # State
//! 4 bytes per parameter: `m` in 32 bits.
//!
//! # Sources
//! Chen et al., arXiv 2310.05898. Checked against three steps in 64 bits.
//!
//! # What differs
//! No code of the authors is known; the factor is that of third-party code, so that one rate serves all
//! tensors.

use super::ball::{Ball, COLUMNS, DECAY, ROWS, enters, euclidean};
use super::{Kernel, LionK, unit};
use crate::common::{PRETRAIN, switch};
use burn::tensor::Tensor;
use velodrome_harness::contract::{Claim, Description, Point, SearchSpace, SubmissionError};

/// The Euclidean norm of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct L2 {
    /// Whether it is multiplied by the root of the number of entries.
    pub rescale: bool,
}

impl Kernel for L2 {
    const CARD: Description = Description {
        name: "lion_k_l2",
        summary: "Lion with the Euclidean norm: steps of fixed length per tensor",
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
        let entries = c.dims().iter().product::<usize>() as f64;
        let axes: Vec<usize> = (0..D).collect();
        let u = unit(c, &axes);
        if self.rescale {
            u.mul_scalar(entries.sqrt())
        } else {
            u
        }
    }

    fn claims() -> Vec<Claim> {
        vec![Claim {
            statement: "each tensor enters the ball |p|_2 <= sqrt(n) / weight_decay, its excess shrinking by 1 - lr wd per step",
            check: || {
                let rule = LionK {
                    beta1: 0.9,
                    beta2: 0.99,
                    weight_decay: DECAY,
                    kernel: Self { rescale: true },
                };
                let ball = Ball {
                    name: "norm",
                    norm: euclidean,
                    radius: ((ROWS * COLUMNS) as f64).sqrt() / DECAY,
                };
                enters(rule, &[ball])
            },
        }]
    }
}

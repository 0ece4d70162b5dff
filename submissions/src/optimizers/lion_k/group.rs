//! Lion-K with a group norm: a step of fixed length for the weights of each output unit.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero, per tensor:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr u
//! m = beta2 m + (1 - beta2) g
//! ```
//! where, for each group of `n` entries, `u = sqrt(n) c / |c|_2` (0 where `c` is 0). A group is what
//! feeds one output unit: a column of a matrix `[fan_in, fan_out]`, the kernel of one channel of a
//! convolution `[channels_out, ...]`; a tensor of one axis is one group. `K` is the sum over groups of
//! `sqrt(n) |x|_2`. Weight decay holds each group in the ball `|p|_2 <= sqrt(n) / wd`. With `rescale = 0`
//! the factors `sqrt(n)` are missing. burn has no such rule, so [`LionK`](super::LionK) is ours. Schedule:
//! linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
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
//! Chen et al., arXiv 2310.05898. Checked against its definition.
//!
//! # What differs
//! The paper names group norms without code; which entries form a group is our choice. Columns of
//! embedding tables and positions are groups, too.

use super::ball::{Ball, COLUMNS, DECAY, ROWS, enters, euclidean};
use super::{Kernel, LionK, unit};
use crate::common::{PRETRAIN, switch};
use burn::tensor::Tensor;
use velodrome_harness::contract::{Claim, Description, Point, SearchSpace, SubmissionError};

/// The sum of the Euclidean norms of groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Whether each norm is multiplied by the root of the group's size.
    pub rescale: bool,
}

/// The largest norm of a column.
fn largest_column(values: &[f32]) -> f64 {
    let column =
        |j: usize| -> Vec<f32> { values.iter().skip(j).step_by(COLUMNS).copied().collect() };
    let norms = (0..COLUMNS).map(|j| euclidean(&column(j)));
    norms.fold(0.0, |a, b| if b <= a { a } else { b })
}

impl Kernel for Group {
    const CARD: Description = Description {
        name: "lion_k_group",
        summary: "Lion with group norms: steps of fixed length per output unit",
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
        let axes: Vec<usize> = match D {
            0..=2 => vec![0; D.min(1)],
            _ => (1..D).collect(),
        };
        let dims = c.dims();
        let size: usize = axes.iter().map(|&axis| dims[axis]).product();
        let u = unit(c, &axes);
        if self.rescale {
            u.mul_scalar((size as f64).sqrt())
        } else {
            u
        }
    }

    fn claims() -> Vec<Claim> {
        vec![Claim {
            statement: "each group enters the ball |p|_2 <= sqrt(n) / weight_decay, its excess shrinking by 1 - lr wd per step",
            check: || {
                let rule = LionK {
                    beta1: 0.9,
                    beta2: 0.99,
                    weight_decay: DECAY,
                    kernel: Self { rescale: true },
                };
                let ball = Ball {
                    name: "largest norm of a group",
                    norm: largest_column,
                    radius: (ROWS as f64).sqrt() / DECAY,
                };
                enters(rule, &[ball])
            },
        }]
    }
}

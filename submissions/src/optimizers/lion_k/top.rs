//! Lion-K with the sum of the largest entries: only a share of each tensor moves, by its sign.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero, per tensor:
//! ```text
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr u
//! m = beta2 m + (1 - beta2) g
//! ```
//! where `u` is the sign of `c` in the `k` entries of the tensor that are largest in size, and 0 elsewhere;
//! `k` is `top_share` times the number of entries, rounded, at least 1. Entries of one size that compete
//! for the last places share them: each gets the sign times places over entries. `K` is the sum of the `k`
//! largest `|x|`. Weight decay holds each tensor in the box `|p| <= 1 / wd` and in the ball
//! `|p|_1 <= k / wd`: most weights decay. With `top_share = 1` it is Lion. burn has no such rule, so
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
//! | `top_share` | 0.3 | 0.1 to 1, logarithmic |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Those of `lion`, and `top_share`, whose default is not tuned.
//!
//! # State
//! 4 bytes per parameter: `m` in 32 bits.
//!
//! # Sources
//! Chen et al., arXiv 2310.05898. Checked against its definition.
//!
//! # What differs
//! The paper does not name this `K`; its subgradient and conjugate are derived here. The order of sizes is
//! found in host memory on any device.

use super::ball::{Ball, COLUMNS, DECAY, ROWS, enters, sum, unit_box};
use super::{Kernel, LionK};
use crate::common::{PRETRAIN, checked};
use burn::tensor::{Tensor, TensorData};
use velodrome_harness::contract::{Claim, Description, Point, SearchSpace, SubmissionError};

/// The sum of the largest absolute values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Top {
    /// Share of a tensor's entries, above 0 and up to 1.
    pub share: f64,
}

impl Top {
    /// Entries that move, of so many.
    pub fn places(&self, entries: usize) -> usize {
        ((self.share * entries as f64).round() as usize).clamp(1, entries.max(1))
    }

    fn of(&self, values: &[f32]) -> Vec<f32> {
        let places = self.places(values.len());
        let mut sizes: Vec<f32> = values.iter().map(|x| x.abs()).collect();
        if sizes.is_empty() {
            return sizes;
        }
        let (larger, &mut border, _) =
            sizes.select_nth_unstable_by(places - 1, |a, b| b.total_cmp(a));
        let above = larger.iter().filter(|x| **x > border).count();
        let level = values.iter().filter(|x| x.abs() == border).count();
        let share = (places - above) as f32 / level.max(1) as f32;
        let step = |x: &f32| match x.abs() {
            0.0 => 0.0,
            size if size > border => x.signum(),
            size if size == border => share * x.signum(),
            // Not below `border` means that it is no number: a diverged run must not look sound.
            size if size < border => 0.0,
            _ => f32::NAN,
        };
        values.iter().map(step).collect()
    }
}

impl Kernel for Top {
    const CARD: Description = Description {
        name: "lion_k_top",
        summary: "Lion with the sum of the largest entries: only a share of each tensor moves",
        paper: "arXiv 2310.05898",
        reference: "the paper's equations",
        ..PRETRAIN
    };

    fn space(space: SearchSpace) -> SearchSpace {
        space.log_uniform("top_share", 0.1, 1.0, 0.3)
    }

    fn new(point: &Point) -> Result<Self, SubmissionError> {
        let share = checked(point, "top_share", "above 0 and at most 1", |x| {
            x > 0.0 && x <= 1.0
        })?;
        Ok(Self { share })
    }

    fn subgradient<const D: usize>(&self, c: Tensor<D>) -> Tensor<D> {
        let (device, shape) = (c.device(), c.dims());
        let data = c.clone().into_data().convert::<f32>();
        match data.as_slice::<f32>() {
            Ok(values) => Tensor::from_data(TensorData::new(self.of(values), shape), &device),
            Err(_) => c.sign(),
        }
    }

    fn claims() -> Vec<Claim> {
        vec![Claim {
            statement: "iterates enter the box |p| <= 1 / weight_decay and the ball |p|_1 <= k / weight_decay, their excess shrinking by 1 - lr wd per step",
            check: || {
                let kernel = Self { share: 0.25 };
                let rule = LionK {
                    beta1: 0.9,
                    beta2: 0.99,
                    weight_decay: DECAY,
                    kernel,
                };
                let ball = Ball {
                    name: "sum",
                    norm: sum,
                    radius: kernel.places(ROWS * COLUMNS) as f64 / DECAY,
                };
                enters(rule, &[unit_box(), ball])
            },
        }]
    }
}

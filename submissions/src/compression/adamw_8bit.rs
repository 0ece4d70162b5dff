//! AdamW with both averages in 8 bits.
//!
//! # Rule
//! With gradient `g`, step `t` from 1, parameter `p`, averages `m` and `v` from zero, per block of
//! `block_size` consecutive entries:
//! ```text
//! m = signed[code_m] scale_m,   v = unsigned[code_v] scale_v
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! p = p - lr sqrt(c2) / c1 m / (sqrt(v) + epsilon sqrt(c2))     (c1 = 1 - beta1^t, c2 = 1 - beta2^t)
//! p = (1 - lr wd) p                                             (after the step)
//! scale = largest |s| of the block,   code = nearest entry of the code book to s / scale
//! ```
//! The parameter moves by the averages before they are encoded again. A negative `m` never becomes 0. An
//! entry whose gradient is not finite keeps its value, and its averages become 0. The code books are in
//! [`super::codebook`], the storage in [`super::eight_bit`]. burn has no such rule, so [`AdamW8bit`] is
//! ours. Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `block_size` | 256 | fixed; entries that share a scale |
//! | `min_8bit_size` | 4096 | fixed; smaller parameters keep 32-bit averages |
//! | `embedding_bits` | 32 | fixed; 8 for embeddings and positions like the rest |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Those of `adamw`: the method needs no other values.
//!
//! # State
//! `2 + 8 / block_size` bytes per parameter (2.03 at 256; a last block that is not full has whole
//! scales); 8 in parameters with fewer than `min_8bit_size` entries, in embeddings and in positions.
//!
//! # Sources
//! Dettmers et al., arXiv 2110.02861; form and defaults of `bitsandbytes` (its block-wise kernels and
//! `create_dynamic_map`). The first step equals AdamW's.
//!
//! # What differs
//! The paper's blocks have 2048 entries. Weight decay comes after the step, as in the library; `adamw`
//! here decays before it. The paper's stable embedding adds a layer norm to the model, which a submission
//! cannot do; the 32-bit averages for embeddings are kept. Averages live in host memory on any device.

use super::codebook::Book;
use super::eight_bit::{BlockRule, EightBit, state_bytes, with_storage};
use crate::common::{PRETRAIN, fraction, non_negative, with_regularisation};
use crate::fused::{Now, Number, Rule};
use crate::scheduled::ScheduledOptimizer;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW8bit {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay rate of the average of squares, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second average.
    pub epsilon: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

/// The rule with its storage; [`EightBit::step`] is one update of a slice.
pub type Adam8bit = EightBit<AdamW8bit, 2>;

impl AdamW8bit {
    /// From `beta1`, `beta2`, `epsilon` and `weight_decay`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            beta1: fraction(point, "beta1")?,
            beta2: fraction(point, "beta2")?,
            epsilon: non_negative(point, "epsilon")?,
            weight_decay: non_negative(point, "weight_decay")?,
        })
    }
}

impl Rule<2> for AdamW8bit {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let Self { beta1, beta2, .. } = *self;
        let root = now.correction(beta2).sqrt();
        let rate = now.lr * root / now.correction(beta1);
        let epsilon = self.epsilon * root;
        let keep = 1.0 - now.lr * self.weight_decay;
        move |p, g, [m, v]| {
            let m = m.ema(g.clone(), beta1);
            let v = v.ema(g.square(), beta2);
            let step = m.clone() * rate / (v.clone().sqrt() + epsilon);
            ((p - step) * keep, [m, v])
        }
    }
}

impl BlockRule<2> for AdamW8bit {
    const BOOKS: [Book; 2] = [Book::Signed, Book::Unsigned];
}

/// The submission `adamw_8bit`.
#[derive(Debug, Clone, Copy)]
pub struct AdamW8bitSubmission;

impl Submission for AdamW8bitSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "adamw_8bit",
            summary: "AdamW with block-wise 8-bit averages, warm-up and cosine decay",
            paper: "arXiv 2110.02861",
            reference: "bitsandbytes AdamW8bit (block-wise)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1);
        with_regularisation(with_storage(space).fixed("warmup_factor", 0.05))
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        state_bytes(params, point, 2)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = AdamW8bit::from_point(&context.point)?;
        let optimizer = EightBit::optimizer(rule, &context.point, trainee)?;
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

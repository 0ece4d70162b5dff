//! Lion with its average in 8 bits.
//!
//! # Rule
//! With gradient `g`, parameter `p`, average `m` from zero, per block of `block_size` consecutive
//! entries:
//! ```text
//! m = signed[code] scale
//! c = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr sign(c)         (sign(0) = 0)
//! m = beta2 m + (1 - beta2) g
//! scale = largest |m| of the block,   code = nearest entry of the code book to m / scale
//! ```
//! A negative `m` never becomes 0, which keeps signs that the next steps rest on. An entry whose gradient
//! is not finite keeps its value, and its average becomes 0. The code book is in [`super::codebook`], the
//! storage in [`super::eight_bit`]. The rule is [`Lion`]'s. Schedule: linear
//! warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1.5e-3 | 3e-5 to 3e-3, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | complement 0.005 to 0.05, logarithmic |
//! | `weight_decay` | 0.5 | 0.02 to 5, logarithmic |
//! | `block_size` | 256 | fixed; entries that share a scale |
//! | `min_8bit_size` | 4096 | fixed; smaller parameters keep 32-bit averages |
//! | `embedding_bits` | 32 | fixed; 8 for embeddings and positions like the rest |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Those of `lion`: the method needs no other values.
//!
//! # State
//! `1 + 4 / block_size` bytes per parameter (1.016 at 256; a last block that is not full has a whole
//! scale); 4 in parameters with fewer than `min_8bit_size` entries, in embeddings and in positions.
//!
//! # Sources
//! Chen et al., arXiv 2302.06675; storage: Dettmers et al., arXiv 2110.02861, in the form of
//! `bitsandbytes` (`Lion8bit`).
//!
//! # What differs
//! The paper's blocks have 2048 entries. Averages live in host memory on any device.

use super::codebook::Book;
use super::eight_bit::{BlockRule, EightBit, state_bytes, with_storage};
use crate::common::{PRETRAIN, with_regularisation};
use crate::fused::Elementwise;
use crate::optimizers::lion::Lion;
use crate::scheduled::ScheduledOptimizer;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

impl BlockRule<1> for Lion {
    const BOOKS: [Book; 1] = [Book::Signed];
}

/// The submission `lion_8bit`.
#[derive(Debug, Clone, Copy)]
pub struct Lion8bitSubmission;

impl Submission for Lion8bitSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "lion_8bit",
            summary: "Lion with a block-wise 8-bit average, warm-up and cosine decay",
            paper: "arXiv 2110.02861",
            reference: "bitsandbytes Lion8bit (block-wise)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 3e-5, 3e-3, 1.5e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.9)
            .one_minus_log_uniform("beta2", 0.005, 0.05, 0.99)
            .log_uniform("weight_decay", 0.02, 5.0, 0.5);
        with_regularisation(with_storage(space).fixed("warmup_factor", 0.05))
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        state_bytes(params, point, 1)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = Lion::new(&context.point, &context.hints)?;
        let optimizer = EightBit::optimizer(rule, &context.point, trainee)?;
        ScheduledOptimizer::cosine(optimizer, context)
    }
}

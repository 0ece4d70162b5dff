//! Stochastic gradient descent with its momentum in 8 bits.
//!
//! # Rule
//! With gradient `g`, parameter `p`, buffer `b`, per block of `block_size` consecutive entries:
//! ```text
//! b  = signed[code] scale
//! g' = g + wd p                          (coupled decay: it passes through the buffer)
//! b  = momentum b + g'                   (b = g' at the first step)
//! p  = p - lr b
//! scale = largest |b| of the block,   code = nearest entry of the code book to b / scale
//! ```
//! The parameter moves by the buffer before it is encoded again. A negative `b` never becomes 0. An entry
//! whose gradient is not finite keeps its value, and its buffer becomes 0. The code book is in
//! [`super::codebook`], the storage in [`super::eight_bit`]. The rule is [`HeavyBall`]'s. Schedule: [`WarmupLinear`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 0.15 | 0.02 to 5, logarithmic |
//! | `momentum` | 0.9 | complement 0.005 to 0.3, logarithmic |
//! | `weight_decay` | 1e-5 | 1e-7 to 5e-5, logarithmic |
//! | `block_size` | 256 | fixed; entries that share a scale |
//! | `min_8bit_size` | 4096 | fixed; smaller parameters keep a 32-bit buffer |
//! | `embedding_bits` | 32 | fixed; 8 for embeddings and positions like the rest |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `decay_steps_factor` | 0.9 | fixed; share of the steps behind the warm-up |
//! | `end_factor` | 1e-3 | 1e-3, 1e-2 |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! Those of `heavy_ball`: the method needs no other values.
//!
//! # State
//! `1 + 4 / block_size` bytes per parameter (1.016 at 256; a last block that is not full has a whole
//! scale); 4 in parameters with fewer than `min_8bit_size` entries, in embeddings and in positions.
//!
//! # Sources
//! Dettmers et al., arXiv 2110.02861, in the form of `bitsandbytes` (`SGD8bit`).
//!
//! # What differs
//! The paper's blocks have 2048 entries. Buffers live in host memory on any device.

use super::codebook::Book;
use super::eight_bit::{BlockRule, EightBit, state_bytes, with_storage};
use crate::common::{PRETRAIN, pass_options, with_regularisation};
use crate::fused::Elementwise;
use crate::optimizers::heavy_ball::HeavyBall;
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::WarmupLinear;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

impl BlockRule<1> for HeavyBall {
    const BOOKS: [Book; 1] = [Book::Signed];
}

/// The submission `momentum_8bit`.
#[derive(Debug, Clone, Copy)]
pub struct Momentum8bitSubmission;

impl Submission for Momentum8bitSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "momentum_8bit",
            summary: "SGD with block-wise 8-bit momentum, warm-up and linear decay",
            paper: "arXiv 2110.02861",
            reference: "bitsandbytes SGD8bit (block-wise)",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 0.02, 5.0, 0.15)
            .one_minus_log_uniform("momentum", 0.005, 0.3, 0.9)
            .log_uniform("weight_decay", 1e-7, 5e-5, 1e-5);
        let space = with_storage(space)
            .fixed("warmup_factor", 0.05)
            .fixed("decay_steps_factor", 0.9)
            .choice("end_factor", &[1e-3, 1e-2], 1e-3);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        state_bytes(params, point, 1)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = HeavyBall::new(&context.point, &context.hints)?;
        let optimizer = EightBit::optimizer(rule, &context.point, trainee)?;
        let algorithm = ScheduledOptimizer::new(optimizer, WarmupLinear::start(context)?)
            .with_options(pass_options(&context.point)?);
        Ok(Box::new(algorithm))
    }
}

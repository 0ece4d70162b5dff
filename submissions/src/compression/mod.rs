//! Optimizer states in 8 bits: the code books, the block-wise storage, and the submissions that use
//! them (Dettmers et al., arXiv 2110.02861).

pub mod adamw_8bit;
pub mod codebook;
pub mod eight_bit;
pub mod lion_8bit;
pub mod momentum_8bit;

//! Metrics, accumulated over the batches of a split in 64 bits.

mod binary;
mod classes;

pub use binary::Binary;
pub use classes::{Classes, labels_of};

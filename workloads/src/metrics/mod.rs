//! Metrics, accumulated over the batches of a split in 64 bits.

mod classes;

pub use classes::{Classes, labels_of};

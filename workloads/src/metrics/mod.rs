//! Metrics, accumulated over the batches of a split in 64 bits.

mod average_precision;
mod classes;

pub use average_precision::AveragePrecision;
pub use classes::{Classes, labels_of};

//! Metrics, accumulated over the batches of a split in 64 bits.

mod average_precision;
mod binary;
mod classes;
mod ssim;

pub use average_precision::AveragePrecision;
pub use binary::Binary;
pub use classes::{Classes, labels_of};
pub use ssim::{Intensities, Reconstructions, structural_similarity};

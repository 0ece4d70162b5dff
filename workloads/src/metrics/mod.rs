//! Metrics, accumulated over the batches of a split in 64 bits.

mod average_precision;
mod classes;
mod edits;
mod ssim;

pub use average_precision::AveragePrecision;
pub use classes::{Classes, labels_of};
pub use edits::{Transcripts, edit_distance};
pub use ssim::{Intensities, Reconstructions, structural_similarity};

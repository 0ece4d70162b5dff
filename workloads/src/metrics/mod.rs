//! Metrics, accumulated over the batches of a split in 64 bits.

mod average_precision;
mod binary;
mod bleu;
mod classes;
mod edits;
mod ssim;

pub use average_precision::AveragePrecision;
pub use binary::Binary;
pub use bleu::{Bleu, tokenize_13a};
pub use classes::{Classes, labels_of};
pub use edits::{EditRate, edit_distance};
pub use ssim::{Intensities, Reconstructions, structural_similarity};

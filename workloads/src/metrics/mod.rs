//! Metrics, accumulated over the batches of a split in 64 bits.

mod bleu;
mod classes;
mod edits;

pub use bleu::{Bleu, tokenize_13a};
pub use classes::{Classes, labels_of};
pub use edits::{EditRate, edit_distance};

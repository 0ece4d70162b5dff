//! Pairs of sequences for encoder-decoder models.

mod bpe;
mod catalogues;
mod cmudict;
mod mo;
mod pairs;
mod pieces;
mod wmt;

pub use bpe::BytePairs;
pub use catalogues::{Catalogues, is_catalogue};
pub use cmudict::CmuDict;
pub(super) use cmudict::FILE as CMUDICT;
pub use mo::{Catalogue, Message, read_mo};
pub use pairs::{Pairs, Sequences};
pub use pieces::Pieces;
pub use wmt::{Packed, Wmt};

/// Token sequences as text.
pub trait TokenText: Send + Sync {
    /// The text that `tokens` spell; tokens that stand for nothing are left out.
    fn text(&self, tokens: &[i32]) -> String;
}

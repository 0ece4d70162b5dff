//! Houlsby's adapters: a bottleneck behind the attention and one behind the feed-forward part of each block.
//!
//! `y' = y + swish(y D + d) U + u`. Start: `D` and `U` normal with deviation 0.02, biases zero: near the model
//! itself. The rest: [`super::bottleneck`].
//!
//! Sources: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", arXiv 1902.00751; AdapterHub's
//! `DoubleSeqBnConfig`. Norms and head: only a new head trains here; the paper trains norms too.

use super::bottleneck::{Bottleneck, Place, plain, plainly};
use burn::tensor::activation::silu;

/// The submission.
pub const HOULSBY: Bottleneck = Bottleneck {
    name: "houlsby",
    summary: "Bottlenecks behind the attention and the feed-forward part",
    paper: "arXiv 1902.00751",
    reference: "AdapterHub, DoubleSeqBnConfig",
    place: Place::BehindBoth,
    make: |width, rank, draw, device| plainly(plain(width, rank, [0.02, 0.02], draw, device), silu),
    ..Bottleneck::PLAIN
};

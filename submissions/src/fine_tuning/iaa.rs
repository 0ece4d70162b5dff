//! IAA: modules inside and aside, so that what trains is one path from the input to the output.
//!
//! Inside: `y + gelu(y D + d) U + u` behind the feed-forward part of each block, as
//! [`super::pfeiffer`]. Aside: a second bottleneck from what the block reads to what it writes, past the
//! frozen layers: `h' = Block(h) + gelu(z D' + d') U' + u'`.
//!
//! Start: `D` uniform on `±1/sqrt(width)` in both, the rest zero: the model itself. The rest:
//! [`super::bottleneck`].
//!
//! Reconstructed from the paper, whose code was not found (the placement that its name calls parallel).
//! `z` is what the block's first matrix reads: in a block with its norm in front that is the normalised
//! input.
//!
//! Source: Ma et al., "Scattered or Connected? An Optimized Parameter-efficient Tuning Approach for
//! Information Retrieval", arXiv 2208.09847.

use super::bottleneck::{Bottleneck, Place, beginning, plainly};
use burn::tensor::activation::gelu;

/// The submission.
pub const IAA: Bottleneck = Bottleneck {
    name: "iaa",
    summary: "Bottlenecks inside and aside of each block",
    paper: "arXiv 2208.09847",
    reference: "the paper's equations",
    place: Place::InsideAndAside,
    make: |width, rank, draw, device| plainly(beginning(width, rank, draw, device), gelu),
    ..Bottleneck::PLAIN
};

//! Pfeiffer's adapters: a bottleneck behind the feed-forward part of each block.
//!
//! `y' = y + relu(y D + d) U + u`. Start: `D` and `U` normal with deviation 0.02, biases zero: near the model
//! itself. The rest: [`super::bottleneck`].
//!
//! Sources: Pfeiffer et al., "AdapterFusion", arXiv 2005.00247; AdapterHub's `SeqBnConfig`.

use super::bottleneck::{Bottleneck, Place, plain, plainly};
use burn::tensor::activation::relu;

/// The submission.
pub const PFEIFFER: Bottleneck = Bottleneck {
    name: "pfeiffer",
    summary: "Bottlenecks behind the feed-forward part",
    paper: "arXiv 2005.00247",
    reference: "AdapterHub, SeqBnConfig",
    place: Place::BehindLast,
    make: |width, rank, draw, device| plainly(plain(width, rank, [0.02, 0.02], draw, device), relu),
    ..Bottleneck::PLAIN
};

//! Parallel adapters: a scaled bottleneck beside the feed-forward part of each block.
//!
//! `F'(x) = F(x) + 4 (relu(x D + d) U + u)`, of the feed-forward part's input. Start: `D` uniform on
//! `±1/sqrt(width)`, the rest zero: the model itself. The rest: [`super::bottleneck`].
//!
//! Sources: He et al., "Towards a Unified View of Parameter-Efficient Transfer Learning", arXiv 2110.04366;
//! AdapterHub's `ParBnConfig`.

use super::bottleneck::{Bottleneck, Place, beginning, plainly};
use burn::tensor::activation::relu;

/// The submission.
pub const PARALLEL_ADAPTER: Bottleneck = Bottleneck {
    name: "parallel_adapter",
    summary: "Scaled bottlenecks beside the feed-forward part",
    paper: "arXiv 2110.04366",
    reference: "AdapterHub, ParBnConfig",
    place: Place::Beside(4.0),
    make: |width, rank, draw, device| plainly(beginning(width, rank, draw, device), relu),
    ..Bottleneck::PLAIN
};

//! BOFT: the inputs turned by a product of butterfly factors, the outputs scaled.
//!
//! `W' = (M W) diag(s)`, `M = M_m ... M_1`, `M_i = P_i blocks(R_i) P_i^T`, each block of `R_i` the
//! Cayley transform of the skew part of the trained block. `P_1` is the identity; the further
//! permutations bring inputs together that lie twice as far apart each time. The bias stays.
//!
//! Start: blocks zero, `s` one: the weight itself, bit for bit.
//!
//! Options: `boft_block_size` 4 or `boft_block_num`, `boft_n_butterfly_factor` 1. PEFT without its CUDA
//! extension trains a single factor whatever the option says, so that a file's own tensor decides.
//! Trained: `m d_in size + d_out`; 1920 for 384 by 384 in blocks of 4 with one factor.
//!
//! Sources: Liu et al., "Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization", arXiv
//! 2311.06243; Hugging Face PEFT 0.21.2, `tuners/boft`.

use super::rotations::{blocks_times, cayley, reordered, times_blocks};
use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// BOFT.
#[derive(Debug, Clone)]
pub struct Boft {
    /// The weight's shape.
    pub shape: Shape,
    /// Number of blocks along the inputs.
    pub blocks: usize,
    /// Inputs in a block.
    pub size: usize,
    /// For each butterfly factor: which input stands at each place, and the place of each input.
    orders: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Boft {
    /// BOFT with `factors` butterfly factors (at least 1) and blocks of `size`.
    pub fn new(shape: Shape, size: usize, factors: usize) -> Result<Self, MethodError> {
        let blocks = shape.blocks_in("boft_block_size", size)?;
        if factors > 1 {
            let wanted = size << (factors - 1);
            shape.blocks_in("boft_block_size times the butterfly's reach", wanted)?;
            Shape::new(size, 0).blocks_in("half of boft_block_size", 2)?;
        }
        let orders = (0..factors).map(|i| match factors {
            1 => (0..shape.d_in).collect(),
            _ => butterfly(shape.d_in, (blocks >> i).max(1), size / 2),
        });
        let placed = |order: Vec<usize>| {
            let mut places = vec![0; order.len()];
            for (place, input) in order.iter().enumerate() {
                places[*input] = place;
            }
            (order, places)
        };
        Ok(Self {
            shape,
            blocks,
            size,
            orders: orders.map(placed).collect(),
        })
    }

    /// The rotations of each butterfly factor, shape `[blocks, size, size]`.
    fn rotations(&self, factors: &[Tensor<2>]) -> Vec<Tensor<3>> {
        let (count, size) = (self.orders.len(), self.size);
        let all = factors[0]
            .clone()
            .reshape([count * self.blocks, size, size]);
        let skew = (all.clone() - all.swap_dims(1, 2)).mul_scalar(0.5);
        let all = cayley(skew);
        let one = |i: usize| all.clone().narrow(0, i * self.blocks, self.blocks);
        (0..count).map(one).collect()
    }
}

/// PEFT's `block_butterfly_perm`: within each of `groups` equal parts, the pieces of `piece` inputs at
/// even places come before those at odd ones.
fn butterfly(length: usize, groups: usize, piece: usize) -> Vec<usize> {
    let (group, piece) = (length / groups, piece.max(1));
    let pieces = group / piece;
    let order: Vec<usize> = (0..pieces)
        .step_by(2)
        .chain((1..pieces).step_by(2))
        .collect();
    let starts = (0..groups).flat_map(|g| order.iter().map(move |p| g * group + p * piece));
    starts.flat_map(|start| start..start + piece).collect()
}

impl Parts for Boft {
    fn trained(&self) -> Vec<Factor> {
        let blocks = [self.orders.len(), self.blocks, self.size, self.size];
        vec![
            Factor::flat("boft_R", &blocks),
            Factor::turned("boft_s", self.shape.d_out, 1),
        ]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (blocks, device) = (self.trained()[0].shape(), base.device());
        Ok(vec![
            Tensor::zeros(blocks, &device),
            Tensor::ones([1, self.shape.d_out], &device),
        ])
    }
}

impl Method for Boft {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let mut weight = frozen;
        for (rotations, (order, places)) in self.rotations(factors).into_iter().zip(&self.orders) {
            let placed = reordered(weight, 0, places);
            weight = reordered(blocks_times(rotations, placed), 0, order);
        }
        weight * factors[1].clone()
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let mut x = x;
        let rotations = self.rotations(factors).into_iter().zip(&self.orders);
        for (rotations, (order, places)) in rotations.rev() {
            // The columns of x P are x's in the order in which P^T takes rows.
            let placed = reordered(x, 1, places);
            x = reordered(times_blocks(placed, rotations), 1, order);
        }
        x.matmul(frozen) * factors[1].clone()
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let size = options.count("boft_block_size", 0, 4)?;
    let number = options.count("boft_block_num", 0, 0)?;
    let size = match (size, number) {
        (0, 0) => return Err(options.wrong("boft_block_size", "at least 1")),
        (size, 0) => size,
        (0, number) => shape.blocks_in("boft_block_num", number)?,
        _ => return Err(options.wrong("boft_block_num", "0 where `boft_block_size` is not")),
    };
    let wanted = options.count("boft_n_butterfly_factor", 1, 1)?;
    let saved = options.saved_shape("boft_R");
    let factors = match saved.as_deref() {
        Some([1, ..]) => 1,
        _ => wanted,
    };
    Ok(Box::new(Boft::new(shape, size, factors)?))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Inputs turned by a product of butterfly factors",
    paper: "arXiv 2311.06243",
    size: ("block", &[8.0, 4.0, 16.0]),
    options: |s| json!({"boft_block_size": s.block().max(2)}),
    learning_rate: Race::MATRICES,
};

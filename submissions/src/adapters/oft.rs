//! OFT: the inputs turned by a block-diagonal rotation.
//!
//! `W' = R W`, `R` of blocks `(I - Q)(I + Q)^-1`, `Q` skew-symmetric with the trained entries above its
//! diagonal. By default (`use_cayley_neumann`) PEFT instead cuts the series of `(I + Q)(I - Q)^-1`, which
//! turns the other way, after `num_cayley_neumann_terms`, so that `R` is orthogonal only nearly. One
//! block serves all places with `block_share`. With `coft`, each block's `Q` is scaled back to a norm of at most
//! `eps / sqrt(blocks)`.
//!
//! Start: zeros: the weight itself, bit for bit.
//!
//! Options: `oft_block_size` 32 or `r` (the number of blocks; 0 for none): where the number does not
//! divide `d_in`, PEFT takes the nearest that does, the smaller one of two equally near; `coft`, `eps`
//! 6e-5, `block_share`, `use_cayley_neumann` true, `num_cayley_neumann_terms` 5. Trained:
//! `d_in (size - 1) / 2`; 5952 for 384 by 384 in blocks of 32.
//!
//! Sources: Qiu et al., "Controlling Text-to-Image Diffusion by Orthogonal Finetuning", arXiv
//! 2306.07280; Hugging Face PEFT 0.21.2, `tuners/oft`.

use super::rotations::{blocks_times, cayley, neumann, skew, times_blocks};
use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// OFT.
#[derive(Debug, Clone)]
pub struct Oft {
    /// Number of blocks along the inputs.
    pub blocks: usize,
    /// Inputs in a block.
    pub size: usize,
    /// Whether one block serves all places.
    pub shared: bool,
    /// The largest norm of all of `Q`, where it is bounded.
    pub bound: Option<f64>,
    /// Terms of the series, where the inverse is not exact.
    pub terms: Option<usize>,
}

impl Oft {
    fn stored(&self) -> usize {
        if self.shared { 1 } else { self.blocks }
    }

    /// The rotations, shape `[blocks, size, size]`.
    fn rotations(&self, factors: &[Tensor<2>]) -> Tensor<3> {
        let mut skew = skew(factors[0].clone(), self.size);
        if let Some(bound) = self.bound {
            let bound = bound / (self.stored() as f64).sqrt();
            let norms = skew.clone().square().sum_dim(1).sum_dim(2).sqrt();
            // Blocks within the bound are multiplied by 1, zeros too.
            let scale = norms.clamp_min(bound).recip().mul_scalar(bound);
            skew = skew * scale.detach();
        }
        let rotations = match self.terms {
            Some(terms) => neumann(skew, terms),
            None => cayley(skew),
        };
        rotations.expand([self.blocks, self.size, self.size])
    }
}

impl Parts for Oft {
    fn trained(&self) -> Vec<Factor> {
        let entries = self.size * (self.size - 1) / 2;
        vec![Factor::flat("oft_R.weight", &[self.stored(), entries])]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let shape = self.trained()[0].shape();
        Ok(vec![Tensor::zeros(shape, &base.device())])
    }
}

impl Method for Oft {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        blocks_times(self.rotations(factors), frozen)
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        times_blocks(x, self.rotations(factors)).matmul(frozen)
    }
}

/// The divisor of `length` nearest to `wanted`, the smaller of two.
fn nearest_divisor(length: usize, wanted: usize) -> usize {
    if wanted >= length {
        return length;
    }
    let above = (wanted..=length).find(|n| length.is_multiple_of(*n));
    let below = (1..=wanted).rev().find(|n| length.is_multiple_of(*n));
    match (below, above) {
        (Some(below), Some(above)) if wanted - below > above - wanted => above,
        (Some(below), _) => below,
        (None, above) => above.unwrap_or(length),
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let size = options.count("oft_block_size", 0, 32)?;
    let blocks = options.count("r", 0, 0)?;
    let size = match (blocks, size) {
        (0, 0) => return Err(options.wrong("oft_block_size", "at least 1 where `r` is 0")),
        (0, size) => nearest_divisor(shape.d_in, size),
        (blocks, 0) => shape.d_in / nearest_divisor(shape.d_in, blocks),
        _ => return Err(options.wrong("r", "0 where `oft_block_size` is not")),
    };
    let terms = options.count("num_cayley_neumann_terms", 0, 5)?;
    let series = options.flag("use_cayley_neumann", true)?;
    let bounded = options.flag("coft", false)?;
    let bound = options.number("eps", 6e-5)?;
    Ok(Box::new(Oft {
        blocks: shape.d_in / size,
        size,
        shared: options.flag("block_share", false)?,
        bound: bounded.then_some(bound),
        terms: series.then_some(terms),
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Inputs turned by rotations of blocks",
    paper: "arXiv 2306.07280",
    size: ("block", &[16.0, 8.0, 32.0]),
    options: |s| json!({"oft_block_size": s.block()}),
    learning_rate: Race::MATRICES,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_divisor_is_peft_s() {
        assert_eq!(nearest_divisor(24, 5), 4);
        assert_eq!(nearest_divisor(24, 7), 6);
        assert_eq!(nearest_divisor(24, 11), 12);
        assert_eq!(nearest_divisor(24, 30), 24);
        assert_eq!(nearest_divisor(7, 3), 1);
        assert_eq!(nearest_divisor(7, 5), 7);
    }
}

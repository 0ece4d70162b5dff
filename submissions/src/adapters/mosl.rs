//! MoSL: a mixture of sparse LoRAs, one of which is trained in each step.
//!
//! `B` is split into `experts` copies of disjoint support: random bands of equal size, which together
//! cover it. `W' = W + s A (M_i * B_i)` while expert `i` is active ([`Active`]; `A` is shared), and
//! `W' = W + s A sum_i (M_i * B_i)` merged. Since every `B_i` starts at zero, adding up and taking each
//! expert's band are the same.
//!
//! Start: `A` uniform on `±1/sqrt(d_in)`, all `B_i` zero: the weight itself, bit for bit. The bands are
//! drawn from `seed`. The masks are part of the forward pass, so that no weight decay can move an
//! expert outside its band.
//!
//! Options: `r` 8, `lora_alpha` 8, `experts` 4, `seed` 0. Trained: `r (d_in + experts d_out)`, 15360 for
//! 384 by 384; merged, as LoRA.
//!
//! Sources: Zhang et al., "Split & Merge: Unlocking the Potential of Visual Adapters via Sparse
//! Training" (MoSA), arXiv 2312.02923; Theia-4869/MoSA `src/utils/pruner.py`. MoSA itself sits between
//! layers and is no change of a weight.

use super::dylora::Active;
use super::{Added, Draw, Drawn, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use burn::tensor::{Tensor, TensorData};
use serde_json::json;

/// MoSL.
#[derive(Debug, Clone)]
pub struct Mosl {
    /// The weight's shape.
    pub shape: Shape,
    /// The rank `r`.
    pub rank: usize,
    /// Number of experts.
    pub experts: usize,
    /// The scale `s`.
    pub scale: f64,
    /// The seed of the bands.
    pub seed: u64,
    /// The active expert, or any number from `experts` on for all of them.
    pub active: Active,
}

/// So many entries, dealt out at random: ones and zeros of each expert, one expert after the other.
pub(crate) fn bands(experts: usize, entries: usize, draw: &mut Draw) -> Vec<f32> {
    let mut order: Vec<(f64, usize)> = (0..entries).map(|i| (draw.unit(), i)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut bands = vec![0.0f32; experts * entries];
    for (place, (_, entry)) in order.into_iter().enumerate() {
        let expert = place * experts / entries;
        bands[expert * entries + entry] = 1.0;
    }
    bands
}

impl Parts for Mosl {
    fn trained(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![
            Factor::turned("lora_A", self.rank, d_in),
            Factor::flat("lora_B", &[self.experts, self.rank, d_out]),
        ]
    }

    fn constants(&self) -> Vec<Factor> {
        let bands = [self.experts, self.rank, self.shape.d_out];
        vec![Factor::flat("bands", &bands)]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (Shape { d_in, d_out }, device) = (self.shape, base.device());
        Ok(vec![
            draw.kaiming([d_in, self.rank], d_in, &device),
            Tensor::zeros([self.experts * self.rank, d_out], &device),
        ])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let entries = self.rank * self.shape.d_out;
        let bands = bands(self.experts, entries, &mut Draw::seeded(self.seed));
        let shape = [self.experts * self.rank, self.shape.d_out];
        let bands = Tensor::from_data(TensorData::new(bands, shape), &base.device());
        Ok(vec![bands])
    }
}

impl Pair for Mosl {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (a, b, bands) = (&factors[0], &factors[1], &factors[2]);
        let (active, rank, d_out) = (self.active.get(), self.rank, self.shape.d_out);
        let masked = b.clone() * bands.clone();
        let b = match active < self.experts {
            true => masked.narrow(0, active * rank, rank),
            false => {
                let all = masked.reshape([self.experts, rank, d_out]);
                all.sum_dim(0).reshape([rank, d_out])
            }
        };
        (a.clone(), b.mul_scalar(self.scale))
    }

    fn drawn(&self) -> Option<Drawn> {
        Some(Drawn {
            active: self.active.clone(),
            choices: 0..self.experts,
            all: self.experts,
        })
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 8)?;
    let experts = options.count("experts", 1, 4)?;
    shape.at_most("experts", experts, rank * shape.d_out)?;
    Ok(Box::new(Added(Mosl {
        shape,
        rank,
        experts,
        scale: options.number("lora_alpha", 8.0)? / rank as f64,
        seed: options.count("seed", 0, 0)? as u64,
        active: Active::new(experts),
    })))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A mixture of sparse LoRAs, one of which is trained in each step",
    paper: "arXiv 2312.02923",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": 2 * s.rank(), "experts": 4, "seed": s.seed}),
    learning_rate: Race::MATRICES,
};

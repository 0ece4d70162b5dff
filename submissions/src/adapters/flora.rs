//! FLoRA: a small core and one factor for each axis of the weight (Tucker's product), so that kernels
//! need not be flattened.
//!
//! `W' = W + s G x_0 P_0 x_1 P_1 ...`, `P_m` of `[d_m, r_m]`, `G` of `[r_0, r_1, ...]`. For a matrix
//! that is `W + s P_0 G P_1^T`. Weights of more axes arrive here as `[d_0, rest]`, as everywhere in
//! this crate.
//!
//! Start: `G` zero, `P_m` normal with deviation `sqrt(0.5 / r_m)`: the weight itself, bit for bit; at
//! first the gradient reaches `G` alone.
//!
//! Options (matrices): `r` 8 for both axes, `scale` 4. Trained: `r_0 d_0 + r_1 d_1 + r_0 r_1`; 6208 for
//! 384 by 384 at rank 8, 1804 for a kernel of 128, 64, 3, 3 with ranks 8, 8, 2, 2.
//!
//! Sources: Si et al., "FLoRA: Low-Rank Core Space for N-dimension", arXiv 2405.14739;
//! SJTU-DeepVisionLab/FLoRA `flora/layers.py` (a constant scale; two ports of the authors' differ).
//! Not the optimizer of the same name.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// The factors' names, by axis.
const AXES: [&str; 5] = ["flora_P0", "flora_P1", "flora_P2", "flora_P3", "flora_P4"];

/// FLoRA of a weight of two to five axes.
#[derive(Debug, Clone)]
pub struct Flora {
    /// Length and rank of each axis.
    axes: Vec<(usize, usize)>,
    /// The scale `s`.
    pub scale: f64,
}

impl Flora {
    /// FLoRA of a weight with these lengths and ranks, an axis each; two to five axes.
    pub fn new(axes: &[(usize, usize)], scale: f64) -> Result<Self, MethodError> {
        let fits = (2..=AXES.len()).contains(&axes.len());
        if !fits || axes.iter().any(|(_, rank)| *rank == 0) {
            return Err(MethodError::Option {
                option: "axes".into(),
                value: format!("{axes:?}"),
                wanted: "two to five lengths with ranks of at least 1",
            });
        }
        Ok(Self {
            axes: axes.to_vec(),
            scale,
        })
    }
}

impl Parts for Flora {
    fn trained(&self) -> Vec<Factor> {
        let ranks: Vec<usize> = self.axes.iter().map(|(_, rank)| *rank).collect();
        let axes = self.axes.iter().zip(AXES);
        let axes = axes.map(|((length, rank), name)| Factor::flat(name, &[*length, *rank]));
        let core = Factor::flat("flora_G", &ranks);
        axes.chain([core]).collect()
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let device = base.device();
        let mut values = Vec::with_capacity(self.axes.len() + 1);
        for (length, rank) in &self.axes {
            let deviation = (0.5 / *rank as f64).sqrt();
            values.push(draw.normal([*length, *rank], deviation, &device));
        }
        let core = self.trained().last().map_or([1, 1], Factor::shape);
        values.push(Tensor::zeros(core, &device));
        Ok(values)
    }
}

impl Method for Flora {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let count = self.axes.len();
        // The present axis first, the rest behind it; after each product the axes turn by one, and
        // after the last they stand as at the start.
        let mut change = factors[count].clone().mul_scalar(self.scale);
        for (factor, (length, rank)) in factors.iter().zip(&self.axes) {
            let entries = change.dims().iter().product::<usize>();
            let rest = entries / rank;
            let product = factor.clone().matmul(change.reshape([*rank, rest]));
            change = product.transpose().reshape([rest * length, 1]);
        }
        let shape = frozen.dims();
        frozen + change.reshape(shape)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 8)?;
    let scale = options.number("scale", 4.0)?;
    let axes = [(shape.d_in, rank), (shape.d_out, rank)];
    Ok(Box::new(Flora::new(&axes, scale)?))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Tucker's product of a small core and a factor for each axis",
    paper: "arXiv 2405.14739",
    size: Race::RANK,
    options: |s| json!({"r": s.rank()}),
    learning_rate: Race::MATRICES,
};

//! MoSA: a mixture of sparse adapters, one of which is trained in each step.
//!
//! `F'(x) = F(x) + 0.1 (relu(x D + d) U + u)` beside the feed-forward part of each block. `U` is split among
//! four experts into random bands of equal size that together cover it; `D` and the biases belong to all.
//! A step draws one expert, one for all layers, and its forward and backward pass see that band of `U`
//! alone; evaluations see all bands, which is the authors' merged adapter, since `U` starts at zero.
//!
//! Start: `D` uniform on `±1/sqrt(width)`, the rest zero: the model itself. The rest: [`super::bottleneck`].
//!
//! Differences: all experts lie in one `U`, so that AdamW's moments of a band decay in the steps of the
//! others, where the authors' copies rest; and their second forward pass, which pulls two experts'
//! predictions together, is left out.
//!
//! Sources: Zhang et al., "Split & Merge: Unlocking the Potential of Visual Adapters via Sparse Training",
//! arXiv 2312.02923; Theia-4869/MoSA `src/models/vit_adapter/vit_mosa.py`, `src/utils/pruner.py`.
//! [`crate::adapters::mosl`] is the same on LoRA.

use super::bottleneck::{Bottleneck, Made, Place, beginning, through};
use crate::adapters::{Active, Draw, Drawn, beside, mosl};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use std::sync::Arc;

/// Experts.
const EXPERTS: usize = 4;
/// Factor of the adapter's output.
const SCALE: f64 = 0.1;

/// The submission.
pub const MOSA: Bottleneck = Bottleneck {
    name: "mosa",
    summary: "A mixture of sparse adapters, one of which is trained in each step",
    paper: "arXiv 2312.02923",
    reference: "Theia-4869/MoSA",
    place: Place::Beside(SCALE),
    make: |width, rank, draw, device| {
        let experts = EXPERTS.min(rank * width);
        let bands = bands(experts, [rank, width], draw, device);
        let active = Active::new(experts);
        let drawn = Drawn {
            active: active.clone(),
            choices: 0..experts,
            all: experts,
        };
        Made {
            factors: beginning(width, rank, draw, device),
            branch: Arc::new(move |x: Tensor<2>, factors: &[Tensor<2>]| {
                let mut factors = factors.to_vec();
                if let (Some(band), Some(up)) = (bands.get(active.get()), factors.get_mut(2)) {
                    *up = up.clone() * beside(band, up);
                }
                through(x, &factors, relu)
            }),
            drawn: Some(drawn),
        }
    },
    ..Bottleneck::PLAIN
};

/// The entries of a matrix, dealt out: a matrix of ones and zeros for each expert.
fn bands(experts: usize, shape: [usize; 2], draw: &mut Draw, device: &Device) -> Vec<Tensor<2>> {
    let entries = shape[0] * shape[1];
    let all = mosl::bands(experts, entries, draw);
    all.chunks(entries.max(1))
        .map(|band| Tensor::from_data(TensorData::new(band.to_vec(), shape), device))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_everything_once() {
        let device = Device::flex();
        let bands = bands(4, [3, 7], &mut Draw::seeded(5), &device);
        let sizes: Vec<f32> = bands
            .iter()
            .map(|b| b.clone().sum().into_scalar::<f32>())
            .collect();
        assert!(sizes.iter().all(|s| (5.0..=6.0).contains(s)), "{sizes:?}");
        let sum = bands.into_iter().reduce(|a, b| a + b).unwrap();
        let values = sum.into_data().try_into_vec::<f32>().unwrap();
        assert!(values.iter().all(|v| *v == 1.0), "{values:?}");
    }
}

//! DyLoRA: one LoRA whose every leading part is an adapter too.
//!
//! `W' = W + alpha / b A_b B_b`, with the first `b` columns of `A` and rows of `B`. Each training step
//! draws `b` from 1 to `r`, one for all layers ([`Active`]). In the frozen mode, which the authors'
//! scripts use, only the last of the `b` components gets a gradient.
//!
//! Start: as [`super::lora`]: the weight itself for every `b`, bit for bit. At evaluation any `b` may be
//! set; `r` is a fresh adapter's.
//!
//! Options: `r` 8, `lora_alpha` 16, `frozen` true. Trained: `r (d_in + d_out)`; 6144 for 384 by 384 at
//! rank 8, of which `d_in + d_out` in a step of the frozen mode.
//!
//! Sources: Valipour et al., "DyLoRA", arXiv 2210.07558; huawei-noah/Efficient-NLP
//! `DyLoRA/loralib/DyLoRA.py` (the roots of `r / b` on both slices are `alpha / b` here).

use super::lora::{Lora, Start};
use super::{Added, Drawn, Method, MethodError, Options, Pair, Parts, Race, Shape, Wraps};
use burn::tensor::Tensor;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number that the training loop sets before each step and that all layers of an adapter read: a
/// rank, or a chosen part.
#[derive(Debug, Clone)]
pub struct Active(Arc<AtomicUsize>);

impl Active {
    /// A number shared by everything that holds a clone of it.
    pub fn new(number: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(number)))
    }

    /// The number.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it for all.
    pub fn set(&self, number: usize) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// The pair of DyLoRA.
#[derive(Debug, Clone)]
pub struct DyLora {
    lora: Lora,
    /// `alpha`.
    pub alpha: f64,
    /// Whether only the last active component is trained.
    pub frozen: bool,
    /// The active rank `b`; held within 1 and `r`.
    pub active: Active,
}

impl DyLora {
    /// DyLoRA of this rank; all of it is active.
    pub fn new(shape: Shape, rank: usize, alpha: f64, frozen: bool, active: Active) -> Self {
        Self {
            lora: Lora {
                shape,
                rank,
                scale: 1.0,
                start: Start::Uniform,
                bias: false,
            },
            alpha,
            frozen,
            active,
        }
    }
}

impl Wraps for DyLora {
    fn inner(&self) -> &dyn Parts {
        &self.lora
    }
}

impl Pair for DyLora {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let rank = self.lora.rank;
        let b = self.active.get().clamp(1, rank);
        let part = |factor: &Tensor<2>, dim: usize| {
            let active = factor.clone().narrow(dim, 0, b);
            // All of it where nothing is cut off: evaluation and the full mode.
            if !self.frozen || b < 2 || b == rank && !factor.device().is_autodiff() {
                return active;
            }
            let held = active.clone().narrow(dim, 0, b - 1).detach();
            Tensor::cat(vec![held, active.narrow(dim, b - 1, 1)], dim)
        };
        let scale = self.alpha / b as f64;
        (part(&factors[0], 1), part(&factors[1], 0).mul_scalar(scale))
    }

    fn drawn(&self) -> Option<Drawn> {
        Some(Drawn {
            active: self.active.clone(),
            choices: 1..self.lora.rank + 1,
            all: self.lora.rank,
        })
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 8)?;
    let alpha = options.number("lora_alpha", 16.0)?;
    let frozen = options.flag("frozen", true)?;
    let active = Active::new(rank);
    let method = DyLora::new(shape, rank, alpha, frozen, active);
    Ok(Box::new(Added(method)))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A LoRA of which every leading part is an adapter too",
    paper: "arXiv 2210.07558",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": 2 * s.rank()}),
    learning_rate: Race::MATRICES,
};

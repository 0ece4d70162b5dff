//! Methods that add nothing: they choose which of the model's own parameters are trained, and how fast.
//!
//! | name | trained | source |
//! |---|---|---|
//! | full fine-tuning | everything | |
//! | linear probe | the head, new or not | |
//! | BitFit | biases, shifts of norms, and the head | Ben Zaken, Ravfogel and Goldberg, arXiv 2106.10199 |
//! | LN-tuning | scales and shifts of norms, and the head | Qi et al., arXiv 2211.08682 |
//! | half fine-tuning | in each layer half of the matrices and of the norms, and the head | Hui et al., arXiv 2404.18466 |
//!
//! The head is trained by all where it is new to the task. Half fine-tuning draws anew for each stage of
//! training; where a layer's number of matrices is odd, the layers take turns in rounding up. The
//! authors' code is not public: the rule is their paper's as its reviews tell it.
//!
//! LoRA+ trains the factor that starts at zero faster than the other ([`lora_plus`]).

use super::layout::values;
use super::{Adapted, Draw};
use std::collections::{BTreeMap, BTreeSet};
use velodrome_harness::contract::{ParamInfo, ParamKind};

/// Which parameters are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Everything.
    Full,
    /// The head.
    LinearProbe,
    /// Biases.
    BitFit,
    /// Norms.
    Norms,
    /// Half of each layer, drawn from this seed.
    Half(u64),
}

impl Selection {
    /// For each parameter, in order, whether it is trained; `new_head` says whether the head is new
    /// to the task.
    pub fn keeps(self, params: &[ParamInfo], new_head: bool) -> Vec<bool> {
        let heads = heads(params);
        let of = |kinds: &[ParamKind], head: bool| {
            let kept = params
                .iter()
                .map(|p| head && heads.contains(&p.layer) || kinds.contains(&p.kind));
            kept.collect()
        };
        match self {
            Self::Full => vec![true; params.len()],
            Self::LinearProbe => of(&[], true),
            Self::BitFit => of(&[ParamKind::Bias, ParamKind::NormShift], new_head),
            Self::Norms => of(&[ParamKind::NormScale, ParamKind::NormShift], new_head),
            Self::Half(seed) => {
                let kept = half(params, seed);
                let head = |p: &ParamInfo| new_head && heads.contains(&p.layer);
                let both = params.iter().map(|p| head(p) || kept.contains(&p.layer));
                both.collect()
            }
        }
    }
}

/// The layers that yield the model's outputs: matrix and bias.
pub fn heads(params: &[ParamInfo]) -> BTreeSet<usize> {
    let heads = params.iter().filter(|p| p.kind == ParamKind::Head);
    heads.map(|p| p.layer).collect()
}

/// Half of each block's layers with matrices, and half of its norms; a layer's bias goes with it.
fn half(params: &[ParamInfo], seed: u64) -> BTreeSet<usize> {
    let mut draw = Draw::seeded(seed);
    let inside = params.iter().any(|p| p.block.is_some());
    // For each block its layers with matrices, and those of norms. A model without blocks is one.
    let mut blocks: BTreeMap<usize, [BTreeSet<usize>; 2]> = BTreeMap::new();
    for param in params {
        let block = match (param.block, inside) {
            (Some(block), _) => block,
            (None, false) => 0,
            (None, true) => continue,
        };
        let layers = blocks.entry(block).or_default();
        match param.kind {
            ParamKind::Matrix | ParamKind::Convolution => layers[0].insert(param.layer),
            ParamKind::NormScale | ParamKind::NormShift => layers[1].insert(param.layer),
            _ => continue,
        };
    }
    let mut kept = BTreeSet::new();
    for (turn, (_, kinds)) in blocks.into_iter().enumerate() {
        for layers in kinds {
            let layers: Vec<usize> = layers.into_iter().collect();
            // Of an odd number, one more in every other block.
            let count = (layers.len() + turn % 2) / 2;
            let chosen = draw.positions(count, layers.len());
            kept.extend(chosen.into_iter().filter_map(|i| layers.get(i).copied()));
        }
    }
    kept
}

/// LoRA+: what the learning rate of each trained factor of a fresh adapter is multiplied by. `ratio`
/// (16 in the paper's examples) for factors that start at zero, 1 for the others; an adapter whose
/// factors all start at zero, or none, is left as it is.
///
/// Source: Hayou, Ghosh and Yu, "LoRA+: Efficient Low Rank Adaptation of Large Models", arXiv
/// 2402.12354; Hugging Face PEFT 0.21.2, `optimizers/loraplus.py`, which goes by names.
pub fn lora_plus(adapted: &Adapted, ratio: f64) -> Vec<f64> {
    let zero = |t: &burn::tensor::Tensor<2>| values(t.clone()).iter().all(|x| *x == 0.0);
    let zeros: Vec<bool> = adapted.trained().iter().map(zero).collect();
    let mixed = zeros.iter().any(|z| *z) && zeros.iter().any(|z| !z);
    let rate = |zero: bool| if zero && mixed { ratio } else { 1.0 };
    zeros.into_iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks of four matrices with biases and two norms, and a head.
    fn params() -> Vec<ParamInfo> {
        let mut all = Vec::new();
        let mut add = |kind, layer, block, shape: &[usize]| {
            let index = all.len();
            all.push(ParamInfo {
                index,
                kind,
                shape: shape.to_vec(),
                layer,
                block,
                fan_in_axis: None,
                tokens: None,
                trainable: true,
            });
        };
        add(ParamKind::Embedding, 0, None, &[10, 4]);
        for block in 0..2 {
            let first = 1 + 6 * block;
            for i in 0..4 {
                add(ParamKind::Matrix, first + i, Some(block), &[4, 4]);
                add(ParamKind::Bias, first + i, Some(block), &[4]);
            }
            for i in 4..6 {
                add(ParamKind::NormScale, first + i, Some(block), &[4]);
                add(ParamKind::NormShift, first + i, Some(block), &[4]);
            }
        }
        add(ParamKind::Head, 13, None, &[4, 2]);
        all
    }

    fn kept(selection: Selection, kind: ParamKind) -> usize {
        let params = params();
        let keeps = selection.keeps(&params, true);
        let both = params.iter().zip(keeps);
        both.filter(|(p, keep)| p.kind == kind && *keep).count()
    }

    #[test]
    fn each_selection_trains_what_it_says() {
        assert!(Selection::Full.keeps(&params(), true).iter().all(|k| *k));
        let probe = Selection::LinearProbe.keeps(&params(), true);
        assert_eq!(probe.iter().filter(|k| **k).count(), 1);
        assert_eq!(kept(Selection::LinearProbe, ParamKind::Head), 1);
        assert_eq!(kept(Selection::BitFit, ParamKind::Bias), 8);
        assert_eq!(kept(Selection::BitFit, ParamKind::NormScale), 0);
        assert_eq!(kept(Selection::Norms, ParamKind::NormScale), 4);
        assert_eq!(kept(Selection::Norms, ParamKind::Bias), 0);
        // A head that knows its outputs is trained by a probe alone.
        let known = |selection: Selection| selection.keeps(&params(), false).pop();
        assert_eq!(known(Selection::LinearProbe), Some(true));
        assert_eq!(known(Selection::BitFit), Some(false));
        assert_eq!(known(Selection::Half(1)), Some(false));
    }

    #[test]
    fn half_is_half_of_each_block_and_depends_on_the_seed() {
        let params = params();
        for seed in 0..8 {
            let keeps = Selection::Half(seed).keeps(&params, true);
            for block in 0..2 {
                let count = |kind| {
                    let mine = params
                        .iter()
                        .zip(&keeps)
                        .filter(|(p, keep)| p.block == Some(block) && p.kind == kind && **keep);
                    mine.count()
                };
                assert_eq!(count(ParamKind::Matrix), 2);
                assert_eq!(count(ParamKind::Bias), 2);
                assert_eq!(count(ParamKind::NormScale), 1);
            }
            assert!(!keeps[0] && keeps[params.len() - 1]);
            assert_eq!(keeps, Selection::Half(seed).keeps(&params, true));
        }
        let draws: BTreeSet<Vec<bool>> = (0..8)
            .map(|s| Selection::Half(s).keeps(&params, true))
            .collect();
        assert!(draws.len() > 3);
    }
}

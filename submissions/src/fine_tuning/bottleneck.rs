//! Small networks beside or behind a block's layers: what `houlsby`, `pfeiffer`, `parallel_adapter` and
//! `compacter` have in common.
//!
//! A branch goes down to `rank` features, through an activation, and up again. It follows a layer's output
//! (`y + branch(y)`), or runs beside the feed-forward part (`F(x) + s branch(x)`); it is no change of a
//! weight, and cannot be merged.
//!
//! Where a block ends is read off the shapes of its hidden matrices, in order: the first that widens begins
//! the feed-forward part, the one before it ends the attention, and the last ends the block. In a model
//! without blocks every hidden matrix is one.
//!
//! # Hyperparameters
//! `learning_rate` 5e-4 to 5e-2 (default 5e-3) and `rank` (16, 8, 32), the branch's width; the rest as all
//! adapters ([`crate::adapters::Rider`]).
//!
//! # State
//! 8 bytes for each trained element.

use crate::adapters::{Draw, FINETUNE, Race, freeze, rates, something_trains};
use crate::common::whole;
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use velodrome_harness::contract::{
    Adapter, Algorithm, Description, ParamInfo, ParamKind, Point, SearchSpace, StartContext,
    Submission, SubmissionError, Trainee,
};

/// A small network: `[rows, width]` to `[rows, width]`.
pub(super) type Branch = fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2>;

/// The factors of a branch for features of a width, through so many.
pub(super) type Factors = fn(usize, usize, &mut Draw, &Device) -> Vec<Tensor<2>>;

/// Where branches stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the attention and behind the feed-forward part.
    BehindBoth,
    /// Behind the feed-forward part.
    BehindLast,
    /// Beside the feed-forward part, times this.
    Beside(u32),
}

/// A kind of branches as a submission.
pub struct Bottleneck {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) paper: &'static str,
    pub(super) reference: &'static str,
    pub(super) place: Place,
    pub(super) factors: Factors,
    pub(super) branch: Branch,
}

/// A block's layers, as places among the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// The end of the attention.
    attention: Option<usize>,
    /// The beginning of the feed-forward part.
    first: usize,
    /// Its end.
    last: usize,
}

/// The blocks of a model.
fn blocks(params: &[ParamInfo]) -> Vec<Block> {
    let inside = params.iter().any(|p| p.block.is_some());
    let mut members: BTreeMap<usize, Vec<&ParamInfo>> = BTreeMap::new();
    let matrices = params.iter().filter(|p| p.kind == ParamKind::Matrix);
    for param in matrices.filter(|p| p.trainable && p.shape.len() == 2) {
        match (param.block, inside) {
            (Some(block), _) => members.entry(block).or_default().push(param),
            (None, false) => members.entry(param.index).or_default().push(param),
            (None, true) => {}
        }
    }
    let parts = members.values().filter_map(|members| {
        let last = members.last()?.index;
        let widens = members.iter().position(|p| p.shape[1] > p.shape[0]);
        let attention = widens.and_then(|at| members.get(at.checked_sub(1)?));
        Some(Block {
            attention: attention.map(|p| p.index),
            first: widens
                .and_then(|at| members.get(at))
                .map_or(last, |p| p.index),
            last,
        })
    });
    parts.collect()
}

/// `x W + b`.
fn layer(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight);
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// A branch behind a layer.
fn behind(factors: Vec<Tensor<2>>, branch: Branch) -> Adapter {
    Adapter::new(factors, |weight, _| weight).with_activations(move |x, weight, bias, factors| {
        let y = layer(x, weight, bias);
        y.clone() + branch(y, factors)
    })
}

/// A layer that keeps its input for [`added`].
fn noted(note: Arc<Mutex<Option<Tensor<2>>>>) -> Adapter {
    Adapter::new(Vec::new(), |weight, _| weight).with_activations(move |x, weight, bias, _| {
        *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(x.clone());
        layer(x, weight, bias)
    })
}

/// A layer to whose output the branch of the noted input (or of its own) is added.
fn added(
    factors: Vec<Tensor<2>>,
    branch: Branch,
    scale: f64,
    note: Arc<Mutex<Option<Tensor<2>>>>,
) -> Adapter {
    Adapter::new(factors, |weight, _| weight).with_activations(move |x, weight, bias, factors| {
        let noted = note.lock().unwrap_or_else(PoisonError::into_inner).take();
        let source = noted.unwrap_or_else(|| x.clone());
        layer(x, weight, bias) + branch(source, factors).mul_scalar(scale)
    })
}

impl Submission for Bottleneck {
    fn describe(&self) -> Description {
        Description {
            name: self.name,
            summary: self.summary,
            paper: self.paper,
            reference: self.reference,
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        rates(Race::MATRICES).choice("rank", &[16.0, 8.0, 32.0], 16.0)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let size = whole(&context.point, "rank")?;
        let params = trainee.params();
        let mut adapters: BTreeMap<usize, Adapter> = BTreeMap::new();
        for block in blocks(&params) {
            let width = |index: usize| params.get(index).map_or(1, |p| p.shape[1]);
            let device = trainee.device();
            let factors = |index: usize| {
                let mut draw = Draw::seeded(context.seed.wrapping_add(index as u64 + 1));
                (self.factors)(width(index), size.min(width(index)), &mut draw, &device)
            };
            let last = factors(block.last);
            match self.place {
                Place::BehindLast => {
                    adapters.insert(block.last, behind(last, self.branch));
                }
                Place::BehindBoth => {
                    adapters.insert(block.last, behind(last, self.branch));
                    if let Some(attention) = block.attention {
                        adapters.insert(attention, behind(factors(attention), self.branch));
                    }
                }
                Place::Beside(scale) => {
                    let note = Arc::new(Mutex::new(None));
                    if block.first != block.last {
                        adapters.insert(block.first, noted(note.clone()));
                    }
                    let scale = f64::from(scale);
                    adapters.insert(block.last, added(last, self.branch, scale, note));
                }
            }
        }
        freeze(trainee, |_| false);
        trainee.attach(&mut |info, _| adapters.remove(&info.index))?;
        something_trains(trainee)?;
        ScheduledOptimizer::cosine(Fused(AdamW::from_point(&context.point)?), context)
    }
}

/// The factors of a plain branch: down, its bias, up, its bias. `deviations` are those of the two matrices'
/// normal distributions; biases start at zero.
pub(super) fn plain(
    width: usize,
    rank: usize,
    deviations: [f64; 2],
    draw: &mut Draw,
    device: &Device,
) -> Vec<Tensor<2>> {
    vec![
        draw.normal([width, rank], deviations[0], device),
        Tensor::zeros([1, rank], device),
        draw.normal([rank, width], deviations[1], device),
        Tensor::zeros([1, width], device),
    ]
}

/// A plain branch with this activation.
pub(super) fn through(
    x: Tensor<2>,
    factors: &[Tensor<2>],
    activation: fn(Tensor<2>) -> Tensor<2>,
) -> Tensor<2> {
    let [down, shift, up, last] = [0, 1, 2, 3].map(|i| factors[i].clone());
    activation(x.matmul(down) + shift).matmul(up) + last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(index: usize, shape: [usize; 2], block: Option<usize>) -> ParamInfo {
        ParamInfo {
            index,
            kind: ParamKind::Matrix,
            shape: shape.to_vec(),
            layer: index,
            block,
            fan_in_axis: Some(0),
            trainable: true,
        }
    }

    #[test]
    fn a_block_s_parts_are_found_by_their_shapes() {
        let mut params: Vec<ParamInfo> = (0..4).map(|i| matrix(i, [8, 8], Some(0))).collect();
        params.push(matrix(4, [8, 32], Some(0)));
        params.push(matrix(5, [8, 32], Some(0)));
        params.push(matrix(6, [32, 8], Some(0)));
        let found = Block {
            attention: Some(3),
            first: 4,
            last: 6,
        };
        assert_eq!(blocks(&params), [found]);
        let alone = [matrix(0, [8, 8], None), matrix(1, [8, 4], None)];
        let whole = |index| Block {
            attention: None,
            first: index,
            last: index,
        };
        assert_eq!(blocks(&alone), [whole(0), whole(1)]);
    }
}

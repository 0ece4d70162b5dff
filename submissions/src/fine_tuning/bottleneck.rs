//! Small networks beside or behind a block's layers: what `houlsby`, `pfeiffer`, `parallel_adapter`,
//! `compacter`, `mosa` and `iaa` have in common.
//!
//! A branch goes down to `rank` features, through an activation, and up again. It follows a layer's output
//! (`y + branch(y)`), or runs beside a part of the block (`F(x) + s branch(x)`); it is no change of a
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

use crate::adapters::{Draw, Drawn, FINETUNE, Race, attach, biased, drawing, factors, rates};
use crate::common::whole;
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::WarmupCosine;
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use velodrome_harness::contract::{
    Adapter, Algorithm, Description, ParamInfo, ParamKind, Point, SearchSpace, StartContext,
    Submission, SubmissionError, Trainee,
};

/// A small network: `[rows, width]` to `[rows, width]`.
pub(super) type Branch = dyn Fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2> + Send + Sync;

/// A branch as it starts.
pub(super) struct Made {
    /// What it trains.
    pub(super) factors: Vec<Tensor<2>>,
    /// What it computes.
    pub(super) branch: Arc<Branch>,
    /// What each step draws for it.
    pub(super) drawn: Option<Drawn>,
}

impl Made {
    /// A branch that draws nothing.
    pub(super) fn new(
        factors: Vec<Tensor<2>>,
        branch: impl Fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        Self {
            factors,
            branch: Arc::new(branch),
            drawn: None,
        }
    }
}

/// Makes a branch for features of a width, through so many.
pub(super) type Make = fn(usize, usize, &mut Draw, &Device) -> Made;

/// Where branches stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Behind the attention and behind the feed-forward part.
    BehindBoth,
    /// Behind the feed-forward part.
    BehindLast,
    /// Beside the feed-forward part, times this.
    Beside(f64),
    /// Behind the feed-forward part, and a second one beside the whole block.
    InsideAndAside,
}

/// A kind of branches as a submission.
pub struct Bottleneck {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) paper: &'static str,
    pub(super) reference: &'static str,
    pub(super) place: Place,
    pub(super) make: Make,
    /// Whether the first factor of all branches is one.
    pub(super) shared: bool,
    /// Whether the norms of the model train too.
    pub(super) norms: bool,
}

impl Bottleneck {
    /// One without shared factors and with frozen norms; a file fills in the rest.
    pub(super) const PLAIN: Self = Self {
        name: "",
        summary: "",
        paper: "",
        reference: "",
        place: Place::BehindLast,
        make: |_, _, _, _| Made::new(Vec::new(), |x, _| x),
        shared: false,
        norms: false,
    };
}

/// A block's layers, as places among the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// Its first layer.
    begin: usize,
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
        let (begin, last) = (members.first()?.index, members.last()?.index);
        let widens = members.iter().position(|p| p.shape[1] > p.shape[0]);
        let attention = widens.and_then(|at| members.get(at.checked_sub(1)?));
        Some(Block {
            begin,
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
    biased(x.matmul(weight), bias)
}

/// Keeps the input of one layer for another one.
type Note = Arc<Mutex<Option<Tensor<2>>>>;

/// A layer that keeps its input for [`Branches::around`].
fn noted(note: Note) -> Adapter {
    Adapter::new(Vec::new(), |weight, _| weight).with_activations(move |x, weight, bias, _| {
        *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(x.clone());
        layer(x, weight, bias)
    })
}

/// The branches of one layer.
#[derive(Default)]
struct Branches {
    factors: Vec<Tensor<2>>,
    /// What follows the layer, and how many factors it has.
    behind: Option<(Arc<Branch>, usize)>,
    /// What is added to the layer's output: a branch of the noted input (or of the layer's own), and its
    /// scale.
    beside: Option<(Arc<Branch>, f64, Note)>,
}

impl Branches {
    fn behind(mut self, made: Made) -> Self {
        self.behind = Some((made.branch, made.factors.len()));
        self.factors.extend(made.factors);
        self
    }

    fn beside(mut self, made: Made, scale: f64, note: Note) -> Self {
        self.beside = Some((made.branch, scale, note));
        self.factors.extend(made.factors);
        self
    }

    /// The layer with its branches.
    fn around(self) -> Adapter {
        let (behind, beside) = (self.behind, self.beside);
        Adapter::new(self.factors, |weight, _| weight).with_activations(
            move |x, weight, bias, factors| {
                let mut y = layer(x.clone(), weight, bias);
                let held = behind.as_ref().map_or(0, |(_, held)| *held);
                let (inner, outer) = factors.split_at(held.min(factors.len()));
                if let Some((branch, _)) = &behind {
                    y = y.clone() + branch(y, inner);
                }
                if let Some((branch, scale, note)) = &beside {
                    let noted = note.lock().unwrap_or_else(PoisonError::into_inner).take();
                    y = y + branch(noted.unwrap_or(x), outer).mul_scalar(*scale);
                }
                y
            },
        )
    }
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
        let device = trainee.device();
        let mut adapters: BTreeMap<usize, Adapter> = BTreeMap::new();
        let mut drawn: Vec<Drawn> = Vec::new();
        // The shared factor of each shape, and its copies' places among all factors of the model.
        let mut shared: BTreeMap<[usize; 2], (Tensor<2>, Vec<usize>)> = BTreeMap::new();
        let mut count = 0;
        for block in blocks(&params) {
            let mut made = |index: usize, number: u64| {
                let width = params.get(index).map_or(1, |p| p.shape[1]);
                let mut draw = Draw::of(context.seed.wrapping_add(number << 32), index);
                let mut made = (self.make)(width, size.min(width), &mut draw, &device);
                if let (true, Some(first)) = (self.shared, made.factors.first_mut()) {
                    let copies = shared.entry(first.dims());
                    let (one, places) = copies.or_insert_with(|| (first.clone(), Vec::new()));
                    *first = one.clone();
                    places.push(count);
                }
                count += made.factors.len();
                drawn.extend(made.drawn.clone());
                made
            };
            let mut last = Branches::default();
            match self.place {
                Place::BehindLast => last = last.behind(made(block.last, 0)),
                Place::BehindBoth => {
                    if let Some(attention) = block.attention {
                        let behind = Branches::default().behind(made(attention, 0));
                        adapters.insert(attention, behind.around());
                    }
                    last = last.behind(made(block.last, 0));
                }
                Place::Beside(scale) => {
                    let note = Note::default();
                    if block.first != block.last {
                        adapters.insert(block.first, noted(note.clone()));
                    }
                    last = last.beside(made(block.last, 0), scale, note);
                }
                Place::InsideAndAside => {
                    last = last.behind(made(block.last, 0));
                    // Around a single layer the two would be the same.
                    let side = |index: usize, side: usize| params.get(index).map(|p| p.shape[side]);
                    if block.begin != block.last && side(block.begin, 0) == side(block.last, 1) {
                        let note = Note::default();
                        adapters.insert(block.begin, noted(note.clone()));
                        last = last.beside(made(block.last, 1), 1.0, note);
                    }
                }
            }
            adapters.insert(block.last, last.around());
        }
        let norm = |p: &ParamInfo| matches!(p.kind, ParamKind::NormScale | ParamKind::NormShift);
        attach(trainee, adapters, |p| self.norms && norm(p))?;
        let optimizer = Fused(AdamW::from_point(&context.point)?);
        let schedule = WarmupCosine::start(context)?;
        let mut inner = ScheduledOptimizer::racing(optimizer, schedule, context)?;
        let factors = factors(&trainee.params());
        let groups = shared.into_values().map(|(_, places)| {
            let copies = places.into_iter();
            copies.filter_map(|at| factors.get(at).cloned()).collect()
        });
        inner = inner.with_shared(groups.collect());
        Ok(drawing(Box::new(inner), drawn))
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

/// As [`plain`], but the first matrix uniform on `±1/sqrt(width)` and the second zero: nothing at first.
pub(super) fn beginning(
    width: usize,
    rank: usize,
    draw: &mut Draw,
    device: &Device,
) -> Vec<Tensor<2>> {
    vec![
        draw.kaiming([width, rank], width, device),
        Tensor::zeros([1, rank], device),
        Tensor::zeros([rank, width], device),
        Tensor::zeros([1, width], device),
    ]
}

/// A branch as it starts, with the factors of [`plain`] and this activation.
pub(super) fn plainly(factors: Vec<Tensor<2>>, activation: fn(Tensor<2>) -> Tensor<2>) -> Made {
    Made::new(factors, move |x, factors| through(x, factors, activation))
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
            tokens: None,
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
            begin: 0,
            attention: Some(3),
            first: 4,
            last: 6,
        };
        assert_eq!(blocks(&params), [found]);
        let alone = [matrix(0, [8, 8], None), matrix(1, [8, 4], None)];
        let whole = |index| Block {
            begin: index,
            attention: None,
            first: index,
            last: index,
        };
        assert_eq!(blocks(&alone), [whole(0), whole(1)]);
    }
}

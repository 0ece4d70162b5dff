//! FRUGAL: AdamW on a small part of the hidden weights that changes now and then, the sign of the
//! gradient on the rest.
//!
//! # Rule
//! Hidden matrices and convolutions are projectable. Every `update_gap` steps, `density` times their
//! number (rounded) are drawn as active, and the averages of all of them are dropped. With gradient `g`,
//! parameter `p`, and `t` from 1 since the draw:
//! ```text
//! p = (1 - lr wd) p
//! active:    m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
//!            p = p - a (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! inactive:  p = p - a inactive_scale sign(g)
//! ```
//! where `a = proj_lr_scale lr`. All other parameters (embeddings, positions, the head, biases,
//! normalisation) take AdamW's step at the rate `lr` throughout. After a draw an active entry moves by
//! `a`, as an inactive one does. Schedule: linear warm-up, cosine decay
//! ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 2e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `density` | 0.25 | 0, 0.25, 0.5; the share that is active |
//! | `update_gap` | 200 | fixed; steps between two draws |
//! | `inactive_rule` | 1 | fixed; 0 for no step, 1 for the sign, 2 for the gradient |
//! | `inactive_scale` | 1 | fixed; the authors take 0.1 for fine-tuning |
//! | `proj_lr_scale` | 1 | fixed |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The defaults of the rate and the decay are not tuned.
//!
//! # State
//! 8 bytes per parameter in active tensors and in those that are not projectable; none in the others:
//! `8 density` per projectable parameter on the average of the draws (exactly, where all projectable
//! tensors are of one size; no formula is stated otherwise).
//!
//! # Sources
//! Zmushko et al., arXiv 2411.07837, and the authors' code (block-wise selection, random order).
//!
//! # What differs
//! The authors project the linear layers of transformer blocks; convolutions are added here. Their
//! fixed orders of selection, random projections and those from a singular value decomposition are left
//! out; [`super::frugal_columns`] selects within each tensor. A half is rounded up. As in their code,
//! averages are dropped at every draw, even of a tensor that is drawn again, and decay uses `lr`.

use super::{Averages, draw, due, load, save};
use crate::common::{
    PRETRAIN, checked, non_negative, pass_options, positive, whole, with_regularisation,
};
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use velodrome_harness::contract::{
    Algorithm, Batch, Description, ParamInfo, ParamKind, PassOptions, Point, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Trainee,
};

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Whole tensors.
    Blocks,
    /// In each tensor, columns of the matrix of fan-out by fan-in: inputs.
    Columns,
}

/// What an inactive entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// It only decays.
    Nothing,
    /// It moves by the sign of its gradient.
    Sign,
    /// It moves by its gradient.
    Gradient,
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frugal {
    /// The rule of what is active, and of what is not projectable.
    pub adamw: AdamW,
    /// What is drawn.
    pub selection: Selection,
    /// Share that is active, in `[0, 1]`.
    pub density: f64,
    /// Steps between two draws.
    pub update_gap: usize,
    /// The rule of what is inactive.
    pub inactive: Inactive,
    /// Its share of `proj_lr_scale * lr`.
    pub inactive_scale: f64,
    /// Share of the learning rate in projectable tensors, above 0.
    pub proj_lr_scale: f64,
}

impl Frugal {
    /// From the hyperparameters of the search space.
    pub fn from_point(point: &Point, selection: Selection) -> Result<Self, SubmissionError> {
        let inactive = checked(point, "inactive_rule", "0, 1 or 2", |x| {
            [0.0, 1.0, 2.0].contains(&x)
        })?;
        Ok(Self {
            adamw: AdamW::from_point(point)?,
            selection,
            density: checked(point, "density", "from 0 to 1", |x| {
                (0.0..=1.0).contains(&x)
            })?,
            update_gap: whole(point, "update_gap")?,
            inactive: match inactive {
                0.0 => Inactive::Nothing,
                1.0 => Inactive::Sign,
                _ => Inactive::Gradient,
            },
            inactive_scale: non_negative(point, "inactive_scale")?,
            proj_lr_scale: positive(point, "proj_lr_scale")?,
        })
    }

    /// Whether a parameter has active and inactive times or parts.
    pub fn projects(info: &ParamInfo) -> bool {
        let kind = matches!(info.kind, ParamKind::Matrix | ParamKind::Convolution);
        info.trainable && kind && info.shape.len() >= 2
    }

    /// Active tensors of so many.
    fn active_blocks(&self, of: usize) -> usize {
        ((self.density * of as f64).round() as usize).min(of)
    }

    /// Active columns of so many.
    fn active_columns(&self, of: usize) -> usize {
        ((self.density * of as f64) as usize).min(of)
    }

    /// Bytes of state, where they do not depend on the draw.
    pub fn state_bytes(&self, params: &[ParamInfo]) -> Option<u64> {
        let trainable = || params.iter().filter(|p| p.trainable);
        let regular: usize = trainable()
            .filter(|p| !Self::projects(p))
            .map(ParamInfo::len)
            .sum();
        let sizes: Vec<usize> = trainable()
            .filter(|p| Self::projects(p))
            .map(ParamInfo::len)
            .collect();
        let active = match self.selection {
            Selection::Columns => trainable()
                .filter(|p| Self::projects(p))
                .map(|p| {
                    let columns = Columns::of(p);
                    self.active_columns(columns.count) * columns.length
                })
                .sum(),
            Selection::Blocks => {
                let count = self.active_blocks(sizes.len());
                let alike = sizes.windows(2).all(|pair| pair[0] == pair[1]);
                if alike || count == sizes.len() {
                    sizes.iter().take(count).sum::<usize>()
                } else if count == 0 {
                    0
                } else {
                    return None;
                }
            }
        };
        Some(8 * (regular + active) as u64)
    }

    fn drift(&self, lr: f64, g: Tensor<2>) -> Option<Tensor<2>> {
        let rate = lr * self.proj_lr_scale * self.inactive_scale;
        match self.inactive {
            Inactive::Nothing => None,
            Inactive::Sign => Some(g.sign().mul_scalar(rate)),
            Inactive::Gradient => Some(g.mul_scalar(rate)),
        }
    }

    /// AdamW as it acts on active entries at the rate [`Self::proj_lr_scale`] `lr`: what decays must
    /// decay by `lr`.
    fn active(&self) -> AdamW {
        AdamW {
            weight_decay: self.adamw.weight_decay / self.proj_lr_scale,
            ..self.adamw
        }
    }
}

/// Where the columns of fan-out by fan-in lie in a stored tensor, seen as a matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Columns {
    /// The stored matrix.
    shape: [usize; 2],
    /// Its axis that counts the columns.
    axis: usize,
    count: usize,
    length: usize,
}

impl Columns {
    fn of(info: &ParamInfo) -> Self {
        let first = info.shape.first().copied().unwrap_or(1);
        let shape = [first, info.len() / first.max(1)];
        // Linear layers are stored as fan-in by fan-out, kernels as fan-out by fan-in.
        let axis = usize::from(info.kind == ParamKind::Convolution);
        Self {
            shape,
            axis,
            count: shape[axis],
            length: shape[1 - axis],
        }
    }
}

/// [`Frugal`] at work in one trial.
pub struct Riding {
    rule: Frugal,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    /// Active columns of each parameter by index (all or none of them with [`Selection::Blocks`]);
    /// `None` for those that are not projectable. Empty before the first draw.
    active: Vec<Option<Vec<usize>>>,
    /// By parameter.
    slots: Vec<Option<Averages>>,
}

impl Riding {
    /// An algorithm for the trainee's parameters.
    pub fn new(
        rule: Frugal,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        trainee: &Trainee,
    ) -> Self {
        let slots = trainee.params().iter().map(|_| None).collect();
        Self {
            rule,
            schedule: Box::new(schedule),
            options,
            active: Vec::new(),
            slots,
        }
    }

    /// The active columns of each projectable parameter, by the parameter's index.
    pub fn active(&self) -> impl Iterator<Item = (usize, &[usize])> {
        let parts = self.active.iter().enumerate();
        parts.filter_map(|(index, part)| Some((index, part.as_deref()?)))
    }

    fn draw(&mut self, params: &[ParamInfo], context: &StepContext) {
        let rng = &mut context.rng();
        let projectable: Vec<&ParamInfo> = params.iter().filter(|p| Frugal::projects(p)).collect();
        self.active = vec![None; params.len()];
        let blocks = match self.rule.selection {
            Selection::Blocks => {
                let count = self.rule.active_blocks(projectable.len());
                draw(rng, count, projectable.len())
            }
            Selection::Columns => Vec::new(),
        };
        for (number, info) in projectable.into_iter().enumerate() {
            let columns = Columns::of(info).count;
            let part = match self.rule.selection {
                Selection::Blocks if blocks.contains(&number) => (0..columns).collect(),
                Selection::Blocks => Vec::new(),
                Selection::Columns => draw(rng, self.rule.active_columns(columns), columns),
            };
            if let (Some(active), Some(slot)) = (
                self.active.get_mut(info.index),
                self.slots.get_mut(info.index),
            ) {
                *active = Some(part);
                *slot = None;
            }
        }
    }
}

/// One step of a projectable parameter, of which the columns `part` are active.
fn project(
    rule: &Frugal,
    lr: f64,
    info: &ParamInfo,
    part: &[usize],
    slot: &mut Option<Averages>,
    p: Tensor<1>,
    g: Tensor<1>,
) -> Tensor<1> {
    let rate = lr * rule.proj_lr_scale;
    let columns = Columns::of(info);
    if part.len() == columns.count {
        return Averages::step(slot, &rule.active(), rate, p, g);
    }
    let device = p.device();
    let (p, g) = (p.reshape(columns.shape), g.reshape(columns.shape));
    let mut rest = p.clone().mul_scalar(1.0 - lr * rule.adamw.weight_decay);
    if let Some(drift) = rule.drift(lr, g.clone()) {
        rest = rest - drift;
    }
    if part.is_empty() {
        return rest.reshape([info.len()]);
    }
    let places: Vec<i32> = part.iter().map(|&i| i as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [part.len()]), &device);
    let pick = |t: Tensor<2>| t.select(columns.axis, places.clone());
    let (chosen, gradient) = (pick(p), pick(g));
    let dims = chosen.dims();
    let n = dims[0] * dims[1];
    let moved = Averages::step(
        slot,
        &rule.active(),
        rate,
        chosen.reshape([n]),
        gradient.reshape([n]),
    );
    // Active columns of the rest become 0, to which the moved ones are added: exact.
    let mut keep = vec![1f32; columns.count];
    for &i in part {
        if let Some(keep) = keep.get_mut(i) {
            *keep = 0.0;
        }
    }
    let mut mask = [1, 1];
    mask[columns.axis] = columns.count;
    let mask = Tensor::<2>::from_data(TensorData::new(keep, mask), &device);
    (rest * mask)
        .select_assign(
            columns.axis,
            places,
            moved.reshape(dims),
            IndexingUpdateOp::Add,
        )
        .reshape([info.len()])
}

impl Algorithm for Riding {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        if self.active.is_empty() || due(context, self.rule.update_gap) {
            self.draw(&trainee.params(), context);
        }
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        let lr = self.schedule.at(context.step);
        let (rule, active, slots) = (&self.rule, &self.active, &mut self.slots);
        trainee.map(|info, p| {
            let (Some(slot), Some(g)) = (slots.get_mut(info.index), gradients.get(info)) else {
                return p;
            };
            match active.get(info.index) {
                Some(Some(part)) => project(rule, lr, info, part, slot, p, g),
                _ => Averages::step(slot, &rule.adamw, lr, p, g),
            }
        });
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put("active", &self.active)?;
        save(state, &self.slots)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let active: Vec<Option<Vec<usize>>> = state.get("active")?;
        let params = trainee.params();
        let held = |index: usize, entries: usize| match (params.get(index), active.get(index)) {
            (Some(info), Some(Some(part))) => entries == part.len() * Columns::of(info).length,
            (Some(info), _) => entries == info.len(),
            _ => false,
        };
        load(state, &trainee.device(), &mut self.slots, held)?;
        self.active = active;
        Ok(())
    }
}

/// The search space, which both selections share.
pub(super) fn space() -> SearchSpace {
    let space = SearchSpace::new()
        .log_uniform("learning_rate", 1e-4, 1e-2, 2e-3)
        .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
        .fixed("beta2", 0.999)
        .fixed("epsilon", 1e-8)
        .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
        .choice("density", &[0.0, 0.25, 0.5], 0.25)
        .fixed("update_gap", 200.0)
        .fixed("inactive_rule", 1.0)
        .fixed("inactive_scale", 1.0)
        .fixed("proj_lr_scale", 1.0)
        .fixed("warmup_factor", 0.05);
    with_regularisation(space)
}

/// Starts either selection.
pub(super) fn start(
    selection: Selection,
    trainee: &Trainee,
    context: &StartContext,
) -> Result<Box<dyn Algorithm>, SubmissionError> {
    let rule = Frugal::from_point(&context.point, selection)?;
    let schedule = WarmupCosine::start(context)?;
    let options = pass_options(&context.point)?;
    Ok(Box::new(Riding::new(rule, schedule, options, trainee)))
}

/// The submission `frugal`.
#[derive(Debug, Clone, Copy)]
pub struct FrugalSubmission;

impl Submission for FrugalSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "frugal",
            summary: "AdamW on some hidden tensors at a time, the sign of the gradient on the rest",
            paper: "arXiv 2411.07837",
            reference: "the authors' code, block-wise selection",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        space()
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = Frugal::from_point(point, Selection::Blocks).ok()?;
        rule.state_bytes(params)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        start(Selection::Blocks, trainee, context)
    }
}

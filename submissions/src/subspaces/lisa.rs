//! LISA: AdamW on a few blocks of the model at a time, drawn again every so many steps.
//!
//! # Rule
//! The model's repeated parts (its lists of layers) are its `L` middle blocks; where it has none, each
//! layer with a hidden matrix or convolution is one. Embeddings, the head and whatever else stands
//! outside of the blocks are always trained. At every step `t` (from 0) that `period` divides,
//! `active_blocks` different blocks are drawn with equal probabilities; the others are frozen, so that no
//! gradient is computed for them. What is not frozen takes AdamW's step, with `t` counted per parameter:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! p = (1 - lr wd) p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//! Frozen parameters do not decay. The averages of a block that becomes frozen are dropped, and start
//! again from zero when it is drawn; a block that is drawn twice in a row keeps them. With
//! `keep_state = 1` all averages are kept. What the workload froze stays frozen. Schedule: linear warm-up,
//! cosine decay ([`crate::schedules::WarmupCosine`]).
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.02 to 0.5, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `active_blocks` | 2 | 1, 2, 4 |
//! | `period` | 20 | 5, 20, 50; steps between two draws |
//! | `keep_state` | 0 | fixed; 1 to keep the averages of frozen blocks |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! AdamW's, and the authors' number of blocks and period for a model of 7 billion parameters.
//!
//! # State
//! 8 bytes per parameter in what is always trained and in the active blocks, none in frozen ones (a
//! formula where all blocks are of one size or active). With `keep_state = 1` 8 bytes in every block
//! that has been active.
//!
//! # Sources
//! Pan et al., arXiv 2403.17919, and the authors' code (LMFlow).
//!
//! # What differs
//! The authors' code keeps the averages of frozen blocks (`keep_state = 1`), so that its memory grows as
//! blocks are visited; the default here is what the paper's memory figures need. It is a method for
//! fine-tuning, with rates near 2e-5 there; here it races from scratch. The paper's probabilities follow
//! norms of weights; its code, followed here, draws uniformly.

use super::{Averages, draw, due, load, save};
use crate::common::{PRETRAIN, pass_options, switch, whole, with_regularisation};
use crate::optimizers::adamw::AdamW;
use crate::schedules::{Schedule, WarmupCosine};
use velodrome_harness::contract::{
    Algorithm, Batch, Description, ParamInfo, ParamKind, PassOptions, Point, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Trainee,
};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lisa {
    /// The rule of what is not frozen.
    pub adamw: AdamW,
    /// Blocks that are trained at a time; 0 for none.
    pub active_blocks: usize,
    /// Steps between two draws.
    pub period: usize,
    /// Whether averages of frozen blocks are kept.
    pub keep_state: bool,
}

impl Lisa {
    /// From the hyperparameters of the search space.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        Ok(Self {
            adamw: AdamW::from_point(point)?,
            active_blocks: whole(point, "active_blocks")?,
            period: whole(point, "period")?,
            keep_state: switch(point, "keep_state")?,
        })
    }
}

/// The middle block of each parameter, counted from 0, and the number of blocks.
pub fn blocks(params: &[ParamInfo]) -> (Vec<Option<usize>>, usize) {
    let in_lists = params.iter().any(|p| p.block.is_some());
    let hidden = |p: &ParamInfo| matches!(p.kind, ParamKind::Matrix | ParamKind::Convolution);
    let layers: Vec<usize> = params
        .iter()
        .filter(|p| hidden(p))
        .map(|p| p.layer)
        .collect();
    let always = |p: &ParamInfo| {
        matches!(
            p.kind,
            ParamKind::Embedding | ParamKind::Position | ParamKind::Head
        )
    };
    let place = |p: &ParamInfo| match (always(p), in_lists) {
        (true, _) => None,
        (false, true) => p.block,
        (false, false) => layers.contains(&p.layer).then_some(p.layer),
    };
    let mut seen = Vec::new();
    let numbered = params.iter().map(|p| {
        let place = place(p)?;
        let known = seen.iter().position(|other| *other == place);
        Some(known.unwrap_or_else(|| {
            seen.push(place);
            seen.len() - 1
        }))
    });
    let numbered = numbered.collect();
    (numbered, seen.len())
}

/// [`Lisa`] at work in one trial.
pub struct Riding {
    rule: Lisa,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    /// Whether the workload trains each parameter.
    trainable: Vec<bool>,
    /// By parameter.
    blocks: Vec<Option<usize>>,
    count: usize,
    /// The active blocks; `None` before the first draw.
    active: Option<Vec<usize>>,
    /// Whether the trainee's parameters are frozen accordingly.
    applied: bool,
    /// By parameter.
    slots: Vec<Option<Averages>>,
}

impl Riding {
    /// An algorithm for the trainee's parameters.
    pub fn new(
        rule: Lisa,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        trainee: &Trainee,
    ) -> Self {
        let params = trainee.params();
        let (blocks, count) = blocks(&params);
        Self {
            rule,
            schedule: Box::new(schedule),
            options,
            trainable: params.iter().map(|p| p.trainable).collect(),
            blocks,
            count,
            active: None,
            applied: false,
            slots: params.iter().map(|_| None).collect(),
        }
    }

    /// The active blocks, ascending; none before the first step.
    pub fn active(&self) -> &[usize] {
        self.active.as_deref().unwrap_or_default()
    }

    /// Whether the parameter at `index` is to be trained now.
    fn trains(&self, index: usize) -> bool {
        let block = self.blocks.get(index).copied().flatten();
        let active = block.is_none_or(|block| self.active().contains(&block));
        active && self.trainable.get(index).is_some_and(|t| *t)
    }

    fn draw(&mut self, context: &StepContext) {
        let count = self.rule.active_blocks.min(self.count);
        self.active = Some(draw(&mut context.rng(), count, self.count));
        self.applied = false;
        if !self.rule.keep_state {
            for index in 0..self.slots.len() {
                if !self.trains(index) {
                    self.slots[index] = None;
                }
            }
        }
    }
}

impl Algorithm for Riding {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        if self.active.is_none() || due(context, self.rule.period) {
            self.draw(context);
        }
        if !self.applied {
            trainee.set_trainable(|info| self.trains(info.index));
            self.applied = true;
        }
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        let lr = self.schedule.at(context.step);
        let (rule, slots) = (&self.rule, &mut self.slots);
        trainee.map(
            |info, p| match (slots.get_mut(info.index), gradients.get(info)) {
                (Some(slot), Some(g)) => Averages::step(slot, &rule.adamw, lr, p, g),
                _ => p,
            },
        );
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put("active", &self.active)?;
        save(state, &self.slots)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let params = trainee.params();
        let fits = |index: usize, entries| params.get(index).is_some_and(|p| p.len() == entries);
        load(state, &trainee.device(), &mut self.slots, fits)?;
        self.active = state.get("active")?;
        // Done at the next step, when the trainee can be changed.
        self.applied = false;
        Ok(())
    }
}

/// The submission `lisa`.
#[derive(Debug, Clone, Copy)]
pub struct LisaSubmission;

impl Submission for LisaSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "lisa",
            summary: "AdamW on a few blocks at a time, drawn anew every period, the others frozen",
            paper: "arXiv 2403.17919",
            reference: "LMFlow lisa_trainer",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .choice("active_blocks", &[1.0, 2.0, 4.0], 2.0)
            .choice("period", &[5.0, 20.0, 50.0], 20.0)
            .fixed("keep_state", 0.0)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = Lisa::from_point(point).ok()?;
        let (blocks, count) = blocks(params);
        let active = rule.active_blocks.min(count);
        let mut sizes = vec![0; count];
        let mut bytes = 0;
        for (info, block) in params.iter().zip(blocks) {
            // What LISA has frozen is listed as such while it trains: blocks count whatever they are.
            match block.and_then(|block| sizes.get_mut(block)) {
                Some(size) => *size += 8 * info.len() as u64,
                None if info.trainable => bytes += 8 * info.len() as u64,
                None => {}
            }
        }
        let alike = sizes.windows(2).all(|pair| pair[0] == pair[1]);
        let stated = !rule.keep_state && alike || active == count;
        stated.then(|| bytes + sizes.iter().take(active).sum::<u64>())
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = Lisa::from_point(&context.point)?;
        let schedule = WarmupCosine::start(context)?;
        let options = pass_options(&context.point)?;
        Ok(Box::new(Riding::new(rule, schedule, options, trainee)))
    }
}

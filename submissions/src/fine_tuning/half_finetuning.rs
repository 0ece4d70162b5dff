//! Half fine-tuning: in each stage of the training half of every block, drawn anew.
//!
//! # Rule
//! At the start of each of `stages` equal parts of the step hint, half of the matrices (with their
//! biases) and half of the norms of each block are drawn ([`Selection::Half`]); AdamW trains them under
//! one cosine over all stages, the rest is frozen. A parameter that is drawn again goes on with the
//! averages that it had. A head with new outputs always trains.
//!
//! # Hyperparameters
//! `learning_rate`: 1e-5 to 1e-2, default 1e-3; `stages` 3, fixed. The rest as full fine-tuning
//! ([`super::selections`]).
//!
//! # State
//! 8 bytes for each element that was ever trained.
//!
//! # Sources
//! Hui et al., "HFT: Half Fine-Tuning for Large Language Models", arXiv 2404.18466, whose stages are the
//! tasks of a sequence or rounds of one.

use crate::adapters::selection::Selection;
use crate::adapters::{FINETUNE, rates};
use crate::common::whole;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use velodrome_harness::contract::{
    Algorithm, Batch, Description, ParamInfo, SearchSpace, StartContext, State, StepContext,
    Submission, SubmissionError, Trainee,
};

/// The submission.
pub struct HalfFinetuning;

impl Submission for HalfFinetuning {
    fn describe(&self) -> Description {
        Description {
            name: "half_finetuning",
            summary: "Half of every block by AdamW, drawn anew in each stage",
            paper: "arXiv 2404.18466",
            reference: "the paper's statement",
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        rates([1e-5, 1e-2, 1e-3]).fixed("stages", 3.0)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let stages = whole(&context.point, "stages")? as u64;
        let given = trainee.params().to_vec();
        let optimizer = Fused(AdamW::from_point(&context.point)?);
        let mut halves = Halves {
            inner: ScheduledOptimizer::cosine(optimizer, context)?,
            given,
            length: context.hints.steps.div_ceil(stages).max(1),
            last: stages - 1,
            seed: context.seed,
            stage: None,
        };
        halves.enter(0, trainee);
        Ok(Box::new(halves))
    }
}

/// The stages.
struct Halves {
    inner: Box<dyn Algorithm>,
    /// The parameters as the workload gave them.
    given: Vec<ParamInfo>,
    /// Steps of a stage.
    length: u64,
    /// Number of the last stage; it goes on for as long as the training does.
    last: u64,
    seed: u64,
    /// `None` after a checkpoint was loaded: what is frozen is not saved.
    stage: Option<u64>,
}

impl Halves {
    fn enter(&mut self, stage: u64, trainee: &mut Trainee) {
        if self.stage == Some(stage) {
            return;
        }
        let half = Selection::Half(self.seed.wrapping_add(stage));
        let keeps = half.keeps(&self.given, trainee.new_head());
        let kept = |p: &ParamInfo| {
            let given = self.given.get(p.index);
            given.is_some_and(|g| g.trainable) && keeps.get(p.index) == Some(&true)
        };
        trainee.set_trainable(kept);
        self.stage = Some(stage);
    }
}

impl Algorithm for Halves {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        self.enter((context.step / self.length).min(self.last), trainee);
        self.inner.update(trainee, batch, context)
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        self.inner.save(state)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.stage = None;
        self.inner.load(state, trainee)
    }
}

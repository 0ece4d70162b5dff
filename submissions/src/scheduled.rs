//! The algorithm that most submissions race in: a burn optimizer under a learning-rate schedule.

use crate::common::pass_options;
use crate::schedules::{Schedule, WarmupCosine};
use burn::optim::ModuleOptimizer;
use velodrome_harness::contract::{
    Algorithm, Batch, ParamInfo, PassOptions, StartContext, State, StepContext, SubmissionError,
    Trainee,
};

/// Name of the optimizer's entry in the saved state.
const OPTIMIZER: &str = "optimizer";

/// One gradient per step, clipped if asked for, handed to a burn optimizer at the scheduled
/// learning rate. Saving and restoring is done here, once for all rules.
pub struct ScheduledOptimizer {
    optimizer: ModuleOptimizer,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    clip_norm: Option<f64>,
    shared: Vec<Vec<ParamInfo>>,
}

impl ScheduledOptimizer {
    /// An algorithm with default pass options and without clipping. `optimizer` is any
    /// `burn::optim::Optimizer`, or a `ModuleOptimizer` with parameter groups.
    pub fn new(optimizer: impl Into<ModuleOptimizer>, schedule: impl Schedule + 'static) -> Self {
        Self {
            optimizer: optimizer.into(),
            schedule: Box::new(schedule),
            options: PassOptions::default(),
            clip_norm: None,
            shared: Vec::new(),
        }
    }

    /// The algorithm of most submissions: `optimizer` under [`WarmupCosine`], with the pass options
    /// of the point (`learning_rate`, `warmup_factor`, `label_smoothing`, `dropout`).
    pub fn cosine(
        optimizer: impl Into<ModuleOptimizer>,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let schedule = WarmupCosine::start(context)?;
        Ok(Box::new(Self::racing(optimizer, schedule, context)?))
    }

    /// `optimizer` under `schedule`, with the pass options of the point (`label_smoothing`,
    /// `dropout`).
    pub fn racing(
        optimizer: impl Into<ModuleOptimizer>,
        schedule: impl Schedule + 'static,
        context: &StartContext,
    ) -> Result<Self, SubmissionError> {
        Ok(Self::new(optimizer, schedule).with_options(pass_options(&context.point)?))
    }

    /// Sets label smoothing, dropout and the other options of the training passes.
    pub fn with_options(mut self, options: PassOptions) -> Self {
        self.options = options;
        self
    }

    /// Whether the coming training passes update running normalisation statistics.
    pub fn set_update_norm(&mut self, update: bool) {
        self.options.update_norm = update;
    }

    /// Scales the gradients of each step so that their global norm is at most `max_norm`. Reading
    /// the norm waits for the device.
    pub fn with_clip_norm(mut self, max_norm: f64) -> Self {
        self.clip_norm = Some(max_norm);
        self
    }

    /// Makes each group of parameters, which must have the same values and the same kind of update, one:
    /// every member gets the sum of the group's gradients, so that they stay equal.
    pub fn with_shared(mut self, groups: Vec<Vec<ParamInfo>>) -> Self {
        self.shared = groups;
        self
    }
}

impl Algorithm for ScheduledOptimizer {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let mut gradients = trainee.gradients(batch, &self.options)?.gradients;
        for group in &self.shared {
            let parts = group.iter().filter_map(|p| gradients.get(p));
            if let Some(sum) = parts.reduce(|a, b| a + b) {
                for param in group {
                    gradients.set(param, sum.clone());
                }
            }
        }
        if let Some(max_norm) = self.clip_norm {
            gradients.clip_global_norm(max_norm);
        }
        let learning_rate = self.schedule.at(context.step);
        trainee.step(&mut self.optimizer, learning_rate, gradients);
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put_optimizer(OPTIMIZER, &self.optimizer)
    }

    fn load(&mut self, state: &State, _trainee: &Trainee) -> Result<(), SubmissionError> {
        self.optimizer = state.get_optimizer(OPTIMIZER, self.optimizer.clone())?;
        Ok(())
    }
}

//! The contract of a submission.

use super::batch::Batch;
use super::error::SubmissionError;
use super::params::ParamInfo;
use super::queue::Queue;
use super::space::{Point, SearchSpace};
use super::state::State;
use super::trainee::Trainee;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use velodrome_results::Direction;

/// How hyperparameters are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruleset {
    /// Trials draw points from the submission's search space; a study's fastest trial counts.
    External,
    /// Nothing is tuned from outside: one trial per study, at the default point.
    SelfTuning,
}

impl Ruleset {
    /// `external` or `self-tuning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Ruleset::External => "external",
            Ruleset::SelfTuning => "self-tuning",
        }
    }
}

/// The kind of contest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Track {
    /// Training from scratch.
    Pretrain,
    /// Adapting pretrained weights.
    Finetune,
}

/// What a submission says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Name: lower case, digits and underscores.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Where the algorithm was published.
    pub paper: &'static str,
    /// Reference code or text that this implementation was checked against.
    pub reference: &'static str,
    /// Track.
    pub track: Track,
    /// Rulesets that it may race under.
    pub rulesets: &'static [Ruleset],
    /// Version of the submission: changes whenever its results can change.
    pub version: &'static str,
}

/// What a workload suggests; a submission may ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// Steps that a well-tuned baseline needs at the suggested batch size: the horizon for
    /// schedules.
    pub steps: u64,
    /// Examples per batch.
    pub batch_size: usize,
}

/// What a submission is given at its start.
#[derive(Debug, Clone)]
pub struct StartContext {
    /// Hyperparameters.
    pub point: Point,
    /// The workload's hints.
    pub hints: Hints,
    /// Ruleset of the race.
    pub ruleset: Ruleset,
    /// Seed of everything random in the submission.
    pub seed: u64,
}

/// What a submission may know at a step.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// Steps taken before this one.
    pub step: u64,
    /// Seconds on the submission clock so far, at the last evaluation (so that a rule that looks
    /// at it stays reproducible between evaluations).
    pub clock: f64,
    /// Validation metric at each evaluation so far, oldest first.
    pub evaluations: Arc<Vec<f64>>,
    /// Whether a smaller or a larger validation metric is better.
    pub direction: Direction,
    pub(crate) seed: u64,
}

impl StepContext {
    /// A context for tests and conformance checks: nothing evaluated, smaller is better.
    pub fn new(step: u64, seed: u64) -> Self {
        Self {
            step,
            clock: 0.0,
            evaluations: Arc::default(),
            direction: Direction::Minimize,
            seed,
        }
    }

    /// A random generator that depends on the trial's algorithm seed and the step alone.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(crate::seed::mix(self.seed, self.step))
    }
}

/// A statement of a submission's manual that a computation can refute, for example that iterates
/// stay in a ball.
#[derive(Clone, Copy)]
pub struct Claim {
    /// The statement, one sentence.
    pub statement: &'static str,
    /// Says whether it holds on a run of its own choice, and what was found.
    pub check: fn() -> Result<(bool, String), SubmissionError>,
}

/// A training algorithm, described and ready to start. One value serves all trials.
pub trait Submission: Send + Sync {
    /// What it is.
    fn describe(&self) -> Description;

    /// Its hyperparameters with ranges and defaults; empty when there is nothing to choose.
    fn search_space(&self) -> SearchSpace;

    /// Bytes of tensor state once every trainable parameter in `params` has been stepped, as the
    /// manual states them, or `None` where it states no formula. `verify` compares this with what
    /// is saved.
    fn state_bytes(&self, _params: &[ParamInfo], _point: &Point) -> Option<u64> {
        None
    }

    /// What the manual claims beyond the contract, as checks that `verify` runs.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// Starts one trial: builds the optimizer, attaches adapters, computes initial statistics.
    /// On the clock.
    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError>;
}

/// A training algorithm at work in one trial.
pub trait Algorithm {
    /// Builds the next batch from the queue. On the clock, except for waiting.
    fn select(
        &mut self,
        queue: &mut dyn Queue,
        _context: &StepContext,
    ) -> Result<Batch, SubmissionError> {
        queue.next()
    }

    /// One training step. On the clock.
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError>;

    /// Puts the weights to be evaluated into the trainee (averages, interpolations). On the
    /// clock. The harness decides when.
    fn prepare_for_eval(&mut self, _trainee: &mut Trainee) -> Result<(), SubmissionError> {
        Ok(())
    }

    /// Puts the training weights back after an evaluation. On the clock.
    fn after_eval(&mut self, _trainee: &mut Trainee) -> Result<(), SubmissionError> {
        Ok(())
    }

    /// Saves everything that later steps depend on, apart from the trainee's own weights.
    fn save(&self, state: &mut State) -> Result<(), SubmissionError>;

    /// Restores what [`Self::save`] stored, into an algorithm that was just started at the same
    /// point.
    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError>;
}

//! NAdamW Sequential: three whole trainings in a row from the same initial weights, each with its own
//! hyperparameters.
//!
//! # Rule
//! With step hint `T`, training `i` (1 to 3) takes `floor(horizon_factor_i T)` steps of NAdamW at its
//! own settings, under linear warm-up over `floor(warmup_factor_i T)` steps and a cosine decay to 0 at
//! its end. Before the second and the third the weights, normalisation statistics included, are put
//! back to the initial ones, bit for bit, and the optimizer starts anew. What was learned before is
//! given up. After the third the rate stays 0.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate_1`, `_2`, `_3` | 1.4272e-3, 1.76851e-3, 2.37926e-3 | fixed |
//! | `beta1_1`, `_2`, `_3` | 0.9661952, 0.9414979, 0.9800966 | fixed |
//! | `beta2_1`, `_2`, `_3` | 0.99573, 0.976805, 0.963274 | fixed |
//! | `weight_decay_1`, `_2`, `_3` | 0.0915314, 0.0279514, 0.341757 | fixed |
//! | `warmup_factor_1`, `_2`, `_3` | 0.01, 0.02, 0.01 | fixed; share of the step hint |
//! | `horizon_factor_1`, `_2`, `_3` | 1, 1, 0.75 | fixed; share of the step hint |
//! | `epsilon` | 1e-8 | fixed |
//!
//! Nothing is tuned from outside: it races under the ruleset `self-tuning` alone. No label smoothing;
//! dropout is the model's own.
//!
//! # State
//! 12 bytes per trainable parameter: NAdamW's two averages, and the initial weights.
//!
//! # Sources
//! AlgoPerf's competition, arXiv 2502.15015, self-tuning, entry NadamW Sequential.
//!
//! # What differs
//! The entry then says that training is complete, for which this contract has no word: the trial goes
//! on at rate 0 to its target or its budget. Its label smoothing never took effect (the released code
//! asks a dictionary for an attribute), and is left out.

use crate::common::{PRETRAIN, fraction, non_negative, positive};
use crate::flat;
use crate::fused::Fused;
use crate::optimizers::nadamw::NAdamW;
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::{Schedule, WarmupCosine};
use crate::{averaging::snapshots::placed, averaging::snapshots::trainable, bowl};
use burn::tensor::Tensor;
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, Hints, ParamInfo, Point, Ruleset, SearchSpace, Snapshot,
    StartContext, State, StepContext, Submission, SubmissionError, Trainee,
};

/// Number of trainings.
const TRAININGS: usize = 3;

/// Names and values of the three trainings.
const POINTS: [(&str, [f64; TRAININGS]); 6] = [
    ("learning_rate", [1.427_20e-3, 1.768_51e-3, 2.379_26e-3]),
    ("beta1", [0.966_195_2, 0.941_497_9, 0.980_096_6]),
    ("beta2", [0.995_730, 0.976_805, 0.963_274]),
    ("weight_decay", [0.091_531_4, 0.027_951_4, 0.341_757]),
    ("warmup_factor", [0.01, 0.02, 0.01]),
    ("horizon_factor", [1.0, 1.0, 0.75]),
];

/// One of the trainings.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Training {
    rule: NAdamW,
    schedule: WarmupCosine,
    /// Number of its first step.
    from: u64,
}

impl Schedule for Training {
    fn at(&self, step: u64) -> f64 {
        self.schedule.at(step.saturating_sub(self.from))
    }
}

impl Training {
    fn all(point: &Point, hints: &Hints) -> Result<[Self; TRAININGS], SubmissionError> {
        let steps = hints.steps as f64;
        let mut from = 0;
        let mut read = |i: usize| -> Result<Self, SubmissionError> {
            let name = |what: &str| format!("{what}_{i}");
            let horizon = (positive(point, &name("horizon_factor"))? * steps) as u64;
            let training = Self {
                rule: NAdamW {
                    beta1: fraction(point, &name("beta1"))?,
                    beta2: fraction(point, &name("beta2"))?,
                    epsilon: non_negative(point, "epsilon")?,
                    weight_decay: non_negative(point, &name("weight_decay"))?,
                },
                schedule: WarmupCosine {
                    peak: non_negative(point, &name("learning_rate"))?,
                    warmup: (fraction(point, &name("warmup_factor"))? * steps) as u64,
                    horizon,
                },
                from,
            };
            from += horizon;
            Ok(training)
        };
        Ok([read(1)?, read(2)?, read(3)?])
    }

    fn algorithm(self) -> ScheduledOptimizer {
        ScheduledOptimizer::new(Fused(self.rule), self)
    }
}

/// The trainings at work.
pub struct Sequential {
    trainings: [Training; TRAININGS],
    /// Number of the present training, from 0.
    present: usize,
    inner: ScheduledOptimizer,
    /// What the trainee was at the start, for its normalisation statistics.
    start: Snapshot,
    /// Initial weights of the trainable parameters.
    initial: Vec<Tensor<1>>,
}

impl Sequential {
    /// Starts the first training at the trainee's present weights.
    fn new(trainings: [Training; TRAININGS], trainee: &Trainee) -> Self {
        Self {
            trainings,
            present: 0,
            inner: trainings[0].algorithm(),
            start: trainee.snapshot(),
            initial: trainable(trainee),
        }
    }

    /// Number of the training that takes `step`.
    fn training_at(&self, step: u64) -> usize {
        let begun = self.trainings.iter().filter(|t| t.from <= step).count();
        begun.saturating_sub(1)
    }
}

impl Algorithm for Sequential {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let training = self.training_at(context.step);
        if training != self.present {
            self.present = training;
            self.inner = self.trainings[training].algorithm();
            trainee.restore(&self.start)?;
            trainee.map(placed(self.initial.clone()));
        }
        self.inner.update(trainee, batch, context)
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        state.put("training", &self.present)?;
        flat::save(state, "initial", &self.initial)?;
        self.inner.save(state)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.present = state.get("training")?;
        let training = self.trainings.get(self.present);
        let training = training.ok_or_else(|| SubmissionError::State {
            name: "training".into(),
            message: format!("is {}; there are {TRAININGS}", self.present),
        })?;
        self.inner = training.algorithm();
        flat::load(state, "initial", &trainee.device(), &mut self.initial)?;
        self.inner.load(state, trainee)
    }
}

/// The submission `nadamw_sequential`.
#[derive(Debug, Clone, Copy)]
pub struct NAdamWSequentialSubmission;

impl Submission for NAdamWSequentialSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "nadamw_sequential",
            summary: "NAdamW, three whole trainings in a row with settings of their own",
            paper: "arXiv 2502.15015 (NadamW Sequential)",
            reference: "AlgoPerf v0.5 entry NadamW Sequential, its points and schedule",
            rulesets: &[Ruleset::SelfTuning],
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let mut space = SearchSpace::new();
        for i in 0..TRAININGS {
            for (name, values) in POINTS {
                space = space.fixed(&format!("{name}_{}", i + 1), values[i]);
            }
        }
        space.fixed("epsilon", 1e-8)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(flat::bytes_per_entry(params, 3))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "each training starts at the initial weights, bit for bit, and ends at rate 0",
            check: starts_are_equal,
        }]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let trainings = Training::all(&context.point, &context.hints)?;
        Ok(Box::new(Sequential::new(trainings, trainee)))
    }
}

/// On a bowl with 200 steps a training: its first step is at rate 0, so that it leaves the start.
fn starts_are_equal() -> Result<(bool, String), SubmissionError> {
    let point = NAdamWSequentialSubmission.search_space().default_point();
    let hints = Hints {
        steps: 200,
        batch_size: 1,
    };
    let mut trainee = bowl::trainee(&[1.0, -2.0]);
    let mut algorithm = Sequential::new(Training::all(&point, &hints)?, &trainee);
    let batch = bowl::batch(&[2.0, 1.0, 1.0, 5.0], 2);
    let start = bowl::position(&trainee);
    let (mut equal, mut moved) = (true, true);
    for step in 0..=600 {
        let before = bowl::position(&trainee);
        algorithm.update(&mut trainee, &batch, &StepContext::new(step, 1))?;
        let after = bowl::position(&trainee);
        equal &= ![0, 200, 400].contains(&step) || after == start;
        moved &= ![199, 399, 549].contains(&step) || after != start;
        // Behind the third, 400 + 150 steps on, nothing moves any more.
        equal &= step < 550 || after == before;
    }
    let found = format!("starts equal: {equal}; weights moved in between: {moved}");
    Ok((equal && moved, found))
}

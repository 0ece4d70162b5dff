//! Cyclic LR: NAdamW under a schedule of several warm-ups and cosine decays in a row.
//!
//! # Rule
//! With step hint `T`, `C` cycles of `L = floor(T / C)` steps, peak rate `lr` and `W` warm-up steps,
//! at step `t` (from 0) with `s = t mod L`:
//! ```text
//! s < W      lr s / W
//! s >= W     lr (1 + cos(pi (s - W) / (L - W))) / 2
//! ```
//! and 0 after the last cycle. The weights and the optimizer's averages go through unchanged. With one
//! cycle it is `nadamw`.
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 6e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.9 | complement 0.004 to 0.1, logarithmic |
//! | `beta2` | 0.999 | fixed |
//! | `epsilon` | 1e-8 | fixed |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint, of each cycle's warm-up |
//! | `cycles` | 2 | 1, 2 |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The ranges are `nadamw`'s; the competition entry searched a list of five points instead.
//!
//! # State
//! 8 bytes per parameter, as NAdamW.
//!
//! # Sources
//! AlgoPerf's competition, arXiv 2502.15015, external tuning, entry Cyclic LR. Checked against its
//! rates at five steps.
//!
//! # What differs
//! The entry's PyTorch schedule starts each warm-up at `1e-10 lr`, not at 0.

use super::{Schedule, WarmupCosine};
use crate::common::{PRETRAIN, whole, with_regularisation};
use crate::flat::bytes_per_entry;
use crate::fused::{Elementwise, Fused};
use crate::optimizers::nadamw::NAdamW;
use crate::scheduled::ScheduledOptimizer;
use velodrome_harness::contract::{
    Algorithm, Claim, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// Warm-up and cosine decay, several times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CyclicLr {
    /// One cycle; its horizon is the cycle's length.
    pub cycle: WarmupCosine,
    /// Number of cycles.
    pub cycles: u64,
}

impl CyclicLr {
    /// From the hyperparameters `learning_rate`, `warmup_factor` and `cycles`.
    pub fn start(context: &StartContext) -> Result<Self, SubmissionError> {
        let cycles = whole(&context.point, "cycles")? as u64;
        let once = WarmupCosine::start(context)?;
        Ok(Self {
            cycle: WarmupCosine {
                horizon: (once.horizon / cycles).max(1),
                ..once
            },
            cycles,
        })
    }
}

impl Schedule for CyclicLr {
    fn at(&self, step: u64) -> f64 {
        let length = self.cycle.horizon.max(1);
        if step / length < self.cycles {
            self.cycle.at(step % length)
        } else {
            0.0
        }
    }
}

/// Rates of the entry for 100 steps, 5 of warm-up, two cycles, peak 1.
fn has_the_published_rates() -> Result<(bool, String), SubmissionError> {
    let schedule = CyclicLr {
        cycle: WarmupCosine {
            peak: 1.0,
            warmup: 5,
            horizon: 50,
        },
        cycles: 2,
    };
    let published = [
        (1, 0.2),
        (25, 0.586824),
        (50, 0.0),
        (51, 0.2),
        (55, 1.0),
        (100, 0.0),
        (130, 0.0),
    ];
    let apart = published.map(|(step, rate): (u64, f64)| (schedule.at(step) - rate).abs());
    let worst = apart.into_iter().fold(0.0, f64::max);
    Ok((worst < 5e-7, format!("rates apart by {worst:.1e}")))
}

/// The submission `cyclic_lr`.
#[derive(Debug, Clone, Copy)]
pub struct CyclicLrSubmission;

impl Submission for CyclicLrSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "cyclic_lr",
            summary: "NAdamW under several warm-ups and cosine decays in a row",
            paper: "arXiv 2502.15015 (Cyclic LR)",
            reference: "AlgoPerf v0.5 entry Cyclic LR, its rates",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        with_regularisation(NAdamW::space().choice("cycles", &[1.0, 2.0], 2.0))
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            statement: "for 100 steps, 5 of warm-up and two cycles the rate is 0.2, 0.586824, 0, 0.2 \
                        and 1 of the peak at steps 1, 25, 50, 51 and 55, and 0 from step 100 on",
            check: has_the_published_rates,
        }]
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rule = Fused(NAdamW::from_point(&context.point)?);
        let schedule = CyclicLr::start(context)?;
        Ok(Box::new(ScheduledOptimizer::racing(
            rule, schedule, context,
        )?))
    }
}

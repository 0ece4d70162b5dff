//! FRUGAL by columns: AdamW on some columns of each hidden matrix, which change now and then, the sign of
//! the gradient on the rest.
//!
//! # Rule
//! That of [`super::frugal`], but for what is drawn: `density` times the number (rounded down) of the
//! columns of each projectable tensor, seen as a matrix of fan-out by fan-in. A column holds the weights
//! that one input feeds; in burn's linear layers it is a row, and kernels of convolutions are flattened
//! behind their first axis. Active columns and the others are disjoint, and every entry of the gradient
//! is used once. Schedule: linear warm-up, cosine decay ([`crate::schedules::WarmupCosine`]).
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
//! 8 bytes per parameter in active columns and in tensors that are not projectable, none in the others:
//! for a projectable tensor `8 floor(density columns) / columns` per parameter.
//!
//! # Sources
//! Zmushko et al., arXiv 2411.07837, and the authors' code (`coordinate_projector`, columns).
//!
//! # What differs
//! As in [`super::frugal`].

use super::frugal::{Frugal, Selection, space, start};
use crate::common::PRETRAIN;
use velodrome_harness::contract::{
    Algorithm, Description, ParamInfo, Point, SearchSpace, StartContext, Submission,
    SubmissionError, Trainee,
};

/// The submission `frugal_columns`.
#[derive(Debug, Clone, Copy)]
pub struct FrugalColumnsSubmission;

impl Submission for FrugalColumnsSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "frugal_columns",
            summary: "AdamW on some columns of each hidden matrix, the sign of the gradient on the rest",
            paper: "arXiv 2411.07837",
            reference: "the authors' code, columns",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        space()
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let rule = Frugal::from_point(point, Selection::Columns).ok()?;
        rule.state_bytes(params)
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        start(Selection::Columns, trainee, context)
    }
}

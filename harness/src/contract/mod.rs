//! The contract between workloads, submissions and the race.

mod adapter;
mod batch;
mod error;
mod gradients;
mod model;
mod network;
mod objective;
mod params;
mod predictions;
mod queue;
mod space;
mod state;
mod submission;
mod trainee;
mod walk;
mod workload;

pub use adapter::{
    Activations, Adapter, Attach, Lengthening, Recipe, apply_linear, behind, lengthen,
};
pub use batch::{Batch, Dataset, Field, FieldError, HostBatch, HostField, HostValues};
pub use error::{ModelError, SubmissionError, WorkloadError};
pub use gradients::Gradients;
pub use model::{Model, PassOutput, Snapshot, Trained, param_list};
pub use network::{Network, NormStatistics, Pass, PassOptions};
pub use objective::{Objective, Replace, Substitution, ValueOf, Weigh};
pub use params::{ParamInfo, ParamKind, ParamList, Tokens};
pub use predictions::{Predictions, Seen, UnitLosses, Weights, cross_entropy};
pub use queue::Queue;
pub use space::{Dimension, Point, Range, SearchSpace};
pub use state::State;
pub use submission::{
    Algorithm, Claim, Description, Hints, Ruleset, StartContext, StepContext, Submission, Track,
};
pub use trainee::{Gradient, SubstitutedGradient, Trainee};
pub use velodrome_results::Direction;
pub use workload::{DataSource, Size, Skipped, Splits, Workload, WorkloadSpec};

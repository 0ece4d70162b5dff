//! Time trials for training algorithms.
//!
//! This crate is the `velodrome` command, and the library for authors who race their own training
//! algorithms and workloads without touching Velodrome's sources:
//!
//! ```no_run
//! use velodrome::prelude::*;
//! # struct MyOptimizer;
//! # impl Submission for MyOptimizer {
//! #     fn describe(&self) -> Description { unimplemented!() }
//! #     fn search_space(&self) -> SearchSpace { unimplemented!() }
//! #     fn start(&self, _: &mut Trainee, _: &StartContext) -> Fallible<Box<dyn Algorithm>> {
//! #         unimplemented!()
//! #     }
//! # }
//!
//! fn main() -> ExitCode {
//!     Command::new().submission(MyOptimizer).run()
//! }
//! ```
//!
//! Such a binary has all subcommands and all built-in workloads and submissions, and its own
//! beside them. `examples/my_optimizer.rs` is a complete one; `velodrome new submission NAME`
//! writes a project to start from; `docs/submissions.md` is the guide. Workloads come the same way, by
//! [`Command::family`] or [`Command::workload`]: see `examples/my_workload`, `velodrome new workload
//! NAME` and `docs/workloads.md`.
#![recursion_limit = "256"]

// Lets the templates of `velodrome new` be compiled as a part of this crate's tests.
#[cfg(test)]
extern crate self as velodrome;

mod command;
mod commands;
mod console;
mod exit;
mod failure;
mod interrupt;
mod outputs;
mod reporters;
mod selection;
mod suites;
mod verdict;

pub use burn;
pub use command::Command;
pub use exit::Exit;
pub use velodrome_harness as harness;
pub use velodrome_results as results;
pub use velodrome_submissions as submissions;
pub use velodrome_workloads as workloads;

/// In the library, so that every binary built on it gets it: tensor operations allocate at each
/// step, and burn trains 10 to 45 % faster with this allocator than with glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the author of a submission or of a workload needs.
pub mod prelude {
    pub use crate::Command;
    pub use burn::tensor::{Device, Int, Tensor};
    pub use std::process::ExitCode;
    pub use velodrome_harness::contract::{
        Adapter, Algorithm, Batch, Description, Gradient, Gradients, Hints, ParamInfo, ParamKind,
        ParamList, PassOptions, Point, Queue, Ruleset, SearchSpace, Snapshot, StartContext, State,
        StepContext, Submission, SubmissionError, Track, Trainee,
    };

    /// What the fallible functions of a submission give.
    pub type Fallible<T> = Result<T, SubmissionError>;

    pub use velodrome_harness::contract::{
        DataSource, Dataset, HostBatch, HostField, HostValues, Model, ModelError, Network,
        NormStatistics, Pass, Predictions, Size, Skipped, Splits, Trained, UnitLosses, Workload,
        WorkloadError, WorkloadSpec,
    };
    pub use velodrome_results::measures::Measures;
    pub use velodrome_workloads::family::{Family, Variant};
}

//! The race: from a suite to records.
//!
//! [`suite`] (a file) -> [`plan`] (a list of trials, each with a content hash) -> [`runner`] (one
//! process per trial, watched) -> [`child`] (that process) -> [`trial`] (workload, submission and
//! [`clock`] in, log and record out).

pub mod audit;
pub mod checkpoint;
pub mod child;
pub mod clock;
pub mod device;
pub mod event;
mod findings;
pub mod fingerprint;
pub mod halton;
pub mod held_out;
pub mod histogram;
pub mod input;
pub mod lock;
pub mod plan;
pub(crate) mod pool;
pub mod runner;
mod runner_scan;
mod spaces;
pub mod suite;
pub mod time;
pub mod trial;
pub(crate) mod watch;

pub use child::{CHILD_ERROR, ChildError, child};
pub use device::{DeviceError, built_devices, device};
pub use event::Event;
pub use lock::LockError;
pub use plan::{Plan, PlanError, executable_hash, plan};
pub use runner::{RaceError, RunOptions, RunSummary, run};
pub use spaces::RangeEntry;
pub use suite::{Cadence, Limits, Override, Suite, SuiteError};

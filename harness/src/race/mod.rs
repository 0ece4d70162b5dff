//! The race: from a suite to records.

pub mod event;
pub mod halton;
pub mod suite;
pub mod time;

pub use event::Event;
pub use suite::{Cadence, Limits, Override, Suite, SuiteError};

//! The harness: the contract between workloads and submissions, and the race.
//!
//! [`contract`] holds the traits: a [`contract::Workload`] is what is trained, a
//! [`contract::Submission`] is how. [`registry`] is the table of what can race.
#![recursion_limit = "256"]

pub mod conformance;
pub mod contract;
pub mod race;
pub mod registry;
pub mod seed;
pub mod targets;

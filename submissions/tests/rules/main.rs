//! The submissions against reference trajectories, their own manuals, and the contract.
#![recursion_limit = "256"]

mod averages;
mod averaging;
mod caspr;
mod closed_forms;
mod curvature;
mod goldens;
mod lion_k;
mod manuals;
mod matrix_rules;
mod memory;
mod objectives;
mod probe;
mod procedures;
mod resume;
mod self_tuning;
mod shampoo;
mod softmax_regression;
mod stn;
mod subspaces;

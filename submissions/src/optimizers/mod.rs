//! Update rules: one file per submission, each with its manual.

pub mod adabelief;
pub mod adafactor;
pub mod adamg;
pub mod adamw;
pub mod adan;
pub mod ademamix;
pub mod amos;
pub mod curvature;
pub mod galore;
pub mod generalized_adam;
pub mod heavy_ball;
pub mod lamb;
pub mod lion;
pub mod lion_k;
pub mod mars;
pub mod muon;
pub mod nadamp;
pub mod nadamw;
pub mod nesterov;
pub mod parts;
pub mod prodigy;
pub mod radam;
pub mod sam;
pub mod shampoo;
pub mod soap;
pub mod sophia;

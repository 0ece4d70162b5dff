//! Update rules: one file per submission, each with its manual.

pub mod adamw;
pub mod heavy_ball;
pub mod lion;
pub mod nadamw;
pub mod nesterov;
pub mod parts;

//! Submissions that evaluate at other weights than they train at.

pub mod held;
pub mod lawa;
pub mod schedule_free;
pub mod schedule_free_adamw;
pub mod schedule_free_adamw_algoperf;
pub mod schedule_free_adamw_paper;
pub mod schedule_free_prodigy;
pub mod snapshots;

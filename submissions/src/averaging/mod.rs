//! Submissions that evaluate at other weights than they train at.

pub mod held;
pub mod lawa;
pub mod schedule_free_adamw;
pub mod snapshots;

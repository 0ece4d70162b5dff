//! Submissions that evaluate at other weights than they train at.

pub mod schedule_free_adamw;

//! Submissions that train several times in one trial.

pub mod nadamw_sequential;

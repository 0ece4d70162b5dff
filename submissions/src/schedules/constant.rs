//! A learning rate that does not change.

use super::Schedule;

/// The same rate at every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant(
    /// The rate.
    pub f64,
);

impl Schedule for Constant {
    fn at(&self, _step: u64) -> f64 {
        self.0
    }
}

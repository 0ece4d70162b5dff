//! Learning rates as pure functions of the step.
//!
//! Step numbers count from 0: the first update runs at `at(0)`. With a warm-up from zero the first
//! update therefore moves nothing but the optimizer's own averages, as in AlgoPerf's JAX code.

mod constant;
pub mod cyclic_lr;
mod nested_cosine;
mod warmup_cosine;
mod warmup_linear;

pub use constant::Constant;
pub use nested_cosine::NestedCosine;
pub use warmup_cosine::WarmupCosine;
pub use warmup_linear::WarmupLinear;

/// A learning rate as a function of the step alone, so that it needs no saved state.
pub trait Schedule: Send {
    /// The learning rate of the update that comes after `step` updates.
    fn at(&self, step: u64) -> f64;
}

impl Schedule for Box<dyn Schedule> {
    fn at(&self, step: u64) -> f64 {
        self.as_ref().at(step)
    }
}

/// Share of a linear warm-up over `steps` that is done at `step`: from 0 up to, not including, 1;
/// `None` once it is over.
fn warm_up(step: u64, steps: u64) -> Option<f64> {
    (step < steps).then(|| step as f64 / steps as f64)
}

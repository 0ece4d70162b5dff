//! The input queue, as a submission sees it.

use super::batch::Batch;
use super::error::SubmissionError;

/// Gives training batches. Waiting for one is not on the clock.
pub trait Queue {
    /// The next batch, in the order that the data seed fixes.
    fn next(&mut self) -> Result<Batch, SubmissionError>;

    /// Examples per batch.
    fn batch_size(&self) -> usize;

    /// Changes the number of examples per batch from the next batch on. No example is lost or
    /// repeated by the change.
    fn set_batch_size(&mut self, examples: usize);
}

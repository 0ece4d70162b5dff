//! What submissions share that evaluate at other weights than they train at.

use burn::tensor::Tensor;
use velodrome_harness::contract::{Batch, ParamInfo, SubmissionError, Trainee};

/// Keeps the training weights while others are evaluated.
///
/// The copy is shared with the model as long as nothing changes either, and it comes back as it was,
/// bit for bit.
#[derive(Debug, Clone, Default)]
pub struct Held(Option<Vec<Tensor<1>>>);

impl Held {
    /// Puts the training weights aside and `weights(info, training value)` into the model. While
    /// they are aside already, nothing changes.
    pub fn put(
        &mut self,
        trainee: &mut Trainee,
        weights: impl FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>,
    ) {
        if self.0.is_none() {
            self.0 = Some(trainee.values());
            trainee.map(weights);
        }
    }

    /// Puts the training weights back, if they were put aside.
    pub fn put_back(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        match self.0.take() {
            Some(values) => trainee.set_values(&values),
            None => Ok(()),
        }
    }

    /// An error while the training weights are aside; `asked` names what must not happen then.
    pub fn refuse(&self, asked: &str) -> Result<(), SubmissionError> {
        match self.0 {
            Some(_) => Err(format!("{asked} was asked for during an evaluation").into()),
            None => Ok(()),
        }
    }
}

/// Keeps running normalisation statistics at the weights that are evaluated.
///
/// Statistics that the training passes gather belong to the training weights. So those passes leave
/// them alone, and after every third step one more forward pass with the same batch, at the
/// evaluation weights, updates them; it is on the clock. (The second version of AlgoPerf's
/// schedule-free submission does the same.) A model without running statistics pays nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormRefresh {
    needed: bool,
}

impl NormRefresh {
    /// One forward pass at the evaluation weights after so many steps.
    pub const EVERY: u64 = 3;
    /// Steps during which training passes update the statistics, too, so that early evaluations
    /// are not dominated by the statistics' initial values.
    pub const WARM_UP: u64 = 30;

    /// For this trainee's model.
    pub fn new(trainee: &Trainee) -> Self {
        Self {
            needed: trainee.has_norm_statistics(),
        }
    }

    /// Whether the training pass that comes after `steps` steps updates the statistics itself
    /// ([`PassOptions::update_norm`](velodrome_harness::contract::PassOptions::update_norm)), if the
    /// evaluation weights are others from the first step on.
    pub fn in_training(&self, steps: u64) -> bool {
        steps < Self::WARM_UP
    }

    /// Whether [`Self::after_step`] will do a pass after step number `steps` (from 1).
    pub fn due(&self, steps: u64) -> bool {
        self.needed && steps.is_multiple_of(Self::EVERY)
    }

    /// Behind step number `steps` (from 1): where it is time, a forward pass at
    /// `weights(info, training value)`. The training weights come back as they were.
    pub fn after_step(
        &self,
        steps: u64,
        trainee: &mut Trainee,
        batch: &Batch,
        weights: impl FnMut(&ParamInfo, Tensor<1>) -> Tensor<1>,
    ) -> Result<(), SubmissionError> {
        if !self.due(steps) {
            return Ok(());
        }
        let mut held = Held::default();
        held.put(trainee, weights);
        trainee.refresh_norm(batch)?;
        held.put_back(trainee)
    }
}

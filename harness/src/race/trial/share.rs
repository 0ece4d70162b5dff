//! How much of a model a submission trains, where the target limits it.

use super::{Race, Stop, Trial};
use crate::contract::Trainee;
use burn::tensor::Tensor;

/// The values of all parameters when the submission had started, flat and without a graph: what pretrained
/// weights became by a decomposition or a rounding is not training.
pub(super) struct Begun(Vec<Tensor<1>>);

impl Begun {
    pub(super) fn of(trainee: &Trainee) -> Self {
        Self(trainee.values())
    }

    /// Elements that train now, and those of frozen parameters that changed since the start: by an update
    /// past the gradients, or while other parameters were frozen. A parameter that was not there at the
    /// start counts whole.
    fn trained(&self, trainee: &Trainee) -> u64 {
        let params = trainee.params();
        let values = trainee.values();
        let frozen = params.iter().zip(values).filter(|(p, _)| !p.trainable);
        let changed = frozen.map(|(param, value)| match self.0.get(param.index) {
            Some(begun) if begun.dims() == value.dims() => {
                let changed = begun.clone().not_equal(value).int().sum();
                changed.into_scalar::<i64>().unsigned_abs()
            }
            _ => param.len() as u64,
        });
        trainee.trainable_parameters() + changed.sum::<u64>()
    }
}

impl Trial<'_> {
    /// Fails where the submission trains more than the target allows.
    pub(super) fn check_share(&self, race: &Race) -> Result<(), Stop> {
        let (Some(most), Some(begun)) = (self.record.target.trainable_share, &race.begun) else {
            return Ok(());
        };
        let (trained, given) = (begun.trained(&race.trainee), self.spec.parameters as u64);
        if trained as f64 > most * given as f64 {
            return Err(Stop::Barred(format!(
                "trains {trained} elements of a model of {given}; the target allows {} %",
                100.0 * most
            )));
        }
        Ok(())
    }
}

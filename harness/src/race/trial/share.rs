//! How much of a model a submission trains, where the target limits it.

use super::super::clock::Phase;
use super::{Race, Stop, Trial};
use crate::contract::{ParamInfo, Trainee};
use burn::tensor::Tensor;

/// What had started to train, and the values of what was frozen, flat and without a graph, when the submission
/// had started: what pretrained weights became by a decomposition or a rounding is not training.
pub(super) struct Begun(Vec<Option<Tensor<1>>>);

impl Begun {
    /// Only frozen values are kept: nobody updates them in place, so that they are shared, not copied.
    pub(super) fn of(trainee: &Trainee) -> Self {
        let frozen = |(p, value): (&ParamInfo, _)| (!p.trainable).then_some(value);
        let params = trainee.params();
        Self(params.iter().zip(trainee.values()).map(frozen).collect())
    }

    /// Elements that train now or trained when the submission had started, and those of other parameters that
    /// changed since: by an update past the gradients, or by training in between. A parameter that was not
    /// there at the start counts whole.
    fn trained(&self, trainee: &Trainee) -> u64 {
        let params = trainee.params();
        let values = params.iter().zip(trainee.values());
        let trained = values.map(|(param, value)| match self.0.get(param.index) {
            Some(Some(begun)) if !param.trainable && begun.dims() == value.dims() => {
                let changed = begun.clone().not_equal(value).int().sum();
                changed.into_scalar::<i64>().unsigned_abs()
            }
            _ => param.len() as u64,
        });
        trained.sum()
    }
}

impl Trial<'_> {
    /// Fails where the submission trains more than the target allows.
    pub(super) fn check_share(&mut self, race: &Race) -> Result<(), Stop> {
        let (Some(most), Some(begun)) = (self.record.target.trainable_share, &race.begun) else {
            return Ok(());
        };
        // Off the clock: it is the harness that looks, and a large model takes a while.
        let trained = self
            .clock
            .measure(Phase::Evaluation, || begun.trained(&race.trainee));
        let given = self.spec.parameters as u64;
        if trained as f64 > most * given as f64 {
            return Err(Stop::Barred(format!(
                "trains {trained} elements of a model of {given}; the target allows {} %",
                100.0 * most
            )));
        }
        Ok(())
    }
}

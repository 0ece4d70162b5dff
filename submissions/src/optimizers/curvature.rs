//! Estimates of the diagonal of a loss's curvature.
//!
//! An estimate has one flat tensor for each parameter, in the model's order; `None` for those that are
//! frozen or that the loss does not depend on. All passes are on the clock and count as work; they
//! run without dropout and leave normalisation statistics alone.

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use velodrome_harness::contract::{Batch, ParamInfo, PassOptions, SubmissionError, Trainee};

/// An estimate, by parameter.
pub type Diagonal = Vec<Option<Tensor<1>>>;

/// Options of the passes.
fn quiet(options: &PassOptions) -> PassOptions {
    PassOptions {
        dropout: Some(0.0),
        update_norm: false,
        ..options.clone()
    }
}

/// The first `share` of a batch, at least one example.
pub fn part(batch: &Batch, share: f64, device: &Device) -> Batch {
    let examples = ((share * batch.len() as f64).ceil() as usize).max(1);
    if examples >= batch.len() {
        return batch.clone();
    }
    let first: Vec<usize> = (0..examples).collect();
    batch.pick(&first, device)
}

/// As many signs, each -1 or 1 with the same probability.
fn signs(length: usize, rng: &mut impl Rng, device: &Device) -> Tensor<1> {
    let mut values = Vec::with_capacity(length);
    while values.len() < length {
        let bits = rng.next_u64();
        let left = (length - values.len()).min(64);
        values.extend((0..left).map(|i| if bits >> i & 1 == 1 { 1.0f32 } else { -1.0 }));
    }
    Tensor::from_data(TensorData::new(values, [length]), device)
}

/// Hutchinson's estimate `u (H u)` of the Hessian's diagonal, with `u` of signs, entry by entry.
///
/// burn has no second derivatives, so that `H u` is the central difference of two gradients, at
/// `distance` in each entry to both sides; exact on quadratics but for rounding. The weights come back
/// as they were, bit for bit. Bekas et al. 2007, "An estimator for the diagonal of a matrix".
pub fn hutchinson(
    trainee: &mut Trainee,
    batch: &Batch,
    options: &PassOptions,
    distance: f64,
    rng: &mut impl Rng,
) -> Result<Diagonal, SubmissionError> {
    let (params, device) = (trainee.params(), trainee.device());
    let direction: Diagonal = params
        .iter()
        .map(|p| p.trainable.then(|| signs(p.len(), rng, &device)))
        .collect();
    let weights = trainee.values();
    let options = quiet(options);
    let mut gradients_at = |distance: f64| -> Result<_, SubmissionError> {
        trainee.map(|info: &ParamInfo, p| match direction.get(info.index) {
            Some(Some(u)) => p + u.clone().mul_scalar(distance),
            _ => p,
        });
        let gradients = trainee.gradients(batch, &options)?.gradients;
        trainee.set_values(&weights)?;
        Ok(gradients)
    };
    let ahead = gradients_at(distance)?;
    let behind = gradients_at(-distance)?;
    let estimate = params.iter().zip(&direction).map(|(info, u)| {
        let change = ahead.get(info)? - behind.get(info)?;
        let u = u.as_ref()?.clone();
        Some(u * change.div_scalar(2.0 * distance))
    });
    Ok(estimate.collect())
}

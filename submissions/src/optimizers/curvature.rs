//! Estimates of the diagonal of a loss's curvature.
//!
//! An estimate has one flat tensor for each parameter, in the model's order; `None` for those that are
//! frozen or that the loss does not depend on. All passes are on the clock and count as work; they
//! run without dropout and leave normalisation statistics alone.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use velodrome_harness::contract::{
    Batch, ParamInfo, PassOptions, SubmissionError, Trainee, cross_entropy,
};

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

/// One class for each row, shape `[rows]`, drawn from `probabilities` of shape `[rows, classes]`: the
/// first whose cumulative probability exceeds a uniform number.
pub fn draw(probabilities: Tensor<2>, rng: &mut impl Rng) -> Tensor<1, Int> {
    let [rows, classes] = probabilities.dims();
    let uniform: Vec<f32> = (0..rows)
        .map(|_| (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32)
        .collect();
    let device = probabilities.device();
    let uniform = Tensor::<1>::from_data(TensorData::new(uniform, [rows]), &device);
    let cumulative = probabilities.cumsum(1);
    // The sum is 1 up to rounding.
    let total = cumulative.clone().narrow(1, classes - 1, 1);
    let level = (uniform.reshape([rows, 1]) * total).expand([rows, classes]);
    let below = cumulative.lower_equal(level).int().sum_dim(1);
    below.clamp_max(classes as i64 - 1).reshape([rows])
}

/// The Gauss-Newton-Bartlett estimate of the diagonal of the Gauss-Newton matrix of the mean cross
/// entropy: the number of units times the squared gradient of that mean at labels that are drawn from
/// the model's own predictions. One pass; the true labels do not enter. Its mean over draws is the
/// diagonal, since gradients at drawn labels have mean zero and the matrix as their covariance.
/// Models without class scores answer with `ModelError::Unsupported`. Liu et al., arXiv 2305.14342.
pub fn gauss_newton(
    trainee: &mut Trainee,
    batch: &Batch,
    options: &PassOptions,
    rng: &mut impl Rng,
) -> Result<Diagonal, SubmissionError> {
    let params = trainee.params();
    let mut units = 0;
    let pass = trainee.gradients_replaced(batch, &quiet(options), |predictions| {
        [units, _] = predictions.dims();
        let drawn = draw(softmax(predictions.plain().logits, 1), rng);
        let logits = predictions.logits;
        let drawn = if logits.device().is_autodiff() {
            Tensor::from_inner(drawn)
        } else {
            drawn
        };
        Ok(cross_entropy(logits, drawn, 0.0).mean())
    })?;
    let square = |g: Tensor<1>| g.square().mul_scalar(units as f64);
    let gradients = pass.gradients;
    Ok(params
        .iter()
        .map(|info| gradients.get(info).map(square))
        .collect())
}

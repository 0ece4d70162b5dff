//! Small steps that many update rules share. Scalars are computed in 64 bits and rounded once,
//! where they meet a tensor.

use burn::tensor::Tensor;

/// Exponential moving average that starts from zero: `beta * average + (1 - beta) * value`.
pub fn ema<const D: usize>(average: Option<Tensor<D>>, value: Tensor<D>, beta: f64) -> Tensor<D> {
    let fresh = value.mul_scalar(1.0 - beta);
    match average {
        Some(average) => average.mul_scalar(beta) + fresh,
        None => fresh,
    }
}

/// `1 - beta^time`: what an average from zero has to be divided by after `time` values (from 1).
pub fn bias_correction(beta: f64, time: usize) -> f64 {
    1.0 - beta.powf(time as f64)
}

/// Decoupled weight decay: `(1 - learning_rate * weight_decay) * tensor`.
pub fn decay<const D: usize>(
    tensor: Tensor<D>,
    learning_rate: f64,
    weight_decay: f64,
) -> Tensor<D> {
    let rate = learning_rate * weight_decay;
    if rate == 0.0 {
        tensor
    } else {
        tensor.mul_scalar(1.0 - rate)
    }
}

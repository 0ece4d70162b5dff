//! Small steps that many update rules share. Scalars are computed in 64 bits and rounded once,
//! where they meet a tensor.

use burn::optim::RecordState;
use burn::tensor::{Device, Tensor};

/// State of a rule that keeps two averages: of gradients, and of something squared.
#[derive(RecordState, Clone)]
pub struct Moments<const D: usize> {
    /// Steps taken.
    pub time: usize,
    /// Average of gradients.
    pub moment_1: Tensor<D>,
    /// Average of squares.
    pub moment_2: Tensor<D>,
}

impl<const D: usize> Moments<D> {
    /// After one more gradient, with averages of `gradient` and of its square.
    pub fn advance(state: Option<Self>, gradient: Tensor<D>, beta1: f64, beta2: f64) -> Self {
        let (time, m, v) = Self::parts(state);
        Self {
            time,
            moment_1: ema(m, gradient.clone(), beta1),
            moment_2: ema(v, gradient.square(), beta2),
        }
    }

    /// Number of the coming step (from 1), and the averages so far.
    pub fn parts(state: Option<Self>) -> (usize, Option<Tensor<D>>, Option<Tensor<D>>) {
        match state {
            Some(s) => (s.time + 1, Some(s.moment_1), Some(s.moment_2)),
            None => (1, None, None),
        }
    }

    /// Adam's step: the first average over the root of the second, both corrected for their bias.
    pub fn adam_step(&self, beta1: f64, beta2: f64, epsilon: f64) -> Tensor<D> {
        let root = self
            .moment_2
            .clone()
            .div_scalar(bias_correction(beta2, self.time))
            .sqrt();
        self.moment_1
            .clone()
            .div_scalar(bias_correction(beta1, self.time))
            / root.add_scalar(epsilon)
    }

    /// The same state on `device`.
    pub fn to_device(self, device: &Device) -> Self {
        Self {
            time: self.time,
            moment_1: self.moment_1.to_device(device),
            moment_2: self.moment_2.to_device(device),
        }
    }
}

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

/// RAdam's rectification (Liu et al., arXiv 1908.03265): the factor that takes out the extra variance
/// of an adaptive step at step `time` (from 1), or `None` as long as the average of squares rests on
/// too few values (`rho <= 5`).
pub fn rectification(beta2: f64, time: usize) -> Option<f64> {
    let most = 2.0 / (1.0 - beta2) - 1.0;
    let power = beta2.powf(time as f64);
    let rho = most - 2.0 * time as f64 * power / (1.0 - power);
    (rho > 5.0)
        .then(|| ((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho)).sqrt())
}

/// Euclidean norm of all entries, shape `[1]`; stays on the device.
pub fn norm<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.square().sum().sqrt()
}

/// Keeps norms that are divided by away from zero, as AlgoPerf's Shampoo does.
const LEAST_NORM: f64 = 1e-25;

/// `direction` with the Euclidean norm of `graft`; zero where `direction` is.
pub fn graft<const D: usize>(direction: Tensor<D>, graft: Tensor<D>) -> Tensor<D> {
    let factor = norm(graft) / norm(direction.clone()).add_scalar(LEAST_NORM);
    direction * factor.reshape([1; D])
}

/// `tensor` divided by its Euclidean norm; zero where `tensor` is.
pub fn normalized<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let length = norm(tensor.clone()).add_scalar(LEAST_NORM);
    tensor / length.reshape([1; D])
}

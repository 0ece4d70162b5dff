//! Gradients of one pass, as a submission sees them.

use super::params::{ParamInfo, ParamList, with_rank};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Gradients of the trainable parameters, by parameter.
#[derive(Debug)]
pub struct Gradients {
    inner: GradientsParams,
    params: ParamList,
}

impl Gradients {
    /// Wraps burn's container.
    pub(crate) fn new(inner: GradientsParams, params: ParamList) -> Self {
        Self { inner, params }
    }

    /// The parameters that these gradients belong to (some may have none).
    pub fn params(&self) -> &ParamList {
        &self.params
    }

    /// The gradient of `param`, flat (row-major); `None` where it has none.
    pub fn get(&self, param: &ParamInfo) -> Option<Tensor<1>> {
        with_rank!(param.shape.len(), D => {
            let gradient = self.inner.get::<D>(param.id())?;
            Some(gradient.reshape([param.len()]))
        }, otherwise None)
    }

    /// Replaces the gradient of `param` by `flat` (row-major, as many elements as the parameter).
    pub fn set(&mut self, param: &ParamInfo, flat: Tensor<1>) {
        with_rank!(param.shape.len(), D => {
            let mut shape = [0; D];
            shape.copy_from_slice(&param.shape);
            self.inner.register::<D>(param.id(), flat.reshape(shape));
        }, otherwise ());
    }

    /// Takes the gradient of `param` out, flat, so that an optimizer leaves the parameter alone.
    pub fn remove(&mut self, param: &ParamInfo) -> Option<Tensor<1>> {
        with_rank!(param.shape.len(), D => {
            let gradient = self.inner.remove::<D>(param.id())?;
            Some(gradient.reshape([param.len()]))
        }, otherwise None)
    }

    /// Euclidean norm over all gradients together.
    pub fn global_norm(&self) -> f64 {
        let mut sum: Option<Tensor<1>> = None;
        for param in self.params.iter() {
            if let Some(gradient) = self.get(param) {
                let square = gradient.square().sum();
                sum = Some(match sum {
                    Some(total) => total + square,
                    None => square,
                });
            }
        }
        sum.map_or(0.0, |s| f64::from(s.into_scalar::<f32>()).sqrt())
    }

    /// Multiplies all gradients by `factor`.
    pub fn scale(&mut self, factor: f64) {
        let params = self.params.clone();
        for param in params.iter() {
            if let Some(gradient) = self.get(param) {
                self.set(param, gradient.mul_scalar(factor));
            }
        }
    }

    /// Scales all gradients by one factor so that their global norm is at most `max_norm`
    /// (Pascanu et al. 2013, arXiv 1211.5063). Returns the norm before. burn's own clipping acts
    /// per tensor, which is another rule.
    pub fn clip_global_norm(&mut self, max_norm: f64) -> f64 {
        let norm = self.global_norm();
        if norm > max_norm {
            self.scale(max_norm / norm);
        }
        norm
    }

    /// Burn's container, for direct use of its optimizers.
    pub fn into_burn(self) -> GradientsParams {
        self.inner
    }
}

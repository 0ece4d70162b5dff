//! Algorithms that learn beside the weights what others fix from outside: the shape of a
//! reparameterisation, or hyperparameters of regularisation.

pub mod stn;
pub mod weight_compander;

use velodrome_harness::contract::{ParamInfo, ParamKind};

/// Length of the axis of outputs of a kernel or a bias.
fn outputs(info: &ParamInfo) -> usize {
    let axis = match info.fan_in_axis {
        Some(0) => info.shape.last(),
        _ => info.shape.first(),
    };
    axis.copied().unwrap_or(1).max(1)
}

/// Whether it is a trainable map from inputs to outputs.
fn is_kernel(info: &ParamInfo) -> bool {
    let kernel = matches!(
        info.kind,
        ParamKind::Matrix | ParamKind::Head | ParamKind::Convolution
    );
    kernel && info.trainable && !info.is_empty()
}

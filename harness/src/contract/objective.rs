//! What a pass differentiates: the workload's mean loss, a mean whose weights depend on the losses, or
//! an objective of the submission's own; at the parameters, or at functions of them.

use super::error::ModelError;
use super::network::PassOptions;
use super::params::ParamInfo;
use super::predictions::{Predictions, Seen, UnitLosses, Weights};
use burn::tensor::Tensor;

/// Chooses weights from the present losses.
pub type Weigh<'a> = dyn FnMut(&Seen) -> Result<Weights, ModelError> + 'a;

/// Makes the number to differentiate, shape `[1]`, from predictions with their graph.
pub type Replace<'a> = dyn FnMut(Predictions) -> Result<Tensor<1>, ModelError> + 'a;

/// The value of a parameter in one pass: from its information, its flat value (a leaf of the graph)
/// and the auxiliary tensors (leaves too). As many elements as the parameter has.
pub type ValueOf<'a> = dyn FnMut(&ParamInfo, Tensor<1>, &[Tensor<1>]) -> Tensor<1> + 'a;

/// What a pass differentiates.
pub enum Objective<'a> {
    /// The workload's mean loss, with the weights of the options.
    Loss,
    /// The workload's mean loss with weights that depend on it. The weights are constants of the
    /// gradient.
    Weighted(&'a mut Weigh<'a>),
    /// The submission's own.
    Replaced(&'a mut Replace<'a>),
}

/// Values that stand in for the parameters in one pass.
pub struct Substitution<'a> {
    /// Tensors without graph whose gradients are asked for beside the parameters'.
    pub auxiliary: &'a [Tensor<1>],
    /// The values.
    pub value: &'a mut ValueOf<'a>,
}

/// The weighted mean loss, shape `[1]`, with its graph.
pub(super) fn weighted_mean(
    losses: Tensor<1>,
    weights: Option<&Tensor<1>>,
) -> Result<Tensor<1>, ModelError> {
    Ok(match weights {
        Some(weights) => {
            check("weights", weights, &losses)?;
            losses * Tensor::from_inner(weights.clone())
        }
        None => losses,
    }
    .mean())
}

/// The mean over examples of the means of their weighted units, shape `[1]`, with its graph.
pub(super) fn weighted_units(
    units: &UnitLosses,
    unit_weights: &Tensor<1>,
    options: &PassOptions,
) -> Result<Tensor<1>, ModelError> {
    check("unit weights", unit_weights, &units.losses)?;
    let weighted = UnitLosses {
        losses: units.losses.clone() * Tensor::from_inner(unit_weights.clone()),
        ..*units
    };
    weighted_mean(weighted.per_example(), options.weights.as_ref())
}

fn check(what: &str, weights: &Tensor<1>, losses: &Tensor<1>) -> Result<(), ModelError> {
    let (found, expected) = (weights.dims()[0], losses.dims()[0]);
    if found == expected {
        Ok(())
    } else {
        Err(ModelError::Compute(format!(
            "{found} {what} for {expected} losses"
        )))
    }
}

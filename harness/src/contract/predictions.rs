//! What a model says of a batch before its loss is averaged: predictions, losses of units, losses of
//! examples.
//!
//! A unit is what the loss is a mean over within one example: a token of a text, or the example itself
//! where it has one label.

use super::error::ModelError;
use burn::tensor::{Int, Tensor};
use velodrome_kernels::plain::without_graph;

/// Class scores and labels of all units of a batch.
#[derive(Debug, Clone)]
pub struct Predictions {
    /// Scores before the softmax, shape `[units, classes]`, example by example.
    pub logits: Tensor<2>,
    /// Correct classes, shape `[units]`.
    pub labels: Tensor<1, Int>,
    /// Units of each example; unit `u` belongs to example `u / units_per_example`.
    pub units_per_example: usize,
    /// Label smoothing of the model's own loss in this pass; 0 where the model ignores it.
    pub label_smoothing: f64,
}

impl Predictions {
    /// The model's own loss: the cross entropy of each unit.
    pub fn unit_losses(&self) -> UnitLosses {
        let (logits, labels) = (self.logits.clone(), self.labels.clone());
        UnitLosses {
            losses: cross_entropy(logits, labels, self.label_smoothing),
            units_per_example: self.units_per_example,
        }
    }

    /// The same without graph.
    pub fn plain(&self) -> Self {
        let labels = self.labels.clone();
        Self {
            logits: without_graph(self.logits.clone()),
            labels: if labels.device().is_autodiff() {
                labels.inner()
            } else {
                labels
            },
            ..*self
        }
    }

    /// Number of units and of classes.
    pub fn dims(&self) -> [usize; 2] {
        self.logits.dims()
    }
}

/// The loss of each unit of a batch.
#[derive(Debug, Clone)]
pub struct UnitLosses {
    /// Losses, shape `[units]`, example by example.
    pub losses: Tensor<1>,
    /// Units of each example; unit `u` belongs to example `u / units_per_example`.
    pub units_per_example: usize,
}

impl UnitLosses {
    /// The mean of each example's units, shape `[examples]`.
    pub fn per_example(&self) -> Tensor<1> {
        if self.units_per_example <= 1 {
            return self.losses.clone();
        }
        let examples = self.losses.dims()[0] / self.units_per_example;
        self.losses
            .clone()
            .reshape([examples, self.units_per_example])
            .mean_dim(1)
            .reshape([examples])
    }

    /// The same without graph.
    pub fn plain(&self) -> Self {
        Self {
            losses: without_graph(self.losses.clone()),
            ..*self
        }
    }
}

/// One forward pass at the finest that the model gives, for rules that weigh by the present losses.
/// All without graph.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Loss of each example, shape `[examples]`.
    pub losses: Tensor<1>,
    units: Option<UnitLosses>,
    predictions: Option<Predictions>,
}

impl Seen {
    /// A view of losses alone.
    pub(crate) fn of_losses(losses: Tensor<1>) -> Self {
        Self {
            losses: without_graph(losses),
            units: None,
            predictions: None,
        }
    }

    /// A view of the losses of units.
    pub(crate) fn of_units(units: &UnitLosses) -> Self {
        let units = units.plain();
        Self {
            losses: units.per_example(),
            units: Some(units),
            predictions: None,
        }
    }

    /// A view of predictions and their losses.
    pub(crate) fn of_predictions(predictions: &Predictions, units: &UnitLosses) -> Self {
        Self {
            predictions: Some(predictions.plain()),
            ..Self::of_units(units)
        }
    }

    /// The losses of the units.
    pub fn unit_losses(&self) -> Result<&UnitLosses, ModelError> {
        self.units
            .as_ref()
            .ok_or(ModelError::Unsupported("losses of units"))
    }

    /// The predictions.
    pub fn predictions(&self) -> Result<&Predictions, ModelError> {
        self.predictions
            .as_ref()
            .ok_or(ModelError::Unsupported("predictions"))
    }
}

/// Weights that a rule chose after it had seen the losses; without graph.
#[derive(Debug, Clone)]
pub enum Weights {
    /// One for each example; the loss is `sum(w * l) / examples`.
    Examples(Tensor<1>),
    /// One for each unit; an example's loss is the mean of its weighted units.
    Units(Tensor<1>),
}

/// Cross entropy of each row in nats, shape `[rows]`, from `logits` of shape `[rows, classes]` and
/// `labels` of shape `[rows]`. With smoothing `s` the target is `1 - s` on the label plus `s`
/// spread evenly over all classes (Szegedy et al. 2016, arXiv 1512.00567; as in PyTorch).
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    velodrome_kernels::cross_entropy(logits, labels, smoothing)
}

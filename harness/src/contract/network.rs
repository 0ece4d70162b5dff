//! What a workload author writes: a burn module that can compute losses and measures.

use super::batch::Batch;
use super::error::ModelError;
use super::params::{ParamKind, Tokens};
use super::predictions::{Predictions, UnitLosses};
use burn::module::Module;
use burn::tensor::Tensor;
use velodrome_results::measures::Measures;

/// Options of one pass over a batch, chosen by the submission.
#[derive(Debug, Clone)]
pub struct PassOptions {
    /// Label smoothing in 0..1: the share of the target that is spread over all classes. Models
    /// without class labels ignore it.
    pub label_smoothing: f64,
    /// Dropout rate in 0..1; `None` keeps the model's own.
    pub dropout: Option<f64>,
    /// Whether this pass updates running normalisation statistics.
    pub update_norm: bool,
    /// Weight of each example, shape `[examples]`; `None` weighs all alike. The loss is
    /// `sum(w * l) / examples`.
    pub weights: Option<Tensor<1>>,
    /// Weight of each unit (token), shape `[units]`: an example's loss is the mean of its weighted
    /// units. Models that give no losses of units refuse it.
    pub unit_weights: Option<Tensor<1>>,
    /// Whether the model runs as in an evaluation (running normalisation statistics, no dropout, no
    /// smoothing), though with gradients.
    pub as_in_evaluation: bool,
}

impl Default for PassOptions {
    fn default() -> Self {
        Self {
            label_smoothing: 0.0,
            dropout: None,
            update_norm: true,
            weights: None,
            unit_weights: None,
            as_in_evaluation: false,
        }
    }
}

/// One running pass: how the model must behave, and what it leaves behind beside the loss.
#[derive(Debug, Default)]
pub struct Pass {
    training: bool,
    label_smoothing: f64,
    dropout: Option<f64>,
    norm: Vec<NormStatistics>,
}

/// Mean and variance (unbiased) of each channel over one batch, shape `[channels]`.
#[derive(Debug, Clone)]
pub struct NormStatistics {
    /// Mean.
    pub mean: Tensor<1>,
    /// Variance with `n - 1` in the denominator.
    pub variance: Tensor<1>,
}

impl Pass {
    /// A training pass: batch statistics, dropout.
    pub fn training(options: &PassOptions) -> Self {
        Self {
            training: true,
            label_smoothing: options.label_smoothing,
            dropout: options.dropout,
            norm: Vec::new(),
        }
    }

    /// The pass that `options` ask for.
    pub fn with(options: &PassOptions) -> Self {
        if options.as_in_evaluation {
            Self::evaluation()
        } else {
            Self::training(options)
        }
    }

    /// An evaluation pass: running statistics, no dropout, no smoothing.
    pub fn evaluation() -> Self {
        Self::default()
    }

    /// Whether this is a training pass.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// Label smoothing of this pass.
    pub fn label_smoothing(&self) -> f64 {
        self.label_smoothing
    }

    /// Dropout rate of this pass: 0 in evaluation, the submission's choice or else `default`.
    pub fn dropout(&self, default: f64) -> f64 {
        if self.training {
            self.dropout.unwrap_or(default)
        } else {
            0.0
        }
    }

    /// Called by a normalisation layer in training, in the order of the model's layers.
    pub fn record_norm(&mut self, statistics: NormStatistics) {
        self.norm.push(statistics);
    }

    /// What the normalisation layers recorded.
    pub fn take_norm(&mut self) -> Vec<NormStatistics> {
        std::mem::take(&mut self.norm)
    }
}

/// A model of a workload.
///
/// Parameters are whatever burn's module visitor finds. A float parameter in a field whose name
/// starts with `running_` is a buffer: saved and snapshotted, but not a parameter. Layers are the
/// structs that hold parameters directly.
///
/// An author writes one of [`Self::predictions`], [`Self::unit_losses`] and [`Self::losses`]: the
/// finest that the model has. The coarser ones follow from it.
pub trait Network: Module + 'static {
    /// Class scores and labels, for models whose loss is a cross entropy.
    fn predictions(&self, _batch: &Batch, _pass: &mut Pass) -> Result<Predictions, ModelError> {
        Err(ModelError::Unsupported("predictions"))
    }

    /// Loss of each unit, for models with other losses.
    fn unit_losses(&self, batch: &Batch, pass: &mut Pass) -> Result<UnitLosses, ModelError> {
        match self.predictions(batch, pass) {
            Ok(predictions) => Ok(predictions.unit_losses()),
            Err(ModelError::Unsupported(_)) => Err(ModelError::Unsupported("losses of units")),
            Err(other) => Err(other),
        }
    }

    /// Loss of each example, shape `[examples]` (the mean over its units where it has several).
    fn losses(&self, batch: &Batch, pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        Ok(self.unit_losses(batch, pass)?.per_example())
    }

    /// Measures over a whole split, given in batches; called on a copy without autodiff.
    /// Must hold the workload's metric and `loss`.
    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError>;

    /// Puts the batch statistics of a training pass into the running ones, layer by layer in the
    /// order in which they were recorded. Models without such layers keep the default.
    fn update_norm(self, _statistics: Vec<NormStatistics>) -> Self {
        self
    }

    /// The kind of the parameter at `path` (dot-separated field names) where the containing
    /// layer's type does not tell, for example [`ParamKind::Head`] for the last linear map.
    fn kind_of(_path: &str) -> Option<ParamKind> {
        None
    }

    /// What the tokens are that come out of the layer of the parameter at `path`, where the model calls
    /// [`lengthen`](super::lengthen) on them.
    fn tokens_of(_path: &str) -> Option<Tokens> {
        None
    }
}

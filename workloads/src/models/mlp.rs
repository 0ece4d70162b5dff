//! A multilayer perceptron.

use super::parts::{Activation, check_shape, dropout, evaluate_classes};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{
    Batch, ModelError, Network, ParamKind, Pass, Predictions, apply_linear,
};
use velodrome_results::measures::Measures;

/// Sizes and choices of an [`Mlp`].
#[derive(Debug, Clone, PartialEq)]
pub struct MlpConfig {
    /// Width of the input.
    pub input: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Classes.
    pub classes: usize,
    /// Activation behind each hidden layer.
    pub activation: Activation,
    /// Dropout rate behind each hidden layer, unless the submission chooses one.
    pub dropout: f64,
}

impl MlpConfig {
    fn widths(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let inputs = std::iter::once(self.input).chain(self.hidden.iter().copied());
        let outputs = self.hidden.iter().copied();
        inputs.zip(outputs.chain(std::iter::once(self.classes)))
    }

    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        self.widths().map(|(i, o)| (i + 1) * o).sum()
    }
}

/// Linear maps with activations between them. Reads the fields `image` (real, `[examples, input]`)
/// and `label`. Weights and biases start uniform in `±1/sqrt(fan_in)`, as PyTorch's do.
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Vec<Linear>,
    head: Linear,
    input: usize,
    dropout: f64,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// Builds the model on `device`, whose seed decides the initial values.
    pub fn new(config: &MlpConfig, device: &Device) -> Self {
        let mut hidden: Vec<Linear> = config
            .widths()
            .map(|(i, o)| LinearConfig::new(i, o).init(device))
            .collect();
        let last = config.hidden.last().copied().unwrap_or(config.input);
        let head = hidden
            .pop()
            .unwrap_or_else(|| LinearConfig::new(last, config.classes).init(device));
        Self {
            hidden,
            head,
            input: config.input,
            dropout: config.dropout,
            activation: config.activation,
        }
    }

    fn predict(
        &self,
        batch: &Batch,
        pass: &Pass,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let mut x = batch.float::<2>("image")?;
        check_shape("image", &x.dims(), &[self.input])?;
        let rate = pass.dropout(self.dropout);
        for layer in &self.hidden {
            x = dropout(self.activation.apply(apply_linear(layer, x)), rate);
        }
        Ok((apply_linear(&self.head, x), batch.int("label")?))
    }
}

impl Network for Mlp {
    fn predictions(&self, batch: &Batch, pass: &mut Pass) -> Result<Predictions, ModelError> {
        let (logits, labels) = self.predict(batch, pass)?;
        Ok(Predictions {
            logits,
            labels,
            units_per_example: 1,
            label_smoothing: pass.label_smoothing(),
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        evaluate_classes(batches, |batch| self.predict(batch, &Pass::evaluation()))
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "head.weight").then_some(ParamKind::Head)
    }
}

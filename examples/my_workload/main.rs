//! A workload for Velodrome: handwritten digits and a network with one hidden layer, as a start.
//! Change data, model and variants; `verify` tells what you broke, `targets` sets the targets.

use velodrome::burn::{self, module::Module, nn::Linear, nn::LinearConfig};
use velodrome::prelude::*;
use velodrome::workloads::data::Digits;
use velodrome::workloads::models::{Activation, dropout, evaluate_classes};

/// The workload and its variants; their targets and budgets are data, in a file of their own.
pub static MY_WORKLOAD: Family<Config> = Family {
    base: "my_workload",
    kind: "digits",
    size: Size::Laptop,
    summary: "Classify 8x8 images of handwritten digits; one hidden layer.",
    loss: "softmax cross entropy",
    unit: "images",
    split_sizes: Digits::SPLIT_SIZES,
    data: Digits::source,
    config: || Config {
        width: 128,
        activation: Activation::Relu,
    },
    // A variant changes one thing, in words of the form "attribute: new instead of old".
    variants: &[Variant::new(
        "tanh",
        "activation: tanh instead of ReLU",
        |config| config.activation = Activation::Tanh,
    )],
    model: |c| format!("one hidden layer of {}, {:?}", c.width, c.activation),
    parameters: |c| (Digits::PIXELS + 1 + Digits::CLASSES) * c.width + Digits::CLASSES,
    targets: include_str!("../targets/my_workload.toml"),
    open: |_, name| Ok(Digits::open(name)?.into()),
    build: |config, device| Ok(Box::new(Trained::new(Net::new(config, device)))),
};

/// What variants may change.
#[derive(Debug, Clone)]
pub struct Config {
    width: usize,
    activation: Activation,
}

/// Reads the fields `image` (real, `[examples, 64]`) and `label` (integer, `[examples]`).
#[derive(Module, Debug)]
pub struct Net {
    hidden: Linear,
    head: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Net {
    /// The device's seed decides the initial values: take them from nowhere else.
    fn new(config: &Config, device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(Digits::PIXELS, config.width).init(device),
            head: LinearConfig::new(config.width, Digits::CLASSES).init(device),
            activation: config.activation,
        }
    }
}

impl Network for Net {
    /// Logits of shape `[examples, classes]` and labels of shape `[examples]`. A model with another
    /// loss has `unit_losses` or `losses` instead.
    fn predictions(&self, batch: &Batch, pass: &mut Pass) -> Result<Predictions, ModelError> {
        let hidden = self.hidden.forward(batch.float("image")?);
        // No dropout of its own; a submission may ask for some.
        let hidden = dropout(self.activation.apply(hidden), pass.dropout(0.0));
        Ok(Predictions {
            logits: self.head.forward(hidden),
            labels: batch.int("label")?,
            units_per_example: 1,
            label_smoothing: pass.label_smoothing(),
        })
    }

    /// `error_rate`, the metric of the targets, and `loss`, over a whole split.
    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        evaluate_classes(batches, |batch| {
            let found = self.predictions(batch, &mut Pass::evaluation())?;
            Ok((found.logits, found.labels))
        })
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "head.weight").then_some(ParamKind::Head)
    }
}

fn main() -> ExitCode {
    Command::new().family(&MY_WORKLOAD).run()
}

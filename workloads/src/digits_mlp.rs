//! `digits_mlp` and its variants: handwritten digits, a small multilayer perceptron.

use crate::data::Digits;
use crate::models::{Activation, Mlp, MlpConfig};
use crate::targets::{TargetEntry, Words};
use burn::tensor::Device;
use velodrome_harness::contract::{Model, Splits, Trained, Workload, WorkloadError, WorkloadSpec};

/// Name of the base workload.
const BASE: &str = "digits_mlp";

/// The workload, or one of its variants.
pub struct DigitsMlp {
    spec: WorkloadSpec,
    config: MlpConfig,
}

/// The base model.
pub fn config() -> MlpConfig {
    MlpConfig {
        input: Digits::PIXELS,
        hidden: vec![512, 256],
        classes: Digits::CLASSES,
        activation: Activation::Relu,
        dropout: 0.0,
    }
}

/// The base workload.
pub fn base(name: &str, targets: TargetEntry) -> DigitsMlp {
    DigitsMlp::new(name, None, config(), targets)
}

/// Activation: tanh instead of ReLU.
pub fn tanh(name: &str, targets: TargetEntry) -> DigitsMlp {
    let config = MlpConfig {
        activation: Activation::Tanh,
        ..config()
    };
    DigitsMlp::new(
        name,
        Some("activation: tanh instead of ReLU"),
        config,
        targets,
    )
}

/// Width: a quarter of the base's hidden units.
pub fn narrow(name: &str, targets: TargetEntry) -> DigitsMlp {
    let config = MlpConfig {
        hidden: vec![128, 64],
        ..config()
    };
    let change = "width: hidden layers of 128 and 64 instead of 512 and 256";
    DigitsMlp::new(name, Some(change), config, targets)
}

impl DigitsMlp {
    fn new(name: &str, change: Option<&str>, config: MlpConfig, targets: TargetEntry) -> Self {
        let hidden: Vec<String> = config.hidden.iter().map(usize::to_string).collect();
        let spec = targets.describe(Words {
            name,
            base: BASE,
            change,
            summary: "Classify 8x8 images of handwritten digits; seconds per trial.",
            data: Digits::source(),
            model: format!(
                "multilayer perceptron {}-{}-{}, {:?}, {} parameters",
                config.input,
                hidden.join("-"),
                config.classes,
                config.activation,
                config.parameters()
            ),
            loss: "softmax cross entropy",
            unit: "images",
            split_sizes: Digits::SPLIT_SIZES,
        });
        Self { spec, config }
    }
}

impl Workload for DigitsMlp {
    fn spec(&self) -> WorkloadSpec {
        self.spec.clone()
    }

    fn open(&self) -> Result<Splits, WorkloadError> {
        Ok(Digits::open(&self.spec.name)?.into())
    }

    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError> {
        Ok(Box::new(Trained::new(Mlp::new(&self.config, device))))
    }
}

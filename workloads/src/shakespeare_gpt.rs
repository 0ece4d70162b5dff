//! `shakespeare_gpt` and its variants: bytes of Shakespeare, a small causal transformer.

use crate::data::Shakespeare;
use crate::models::{Activation, Gpt, GptConfig, NormPlace};
use crate::targets::{TargetEntry, Words};
use burn::tensor::Device;
use velodrome_harness::contract::{Model, Splits, Trained, Workload, WorkloadError, WorkloadSpec};

/// Name of the base workload.
const BASE: &str = "shakespeare_gpt";

/// The workload, or one of its variants.
pub struct ShakespeareGpt {
    spec: WorkloadSpec,
    config: GptConfig,
}

/// The base model.
pub fn config() -> GptConfig {
    GptConfig {
        vocabulary: Shakespeare::VOCABULARY,
        context: Shakespeare::CONTEXT,
        width: 64,
        heads: 2,
        layers: 2,
        feed_forward: 256,
        activation: Activation::Relu,
        norm: NormPlace::Pre,
        initial_std: 0.05,
        dropout: 0.0,
    }
}

/// The base workload.
pub fn base(name: &str, targets: TargetEntry) -> ShakespeareGpt {
    ShakespeareGpt::new(name, None, config(), targets)
}

/// Norm placement: layer norms behind the residual sums.
pub fn postnorm(name: &str, targets: TargetEntry) -> ShakespeareGpt {
    let config = GptConfig {
        norm: NormPlace::Post,
        ..config()
    };
    let change = "norm placement: layer norms behind the residual sums instead of in the branches";
    ShakespeareGpt::new(name, Some(change), config, targets)
}

/// Initial scale: a tenth of the base's.
pub fn small_init(name: &str, targets: TargetEntry) -> ShakespeareGpt {
    let config = GptConfig {
        initial_std: 0.005,
        ..config()
    };
    let change = "initial scale: standard deviation 0.005 instead of 0.05";
    ShakespeareGpt::new(name, Some(change), config, targets)
}

impl ShakespeareGpt {
    fn new(name: &str, change: Option<&str>, config: GptConfig, targets: TargetEntry) -> Self {
        let spec = targets.describe(Words {
            name,
            base: BASE,
            change,
            summary: "Predict the next byte of Shakespeare's plays; a small causal transformer.",
            data: Shakespeare::source(),
            model: format!(
                "transformer, {} layers, width {}, {} heads, {} bytes of context, {:?}, \
                 {:?}-norm, {} parameters",
                config.layers,
                config.width,
                config.heads,
                config.context,
                config.activation,
                config.norm,
                config.parameters()
            ),
            loss: "softmax cross entropy in nats per byte",
            unit: "bytes",
            split_sizes: Shakespeare::SPLIT_SIZES,
        });
        Self { spec, config }
    }
}

impl Workload for ShakespeareGpt {
    fn spec(&self) -> WorkloadSpec {
        self.spec.clone()
    }

    fn open(&self) -> Result<Splits, WorkloadError> {
        Ok(Shakespeare::open(&self.spec.name)?.into())
    }

    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError> {
        let model = Gpt::new(&self.config, device).map_err(|e| WorkloadError::Model {
            workload: self.spec.name.clone(),
            message: e.to_string(),
        })?;
        Ok(Box::new(Trained::new(model)))
    }
}

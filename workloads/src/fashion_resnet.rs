//! `fashion_resnet` and its variants: clothes in grey images, a small residual network.

use crate::data::Fashion;
use crate::models::{Activation, ResNet, ResNetConfig};
use crate::targets::{TargetEntry, Words};
use burn::tensor::Device;
use velodrome_harness::contract::{Model, Splits, Trained, Workload, WorkloadError, WorkloadSpec};

/// Name of the base workload.
const BASE: &str = "fashion_resnet";

/// The workload, or one of its variants.
pub struct FashionResNet {
    spec: WorkloadSpec,
    config: ResNetConfig,
}

fn config() -> ResNetConfig {
    ResNetConfig {
        side: Fashion::SIDE,
        widths: vec![12, 24, 48],
        blocks: 1,
        classes: Fashion::CLASSES,
        activation: Activation::Relu,
        preactivation: false,
        norm_scale: 1.0,
        dropout: 0.0,
    }
}

/// The base workload.
pub fn base(name: &str, targets: TargetEntry) -> FashionResNet {
    FashionResNet::new(name, None, config(), targets)
}

/// Norm placement: pre-activation blocks.
pub fn preact(name: &str, targets: TargetEntry) -> FashionResNet {
    let config = ResNetConfig {
        preactivation: true,
        ..config()
    };
    let change = "norm placement: batch norm and ReLU before each convolution instead of behind it";
    FashionResNet::new(name, Some(change), config, targets)
}

/// Initial scale: batch norms that start at 4.
pub fn large_scale(name: &str, targets: TargetEntry) -> FashionResNet {
    let config = ResNetConfig {
        norm_scale: 4.0,
        ..config()
    };
    let change = "initial scale: batch norm scales start at 4 instead of 1";
    FashionResNet::new(name, Some(change), config, targets)
}

impl FashionResNet {
    fn new(name: &str, change: Option<&str>, config: ResNetConfig, targets: TargetEntry) -> Self {
        let widths: Vec<String> = config.widths.iter().map(usize::to_string).collect();
        let spec = targets.describe(Words {
            name,
            base: BASE,
            change,
            summary: "Classify 28x28 images of clothes; a small ResNet with batch norm.",
            data: Fashion::source(),
            model: format!(
                "ResNet, {} stages of {} block with {} channels, batch norm, {:?}, {} parameters",
                widths.len(),
                config.blocks,
                widths.join("/"),
                config.activation,
                config.parameters()
            ),
            loss: "softmax cross entropy",
            unit: "images",
            split_sizes: Fashion::SPLIT_SIZES,
        });
        Self { spec, config }
    }
}

impl Workload for FashionResNet {
    fn spec(&self) -> WorkloadSpec {
        self.spec.clone()
    }

    fn open(&self) -> Result<Splits, WorkloadError> {
        Ok(Fashion::open(&self.spec.name)?.into())
    }

    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError> {
        Ok(Box::new(Trained::new(ResNet::new(&self.config, device))))
    }
}

//! `fashion_resnet` and its variants: clothes in grey images, a small residual network.

use crate::data::Fashion;
use crate::family::{Family, Variant};
use crate::models::{Activation, ResNet, ResNetConfig};
use velodrome_harness::contract::{Size, Trained};

/// The workload and its variants.
pub const LAPTOP: Family<ResNetConfig> = Family {
    base: "fashion_resnet",
    kind: "image_resnet",
    size: Size::Laptop,
    summary: "Classify 28x28 images of clothes; a small ResNet with batch norm.",
    loss: "softmax cross entropy",
    unit: "images",
    split_sizes: Fashion::SPLIT_SIZES,
    data: Fashion::source,
    config,
    variants: &[
        Variant::new(
            "preact",
            "norm placement: batch norm and ReLU before each convolution instead of behind it",
            |c| c.preactivation = true,
        ),
        Variant::new(
            "large_scale",
            "initial scale: batch norm scales start at 4 instead of 1",
            |c| c.norm_scale = 4.0,
        ),
    ],
    model: describe,
    parameters: ResNetConfig::parameters,
    targets: include_str!("../targets/fashion_resnet.toml"),
    open: |name| Ok(Fashion::open(name)?.into()),
    build: |config, device| Ok(Box::new(Trained::new(ResNet::new(config, device)))),
};

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

fn describe(config: &ResNetConfig) -> String {
    let widths: Vec<String> = config.widths.iter().map(usize::to_string).collect();
    format!(
        "ResNet, {} stages of {} block with {} channels, batch norm, {:?}",
        widths.len(),
        config.blocks,
        widths.join("/"),
        config.activation
    )
}

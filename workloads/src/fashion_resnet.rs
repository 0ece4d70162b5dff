//! Residual networks on images, and their variants: clothes in grey images (`fashion_resnet`), things
//! in small colour images (`cifar10_resnet`), and AlgoPerf's ResNet-50 on ImageNet
//! (`imagenet_resnet`).

use crate::data::fetched::folder;
use crate::data::{Cifar10, Fashion, ImageNet};
use crate::family::{Build, Family, Variant};
use crate::models::{Activation, ResNet, ResNetConfig, Stem};
use velodrome_harness::contract::{Size, Trained};

const KIND: &str = "image_resnet";
const LOSS: &str = "softmax cross entropy";
const BUILD: Build<ResNetConfig> =
    |config, device| Ok(Box::new(Trained::new(ResNet::new(config, device))));

/// The workload and its variants.
pub const LAPTOP: Family<ResNetConfig> = Family {
    base: "fashion_resnet",
    kind: KIND,
    size: Size::Laptop,
    summary: "Classify 28x28 images of clothes; a small ResNet with batch norm.",
    loss: LOSS,
    unit: "images",
    split_sizes: Fashion::SPLIT_SIZES,
    data: Fashion::source,
    config: fashion,
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
        SILU,
        GELU,
    ],
    model: describe,
    parameters: ResNetConfig::parameters,
    targets: include_str!("../targets/fashion_resnet.toml"),
    open: |_, name| Ok(Fashion::open(name)?.into()),
    build: BUILD,
};

/// The same kind on CIFAR-10.
pub const WORKSTATION: Family<ResNetConfig> = Family {
    base: "cifar10_resnet",
    kind: KIND,
    size: Size::Workstation,
    summary: "Classify 32x32 colour images of ten kinds of things; a ResNet-20 of double width.",
    loss: LOSS,
    unit: "images",
    split_sizes: Cifar10::SPLIT_SIZES,
    data: Cifar10::source,
    config: cifar10,
    variants: &[],
    model: describe,
    parameters: ResNetConfig::parameters,
    targets: include_str!("../targets/cifar10_resnet.toml"),
    open: |_, name| Ok(Cifar10::open(name, &folder("cifar10"))?.into()),
    build: BUILD,
};

/// AlgoPerf's workload.
pub const ALGOPERF: Family<ResNetConfig> = Family {
    base: "imagenet_resnet",
    kind: KIND,
    size: Size::Algoperf,
    summary: "Classify photographs of a thousand kinds of things; AlgoPerf's ResNet-50.",
    loss: LOSS,
    unit: "images",
    split_sizes: ImageNet::SPLIT_SIZES,
    data: ImageNet::source,
    config: imagenet,
    variants: &[
        SILU,
        Variant::new("gelu", "activation: GELU (by tanh) instead of ReLU", |c| {
            c.activation = Activation::GeluTanh
        }),
        Variant::new(
            "large_bn_init",
            "initial scale: the last batch norm scale of each branch starts at 8 instead of 0",
            |c| c.branch_scale = Some(8.0),
        ),
    ],
    model: describe,
    parameters: ResNetConfig::parameters,
    targets: include_str!("../targets/imagenet_resnet.toml"),
    open: |_, name| ImageNet::open(name, &folder("imagenet")),
    build: BUILD,
};

const SILU: Variant<ResNetConfig> = Variant::new("silu", "activation: SiLU instead of ReLU", |c| {
    c.activation = Activation::Silu;
});

const GELU: Variant<ResNetConfig> = Variant::new("gelu", "activation: GELU instead of ReLU", |c| {
    c.activation = Activation::Gelu;
});

fn fashion() -> ResNetConfig {
    ResNetConfig {
        side: Fashion::SIDE,
        channels: 1,
        stem: Stem {
            kernel: 5,
            stride: 2,
            pool: false,
        },
        stages: vec![(12, 1), (24, 1), (48, 1)],
        bottleneck: false,
        classes: Fashion::CLASSES,
        activation: Activation::Relu,
        preactivation: false,
        norm_scale: 1.0,
        branch_scale: None,
        dropout: 0.0,
    }
}

/// He et al. (2016a, arXiv 1512.03385), section 4.2, with 32 to 128 channels in place of 16 to 64.
fn cifar10() -> ResNetConfig {
    ResNetConfig {
        side: Cifar10::SIDE,
        channels: 3,
        stem: Stem {
            kernel: 3,
            stride: 1,
            pool: false,
        },
        stages: vec![(32, 3), (64, 3), (128, 3)],
        classes: Cifar10::CLASSES,
        ..fashion()
    }
}

/// ResNet-50, version 1.5, with branches that start at zero.
fn imagenet() -> ResNetConfig {
    ResNetConfig {
        side: ImageNet::SIDE,
        channels: 3,
        stem: Stem {
            kernel: 7,
            stride: 2,
            pool: true,
        },
        stages: vec![(64, 3), (128, 4), (256, 6), (512, 3)],
        bottleneck: true,
        classes: ImageNet::CLASSES,
        branch_scale: Some(0.0),
        ..fashion()
    }
}

fn describe(config: &ResNetConfig) -> String {
    let join = |part: fn(&(usize, usize)) -> usize| {
        let parts: Vec<String> = config.stages.iter().map(|s| part(s).to_string()).collect();
        parts.join("/")
    };
    format!(
        "ResNet, stages of {}{} blocks with {} channels, batch norm, {:?}",
        join(|stage| stage.1),
        if config.bottleneck { " bottleneck" } else { "" },
        join(|stage| stage.0),
        config.activation
    )
}

//! Vision transformers, and their variants: clothes in grey images (`fashion_vit`), things in small
//! colour images (`cifar10_vit`), and AlgoPerf's ViT S/16 on ImageNet (`imagenet_vit`).

use crate::data::fetched::folder;
use crate::data::{Cifar10, Fashion, ImageNet};
use crate::family::{Build, Family, Variant};
use crate::models::{Activation, NormPlace, Pool, Vit, VitConfig};
use velodrome_harness::contract::{Size, Trained};

const KIND: &str = "image_vit";
const LOSS: &str = "softmax cross entropy";
pub(crate) const BUILD: Build<VitConfig> =
    |config, device| Ok(Box::new(Trained::new(Vit::new(config, device)?)));

/// The workload and its variants.
pub const LAPTOP: Family<VitConfig> = Family {
    base: "fashion_vit",
    kind: KIND,
    size: Size::Laptop,
    summary: "Classify 28x28 images of clothes; a small vision transformer.",
    loss: LOSS,
    unit: "images",
    split_sizes: Fashion::SPLIT_SIZES,
    data: Fashion::source,
    config: fashion,
    variants: VARIANTS,
    model: describe,
    parameters: VitConfig::parameters,
    targets: include_str!("../targets/fashion_vit.toml"),
    open: |_, name| Ok(Fashion::open(name)?.into()),
    build: BUILD,
};

/// The same kind on CIFAR-10.
pub const WORKSTATION: Family<VitConfig> = Family {
    base: "cifar10_vit",
    kind: KIND,
    size: Size::Workstation,
    summary: "Classify 32x32 colour images of ten kinds of things; a vision transformer.",
    loss: LOSS,
    unit: "images",
    split_sizes: Cifar10::SPLIT_SIZES,
    data: Cifar10::source,
    config: cifar10,
    variants: &[],
    model: describe,
    parameters: VitConfig::parameters,
    targets: include_str!("../targets/cifar10_vit.toml"),
    open: |_, name| Ok(Cifar10::open(name, &folder("cifar10"))?.into()),
    build: BUILD,
};

/// AlgoPerf's workload.
pub const ALGOPERF: Family<VitConfig> = Family {
    base: "imagenet_vit",
    kind: KIND,
    size: Size::Algoperf,
    summary: "Classify photographs of a thousand kinds of things; AlgoPerf's ViT S/16.",
    loss: LOSS,
    unit: "images",
    split_sizes: ImageNet::SPLIT_SIZES,
    data: ImageNet::source,
    config: imagenet,
    variants: VARIANTS,
    model: describe,
    parameters: VitConfig::parameters,
    targets: include_str!("../targets/imagenet_vit.toml"),
    open: |_, name| ImageNet::open(name, &folder("imagenet")),
    build: BUILD,
};

const VARIANTS: &[Variant<VitConfig>] = &[
    Variant::new(
        "glu",
        "feed-forward part: hidden values multiplied by a linear map of themselves instead of plain",
        |c| c.gated = true,
    ),
    Variant::new(
        "post_ln",
        "norm placement: layer norms behind the residual sums instead of in the branches",
        |c| c.norm = NormPlace::Post,
    ),
    Variant::new(
        "map",
        "pooling: attention of a learned query instead of the mean",
        |c| c.pool = Pool::Attention,
    ),
];

pub(crate) fn fashion() -> VitConfig {
    VitConfig {
        side: Fashion::SIDE,
        channels: 1,
        patch: 7,
        width: 64,
        heads: 2,
        layers: 3,
        feed_forward: 128,
        classes: Fashion::CLASSES,
        tasks: 1,
        activation: Activation::Gelu,
        norm: NormPlace::Pre,
        gated: false,
        pool: Pool::Mean,
        dropout: 0.0,
    }
}

fn cifar10() -> VitConfig {
    VitConfig {
        side: Cifar10::SIDE,
        channels: 3,
        width: 192,
        heads: 3,
        layers: 6,
        feed_forward: 768,
        classes: Cifar10::CLASSES,
        ..fashion()
    }
}

/// ViT S/16.
fn imagenet() -> VitConfig {
    VitConfig {
        side: ImageNet::SIDE,
        channels: 3,
        patch: 16,
        width: 384,
        heads: 6,
        layers: 12,
        feed_forward: 1536,
        classes: ImageNet::CLASSES,
        activation: Activation::GeluTanh,
        ..fashion()
    }
}

pub(crate) fn describe(config: &VitConfig) -> String {
    format!(
        "vision transformer, {} layers, width {}, {} heads, patches of {}x{}, {:?}, {:?}-norm",
        config.layers,
        config.width,
        config.heads,
        config.patch,
        config.patch,
        config.activation,
        config.norm
    )
}

//! `mri_unet`, `mri_heads_unet` and `fastmri_unet` with their variants: whole images from a quarter of
//! their k-space, a U-Net.

use crate::data::fetched::{MRI_HEADS, folder};
use crate::data::mri::{FastMri, MriHeads, MriSlices};
use crate::family::{Family, Variant};
use crate::models::{UNet, UNetConfig};
use velodrome_harness::contract::{Size, Trained};

/// The variants that AlgoPerf has.
macro_rules! variants {
    ($size:literal, $pools:literal, $channels:literal) => {
        &[
            Variant::new("model_size", $size, |c: &mut UNetConfig| {
                (c.pools, c.channels) = ($pools, $channels)
            }),
            Variant::new(
                "tanh",
                "activation: hyperbolic tangent instead of leaky ReLU",
                |c: &mut UNetConfig| c.tanh = true,
            ),
            Variant::new(
                "layernorm",
                "norm behind the convolutions: layer norm with scales and shifts instead of instance \
                 norm without",
                |c: &mut UNetConfig| c.layer_norm = true,
            ),
        ]
    };
}

/// On embedded slices of four heads.
pub const LAPTOP: Family<UNetConfig> = Family {
    base: "mri_unet",
    kind: "mri_reconstruction",
    size: Size::Laptop,
    summary: "Reconstruct 64x64 slices of heads from a quarter of their k-space (an emulation); a \
              small U-Net.",
    loss: "mean absolute error of normalised pixels",
    unit: "pixels",
    split_sizes: MriSlices::SPLIT_SIZES,
    data: MriSlices::source,
    config: || config(MriSlices::SIDE, 8, 3),
    variants: variants!(
        "model size: 2 poolings and 16 channels instead of 3 and 8",
        2,
        16
    ),
    model: describe,
    parameters: UNetConfig::parameters,
    targets: include_str!("../targets/mri_unet.toml"),
    open: |_, name| MriSlices::open(name),
    build: |config, device| Ok(Box::new(Trained::new(UNet::new(config, device)?))),
};

/// On whole slices of six heads.
pub const WORKSTATION: Family<UNetConfig> = Family {
    base: "mri_heads_unet",
    size: Size::Workstation,
    summary: "Reconstruct 224x224 slices of heads from a quarter of their k-space (an emulation); a \
              U-Net.",
    split_sizes: MriHeads::SPLIT_SIZES,
    data: MriHeads::source,
    config: || config(MriHeads::SIDE, 32, 4),
    variants: &[],
    targets: include_str!("../targets/mri_heads_unet.toml"),
    open: |_, name| {
        MriHeads::open(name, &mut |archive, accept| {
            MRI_HEADS.members(name, archive, accept)
        })
    },
    ..LAPTOP
};

/// AlgoPerf's fastMRI workload.
pub const ALGOPERF: Family<UNetConfig> = Family {
    base: "fastmri_unet",
    size: Size::Algoperf,
    summary: "Reconstruct 320x320 slices of knees from a quarter of their k-space; the U-Net of \
              AlgoPerf.",
    split_sizes: FastMri::SPLIT_SIZES,
    data: FastMri::source,
    config: || config(FastMri::SIDE, 32, 4),
    variants: variants!(
        "model size: 3 poolings and 64 channels instead of 4 and 32",
        3,
        64
    ),
    targets: include_str!("../targets/fastmri_unet.toml"),
    open: |_, name| FastMri::open(name, &folder("fastmri_unet")),
    ..LAPTOP
};

fn config(side: usize, channels: usize, pools: usize) -> UNetConfig {
    UNetConfig {
        side,
        channels,
        pools,
        tanh: false,
        layer_norm: false,
        dropout: 0.0,
    }
}

fn describe(config: &UNetConfig) -> String {
    format!(
        "U-Net, {} poolings, {} channels at full size, {} norm, {}, images of {side} x {side}",
        config.pools,
        config.channels,
        if config.layer_norm {
            "layer"
        } else {
            "instance"
        },
        if config.tanh { "tanh" } else { "leaky ReLU" },
        side = config.side
    )
}

//! `pcba_gnn`, `pcba_full_gnn`, `ogbg_gnn` and their variants: which molecules are active in which
//! assays, a message-passing network. The model and its three variants are AlgoPerf's; the first two
//! sizes read molecules as SMILES and are split by a hash, the third reads OGB's files and split.

use crate::data::fetched::folder;
use crate::data::molecules::{ATOM, BOND};
use crate::data::{Molpcba, Pcba, PcbaFull};
use crate::family::{Family, Variant};
use crate::models::{Activation, Gnn, GnnConfig};
use burn::tensor::Device;
use velodrome_harness::contract::{Model, ModelError, Size, Trained};

const KIND: &str = "molecules";
const LOSS: &str = "sigmoid cross entropy in nats, mean over present labels";

/// 10,000 molecules, 16 assays, a small model.
pub const LAPTOP: Family<GnnConfig> = Family {
    base: "pcba_gnn",
    kind: KIND,
    size: Size::Laptop,
    summary: "Predict the activity of molecules in 16 assays; a small message-passing network.",
    loss: LOSS,
    unit: "atoms",
    split_sizes: Pcba::SPLIT_SIZES,
    data: Pcba::source,
    config: || GnnConfig {
        atom: ATOM.width(),
        bond: BOND.width(),
        tasks: Pcba::TASKS,
        latent: 48,
        hidden: vec![48],
        steps: 3,
        ..official()
    },
    variants: &[
        Variant::new("gelu", "activation: GELU instead of ReLU", |c| {
            c.activation = Activation::Gelu;
        }),
        Variant::new("silu", "activation: SiLU instead of ReLU", |c| {
            c.activation = Activation::Silu;
        }),
        Variant::new(
            "model_size",
            "model size: two layers of 48 in each update instead of one, embeddings of 24 instead \
             of 48, 2 steps instead of 3",
            |c| {
                c.hidden = vec![48, 48];
                c.latent = 24;
                c.steps = 2;
            },
        ),
    ],
    model: describe,
    parameters: GnnConfig::parameters,
    targets: include_str!("../targets/pcba_gnn.toml"),
    open: |_, name| Pcba::open(name),
    build,
};

/// All 437,929 molecules and 128 assays, AlgoPerf's model.
pub const WORKSTATION: Family<GnnConfig> = Family {
    base: "pcba_full_gnn",
    kind: KIND,
    size: Size::Workstation,
    summary: "Predict the activity of 437,929 molecules in 128 assays; a message-passing network.",
    loss: LOSS,
    unit: "atoms",
    split_sizes: PcbaFull::SPLIT_SIZES,
    data: PcbaFull::source,
    config: || GnnConfig {
        atom: ATOM.width(),
        bond: BOND.width(),
        tasks: PcbaFull::TASKS,
        ..official()
    },
    variants: &[],
    model: describe,
    parameters: GnnConfig::parameters,
    targets: include_str!("../targets/pcba_full_gnn.toml"),
    open: |_, name| PcbaFull::open(name),
    build,
};

/// AlgoPerf's `ogbg`.
pub const ALGOPERF: Family<GnnConfig> = Family {
    base: "ogbg_gnn",
    kind: KIND,
    size: Size::Algoperf,
    summary: "AlgoPerf's ogbg: ogbg-molpcba with its scaffold split, a message-passing network.",
    loss: LOSS,
    unit: "atoms",
    split_sizes: Molpcba::SPLIT_SIZES,
    data: Molpcba::source,
    config: official,
    variants: &[
        Variant::new("gelu", "activation: GELU instead of ReLU", |c| {
            c.activation = Activation::GeluTanh;
        }),
        Variant::new("silu", "activation: SiLU instead of ReLU", |c| {
            c.activation = Activation::Silu;
        }),
        Variant::new(
            "model_size",
            "model size: two layers of 256 in each update instead of one, embeddings of 128 \
             instead of 256, 3 steps instead of 5",
            |c| {
                c.hidden = vec![256, 256];
                c.latent = 128;
                c.steps = 3;
            },
        ),
    ],
    model: describe,
    parameters: GnnConfig::parameters,
    targets: include_str!("../targets/ogbg_gnn.toml"),
    open: |_, name| Molpcba::open(name, &folder("ogbg_gnn")),
    build,
};

/// AlgoPerf's model.
fn official() -> GnnConfig {
    let [atom, bond] = Molpcba::FEATURES;
    GnnConfig {
        atom,
        bond,
        tasks: Molpcba::TASKS,
        latent: 256,
        hidden: vec![256],
        steps: 5,
        activation: Activation::Relu,
        dropout: 0.1,
    }
}

fn build(config: &GnnConfig, device: &Device) -> Result<Box<dyn Model>, ModelError> {
    Ok(Box::new(Trained::new(Gnn::new(config, device)?)))
}

fn describe(config: &GnnConfig) -> String {
    let hidden: Vec<String> = config.hidden.iter().map(usize::to_string).collect();
    format!(
        "graph network, {} steps, embeddings of {}, updates of {}, layer norm, {:?}",
        config.steps,
        config.latent,
        hidden.join("/"),
        config.activation
    )
}

//! `flights_dlrm`, `flights3m_dlrm` and `criteo1tb_dlrm` with their variants: a click-through style
//! network on a few real features and many categories. The first two predict late flights, which is not
//! advertising, but has the same shape: one rare label, categories with many values, a loss that is
//! hard to bring down; the third is AlgoPerf's.

use crate::data::fetched::folder;
use crate::data::{Criteo, Flights, flight_splits};
use crate::family::{Family, Variant};
use crate::models::{Dlrm, DlrmConfig, DlrmNetwork};
use burn::tensor::Device;
use velodrome_harness::contract::{Model, ModelError, Size, Trained};

const KIND: &str = "click_through";
const LOSS: &str = "sigmoid cross entropy";
const LAYER_NORM: Variant<DlrmConfig> = Variant::new(
    "layernorm",
    "layer norm: behind each hidden layer's ReLU and behind the embeddings instead of none",
    |c| c.layer_norm = true,
);
const EMBED_INIT: Variant<DlrmConfig> = Variant::new(
    "embed_init",
    "initial embeddings: uniform from 0 to 1 instead of from 0 to 1/sqrt(rows)",
    |c| c.embedding_scale = Some(1.0),
);
const RESIDUAL: &str = "network: residual layers of one width on the features side by side instead \
                        of plain layers on their dot products";

/// A sample of the flights of half a year.
pub const LAPTOP: Family<DlrmConfig> = Family {
    base: "flights_dlrm",
    kind: KIND,
    size: Size::Laptop,
    summary: "Predict which flights arrive late (delays, not advertising); a small DLRM.",
    loss: LOSS,
    unit: "flights",
    split_sizes: Flights::SPLIT_SIZES,
    data: Flights::source,
    config: laptop,
    variants: &[
        LAYER_NORM,
        Variant::new("resnet", RESIDUAL, |c| residual(c, 128, 256)),
        EMBED_INIT,
    ],
    model: describe,
    parameters: DlrmConfig::parameters,
    targets: include_str!("../targets/flights_dlrm.toml"),
    open: |_, name| Ok(flight_splits(Flights::open(name)?)),
    build,
};

/// All three million flights.
pub const WORKSTATION: Family<DlrmConfig> = Family {
    base: "flights3m_dlrm",
    kind: KIND,
    size: Size::Workstation,
    summary: "Predict which of three million flights arrive late (delays, not advertising); a DLRM.",
    loss: LOSS,
    unit: "flights",
    split_sizes: Flights::WHOLE_SPLIT_SIZES,
    data: Flights::whole_source,
    config: workstation,
    variants: &[],
    model: describe,
    parameters: DlrmConfig::parameters,
    targets: include_str!("../targets/flights3m_dlrm.toml"),
    open: |_, name| Ok(flight_splits(Flights::open_whole(name)?)),
    build,
};

/// AlgoPerf's Criteo 1TB workload with its variants.
pub const ALGOPERF: Family<DlrmConfig> = Family {
    base: "criteo1tb_dlrm",
    kind: KIND,
    size: Size::Algoperf,
    summary: "Predict clicks on advertisements in Criteo's logs of 24 days; AlgoPerf's DLRM-small.",
    loss: LOSS,
    unit: "impressions",
    split_sizes: Criteo::SPLIT_SIZES,
    data: Criteo::source,
    config: algoperf,
    variants: &[
        LAYER_NORM,
        Variant::new("resnet", RESIDUAL, |c| residual(c, 256, 256)),
        EMBED_INIT,
    ],
    model: describe,
    parameters: DlrmConfig::parameters,
    targets: include_str!("../targets/criteo1tb_dlrm.toml"),
    open: |_, name| Criteo::open_whole(&folder("criteo1tb_dlrm"), algoperf().rows, name),
    build,
};

/// The base model of the sample.
fn laptop() -> DlrmConfig {
    flights(16, vec![256, 128, 16], vec![1024, 512, 256])
}

/// The model of the three million flights.
fn workstation() -> DlrmConfig {
    flights(64, vec![512, 256, 64], vec![1024, 1024, 512, 256])
}

fn flights(width: usize, bottom: Vec<usize>, top: Vec<usize>) -> DlrmConfig {
    DlrmConfig {
        dense: Flights::DENSE,
        columns: Flights::COLUMNS,
        rows: Flights::rows(),
        width,
        bottom,
        top,
        network: DlrmNetwork::Dots,
        layer_norm: false,
        embedding_scale: None,
        dropout: 0.0,
    }
}

/// AlgoPerf's DLRM-small.
pub fn algoperf() -> DlrmConfig {
    DlrmConfig {
        dense: Criteo::DENSE,
        columns: Criteo::COLUMNS,
        rows: 4 * 1024 * 1024,
        width: 128,
        bottom: vec![512, 256, 128],
        top: vec![1024, 1024, 512, 256],
        network: DlrmNetwork::Dots,
        layer_norm: false,
        embedding_scale: None,
        dropout: 0.0,
    }
}

/// Three layers below and four above, as AlgoPerf's residual variant.
fn residual(config: &mut DlrmConfig, bottom: usize, top: usize) {
    config.network = DlrmNetwork::Residual;
    config.bottom = vec![bottom; 3];
    config.top = vec![top; 4];
}

fn build(config: &DlrmConfig, device: &Device) -> Result<Box<dyn Model>, ModelError> {
    Ok(Box::new(Trained::new(Dlrm::new(config, device)?)))
}

fn describe(config: &DlrmConfig) -> String {
    let widths = |widths: &[usize]| {
        let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
        widths.join("-")
    };
    format!(
        "DLRM, {} real and {} categorical features, table of {} x {}, layers {} below and {}-1 above, \
         {:?}",
        config.dense,
        config.columns,
        config.rows,
        config.width,
        widths(&config.bottom),
        widths(&config.top),
        config.network
    )
}

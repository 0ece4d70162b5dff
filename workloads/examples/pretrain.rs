//! The recipe of the pretrained weights: trains the model of `moby_gpt` on Shakespeare's plays with
//! burn's AdamW and writes what `data/shakespeare_bytes_gpt.bf16.gz` holds.
//!
//!     cargo run --release --workspace --example pretrain -- OUT [STEPS]
//!
//! Batches of 32 windows in an order from seed 0, linear warm-up over 100 steps to 2e-3, then a cosine
//! to zero, weight decay 0.1. The same build and number of threads give the same file.

use burn::optim::AdamWConfig;
use burn::tensor::Device;
use flate2::{Compression, GzBuilder};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::f64::consts::PI;
use std::io::Write;
use velodrome_harness::contract::{Batch, Dataset, Model, PassOptions, Trained};
use velodrome_workloads::data::Shakespeare;
use velodrome_workloads::models::Gpt;
use velodrome_workloads::{moby_gpt, pretrained};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;
const WARM_UP: f64 = 100.0;
const PEAK: f64 = 2e-3;

fn rate(step: usize, steps: usize) -> f64 {
    let (step, steps) = (step as f64, steps as f64);
    if step < WARM_UP {
        return PEAK * (step + 1.0) / WARM_UP;
    }
    0.5 * PEAK * (1.0 + (PI * (step - WARM_UP) / (steps - WARM_UP)).cos())
}

/// Loss over a whole split.
fn loss(model: &dyn Model, data: &dyn Dataset) -> Result<f64, Box<dyn Error>> {
    let device = Device::flex();
    let ids: Vec<usize> = (0..data.len()).collect();
    let mut batches = ids
        .chunks(128)
        .map(|ids| Batch::from_host(data.batch(ids), ids.to_vec(), &device));
    Ok(model.evaluate(&mut batches)?["loss"])
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = arguments
        .first()
        .ok_or("the first argument names the file to write")?;
    let steps: usize = arguments.get(1).map_or(Ok(2000), |text| text.parse())?;
    let text = Shakespeare::open_bytes("pretrain")?;
    let device = Device::flex().autodiff();
    device.seed(0);
    let mut model = Trained::new(Gpt::new(&moby_gpt::config(), &device)?);
    let mut optimizer = AdamWConfig::new()
        .with_epsilon(1e-8)
        .with_weight_decay(0.1)
        .init();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut order: Vec<usize> = Vec::new();
    for step in 0..steps {
        if order.len() < BATCH {
            order = (0..text.train.len()).collect();
            order.shuffle(&mut rng);
        }
        let ids = order.split_off(order.len() - BATCH);
        let batch = Batch::from_host(text.train.batch(&ids), ids, &device);
        let output = model.pass(&batch, &PassOptions::default())?;
        let gradients = output.gradients.into_burn();
        model.step(&mut optimizer, rate(step, steps).into(), gradients);
        if (step + 1) % 100 == 0 || step + 1 == steps {
            let validation = loss(&model, &text.validation)?;
            println!("step {}: validation loss {validation:.4}", step + 1);
        }
    }
    println!("test loss {:.4}", loss(&model, &text.test)?);
    let mut file = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    file.write_all(&pretrained::encode(&model))?;
    let file = file.finish()?;
    let sum: String = Sha256::digest(&file)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    std::fs::write(out, &file)?;
    println!("{out}: {} bytes, SHA-256 {sum}", file.len());
    Ok(())
}

//! Makes pretrained weights by their recipe, with burn's AdamW, and writes the file that
//! `workloads/data/` holds.
//!
//!     cargo run --release --workspace --example pretrain -- moby_gpt OUT
//!     cargo run --release --workspace --example pretrain -- garments_vit OUT
//!
//! Batches in an order from seed 0, linear warm-up over 100 steps, then a cosine to zero, weight decay
//! 0.1. The same build and number of threads give the same file.

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
use std::sync::Arc;
use velodrome_harness::contract::{Batch, Dataset, Model, Objective, PassOptions};
use velodrome_workloads::pretrained::{self, Recipe};
use velodrome_workloads::{garments_vit, moby_gpt};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WARM_UP: f64 = 100.0;

fn rate(step: usize, recipe: &Recipe) -> f64 {
    let (step, steps) = (step as f64, recipe.steps as f64);
    if step < WARM_UP {
        return recipe.learning_rate * (step + 1.0) / WARM_UP;
    }
    0.5 * recipe.learning_rate * (1.0 + (PI * (step - WARM_UP) / (steps - WARM_UP)).cos())
}

/// Measures over a whole split, as text.
fn measures(model: &dyn Model, data: &Arc<dyn Dataset>) -> Result<String, Box<dyn Error>> {
    let device = Device::flex();
    let ids: Vec<usize> = (0..data.len()).collect();
    let mut batches = ids
        .chunks(128)
        .map(|ids| Batch::from_host(data.batch(ids), ids.to_vec(), &device));
    let measures = model.evaluate(&mut batches)?;
    let parts = measures.iter().map(|(name, x)| format!("{name} {x:.4}"));
    Ok(parts.collect::<Vec<_>>().join(", "))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, out] = arguments.as_slice() else {
        return Err("give the workload and the file to write".into());
    };
    let recipe = match name.as_str() {
        "moby_gpt" => &moby_gpt::RECIPE,
        "garments_vit" => &garments_vit::RECIPE,
        other => return Err(format!("there is no recipe for `{other}`").into()),
    };
    let data = (recipe.open)(name)?;
    let device = Device::flex().autodiff();
    device.seed(0);
    let mut model = recipe.workload.untrained(&device)?;
    let mut optimizer = AdamWConfig::new()
        .with_epsilon(1e-8)
        .with_weight_decay(0.1)
        .init();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut order: Vec<usize> = Vec::new();
    for step in 0..recipe.steps {
        if order.len() < recipe.batch_size {
            order = (0..data.train.len()).collect();
            order.shuffle(&mut rng);
        }
        let ids = order.split_off(order.len() - recipe.batch_size);
        let batch = Batch::from_host(data.train.batch(&ids), ids, &device);
        let output = model.differentiate(&batch, &PassOptions::default(), Objective::Loss, None)?;
        let gradients = output.gradients.into_burn();
        model.step(&mut optimizer, rate(step, recipe).into(), gradients);
        if (step + 1) % 100 == 0 {
            let found = measures(&*model, &data.validation)?;
            println!("step {}: validation {found}", step + 1);
        }
    }
    println!("test {}", measures(&*model, &data.test)?);
    let mut file = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    file.write_all(&pretrained::encode(&*model))?;
    let file = file.finish()?;
    let sum: String = Sha256::digest(&file)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    std::fs::write(out, &file)?;
    println!("{out}: {} bytes, SHA-256 {sum}", file.len());
    Ok(())
}

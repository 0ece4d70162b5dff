//! Trains one workload with burn's AdamW and prints the milliseconds per step and the metrics at
//! each evaluation: what a new workload's sizes, cadence and hints are chosen by.
//!
//!     cargo run --release --workspace --example calibrate -- \
//!         NAME LR [STEPS] [SEED] [DECAY] [BATCH]
//!
//! Linear warm-up over a twentieth of the steps, then a cosine to zero. Not the target-setting
//! procedure: that one races real submissions.

use burn::optim::AdamWConfig;
use burn::tensor::Device;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::error::Error;
use std::time::Instant;
use velodrome_harness::contract::{Batch, Dataset, PassOptions};
use velodrome_harness::registry::Registry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn batches<'a>(
    data: &'a dyn Dataset,
    size: usize,
    device: &'a Device,
) -> impl Iterator<Item = Batch> + 'a {
    (0..data.len()).step_by(size).map(move |from| {
        let ids: Vec<usize> = (from..data.len().min(from + size)).collect();
        Batch::from_host(data.batch(&ids), ids, device)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| {
        let text = arguments.get(at).map_or(default, String::as_str);
        text.to_string()
    };
    let mut registry = Registry::new();
    velodrome_workloads::register(&mut registry)?;
    let workload = registry.workload(&argument(0, "digits_mlp"))?;
    let spec = workload.spec();
    let peak: f64 = argument(1, "1e-3").parse()?;
    let steps: u64 = argument(2, &spec.hints.steps.to_string()).parse()?;
    let seed: u64 = argument(3, "0").parse()?;
    let decay: f32 = argument(4, "0.01").parse()?;
    let size: usize = argument(5, &spec.hints.batch_size.to_string()).parse()?;
    println!("{}: {}", spec.name, spec.model);

    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let start = Instant::now();
    let splits = workload.open()?;
    let opened = start.elapsed();
    device.seed(seed);
    let mut model = workload.build(&device)?;
    println!("data opened in {opened:.1?}");
    let mut optimizer = AdamWConfig::new()
        .with_epsilon(1e-8)
        .with_weight_decay(decay)
        .init();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = Vec::new();
    let every = (spec.eval_every_work / size as u64).max(1);
    let warm_up = (steps / 20).max(1);
    let (mut training, mut since) = (0.0, 0.0);
    for step in 1..=steps {
        if order.len() < size {
            order = (0..splits.train.len()).collect();
            order.shuffle(&mut rng);
        }
        let ids = order.split_off(order.len() - size);
        let batch = Batch::from_host(splits.train.batch(&ids), ids, &device);
        let start = Instant::now();
        let done = (step - 1) as f64 / steps as f64;
        let lr = if step <= warm_up {
            peak * step as f64 / warm_up as f64
        } else {
            peak * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
        };
        let output = model.pass(&batch, &PassOptions::default())?;
        model.step(&mut optimizer, lr.into(), output.gradients.into_burn());
        device.sync()?;
        since += start.elapsed().as_secs_f64();
        if step % every == 0 || step == steps {
            training += since;
            let start = Instant::now();
            let measure = |data: &dyn Dataset| {
                model.evaluate(&mut batches(data, spec.eval_batch_size, &plain))
            };
            let (validation, test) = (measure(&*splits.validation)?, measure(&*splits.test)?);
            println!(
                "step {step:5}  {training:7.2} s  {:6.2} ms/step  train {:.4}  validation {:.4} \
                 (loss {:.4})  test {:.4}  evaluated in {:.0} ms, trained in {:.0} ms",
                1e3 * training / step as f64,
                output.loss.into_scalar::<f32>(),
                validation[&spec.target.metric],
                validation["loss"],
                test[&spec.target.metric],
                1e3 * start.elapsed().as_secs_f64(),
                1e3 * since,
            );
            since = 0.0;
        }
    }
    Ok(())
}

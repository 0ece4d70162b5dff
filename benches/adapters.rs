//! What adapters save beside full fine-tuning: time of a step and peak memory on an encoder of MiniLM's
//! size (22.6 million parameters, random weights, 8 texts of 64 tokens, 2 classes).
//!
//! `cargo bench --bench adapters` prints for each way the median time of a step (forward, backward and
//! AdamW's update, dropout 0), its ratio to full fine-tuning's (the median over rounds in which all take
//! turns), the peak of resident memory over some steps in a process of its own (Linux alone), and its
//! ratio. LoRA of rank 8 must stay at 0.65 of the time and 0.5 of the memory; S²FT, which trains 16 rows
//! and so as many elements of a square matrix, must not be slower than LoRA on the same matrices.
//! An argument that is a number makes the rounds that many.

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use velodrome::harness::contract::{
    Batch, HostBatch, HostField, HostValues, ParamKind, PassOptions, Trained, Trainee,
};
use velodrome::submissions::adapters::lora::{Lora, Start};
use velodrome::submissions::adapters::s2ft::S2ft;
use velodrome::submissions::adapters::{Added, Method, Shape, adapt};
use velodrome::submissions::fused::Fused;
use velodrome::submissions::optimizers::adamw::AdamW;
use velodrome::workloads::models::{EncoderConfig, TextClassifier, TextClassifierConfig};

const EXAMPLES: usize = 8;
const TOKENS: usize = 64;
const RANK: usize = 8;
const ROUNDS: usize = 15;
/// Steps before the peak is read.
const PEAK_STEPS: usize = 4;
/// First argument of a process that measures its own memory.
const PEAK: &str = "--peak-of";

/// Which matrices are adapted, by their place among the six of a block: query, key, value, output, up,
/// down.
const QUERY_VALUE: &[usize] = &[0, 2];
const ALL: &[usize] = &[0, 1, 2, 3, 4, 5];

type Make = fn(Shape) -> Arc<dyn Method>;

/// Name, matrices, and the adapter; none trains everything.
type Way = (&'static str, &'static [usize], Option<Make>);

const WAYS: [Way; 5] = [
    ("full", ALL, None),
    ("lora, query and value", QUERY_VALUE, Some(lora)),
    ("s2ft, query and value", QUERY_VALUE, Some(s2ft)),
    ("lora, all matrices", ALL, Some(lora)),
    ("s2ft, all matrices", ALL, Some(s2ft)),
];

fn lora(shape: Shape) -> Arc<dyn Method> {
    Arc::new(Added(Lora {
        shape,
        rank: RANK,
        scale: 1.0,
        start: Start::Uniform,
        bias: false,
    }))
}

fn s2ft(shape: Shape) -> Arc<dyn Method> {
    Arc::new(S2ft {
        shape,
        rows: 2 * RANK,
        seed: 0,
    })
}

/// A model in training.
struct Ride {
    trainee: Trainee,
    optimizer: ModuleOptimizer,
    batch: Batch,
}

impl Ride {
    fn start((_, matrices, adapter): Way) -> Self {
        let device = Device::flex().autodiff();
        device.seed(1);
        let config = TextClassifierConfig {
            encoder: EncoderConfig::minilm(),
            classes: 2,
            dropout: 0.0,
        };
        let model = TextClassifier::new(&config, &device).expect("the sizes go together");
        let mut trainee = Trainee::new(Box::new(Trained::new(model)), device.clone(), 1);
        if let Some(make) = adapter {
            let mut place = 0;
            trainee.set_trainable(|p| {
                if p.kind != ParamKind::Matrix {
                    return p.kind == ParamKind::Head;
                }
                place += 1;
                matrices.contains(&((place - 1) % ALL.len()))
            });
            adapt(&mut trainee, 1, |shape, _| Ok(make(shape))).expect("the model has matrices");
        }
        let rule = AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
        };
        Self {
            trainee,
            optimizer: ModuleOptimizer::from(Fused(rule)),
            batch: batch(&device),
        }
    }

    /// One step, in seconds.
    fn step(&mut self) -> f64 {
        let start = Instant::now();
        let options = PassOptions::default();
        let pass = self.trainee.gradients(&self.batch, &options);
        let gradients = pass.expect("the batch fits").gradients;
        self.trainee.step(&mut self.optimizer, 1e-5, gradients);
        start.elapsed().as_secs_f64()
    }
}

/// Texts without padding.
fn batch(device: &Device) -> Batch {
    let tokens = (0..EXAMPLES * TOKENS).map(|i| 1 + (i * 7919 % 30_521) as i32);
    let host = HostBatch {
        fields: vec![
            HostField {
                name: "tokens",
                shape: vec![EXAMPLES, TOKENS],
                values: HostValues::Int(tokens.collect()),
            },
            HostField {
                name: "label",
                shape: vec![EXAMPLES],
                values: HostValues::Int((0..EXAMPLES as i32).map(|i| i % 2).collect()),
            },
        ],
        examples: EXAMPLES,
        units: EXAMPLES,
    };
    Batch::from_host(host, (0..EXAMPLES).collect(), device)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Peak of this process's resident memory in bytes. Not by `getrusage`, whose peak includes that of the
/// process that started this one.
fn own_peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024.0 * kilobytes)
}

/// The peak of a process that takes some steps.
fn peak(way: usize) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program)
        .args([PEAK, &way.to_string()])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, way] = arguments.as_slice()
        && first == PEAK
    {
        let mut ride = Ride::start(WAYS[way.parse::<usize>().expect("a number")]);
        for _ in 0..PEAK_STEPS {
            ride.step();
        }
        println!("{}", own_peak().unwrap_or(f64::NAN));
        return;
    }
    let rounds = arguments.iter().find_map(|a| a.parse().ok());
    let rounds: usize = rounds.unwrap_or(ROUNDS).max(1);

    let peaks: Vec<f64> = (0..WAYS.len())
        .map(|way| peak(way).unwrap_or(f64::NAN))
        .collect();
    let mut rides: Vec<Ride> = WAYS.into_iter().map(Ride::start).collect();
    // The first steps make the state of the optimizer.
    for ride in &mut rides {
        ride.step();
        ride.step();
    }
    let times: Vec<Vec<f64>> = (0..rounds)
        .map(|_| rides.iter_mut().map(Ride::step).collect())
        .collect();

    println!("threads: {}", rayon::current_num_threads());
    println!("way                     trained      ms  ratio  MiB peak  ratio");
    for (way, (name, ..)) in WAYS.iter().enumerate() {
        let of = |f: fn(f64, f64) -> f64| median(times.iter().map(|t| f(t[way], t[0])).collect());
        println!(
            "{name:<22} {:>8}  {:>6.1}  {:>5.2}  {:>8.0}  {:>5.2}",
            rides[way].trainee.trainable_parameters(),
            1e3 * of(|own, _| own),
            of(|own, full| own / full),
            peaks[way] / f64::from(1 << 20),
            peaks[way] / peaks[0]
        );
    }
    for (lora, s2ft) in [(1, 2), (3, 4)] {
        let ratio = median(times.iter().map(|t| t[s2ft] / t[lora]).collect());
        println!("{} to {}: {ratio:.2}", WAYS[s2ft].0, WAYS[lora].0);
    }
}

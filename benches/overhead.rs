//! What the harness costs: its loop against the bare burn loop of the same model, optimizer and
//! data, in alternating rounds of one run.
//!
//! `cargo bench --bench overhead` prints, per workload, the median milliseconds per step of both
//! loops and their ratio, which must stay at 1.02 for `shakespeare_gpt` and 1.05 for `digits_mlp`.
//! The harness's loop is everything that a trial does per step: input queue, clock, counters, the
//! loss read for divergence, progress events.

use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use velodrome::harness::contract::*;
use velodrome::harness::race::Suite;
use velodrome::harness::race::input::Order;
use velodrome::harness::race::plan;
use velodrome::harness::race::time::SystemTime;
use velodrome::harness::race::trial::{Trial, TrialSetup};
use velodrome::harness::registry::Registry;
use velodrome::workloads::models::{Gpt, Mlp};
use velodrome::workloads::{digits_mlp, shakespeare_gpt};

const ROUNDS: usize = 15;

/// Bare AdamW at a constant rate, in the harness and out of it.
struct Bare;

fn optimizer() -> ModuleOptimizer {
    AdamWConfig::new().with_epsilon(1e-8).init()
}

impl Submission for Bare {
    fn describe(&self) -> Description {
        Description {
            name: "bare_adamw",
            summary: "AdamW at a constant rate, for this benchmark",
            paper: "none",
            reference: "none",
            track: Track::Pretrain,
            rulesets: &[Ruleset::SelfTuning],
            version: "1",
        }
    }

    fn search_space(&self) -> SearchSpace {
        SearchSpace::new()
    }

    fn start(
        &self,
        _trainee: &mut Trainee,
        _context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        Ok(Box::new(Running(optimizer())))
    }
}

struct Running(ModuleOptimizer);

impl Algorithm for Running {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        _context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let gradients = trainee.gradients(batch, &PassOptions::default())?.gradients;
        trainee.step(&mut self.0, 1e-3, gradients);
        Ok(())
    }

    fn save(&self, _state: &mut State) -> Result<(), SubmissionError> {
        Ok(())
    }

    fn load(&mut self, _state: &State, _trainee: &Trainee) -> Result<(), SubmissionError> {
        Ok(())
    }
}

/// Seconds per step of the bare loop.
fn bare<N: Network>(workload: &dyn Workload, steps: usize, build: impl Fn(&Device) -> N) -> f64 {
    let device = Device::flex();
    device.seed(1);
    let splits = workload.open().expect("embedded data");
    let size = workload.spec().hints.batch_size;
    let mut network = build(&device.clone().autodiff());
    let mut optimizer = optimizer();
    let mut order = Order::new(1, splits.train.len());
    let mut start = Instant::now();
    for step in 0..steps + 5 {
        if step == 5 {
            start = Instant::now();
        }
        let ids: Vec<usize> = (0..size)
            .map(|i| order.at((step * size + i) as u64))
            .collect();
        let batch = Batch::from_host(splits.train.batch(&ids), ids, &device);
        let mut pass = Pass::training(&PassOptions::default());
        let loss = network.losses(&batch, &mut pass).expect("a pass").mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-3, network, gradients);
    }
    start.elapsed().as_secs_f64() / steps as f64
}

/// Seconds per step of a whole trial, set-up and evaluations left out.
fn harness(workload: &dyn Workload, registry: &Registry, steps: usize, dir: &Path) -> f64 {
    let spec = workload.spec();
    let work = (steps + 5) * spec.hints.batch_size;
    let text = format!(
        "name = \"bench\"\nworkloads = [\"{0}\"]\nsubmissions = [\"bare_adamw\"]\n\
         [overrides.{0}]\nbudget_work = {work}\neval_every_work = {work}\n",
        spec.name
    );
    let suite = Suite::parse(&text, Path::new("bench.toml")).expect("a sound suite");
    let mut record = plan(&suite, registry)
        .expect("a sound plan")
        .trials
        .remove(0);
    // Never reached, so that every step is raced.
    record.target.validation = f64::NEG_INFINITY;
    let setup = TrialSetup {
        workload,
        submission: &Bare,
        device: Device::flex(),
        dir,
        checkpoint_seconds: f64::INFINITY,
        keep_weights: false,
        time: Arc::new(SystemTime::since(Instant::now())),
    };
    let mut emit = |_| {};
    let mut trial = Trial::new(setup, record, &mut emit);
    let end = trial.run();
    let record = trial.finish(end).expect("a record");
    assert_eq!(
        record.outcome.counters.steps as usize,
        steps + 5,
        "{:?}",
        record.reason
    );
    let clock = record.outcome.clock;
    // The queue's waiting and the per-step logging count as overhead; the evaluation's line of the
    // log is in `logging` too, which is against the harness.
    (clock.training - clock.warm_up + clock.input_wait + clock.logging) / steps as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(name: &str, steps: usize, limit: f64, registry: &Registry, bare: &dyn Fn() -> f64) {
    let workload = registry.workload(name).expect("a built-in workload");
    let dir = tempfile::tempdir().expect("a folder");
    let (mut plain, mut raced, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut once = |first: bool| {
            if first {
                plain.push(bare());
            } else {
                raced.push(harness(workload.as_ref(), registry, steps, dir.path()));
            }
        };
        // Alternating order, so that drift cancels.
        once(round % 2 == 0);
        once(round % 2 != 0);
        ratios.push(raced[round] / plain[round]);
    }
    println!(
        "{name}: bare {:.4} ms/step, harness {:.4} ms/step, median ratio {:.4} (limit {limit})",
        median(plain) * 1e3,
        median(raced) * 1e3,
        median(ratios)
    );
}

fn main() {
    let mut registry = Registry::new();
    velodrome::workloads::register(&mut registry).expect("workloads");
    registry.add_submission(Arc::new(Bare)).expect("a new name");
    let digits = registry.workload("digits_mlp").expect("digits_mlp");
    compare("digits_mlp", 1000, 1.05, &registry, &|| {
        bare(digits.as_ref(), 1000, |d| {
            Mlp::new(&digits_mlp::config(), d)
        })
    });
    let gpt = registry
        .workload("shakespeare_gpt")
        .expect("shakespeare_gpt");
    compare("shakespeare_gpt", 40, 1.02, &registry, &|| {
        bare(gpt.as_ref(), 40, |d| {
            Gpt::new(&shakespeare_gpt::config(), d).expect("a sound config")
        })
    });
}

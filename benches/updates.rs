//! What one update costs beside its gradients, and how near it comes to the speed of memory.
//!
//! `cargo bench --bench updates` prints, for 1M and 20M parameters in matrices of 1024 by 1024, the
//! nanoseconds per parameter of one update, the nanoseconds that this machine needs to move as many
//! bytes by copying on all threads, and the ratio of the two (medians over rounds in which both
//! take turns). The bytes are those that the update must read and write: the parameter, its
//! gradient (read alone), and all state. SOAP's figure is the mean over ten steps, one of which turns
//! its bases. AdamW must stay at a ratio of 2 on 20M parameters.

use burn::optim::{AdamWConfig, Optimizer};
use burn::tensor::{Device, Distribution, Tensor};
use std::hint::black_box;
use std::time::Instant;
use velodrome::harness::contract::Submission;
use velodrome::submissions::compression::adamw_8bit::AdamW8bit;
use velodrome::submissions::compression::eight_bit::{EightBit, Layout};
use velodrome::submissions::fused::Fused;
use velodrome::submissions::optimizers::adamw::AdamW;
use velodrome::submissions::optimizers::lion::Lion;
use velodrome::submissions::optimizers::muon::Muon;
use velodrome::submissions::optimizers::soap::{Soap, SoapSubmission};

/// Side of a matrix.
const SIDE: usize = 1024;

/// Entries per block of 8-bit states: the submission's default.
const BLOCK: usize = 256;

/// One optimizer at work on some matrices.
struct Ride<O: Optimizer> {
    optimizer: O,
    parameters: Vec<(Tensor<2>, Option<O::State<2>>)>,
}

/// An update of all matrices, in seconds.
trait Update {
    fn update(&mut self) -> f64;
}

impl<O: Optimizer> Update for Ride<O> {
    fn update(&mut self) -> f64 {
        let gradients: Vec<_> = self.parameters.iter().map(|_| random()).collect();
        let start = Instant::now();
        let parameters = std::mem::take(&mut self.parameters);
        for ((parameter, state), gradient) in parameters.into_iter().zip(gradients) {
            let step = self.optimizer.step(1e-3, parameter, gradient, state);
            self.parameters.push(step);
        }
        start.elapsed().as_secs_f64()
    }
}

fn random() -> Tensor<2> {
    Tensor::random([SIDE, SIDE], Distribution::Default, &Device::flex())
}

fn ride<O: Optimizer + 'static>(optimizer: O, matrices: usize) -> Box<dyn Update> {
    let parameters = (0..matrices).map(|_| (random(), None)).collect();
    Box::new(Ride {
        optimizer,
        parameters,
    })
}

/// The track: moves `bytes` by copying half as many on all threads.
struct Copy {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copy {
    fn new(bytes: usize) -> Self {
        Self {
            from: vec![1; bytes / 2],
            to: vec![2; bytes / 2],
        }
    }

    fn run(&mut self) -> f64 {
        let start = Instant::now();
        copy(&self.from, &mut self.to);
        black_box(&self.to);
        start.elapsed().as_secs_f64()
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    if from.len() <= 1 << 20 {
        return to.copy_from_slice(from);
    }
    let middle = from.len() / 2;
    let (left, right) = to.split_at_mut(middle);
    rayon::join(
        || copy(&from[..middle], left),
        || copy(&from[middle..], right),
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Name, bytes of state per parameter, and how to start on so many matrices.
type Rider = (&'static str, f64, fn(usize) -> Box<dyn Update>);

/// SOAP's refresh of its bases comes with every tenth step.
const SOAP_PERIOD: usize = 10;

const RIDERS: [Rider; 6] = [
    ("adamw", 8.0, |n| ride(Fused(adamw()), n)),
    ("burn's AdamW", 8.0, |n| {
        ride(AdamWConfig::new().with_epsilon(1e-8).build(), n)
    }),
    ("lion", 4.0, |n| {
        let rule = Lion {
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.1,
        };
        ride(Fused(rule), n)
    }),
    // Codes of two averages, and their scales per block.
    ("adamw_8bit", 2.0 * (1.0 + 4.0 / BLOCK as f64), |n| {
        let rule = AdamW8bit {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.1,
        };
        let layout = Layout {
            block: BLOCK,
            least: 4096,
        };
        ride(EightBit { rule, layout }, n)
    }),
    ("muon", 4.0, |n| {
        let rule = Muon {
            momentum: 0.95,
            weight_decay: 0.1,
        };
        ride(rule, n)
    }),
    // Two averages, and per side of a square matrix a factor and its basis.
    ("soap", 4.0 * 6.0, |n| {
        let mut point = SoapSubmission.search_space().default_point();
        let frequency = SOAP_PERIOD as f64;
        point.0.insert("precondition_frequency".into(), frequency);
        let soap = Soap::from_point(&point).expect("the default point is sound");
        ride(soap, n)
    }),
];

fn adamw() -> AdamW {
    AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.1,
    }
}

fn main() {
    println!("rider            parameters  ns/parameter  copy  ratio");
    for matrices in [1, 20] {
        let parameters = matrices * SIDE * SIDE;
        for (name, state, start) in RIDERS {
            // The parameter is read and written, the gradient is read, the state is both.
            let bytes = (3.0 * 4.0 + 2.0 * state) * parameters as f64;
            let mut copy = Copy::new(bytes as usize);
            let mut rider = start(matrices);
            // The first steps make the state.
            let slow = (0..2).map(|_| rider.update()).fold(0.0, f64::max) > 0.5;
            let rounds = match (slow, name) {
                (true, "soap") => 1,
                (true, _) => 5,
                (false, _) => 21,
            };
            let period = if name == "soap" { SOAP_PERIOD } else { 1 };
            let (mut ours, mut track, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                let steps = (0..period).map(|_| rider.update());
                let (a, b) = (steps.sum::<f64>() / period as f64, copy.run());
                ours.push(a);
                track.push(b);
                ratios.push(a / b);
            }
            let per = |seconds: f64| 1e9 * seconds / parameters as f64;
            println!(
                "{name:<16} {parameters:>10}  {:>12.3}  {:>4.2}  {:>5.2}",
                per(median(ours)),
                per(median(track)),
                median(ratios)
            );
        }
    }
}

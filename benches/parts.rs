//! Micro-benchmarks of what runs once per step or once per evaluation.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use velodrome::harness::race::clock::{Clock, Phase};
use velodrome::harness::race::histogram::Histogram;
use velodrome::harness::race::input::Order;
use velodrome::harness::race::time::{SystemTime, TimeSource};
use velodrome::results::{EvalRecord, log};

fn parts(c: &mut Criterion) {
    let time = Arc::new(SystemTime::since(Instant::now()));
    time.adopt_threads();
    let mut clock = Clock::new(time, Duration::ZERO);
    c.bench_function("clock: one phase off the clock", |b| {
        b.iter(|| clock.measure(Phase::Logging, || black_box(1)));
    });
    let mut histogram = Histogram::default();
    c.bench_function("histogram: one step time", |b| {
        b.iter(|| histogram.add(black_box(0.0123)));
    });
    let mut order = Order::new(1, 1_000_000);
    let mut position = 0;
    c.bench_function("order: one example of an epoch of a million", |b| {
        b.iter(|| {
            position += 1;
            order.at(black_box(position % 1_000_000))
        });
    });
    let eval = EvalRecord {
        n: 3,
        step: 300,
        work: 19200,
        clock: 1.25,
        wall: 2.5,
        train: [("loss".to_string(), 0.125)].into(),
        validation: [("loss".to_string(), 0.25), ("error_rate".to_string(), 0.1)].into(),
        test: [("loss".to_string(), 0.25), ("error_rate".to_string(), 0.1)].into(),
    };
    c.bench_function("log: one evaluation encoded", |b| {
        b.iter(|| log::encode(black_box(&eval)));
    });
}

criterion_group!(benches, parts);
criterion_main!(benches);

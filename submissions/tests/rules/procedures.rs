//! Procedures around an optimizer: several passes per step, averages, restarts.

use crate::probe;
use crate::resume::context;
use std::sync::Arc;
use velodrome_harness::contract::{Algorithm, StartContext, Submission, Trainee};
use velodrome_submissions::all;

pub fn by_name(name: &str) -> Arc<dyn Submission> {
    let mut submissions = all().into_iter();
    submissions.find(|s| s.describe().name == name).unwrap()
}

/// A trial of `name` on the probe, over `steps` steps, at the defaults changed by `settings`.
fn started(
    name: &str,
    steps: u64,
    settings: &[(&str, f64)],
    norm: bool,
) -> (Box<dyn Algorithm>, Trainee) {
    let submission = by_name(name);
    let mut context: StartContext = context(submission.as_ref(), steps);
    for (key, value) in settings {
        context.point.0.insert(key.to_string(), *value);
    }
    let (shapes, initial) = probe::start();
    let mut trainee = probe::trainee(&shapes, &initial, norm);
    let algorithm = submission.start(&mut trainee, &context).unwrap();
    (algorithm, trainee)
}

fn go(algorithm: &mut dyn Algorithm, trainee: &mut Trainee, n: u64) {
    let (shapes, _) = probe::start();
    probe::step(algorithm, trainee, n, &probe::stream(n + 1, &shapes));
}

/// Values after each step.
fn trajectory(name: &str, steps: u64, settings: &[(&str, f64)]) -> Vec<Vec<f32>> {
    let (mut algorithm, mut trainee) = started(name, steps, settings, false);
    let step = |n| {
        go(algorithm.as_mut(), &mut trainee, n);
        probe::values(&trainee).concat()
    };
    (0..steps).map(step).collect()
}

fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let apart = a.iter().zip(b).map(|(&x, y)| (f64::from(x) - y).abs());
    apart.fold(0.0, f64::max)
}

/// What a trial evaluates after each step.
fn evaluated(name: &str, steps: u64, settings: &[(&str, f64)]) -> Vec<Vec<f32>> {
    let (mut algorithm, mut trainee) = started(name, steps, settings, true);
    let step = |n| {
        go(algorithm.as_mut(), &mut trainee, n);
        probe::eval_values(algorithm.as_mut(), &mut trainee).concat()
    };
    (0..steps).map(step).collect()
}

#[test]
fn lawa_trains_as_nadamw_and_evaluates_averages_of_its_weights() {
    const STEPS: u64 = 100;
    let weights = trajectory("nadamw", STEPS, &[]);
    // From step ceil(0.1 T) = 10 every ceil(0.03 T) = 3 steps: 12, 15, 18, ..
    let cadence = [("burn_in_factor", 0.1), ("every_factor", 0.03)];
    let snapshots: Vec<usize> = (0..STEPS as usize)
        .filter(|&n| n >= 10 && n % 3 == 0)
        .collect();

    let queue = [&cadence[..], &[("queue_length", 4.0)]].concat();
    let seen = evaluated("lawa_queue", STEPS, &queue);
    for (n, seen) in seen.iter().enumerate() {
        let so_far: Vec<_> = snapshots.iter().filter(|&&s| s <= n).collect();
        let Some(latest) = so_far.len().checked_sub(4) else {
            assert_eq!(seen, &weights[n], "step {n}");
            continue;
        };
        let mut mean = vec![0.0; seen.len()];
        for &&s in &so_far[latest..] {
            let pairs = mean.iter_mut().zip(&weights[s]);
            pairs.for_each(|(m, &w)| *m += f64::from(w) / 4.0);
        }
        assert!(distance(seen, &mean) < 1e-6, "step {n}");
    }
    // The training is NAdamW's, bit for bit, though the model has running statistics.
    let (mut algorithm, mut trainee) = started("lawa_queue", STEPS, &queue, true);
    (0..STEPS).for_each(|n| go(algorithm.as_mut(), &mut trainee, n));
    assert_eq!(&probe::values(&trainee).concat(), weights.last().unwrap());
    // A quarter of the passes more, every third step from the fourth snapshot (step 21) on.
    let refreshed = (22..=STEPS).filter(|n| n % 3 == 0).count() as u64;
    assert_eq!(trainee.counters().forward_passes, STEPS + refreshed);
    assert_eq!(trainee.counters().work, STEPS);

    let ema = [&cadence[..], &[("ema_beta", 0.4)]].concat();
    let seen = evaluated("lawa_ema", STEPS, &ema);
    let mut mean: Option<Vec<f64>> = None;
    for (n, seen) in seen.iter().enumerate() {
        if snapshots.contains(&n) {
            let fresh = weights[n].iter().map(|&w| f64::from(w));
            mean = Some(match mean {
                Some(mean) => mean
                    .iter()
                    .zip(fresh)
                    .map(|(m, w)| 0.4 * m + 0.6 * w)
                    .collect(),
                None => fresh.collect(),
            });
        }
        match &mean {
            Some(mean) => assert!(distance(seen, mean) < 1e-6, "step {n}"),
            None => assert_eq!(seen, &weights[n], "step {n}"),
        }
    }
}

#[test]
fn lawa_keeps_running_statistics_where_it_evaluates() {
    let settings = [
        ("burn_in_factor", 0.1),
        ("every_factor", 0.03),
        ("queue_length", 4.0),
    ];
    let (mut algorithm, mut trainee) = started("lawa_queue", 100, &settings, true);
    let mut expected = [0.0f32; 2];
    let blend = |expected: &mut [f32; 2], seen: &[f32]| {
        let pairs = expected.iter_mut().zip(seen);
        pairs.for_each(|(e, s)| *e = 0.5 * *e + 0.5 * s);
    };
    for n in 0..100 {
        let before = probe::values(&trainee);
        go(algorithm.as_mut(), &mut trainee, n);
        // The fourth snapshot is that of step 21; the first 30 passes count in any case.
        if n < 30 {
            blend(&mut expected, &before[0]);
        }
        if n >= 21 && (n + 1) % 3 == 0 {
            let x = probe::eval_values(algorithm.as_mut(), &mut trainee);
            blend(&mut expected, &x[0]);
        }
    }
    let seen = probe::running_mean(&mut trainee);
    for (s, e) in seen.iter().zip(expected) {
        assert!((s - e).abs() < 1e-6, "{seen:?}, not {expected:?}");
    }
}

#[test]
fn claims_hold() {
    for submission in all() {
        for claim in submission.claims() {
            let (holds, found) = (claim.check)().unwrap();
            let name = submission.describe().name;
            assert!(holds, "{name}: {}: {found}", claim.statement);
        }
    }
}

#[test]
fn sam_without_radius_is_adamw_and_takes_two_gradients() {
    let adamw = trajectory("adamw", 30, &[]);
    assert_eq!(trajectory("sam", 30, &[("rho", 0.0)]), adamw);
    let (mut algorithm, mut trainee) = started("sam", 30, &[], true);
    let mut expected = [0.0f32; 2];
    for n in 0..30 {
        let before = probe::values(&trainee);
        go(algorithm.as_mut(), &mut trainee, n);
        // The first pass alone touches the running mean, and it sees the weights themselves.
        let pairs = expected.iter_mut().zip(&before[0]);
        pairs.for_each(|(e, s)| *e = 0.5 * *e + 0.5 * s);
    }
    assert_eq!(probe::running_mean(&mut trainee), expected);
    let counted = trainee.counters();
    assert_eq!((counted.work, counted.backward_passes), (60, 60));
}

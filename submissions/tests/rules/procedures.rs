//! Procedures around an optimizer: several passes per step, averages, restarts.

use crate::probe;
use crate::resume::context;
use std::sync::Arc;
use velodrome_harness::contract::{Algorithm, StartContext, State, Submission, Trainee};
use velodrome_submissions::from_scratch;

pub fn by_name(name: &str) -> Arc<dyn Submission> {
    let mut submissions = from_scratch().into_iter();
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
    for submission in from_scratch() {
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

#[test]
fn generalized_adam_meets_its_relatives_in_the_corners() {
    let nadamw = trajectory("nadamw", 40, &[]);
    assert_eq!(trajectory("generalized_adam", 40, &[]), nadamw);
    let early = trajectory("generalized_adam", 40, &[("cosine_decay_fraction", 0.75)]);
    assert_eq!(early[30..], vec![early[30].clone(); 10]);
    assert_ne!(early[28], early[29]);
    assert_ne!(nadamw[37], nadamw[38]);
    // Without look-ahead the numerator is not corrected: the first step is (1 - beta1) times Adam's.
    // Peak 0.01 at once, no decay: Adam would move by 0.01.
    let bare = [
        ("learning_rate", 0.01),
        ("weight_decay", 0.0),
        ("warmup_factor", 0.0),
    ];
    let plain = [&bare[..], &[("nesterov", 0.0)]].concat();
    let start = probe::start().1.concat();
    for (after, before) in trajectory("generalized_adam", 40, &plain)[0]
        .iter()
        .zip(&start)
    {
        let moved = (after - before).abs();
        assert!((moved - 0.001).abs() < 1e-6, "{moved}");
    }
    // Without preconditioning and decay: momentum, with and without Nesterov's look-ahead.
    let bare = [&bare[..], &[("precondition", 0.0)]].concat();
    let (mut b, mut x) = (vec![0.0; start.len()], vec![]);
    x.extend(start.iter().map(|&x| f64::from(x)));
    let ahead = trajectory("generalized_adam", 40, &bare);
    let schedule = velodrome_submissions::schedules::WarmupCosine {
        peak: 0.01,
        warmup: 0,
        horizon: 40,
    };
    for (n, ahead) in ahead.iter().enumerate() {
        let lr = velodrome_submissions::schedules::Schedule::at(&schedule, n as u64);
        let gradients = probe::stream(n as u64 + 1, &probe::start().0).concat();
        for ((x, b), &g) in x.iter_mut().zip(&mut b).zip(&gradients) {
            let g = f64::from(g);
            *b = 0.9 * *b + g;
            *x -= lr * (g + 0.9 * *b);
        }
        assert!(distance(ahead, &x) < 2e-6, "step {n}");
    }
}

#[test]
fn one_cycle_is_nadamw_and_two_start_again() {
    let nadamw = trajectory("nadamw", 40, &[]);
    assert_eq!(trajectory("cyclic_lr", 40, &[("cycles", 1.0)]), nadamw);
    let two = trajectory("cyclic_lr", 40, &[]);
    // Step 20 is the first of the second warm-up, at rate 0; step 21 moves again.
    assert_eq!(two[20], two[19]);
    assert_ne!(two[21], two[20]);
    assert_ne!(two[18], nadamw[18]);
}

/// Over all three trainings, and with a break in each.
#[test]
fn sequential_resumes_in_every_training() {
    let (shapes, _) = probe::start();
    let settings = [("learning_rate_2", 0.01)];
    // Of 20, 20 and 15 steps.
    let (mut algorithm, mut trainee) = started("nadamw_sequential", 20, &settings, true);
    let start = trainee.snapshot();
    let mut straight = Vec::new();
    let mut breaks = Vec::new();
    for n in 0..60 {
        if [7, 20, 33, 47, 58].contains(&n) {
            let mut state = State::new();
            algorithm.save(&mut state).unwrap();
            breaks.push((n, state, trainee.snapshot()));
        }
        go(algorithm.as_mut(), &mut trainee, n);
        straight.push(probe::values(&trainee));
    }
    // The rate is zero from step 55 on.
    assert_eq!(probe::bits(&straight[55]), probe::bits(&straight[54]));
    assert_eq!(probe::bits(&straight[59]), probe::bits(&straight[54]));
    for (from, state, weights) in breaks {
        let (mut algorithm, mut trainee) = started("nadamw_sequential", 20, &settings, true);
        trainee.restore(&weights).unwrap();
        algorithm.load(&state, &trainee).unwrap();
        for n in from..60 {
            go(algorithm.as_mut(), &mut trainee, n);
            let values = probe::values(&trainee);
            let expected = &straight[n as usize];
            assert_eq!(probe::bits(&values), probe::bits(expected), "{from}, {n}");
        }
    }
    // The second training alone, by NAdamW: the same weights from the same start.
    let second = [
        ("learning_rate", 0.01),
        ("beta1", 0.941_497_9),
        ("beta2", 0.976_805),
        ("weight_decay", 0.027_951_4),
        ("warmup_factor", 0.02),
        ("label_smoothing", 0.0),
    ];
    let (mut alone, mut trainee) = started("nadamw", 20, &second, true);
    trainee.restore(&start).unwrap();
    for n in 0..20 {
        probe::step(
            alone.as_mut(),
            &mut trainee,
            n,
            &probe::stream(20 + n + 1, &shapes),
        );
        let values = probe::values(&trainee);
        assert_eq!(
            probe::bits(&values),
            probe::bits(&straight[20 + n as usize])
        );
    }
}

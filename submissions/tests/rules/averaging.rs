//! Schedule-free: what holds beyond the trajectories.

use crate::probe;
use velodrome_harness::contract::{Algorithm, PassOptions, State, StepContext, Trainee};
use velodrome_submissions::averaging::schedule_free::{Form, ScheduleFree, ScheduleFreeAdamW};

fn rule() -> ScheduleFreeAdamW {
    ScheduleFreeAdamW {
        form: Form::Package,
        learning_rate: 0.05,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        warmup: 0,
        average_power: 0.0,
        average_lr_power: 2.0,
    }
}

fn started(rule: ScheduleFreeAdamW, norm: bool) -> (ScheduleFree, Trainee) {
    let (shapes, initial) = probe::start();
    let trainee = probe::trainee(&shapes, &initial, norm);
    (
        ScheduleFree::new(rule, PassOptions::default(), &trainee),
        trainee,
    )
}

fn saved_z(algorithm: &ScheduleFree, trainee: &Trainee) -> Vec<f32> {
    let mut state = State::new();
    algorithm.save(&mut state).unwrap();
    let z = state.get_tensors("z", &trainee.device()).unwrap();
    z.into_iter()
        .flat_map(|t| t.into_data().try_to_vec::<f32>().unwrap())
        .collect()
}

#[test]
fn the_evaluation_point_is_the_plain_mean_of_z_at_a_constant_rate() {
    let (mut algorithm, mut trainee) = started(rule(), false);
    let (shapes, _) = probe::start();
    let mut sum = vec![0.0f64; trainee.parameters() as usize];
    for n in 0..15 {
        probe::step(
            &mut algorithm,
            &mut trainee,
            n,
            &probe::stream(n + 1, &shapes),
        );
        let z = saved_z(&algorithm, &trainee);
        sum.iter_mut()
            .zip(&z)
            .for_each(|(s, &z)| *s += f64::from(z));
        let x = probe::eval_values(&mut algorithm, &mut trainee).concat();
        for (&x, s) in x.iter().zip(&sum) {
            let mean = s / (n + 1) as f64;
            assert!(
                (f64::from(x) - mean).abs() < 1e-5,
                "step {n}: {x}, not {mean}"
            );
        }
    }
}

#[test]
fn warm_up_weighs_steps_by_their_squared_rate() {
    let warm = ScheduleFreeAdamW {
        warmup: 4,
        ..rule()
    };
    let (mut algorithm, mut trainee) = started(warm, false);
    let (shapes, _) = probe::start();
    let (mut sum, mut weights) = (vec![0.0f64; trainee.parameters() as usize], 0.0);
    for n in 0..8 {
        probe::step(
            &mut algorithm,
            &mut trainee,
            n,
            &probe::stream(n + 1, &shapes),
        );
        let weight = ((n + 1) as f64 / 4.0).min(1.0).powi(2);
        weights += weight;
        let z = saved_z(&algorithm, &trainee);
        sum.iter_mut()
            .zip(&z)
            .for_each(|(s, &z)| *s += weight * f64::from(z));
    }
    let x = probe::eval_values(&mut algorithm, &mut trainee).concat();
    for (&x, s) in x.iter().zip(&sum) {
        assert!((f64::from(x) - s / weights).abs() < 1e-5);
    }
}

#[test]
fn evaluations_change_no_bit_of_the_training() {
    let run = |evaluate: bool| {
        let (mut algorithm, mut trainee) = started(rule(), true);
        let (shapes, _) = probe::start();
        for n in 0..40 {
            probe::step(
                &mut algorithm,
                &mut trainee,
                n,
                &probe::stream(n + 1, &shapes),
            );
            if evaluate {
                let x = probe::eval_values(&mut algorithm, &mut trainee);
                assert_ne!(probe::bits(&x), probe::bits(&probe::values(&trainee)));
            }
        }
        probe::bits(&probe::values(&trainee))
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_step_or_a_save_during_an_evaluation_is_refused() {
    let (mut algorithm, mut trainee) = started(rule(), false);
    let (shapes, _) = probe::start();
    let batch = probe::batch(&probe::stream(1, &shapes));
    let context = StepContext::new(0, 1);
    algorithm.update(&mut trainee, &batch, &context).unwrap();
    algorithm.prepare_for_eval(&mut trainee).unwrap();
    // A second call must not lose the training weights.
    algorithm.prepare_for_eval(&mut trainee).unwrap();
    assert!(algorithm.update(&mut trainee, &batch, &context).is_err());
    assert!(algorithm.save(&mut State::new()).is_err());
    algorithm.after_eval(&mut trainee).unwrap();
    algorithm.update(&mut trainee, &batch, &context).unwrap();
}

/// The probe's running mean follows the first parameter, so it tells which weights a pass saw.
#[test]
fn running_statistics_are_those_of_the_evaluation_point() {
    let (shapes, _) = probe::start();
    let (mut algorithm, mut trainee) = started(rule(), true);
    assert!(trainee.has_norm_statistics());
    let mut expected = [0.0f32; 2];
    let blend = |expected: &mut [f32; 2], seen: &[f32]| {
        for (e, s) in expected.iter_mut().zip(seen) {
            *e = 0.5 * *e + 0.5 * s;
        }
    };
    for n in 0..60u64 {
        let y = probe::values(&trainee);
        probe::step(
            &mut algorithm,
            &mut trainee,
            n,
            &probe::stream(n + 1, &shapes),
        );
        if n < 30 {
            blend(&mut expected, &y[0]);
        }
        if (n + 1) % 3 == 0 {
            let x = probe::eval_values(&mut algorithm, &mut trainee);
            blend(&mut expected, &x[0]);
        }
    }
    assert_eq!(trainee.counters().forward_passes, 60 + 20);
    assert_eq!(trainee.counters().work, 60);
    let seen = probe::running_mean(&mut trainee);
    for (s, e) in seen.iter().zip(expected) {
        assert!((s - e).abs() < 1e-6, "{seen:?}, not {expected:?}");
    }

    let (mut plain, mut without) = started(rule(), false);
    assert!(!without.has_norm_statistics());
    for n in 0..12 {
        probe::step(&mut plain, &mut without, n, &probe::stream(n + 1, &shapes));
    }
    assert_eq!(without.counters().forward_passes, 12);
}

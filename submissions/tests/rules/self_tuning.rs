//! Weight Compander against values, limits and invariances of its source.

use crate::probe;
use crate::resume::context;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{Algorithm, PassOptions};
use velodrome_submissions::fused::Fused;
use velodrome_submissions::optimizers::adamw::AdamW;
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;
use velodrome_submissions::self_tuning::weight_compander::{Compander, WeightCompander};

fn flat(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [values.len()]),
        &Device::flex(),
    )
}

fn read(t: Tensor<1>) -> Vec<f32> {
    t.into_data().try_to_vec().unwrap()
}

fn near(a: f32, b: f64, slack: f64) {
    assert!((f64::from(a) - b).abs() <= slack, "{a} is not {b}");
}

const RULE: AdamW = AdamW {
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.0,
};

#[test]
fn the_compander_has_its_values() {
    let map = Compander::new(1.0, 0.5, &Device::flex());
    near(
        read(map.weights(flat(&[0.5])))[0],
        std::f64::consts::FRAC_PI_4,
        1e-7,
    );
    let slopes = read(map.behind(flat(&[0.5, 0.0]), flat(&[1.0, 1.0])).v);
    near(slopes[0], 1.0, 1e-6);
    near(slopes[1], 2.0, 1e-6);
    let v: Vec<f32> = (-400..=400).map(|i| i as f32 * 0.01).collect();
    let w = read(map.weights(flat(&v)));
    assert!(w.windows(2).all(|pair| pair[0] < pair[1]), "increasing");
    let mirrored: Vec<f32> = w.iter().rev().map(|x| -x).collect();
    assert_eq!(w, mirrored, "odd");
    let far = read(map.weights(flat(&[1e30])))[0];
    near(far, std::f64::consts::FRAC_PI_2, 2e-7);
    // The way back, and the limit for weights that the map cannot reach.
    let back = read(map.inverse(flat(&w)));
    assert!(back.iter().zip(&v).all(|(x, y)| (x - y).abs() < 1e-4));
    let limit = read(map.weights(map.inverse(flat(&[5.0]))))[0];
    near(limit, 0.99 * std::f64::consts::FRAC_PI_2, 1e-5);
}

#[test]
fn the_compander_leaves_the_initial_model_and_what_is_no_kernel() {
    let (shapes, initial) = probe::start();
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let options = PassOptions::default();
    WeightCompander::new(&mut trainee, RULE, Constant(0.1), options, (4.0, 1.5), true);
    let values = probe::values(&trainee);
    assert_eq!(values[..2], initial[..2]);
    for (now, before) in values.concat().iter().zip(initial.concat()) {
        near(
            *now,
            f64::from(before),
            1e-6 * f64::from(before.abs()) + 1e-9,
        );
    }
}

#[test]
fn a_wide_compander_is_adamw() {
    let (shapes, initial) = probe::start();
    let run = |wide: bool| {
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let options = PassOptions::default();
        let mut algorithm: Box<dyn Algorithm> = if wide {
            let shape = (1e3, 1.0);
            let schedule = Constant(0.01);
            Box::new(WeightCompander::new(
                &mut trainee,
                RULE,
                schedule,
                options,
                shape,
                false,
            ))
        } else {
            Box::new(ScheduledOptimizer::new(Fused(RULE), Constant(0.01)))
        };
        for n in 0..30 {
            let gradients = probe::stream(n + 1, &shapes);
            probe::step(algorithm.as_mut(), &mut trainee, n, &gradients);
        }
        probe::values(&trainee).concat()
    };
    let (wide, plain) = (run(true), run(false));
    let moved = plain.iter().zip(initial.concat());
    assert!(moved.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max) > 0.02);
    for (x, y) in wide.iter().zip(plain) {
        near(*x, f64::from(y), 1e-4);
    }
}

/// A constant pull outwards at a fixed shape: without the bound the weights would pass it.
#[test]
fn the_compander_bounds_the_weights() {
    let shapes = vec![vec![4, 3]];
    let initial = probe::stream(3, &shapes);
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let options = PassOptions::default();
    let mut algorithm = WeightCompander::new(
        &mut trainee,
        RULE,
        Constant(0.5),
        options,
        (1.0, 1.5),
        false,
    );
    let bound = algorithm.scales()[0] * std::f64::consts::FRAC_PI_2;
    for n in 0..200 {
        probe::step(&mut algorithm, &mut trainee, n, &[vec![-1.0; 12]]);
    }
    let largest = probe::values(&trainee)
        .concat()
        .into_iter()
        .fold(0.0, f32::max);
    assert!(f64::from(largest) < bound, "{largest} against {bound}");
    assert!(
        f64::from(largest) > 0.98 * bound,
        "{largest} against {bound}"
    );
}

#[test]
fn the_compander_learns_its_shape() {
    let shapes = vec![vec![4, 3]];
    let initial = probe::stream(3, &shapes);
    let run = |learn: bool| {
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let options = PassOptions::default();
        let mut algorithm = WeightCompander::new(
            &mut trainee,
            RULE,
            Constant(0.01),
            options,
            (4.0, 1.5),
            learn,
        );
        let before = algorithm.scales()[0];
        // The gradient is the weights' negative: growing `a` lowers the loss.
        for n in 0..5 {
            let outwards: Vec<f32> = initial[0].iter().map(|x| -x).collect();
            probe::step(&mut algorithm, &mut trainee, n, &[outwards]);
        }
        (before, algorithm.scales()[0])
    };
    let (before, after) = run(true);
    // Adam moves log a by the learning rate while its gradient keeps its sign.
    near((after / before).ln() as f32, 0.05, 2e-3);
    let (before, after) = run(false);
    assert_eq!(before, after);
}

#[test]
fn a_kernel_of_zeros_trains() {
    let shapes = vec![vec![4, 3]];
    let mut trainee = probe::trainee(&shapes, &[vec![0.0; 12]], false);
    let submission =
        velodrome_submissions::self_tuning::weight_compander::WeightCompanderSubmission;
    use velodrome_harness::contract::Submission;
    let mut algorithm = submission
        .start(&mut trainee, &context(&submission, 10))
        .unwrap();
    for n in 0..5 {
        let gradients = probe::stream(n + 1, &shapes);
        probe::step(algorithm.as_mut(), &mut trainee, n, &gradients);
    }
    let values = probe::values(&trainee).concat();
    assert!(
        values.iter().all(|x| x.is_finite() && *x != 0.0),
        "{values:?}"
    );
}

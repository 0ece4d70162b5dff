//! Estimates of the curvature, and the rule that uses them.

use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{Algorithm, PassOptions, StepContext, Trainee};
use velodrome_submissions::bowl;
use velodrome_submissions::fused::{Now, step};
use velodrome_submissions::optimizers::curvature::{Diagonal, hutchinson};
use velodrome_submissions::optimizers::sophia::{Estimates, Sophia, SophiaStep};
use velodrome_submissions::schedules::Constant;

fn vector(values: &[f32]) -> Tensor<1> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Tensor::from_data(data, &Device::flex())
}

fn read(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn first(diagonal: Diagonal) -> Vec<f32> {
    read(diagonal.into_iter().next().unwrap().unwrap())
}

/// Three steps of the authors' class in 64 bits: rate 0.01, decay 0.1, betas 0.965 and 0.99, rho 0.04,
/// batch size 100, curvature from the first gradient after the first step.
#[test]
fn sophia_takes_the_published_steps() {
    let rule = SophiaStep {
        beta1: 0.965,
        gamma: 0.04,
        weight_decay: 0.1,
    };
    let gradients = [[0.1, -0.4], [-0.2, 0.3], [0.05, 0.1]];
    let published = [
        [0.989, -1.988],
        [0.998011, -1.981308875],
        [1.007012989, -1.9802578005],
    ];
    let mut p = vector(&[1.0, -2.0]);
    let mut state = [vector(&[0.0; 2]), vector(&[0.0; 2])];
    for (n, (g, published)) in gradients.iter().zip(published).enumerate() {
        let now = Now {
            lr: 0.01,
            time: n + 1,
        };
        (p, state) = step(&rule, now, p, vector(g), state);
        if n == 0 {
            let d = vector(g).square().mul_scalar(100.0);
            state[1] = d.mul_scalar(0.01);
        }
        for (x, y) in read(p.clone()).into_iter().zip(published) {
            assert!(
                (f64::from(x) - y).abs() < 1e-6,
                "step {}: {x}, not {y}",
                n + 1
            );
        }
    }
}

#[test]
fn hutchinson_averages_to_the_diagonal_and_leaves_the_weights() {
    let mut trainee: Trainee = bowl::trainee(&[0.7, -0.2, 0.1]);
    let a = [2.0, 1.0, -0.5, 1.0, 5.0, 0.3, -0.5, 0.3, -1.0];
    let batch = bowl::batch(&a, 3);
    let before = bowl::position(&trainee);
    let mut rng = StepContext::new(3, 1).rng();
    const DRAWS: usize = 400;
    let mut mean = [0.0; 3];
    for _ in 0..DRAWS {
        let options = PassOptions::default();
        let d = hutchinson(&mut trainee, &batch, &options, 1e-2, &mut rng).unwrap();
        for (m, d) in mean.iter_mut().zip(first(d)) {
            *m += f64::from(d) / DRAWS as f64;
        }
    }
    assert_eq!(bowl::position(&trainee), before);
    assert_eq!(trainee.counters().work, 2 * DRAWS as u64);
    // The spread of one draw: the root of the sum of the other entries' squares of the row.
    let spread = [1.25f64.sqrt(), 1.09f64.sqrt(), 0.34f64.sqrt()];
    for ((m, s), d) in mean.into_iter().zip(spread).zip([2.0, 5.0, -1.0]) {
        let allowed = 3.0 * s / (DRAWS as f64).sqrt();
        assert!((m - d).abs() < allowed, "{m}, not {d}, +- {allowed}");
        assert!((m - d).abs() > 1e-6, "the draws do not differ");
    }
}

#[test]
fn sophia_estimates_every_tenth_step() {
    let estimates = Estimates {
        beta2: 0.99,
        interval: 10,
        share: 0.5,
        difference: 1e-3,
    };
    let rule = SophiaStep {
        beta1: 0.965,
        gamma: 0.01,
        weight_decay: 0.1,
    };
    let mut trainee = bowl::trainee(&[1.0, -2.0]);
    let batch = bowl::batch(&[2.0, 1.0, 1.0, 5.0], 2);
    let options = PassOptions::default();
    let mut sophia = Sophia::new(rule, estimates, Constant(0.01), options, &trainee);
    for n in 0..100 {
        let context = StepContext::new(n, 1);
        sophia.update(&mut trainee, &batch, &context).unwrap();
    }
    assert_eq!(trainee.counters().backward_passes, 100 + 2 * 10);
}

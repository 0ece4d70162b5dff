//! Estimates of the curvature, and the rule that uses them.

use crate::softmax_regression;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{Algorithm, PassOptions, StepContext, Trainee};
use velodrome_submissions::bowl;
use velodrome_submissions::fused::{Now, step};
use velodrome_submissions::optimizers::curvature::{Diagonal, draw, gauss_newton, hutchinson};
use velodrome_submissions::optimizers::sophia::{Estimates, Estimator, Sophia, SophiaStep};
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
fn classes_are_drawn_by_their_probabilities() {
    const ROWS: usize = 20_000;
    let probabilities = [0.0f32, 0.5, 0.125, 0.375, 0.0];
    let rows = vector(&probabilities.repeat(ROWS)).reshape([ROWS, 5]);
    let drawn = draw(rows, &mut StepContext::new(3, 1).rng());
    let drawn: Vec<i64> = drawn.into_data().iter::<i64>().collect();
    for (class, p) in (0i64..).zip(probabilities.map(f64::from)) {
        let share = drawn.iter().filter(|d| **d == class).count() as f64 / ROWS as f64;
        let allowed = 3.0 * (p * (1.0 - p) / ROWS as f64).sqrt();
        assert!((share - p).abs() <= allowed, "{class}: {share}, not {p}");
    }
}

/// With inputs `x` and probabilities `p` the diagonal at input `f` and class `k` is the mean of
/// `x_f^2 p_k (1 - p_k)`.
#[test]
fn gauss_newton_averages_to_the_diagonal_and_does_not_see_the_labels() {
    let inputs = [[1.0f32, 0.2], [-0.3, 2.0], [0.1, -1.0], [0.7, 0.6]];
    let weights = [1.0f32, -0.5, 0.3, 0.2, 0.9, -1.0];
    let mut exact = [0.0f64; 6];
    for x in inputs {
        let scores = [0, 1, 2].map(|k| f64::from(x[0] * weights[k] + x[1] * weights[3 + k]));
        let total: f64 = scores.iter().map(|s| s.exp()).sum();
        for f in 0..2 {
            for k in 0..3 {
                let p = scores[k].exp() / total;
                exact[3 * f + k] += f64::from(x[f]).powi(2) * p * (1.0 - p) / 4.0;
            }
        }
    }
    const DRAWS: usize = 6000;
    let run = |labels: &[i32], draws: usize| -> Vec<Vec<f32>> {
        let batch = softmax_regression::batch(&inputs.concat(), 2, labels, vec![0, 1, 2, 3]);
        let mut trainee = softmax_regression::trainee(&weights, 3);
        let mut rng = StepContext::new(5, 1).rng();
        let options = PassOptions {
            label_smoothing: 0.1,
            ..PassOptions::default()
        };
        let drawn = (0..draws)
            .map(|_| first(gauss_newton(&mut trainee, &batch, &options, &mut rng).unwrap()))
            .collect();
        assert_eq!(trainee.counters().backward_passes, draws as u64);
        assert_eq!(trainee.counters().work, 4 * draws as u64);
        assert_eq!(read(trainee.values().remove(0)), weights);
        drawn
    };
    let drawn = run(&[0, 2, 1, 1], DRAWS);
    assert_eq!(drawn[..50], run(&[1, 1, 0, 2], 50));
    for (i, exact) in exact.into_iter().enumerate() {
        let entry = || drawn.iter().map(|d| f64::from(d[i]));
        let mean = entry().sum::<f64>() / DRAWS as f64;
        let variance = entry().map(|d| (d - mean).powi(2)).sum::<f64>() / DRAWS as f64;
        let allowed = 3.0 * (variance / DRAWS as f64).sqrt();
        assert!(
            (mean - exact).abs() < allowed,
            "{mean}, not {exact}, +- {allowed}"
        );
        assert!(allowed < 0.1 * exact, "{allowed} tells little of {exact}");
    }
}

/// Ten estimates in a hundred steps: of one gradient each where the model has class scores, of two
/// where it has none.
#[test]
fn sophia_estimates_every_tenth_step() {
    let rule = SophiaStep {
        beta1: 0.965,
        gamma: 0.01,
        weight_decay: 0.1,
    };
    let bowl = || {
        let batch = bowl::batch(&[2.0, 1.0, 1.0, 5.0], 2);
        (bowl::trainee(&[1.0, -2.0]), batch)
    };
    let regression = || {
        let inputs = [1.0, 0.2, -0.3, 2.0];
        let batch = softmax_regression::batch(&inputs, 2, &[0, 1], vec![0, 1]);
        (
            softmax_regression::trainee(&[0.1, 0.2, 0.3, -0.1], 2),
            batch,
        )
    };
    for (estimator, (mut trainee, batch), passes) in [
        (Estimator::GaussNewton, regression(), 1),
        (Estimator::GaussNewton, bowl(), 2),
        (Estimator::Hutchinson, regression(), 2),
        (Estimator::Hutchinson, bowl(), 2),
    ] {
        let estimates = Estimates {
            estimator,
            beta2: 0.99,
            interval: 10,
            share: 0.5,
            difference: 1e-3,
        };
        let options = PassOptions::default();
        let mut sophia = Sophia::new(rule, estimates, Constant(0.01), options, &trainee);
        for n in 0..100 {
            let context = StepContext::new(n, 1);
            sophia.update(&mut trainee, &batch, &context).unwrap();
        }
        assert_eq!(trainee.counters().backward_passes, 100 + passes * 10);
    }
}

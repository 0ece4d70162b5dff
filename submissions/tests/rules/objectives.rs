//! Objectives against the numbers that their authors' code gives, and against closed forms.

use crate::probe;
use crate::resume::context;
use crate::softmax_regression;
use burn::tensor::{Device, Int, Tensor, TensorData};
use velodrome_harness::contract::{
    Algorithm, Batch, HostBatch, HostField, HostValues, PassOptions, Predictions, State,
    StepContext, Submission, Trainee,
};
use velodrome_submissions::bowl;
use velodrome_submissions::fused::{Fused, Racing};
use velodrome_submissions::objectives::aldr_kl::{Adaptive, AldrKl};
use velodrome_submissions::objectives::ldr_kl::LdrKl;
use velodrome_submissions::objectives::loss_reweighting::{
    LossReweightingSubmission, Reweighting, Strategy, weights,
};
use velodrome_submissions::optimizers::adamw::AdamW;
use velodrome_submissions::optimizers::heavy_ball::HeavyBall;
use velodrome_submissions::schedules::Constant;

fn weighed(losses: &[f32], strategy: Strategy, temperature: f64) -> Vec<f32> {
    let data = TensorData::new(losses.to_vec(), [losses.len()]);
    let losses = Tensor::from_data(data, &Device::flex());
    let weights = weights(losses, strategy, temperature);
    weights.into_data().try_to_vec().unwrap()
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 2e-6, "{found:?} {expected:?}");
    }
}

/// Values of the authors' functions.
#[test]
fn weights_of_four_losses() {
    let losses = [1.0, 2.0, 3.0, 5.0];
    for (strategy, temperature, expected) in [
        (
            Strategy::LinUpper,
            1.0,
            [0.123681, 0.203916, 0.336201, 0.336201],
        ),
        (
            Strategy::Quadratic,
            1.0,
            [0.146300, 0.309717, 0.397684, 0.146300],
        ),
        (
            Strategy::Extremes,
            1.0,
            [0.336201, 0.203916, 0.123681, 0.336201],
        ),
        (
            Strategy::Upper,
            1.0,
            [0.150353, 0.193057, 0.247890, 0.408701],
        ),
        (
            Strategy::LinUpper,
            0.4,
            [0.034656, 0.120960, 0.422192, 0.422192],
        ),
        (Strategy::LinUpper, 1e6, [0.25; 4]),
    ] {
        close(&weighed(&losses, strategy, temperature), &expected);
        // Shifting and scaling the losses changes nothing.
        let moved = losses.map(|l| 3.0 * l + 7.0);
        close(&weighed(&moved, strategy, temperature), &expected);
        close(&weighed(&[2.5; 4], strategy, temperature), &[0.25; 4]);
    }
}

/// Three bowls with matrices 1, 2 and 4 times the identity.
fn bowls() -> Batch {
    let matrices = [1.0f32, 2.0, 4.0].map(|a| [a, 0.0, 0.0, a]).concat();
    let host = HostBatch {
        fields: vec![HostField {
            name: "matrix",
            shape: vec![3, 2, 2],
            values: HostValues::Float(matrices),
        }],
        examples: 3,
        units: 3,
    };
    Batch::from_host(host, vec![0, 1, 2], &Device::flex())
}

/// Gradient descent at rate 0.1 subtracts a tenth of `sum w_i A_i x`, with weights held constant.
#[test]
fn the_gradient_is_the_weighted_sum_of_the_examples_gradients() {
    let descent = HeavyBall {
        momentum: 0.0,
        weight_decay: 0.0,
    };
    let x = [1.0f32, -0.5];
    let square = 1.25f32;
    let w = weighed(
        &[0.5, 1.0, 2.0].map(|a| a * square),
        Strategy::LinUpper,
        1.0,
    );
    let scale = f64::from(w[0] + 2.0 * w[1] + 4.0 * w[2]);
    for (burn_in, scale) in [(0, scale), (1, 7.0 / 3.0)] {
        let mut rule = Reweighting::new(
            Fused(descent),
            Constant(0.1),
            PassOptions::default(),
            (Strategy::LinUpper, 1.0),
            burn_in,
        );
        let mut trainee = bowl::trainee(&x);
        let at = StepContext::new(0, 1);
        rule.update(&mut trainee, &bowls(), &at).unwrap();
        for (found, x) in bowl::position(&trainee).into_iter().zip(x) {
            let expected = f64::from(x) * (1.0 - 0.1 * scale);
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(trainee.counters().work, 3);
    }
}

/// During the burn-in the run is AdamW's, bit for bit; behind it, another.
#[test]
fn reweighting_is_adamw_until_its_burn_in_ends() {
    let run = |submission: &dyn Submission, steps: u64| {
        let mut context = context(submission, 10);
        context.point.0.insert("burn_in_factor".into(), 0.5);
        let mut trainee = bowl::trainee(&[1.0, -0.5]);
        let mut algorithm = submission.start(&mut trainee, &context).unwrap();
        for n in 0..steps {
            let at = StepContext::new(n, 1);
            algorithm.update(&mut trainee, &bowls(), &at).unwrap();
        }
        probe::bits(&probe::values(&trainee))
    };
    let adamw = Racing::<AdamW, 2>::new();
    let reweighting = LossReweightingSubmission;
    assert_eq!(run(&adamw, 5), run(&reweighting, 5));
    assert_ne!(run(&adamw, 9), run(&reweighting, 9));
}

fn rows(scores: &[f32], classes: usize, device: &Device) -> Tensor<2> {
    let n = scores.len();
    let flat = Tensor::<1>::from_data(TensorData::new(scores.to_vec(), [n]), device);
    flat.reshape([n / classes, classes])
}

fn classes(labels: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(labels.to_vec(), [labels.len()]), device)
}

fn predictions(scores: &[f32], number: usize, labels: &[i32], units: usize) -> Predictions {
    let device = Device::flex();
    Predictions {
        logits: rows(scores, number, &device),
        labels: classes(labels, &device),
        units_per_example: units,
        label_smoothing: 0.0,
    }
}

fn read(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

const SCORES: [f32; 4] = [2.0, 0.0, 1.0, -1.0];

fn ldr(scores: &[f32], label: i32, lambda: f64, margin: f64) -> f32 {
    let loss = LdrKl {
        lambda,
        margin,
        normalise: false,
    };
    read(loss.unit_losses(predictions(scores, scores.len(), &[label], 1)))[0]
}

#[test]
fn ldr_kl_has_its_values_and_limits() {
    for (lambda, margin, expected, slack) in [
        (1.0, 0.0, -0.94610466, 1e-6),
        (1e-3, 1.0, 0.0, 1.5e-3),
        // Every exponential is 1 in 32 bits.
        (1e6, 1.0, -0.75, 1e-5),
        (1e3, 1.0, -0.749_656_3, 1e-5),
    ] {
        let found = f64::from(ldr(&SCORES, 0, lambda, margin));
        assert!((found - expected).abs() < slack, "{lambda}: {found}");
    }
    // Both ways to the mean agree where they meet: a spread of one lambda.
    let spread = 3.0;
    let (below, above) = (
        ldr(&SCORES, 0, spread * 0.9999, 0.0),
        ldr(&SCORES, 0, spread * 1.0001, 0.0),
    );
    assert!((below - above).abs() < 2e-4, "{below} {above}");
    // Normalised: the softplus over its mean.
    let loss = LdrKl {
        lambda: 1.0,
        margin: 0.0,
        normalise: true,
    };
    let found = read(loss.unit_losses(predictions(&SCORES, 4, &[0], 1)))[0];
    let soft = SCORES.map(|x| f64::from(x).exp().ln_1p());
    let f = soft.map(|x| x / (soft.iter().sum::<f64>() / 4.0));
    let expected = (f.iter().map(|x| (x - f[0]).exp()).sum::<f64>() / 4.0).ln();
    assert!(
        (f64::from(found) - expected).abs() < 2e-6,
        "{found} {expected}"
    );
}

/// The definition: the largest value over all `p`, on a grid.
#[test]
fn ldr_kl_is_a_maximum_over_mixes() {
    let scores = [0.5f32, -0.3, 0.9];
    let (lambda, margin) = (0.7, 0.1);
    let d = [0.0, -0.8 + margin, 0.4 + margin];
    const N: usize = 400;
    let mut most = f64::NEG_INFINITY;
    for i in 0..=N {
        for j in 0..=N - i {
            let p = [i, j, N - i - j].map(|k| k as f64 / N as f64);
            let value = |(p, d): (f64, f64)| {
                p * d - lambda * if p > 0.0 { p * (3.0 * p).ln() } else { 0.0 }
            };
            most = f64::max(most, p.into_iter().zip(d).map(value).sum());
        }
    }
    let found = f64::from(ldr(&scores, 0, lambda, margin));
    assert!((found - most).abs() < 1e-3, "{found} {most}");
}

/// `softmax(d / lambda)`, less 1 at the label, in both regimes; and finite differences.
#[test]
fn the_gradient_of_ldr_kl_is_a_softmax() {
    let device = Device::flex().autodiff();
    for (lambda, label) in [(0.5, 0), (1.0, 2), (2.0, 1), (10.0, 0), (1e4, 3)] {
        let scores = rows(&SCORES, 4, &device).require_grad();
        let loss = LdrKl {
            lambda,
            margin: 0.1,
            normalise: false,
        };
        let predictions = Predictions {
            logits: scores.clone(),
            labels: classes(&[label], &device),
            units_per_example: 1,
            label_smoothing: 0.0,
        };
        let gradients = loss.unit_losses(predictions).backward();
        let found = read(scores.grad(&gradients).unwrap().reshape([4]));
        let label = label as usize;
        let d = |k: usize| {
            let margin = if k == label { 0.0 } else { 0.1 };
            f64::from(SCORES[k] - SCORES[label]) + margin
        };
        let total: f64 = (0..4).map(|k| (d(k) / lambda).exp()).sum();
        for (k, found) in found.into_iter().enumerate() {
            let at_label = if k == label { 1.0 } else { 0.0 };
            let expected = (d(k) / lambda).exp() / total - at_label;
            assert!((f64::from(found) - expected).abs() < 2e-6, "{k}: {found}");
            let moved = |by: f32| {
                let mut scores = SCORES;
                scores[k] += by;
                f64::from(ldr(&scores, label as i32, lambda, 0.1))
            };
            let slope = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!((slope - expected).abs() < 1e-3, "{k}: {slope} {expected}");
        }
    }
}

fn adaptive(lambda: f64, normalise: bool) -> AldrKl {
    AldrKl {
        lambda,
        alpha: 2.0,
        margin: 0.1,
        normalise,
    }
}

/// Values of the authors' code, for scores whose mean size is 1 already.
#[test]
fn aldr_kl_has_the_authors_values() {
    let device = Device::flex();
    let one = |x: f64| Tensor::full([1], x, &device);
    for scale in [1.0, 3.0] {
        let loss = adaptive(10.0, true);
        let seen = predictions(&SCORES.map(|x| x * scale), 4, &[0], 1);
        let new = loss.temperatures(&seen, one(10.0));
        assert!((read(new.clone())[0] - 9.977_555).abs() < 3e-6);
        let found = read(loss.unit_losses(seen, new))[0];
        assert!((found + 1.366_289_5).abs() < 2e-6, "{found}");
    }
    let loss = adaptive(1.0, true);
    let even = predictions(&[1.0; 4], 4, &[0], 1);
    let new = loss.temperatures(&even, one(1.0));
    assert!((read(new.clone())[0] - 1.0).abs() < 1e-6);
    let found = read(loss.unit_losses(even, new))[0];
    assert!((found - 0.075_921_8).abs() < 1e-6, "{found}");
}

/// The units of an example share its temperature.
#[test]
fn aldr_kl_has_one_temperature_for_each_example() {
    let loss = adaptive(2.0, false);
    let scores = [SCORES, [0.0; 4], [5.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]].concat();
    let now = |n| Tensor::full([n], 1.5, &Device::flex());
    let alone = read(loss.temperatures(&predictions(&scores, 4, &[0, 1, 2, 3], 1), now(4)));
    let pairs = read(loss.temperatures(&predictions(&scores, 4, &[0, 1, 2, 3], 2), now(2)));
    for (pair, alone) in pairs.iter().zip(alone.chunks(2)) {
        assert!((pair - 0.5 * (alone[0] + alone[1])).abs() < 1e-6);
    }
    let at = |temperatures: &[f32], units| {
        let device = Device::flex();
        let n = temperatures.len();
        let temperatures = Tensor::from_data(TensorData::new(temperatures.to_vec(), [n]), &device);
        read(loss.unit_losses(predictions(&scores, 4, &[0, 1, 2, 3], units), temperatures))
    };
    let spread = [pairs[0], pairs[0], pairs[1], pairs[1]];
    close(&at(&pairs, 2), &at(&spread, 1));
}

/// Temperatures follow their examples through any order of the data, and through a checkpoint.
#[test]
fn temperatures_belong_to_their_examples() {
    let inputs = [[1.0f32, 0.2], [-0.3, 2.0], [0.1, -1.0]];
    let labels = [0, 2, 1];
    // A rate of 0 keeps the weights, so that each visit can be computed by itself.
    let start = || {
        let rule = HeavyBall {
            momentum: 0.0,
            weight_decay: 0.0,
        };
        let options = PassOptions::default();
        Adaptive::new(Fused(rule), Constant(0.0), options, adaptive(2.0, false))
    };
    let visit = |algorithm: &mut Adaptive, trainee: &mut Trainee, order: &[usize], n: u64| {
        let x: Vec<f32> = order.iter().flat_map(|&i| inputs[i]).collect();
        let y: Vec<i32> = order.iter().map(|&i| labels[i]).collect();
        let ids = order.iter().map(|&i| [7, 3, 12][i]).collect();
        let batch = softmax_regression::batch(&x, 2, &y, ids);
        let at = StepContext::new(n, 1);
        algorithm.update(trainee, &batch, &at).unwrap();
    };
    let weights = [1.0f32, -0.5, 0.3, 0.2, 0.9, -1.0];
    let run = |orders: [&[usize]; 3]| {
        let mut trainee = softmax_regression::trainee(&weights, 3);
        let mut algorithm = start();
        for (n, order) in orders.into_iter().enumerate() {
            let mut state = State::new();
            algorithm.save(&mut state).unwrap();
            algorithm = start();
            if n > 0 {
                algorithm.load(&state, &trainee).unwrap();
            }
            visit(&mut algorithm, &mut trainee, order, n as u64);
        }
        let mut state = State::new();
        algorithm.save(&mut state).unwrap();
        // Momentum of the six weights, and the temperatures.
        assert_eq!(state.tensor_bytes(), 4 * (6 + 13));
        algorithm.temperatures().to_vec()
    };
    let found = run([&[0, 1, 2], &[0, 1, 2], &[0, 1]]);
    assert_eq!(run([&[0, 1, 2], &[1, 0, 2], &[1, 0]]), found);
    let device = Device::flex();
    for (i, id, visits) in [(0usize, 7, 3), (1, 3, 3), (2, 12, 2)] {
        let x = inputs[i];
        let scores = [0, 1, 2].map(|k| x[0] * weights[k] + x[1] * weights[3 + k]);
        let seen = predictions(&scores, 3, &[0], 1);
        let mut expected = Tensor::full([1], 2.0, &device);
        for _ in 0..visits {
            expected = adaptive(2.0, false).temperatures(&seen, expected);
        }
        assert!((read(expected)[0] - found[id]).abs() < 1e-5, "{id}");
    }
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(id, &t)| { [7, 3, 12].contains(&id) || t == 2.0 })
    );
}

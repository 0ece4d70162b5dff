//! Objectives against the numbers that their authors' code gives, and against closed forms.

use crate::probe;
use crate::resume::context;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::Algorithm;
use velodrome_harness::contract::{
    Batch, HostBatch, HostField, HostValues, PassOptions, StepContext, Submission,
};
use velodrome_submissions::bowl;
use velodrome_submissions::fused::{Fused, Racing};
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

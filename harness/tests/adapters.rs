//! Weight adapters through the contract: a low-rank adapter on a frozen linear map.
#![allow(missing_docs)]

mod support;

use burn::tensor::{Device, Tensor};
use std::sync::Arc;
use support::{FakeWorkload, Grid};
use velodrome_harness::contract::{
    Adapter, Batch, Dataset, ParamKind, PassOptions, Trainee, Workload,
};
use velodrome_harness::race::time::FakeTime;

fn trainee() -> (Trainee, Batch) {
    let time = Arc::new(FakeTime::default());
    let workload = FakeWorkload::new(&time);
    let device = Device::flex();
    let model = workload.build(&device.clone().autodiff()).unwrap();
    let ids: Vec<usize> = (0..16).collect();
    let grid = Grid {
        len: 64,
        time,
        batch_takes: std::time::Duration::ZERO,
    };
    let batch = Batch::from_host(grid.batch(&ids), ids, &device);
    (Trainee::new(model, device, 1), batch)
}

fn numbers(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// `W + A B` with `A` of shape `[2, 1]` at ones and `B` of shape `[1, 1]` at zero.
fn attach(trainee: &mut Trainee) {
    let device = trainee.device();
    trainee.set_trainable(|_| false);
    trainee
        .attach(&mut |info, _| {
            (info.kind == ParamKind::Matrix).then(|| {
                let factors = vec![
                    Tensor::ones([2, 1], &device),
                    Tensor::zeros([1, 1], &device),
                ];
                Adapter::new(factors, |base, factors| {
                    base + factors[0].clone().matmul(factors[1].clone())
                })
            })
        })
        .unwrap();
}

#[test]
fn an_adapter_that_starts_at_zero_changes_nothing_and_only_its_factors_learn() {
    let (mut trainee, batch) = trainee();
    let plain = numbers(trainee.losses(&batch).unwrap());
    assert_eq!(trainee.trainable_parameters(), 3);
    attach(&mut trainee);
    assert_eq!(trainee.params().len(), 4);
    assert_eq!(trainee.trainable_parameters(), 3, "two of A, one of B");
    assert_eq!(numbers(trainee.losses(&batch).unwrap()), plain);

    let before: Vec<Vec<f32>> = trainee.values().into_iter().map(numbers).collect();
    let pass = trainee.gradients(&batch, &PassOptions::default()).unwrap();
    // By hand: with B at zero, dL/dB is A^T dL/dW and dL/dA is zero.
    let gradients = pass.gradients;
    trainee.map(|info, value| match gradients.get(info) {
        Some(gradient) => value - gradient.mul_scalar(0.1),
        None => value,
    });
    let after: Vec<Vec<f32>> = trainee.values().into_iter().map(numbers).collect();
    let params = trainee.params();
    let changed: Vec<bool> = params
        .iter()
        .map(|p| before[p.index] != after[p.index])
        .collect();
    let trainable: Vec<bool> = params.iter().map(|p| p.trainable).collect();
    assert_eq!(trainable.iter().filter(|t| **t).count(), 2);
    for (param, changed) in params.iter().zip(&changed) {
        assert!(param.trainable || !changed, "a frozen parameter moved");
    }
    assert_eq!(changed.iter().filter(|c| **c).count(), 1, "B alone");
    let lower: f32 = numbers(trainee.losses(&batch).unwrap()).iter().sum();
    assert!(lower < plain.iter().sum::<f32>());
}

#[test]
fn a_snapshot_puts_everything_back() {
    let (mut trainee, batch) = trainee();
    attach(&mut trainee);
    let snapshot = trainee.snapshot();
    let plain = numbers(trainee.losses(&batch).unwrap());
    trainee.map(|_, value| value.add_scalar(1.0));
    assert_ne!(numbers(trainee.losses(&batch).unwrap()), plain);
    trainee.restore(&snapshot).unwrap();
    assert_eq!(numbers(trainee.losses(&batch).unwrap()), plain);
}

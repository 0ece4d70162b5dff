//! The Lion-K family: its members against their definitions, each other and their constraints.

use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_submissions::from_scratch;
use velodrome_submissions::fused::Fused;
use velodrome_submissions::optimizers::lion::Lion;
use velodrome_submissions::optimizers::lion_k::ball::LION;
use velodrome_submissions::optimizers::lion_k::group::Group;
use velodrome_submissions::optimizers::lion_k::huber::LionHuber;
use velodrome_submissions::optimizers::lion_k::l2::L2;
use velodrome_submissions::optimizers::lion_k::nuclear::{Nuclear, polar};
use velodrome_submissions::optimizers::lion_k::shrink::LionShrink;
use velodrome_submissions::optimizers::lion_k::top::Top;
use velodrome_submissions::optimizers::lion_k::{Kernel, LionK};

use crate::probe;

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Values after each step.
fn steps<O: Optimizer>(
    rule: &O,
    rate: f64,
    start: &[f32],
    count: u64,
    gradient: impl Fn(u64, &[f32]) -> Vec<f32>,
) -> Vec<Vec<f32>> {
    let shape = [start.len()];
    let (mut p, mut state) = (start.to_vec(), None);
    let mut all = Vec::new();
    for n in 0..count {
        let g = gradient(n, &p);
        let (next, next_state) = rule.step(rate, tensor(&p, shape), tensor(&g, shape), state);
        (p, state) = (read(next), next_state);
        all.push(p.clone());
    }
    all
}

fn lion_k<K: Kernel>(weight_decay: f64, kernel: K) -> LionK<K> {
    LionK {
        beta1: 0.9,
        beta2: 0.99,
        weight_decay,
        kernel,
    }
}

fn lion(weight_decay: f64) -> Fused<Lion, 1> {
    Fused(Lion {
        beta1: 0.9,
        beta2: 0.99,
        weight_decay,
    })
}

fn huber(weight_decay: f64, epsilon: f64) -> Fused<LionHuber, 1> {
    Fused(LionHuber {
        beta1: 0.9,
        beta2: 0.99,
        weight_decay,
        epsilon,
    })
}

fn shrink(threshold: f64) -> Fused<LionShrink, 1> {
    Fused(LionShrink {
        beta1: 0.9,
        beta2: 0.99,
        weight_decay: 0.1,
        threshold,
    })
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .fold(0.0, |most, (x, y)| most.max((x - y).abs()))
}

fn noise(n: u64, _p: &[f32]) -> Vec<f32> {
    probe::stream(n + 1, &[vec![8]]).concat()
}

/// From a transcription of the equations in 64 bits.
#[test]
fn three_steps_equal_those_in_64_bits() {
    let given = |n: u64, _: &[f32]| [[0.1, -0.4], [-0.2, 0.3], [0.05, 0.1]][n as usize].to_vec();
    let expected = [
        [0.9965746, -1.9882986],
        [1.0014397, -1.9944122],
        [0.9963514, -2.0015445],
    ];
    let plain = lion_k(0.1, L2 { rescale: false });
    let found = steps(&plain, 0.01, &[1.0, -2.0], 3, given);
    assert!(
        apart(&found.concat(), &expected.concat()) < 1e-6,
        "{found:?}"
    );
    let expected = [
        [0.997, -1.99],
        [0.999823, -1.99329],
        [0.998_005, -1.9931239],
    ];
    let found = steps(&huber(0.1, 0.05), 0.01, &[1.0, -2.0], 3, given);
    assert!(
        apart(&found.concat(), &expected.concat()) < 1e-6,
        "{found:?}"
    );
}

#[test]
fn members_become_lion_and_momentum_at_their_ends() {
    let start = noise(99, &[]);
    let lion = steps(&lion(0.1), 0.01, &start, 30, noise).concat();
    let top = |share| steps(&lion_k(0.1, Top { share }), 0.01, &start, 30, noise).concat();
    assert_eq!(top(1.0), lion);
    assert!(apart(&top(0.5), &lion) > 1e-3);
    assert_eq!(steps(&shrink(0.0), 0.01, &start, 30, noise).concat(), lion);
    let small = steps(&huber(0.1, 1e-9), 0.01, &start, 30, noise).concat();
    assert!(apart(&small, &lion) < 1e-6);
    // Huber's far end: doubling the gradients doubles the way.
    let moved = |factor: f32| {
        let g = |n: u64, p: &[f32]| noise(n, p).iter().map(|x| factor * x).collect();
        steps(&huber(0.0, 100.0), 0.01, &[0.0; 8], 30, g).concat()
    };
    let doubled: Vec<f32> = moved(1.0).iter().map(|x| 2.0 * x).collect();
    assert!(apart(&doubled, &moved(2.0)) < 1e-7);
    // The dead zone moves nothing; decay alone is left.
    let decayed = steps(&shrink(10.0), 0.01, &start, 1, noise).concat();
    let expected: Vec<f32> = start.iter().map(|x| 0.999 * x).collect();
    assert!(apart(&decayed, &expected) < 1e-6);
}

/// The least of `|x - a|^2 / 2` under the constraint that weight decay sets.
#[test]
fn quadratics_end_at_the_constrained_minimum() {
    let a = [3.0f32, -0.5];
    let towards = move |_: u64, p: &[f32]| vec![p[0] - a[0], p[1] - a[1]];
    let end = |found: Vec<Vec<f32>>| found.last().unwrap().clone();
    let found = end(steps(&lion(0.5), 1e-3, &[0.0, 0.0], 20_000, towards));
    assert!(apart(&found, &[2.0, -0.5]) < 0.01, "box: {found:?}");
    let l2 = lion_k(0.5, L2 { rescale: false });
    let found = end(steps(&l2, 1e-3, &[0.0, 0.0], 20_000, towards));
    let length = (9.25f32).sqrt();
    let expected = [2.0 * 3.0 / length, 2.0 * -0.5 / length];
    assert!(apart(&found, &expected) < 0.02, "ball: {found:?}");
}

#[test]
fn subgradients_are_those_of_the_definitions() {
    let top = |values: &[f32], share: f64| {
        read(Top { share }.subgradient(tensor(values, [values.len()])))
    };
    assert_eq!(top(&[0.1, -3.0, 2.0, 0.0], 0.5), [0.0, -1.0, 1.0, 0.0]);
    // Three compete for one place behind the largest.
    let third = 1.0 / 3.0;
    assert_eq!(
        top(&[1.0, -1.0, 5.0, 1.0], 0.5),
        [third, -third, 1.0, third]
    );
    assert_eq!(top(&[0.0, 0.0], 1.0), [0.0, 0.0]);
    assert!(top(&[1.0, f32::NAN], 1.0)[1].is_nan());

    let l2 = L2 { rescale: false };
    // Also where squares leave the range of 32 bits.
    for size in [1.0f32, 1e-30, 1e30] {
        let found = read(l2.subgradient(tensor(&[3.0 * size, -4.0 * size], [2])));
        assert!(apart(&found, &[0.6, -0.8]) < 1e-6, "{found:?}");
    }
    assert_eq!(read(l2.subgradient(tensor(&[0.0, 0.0], [2]))), [0.0, 0.0]);

    // Columns of a matrix, first axis of a kernel.
    let group = Group { rescale: false };
    let found = read(group.subgradient(tensor(&[3.0, 0.0, -4.0, 2.0], [2, 2])));
    assert!(apart(&found, &[0.6, 0.0, -0.8, 1.0]) < 1e-6, "{found:?}");
    let found = read(group.subgradient(tensor(&[3.0, -4.0, 0.0, 2.0], [2, 1, 2, 1])));
    assert!(apart(&found, &[0.6, -0.8, 0.0, 1.0]) < 1e-6, "{found:?}");
    let rescaled = Group { rescale: true };
    let found = read(rescaled.subgradient(tensor(&[2.0, 0.0, 0.0, 0.0], [4])));
    assert_eq!(found, [2.0, 0.0, 0.0, 0.0]);
}

#[test]
fn the_polar_factor_has_singular_values_of_one() {
    for shape in [[5, 9], [9, 5], [6, 6]] {
        let values = probe::stream(3, &[shape.to_vec()]).concat();
        // A tall factor has orthonormal columns, a wide one orthonormal rows.
        let u = polar(tensor(&values, shape));
        let u = if shape[0] > shape[1] {
            u.transpose()
        } else {
            u
        };
        let n = u.dims()[0];
        let gram = read(u.clone().matmul(u.transpose()));
        let identity: Vec<f32> = (0..n * n).map(|i| f32::from(i % (n + 1) == 0)).collect();
        assert!(apart(&gram, &identity) < 1e-4, "{shape:?}: {gram:?}");
    }
    // Symmetric and positive: the factor is the identity.
    let found = read(polar(tensor(&[2.0, 1.0, 1.0, 3.0], [2, 2])));
    assert!(apart(&found, &[1.0, 0.0, 0.0, 1.0]) < 1e-4, "{found:?}");
    // A zero matrix stays one.
    assert_eq!(read(polar(tensor(&[0.0; 6], [2, 3]))), [0.0; 6]);
    // Without rescaling the step's singular values are the rate.
    let plain = lion_k(0.0, Nuclear { rescale: false });
    let (p, g) = (
        tensor(&[0.0; 4], [2, 2]),
        tensor(&[2.0, 1.0, 1.0, 3.0], [2, 2]),
    );
    let (next, _) = plain.step(0.01, p, g, None);
    assert!(apart(&read(next), &[-0.01, 0.0, 0.0, -0.01]) < 1e-6);
}

#[test]
fn iterates_enter_the_balls_that_the_manuals_name() {
    let members = from_scratch()
        .into_iter()
        .filter(|s| s.describe().name.starts_with("lion_k_"));
    let mut checked = 0;
    for member in members {
        let name = member.describe().name;
        let claims = member.claims();
        assert!(!claims.is_empty(), "{name}");
        for claim in claims {
            let (holds, found) = (claim.check)().unwrap();
            assert!(holds, "{name}: {}: {found}", claim.statement);
        }
        checked += 1;
    }
    assert_eq!(checked, 6);
    let (holds, found) = (LION.check)().unwrap();
    assert!(holds, "lion: {found}");
}

/// The check can fail: half the decay has twice the box, and plain momentum has none.
#[test]
fn iterates_of_other_rules_do_not() {
    use velodrome_submissions::optimizers::lion_k::ball::{DECAY, enters, unit_box};
    let (holds, found) = enters(lion(DECAY / 2.0), &[unit_box()]).unwrap();
    assert!(!holds, "{found}");
    let (holds, found) = enters(lion_k(DECAY, L2 { rescale: true }), &[unit_box()]).unwrap();
    assert!(!holds, "{found}");
}

//! Shampoo: against its equations in 64 bits, closed forms, blocks.

use crate::probe;
use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::{DMatrix, SymmetricEigen};
use std::ops::Range;
use velodrome_harness::contract::{Algorithm, State, Trainee};
use velodrome_submissions::optimizers::shampoo::{Shampoo, ShampooState};
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;

pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

pub fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    tensor(probe::stream(seed, &[shape.to_vec()]).concat(), shape)
}

pub fn read<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec::<f32>().unwrap()
}

/// Largest difference of entries.
pub fn apart<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f32 {
    let pairs = read(a).into_iter().zip(read(b));
    pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// In 64 bits on the host.
pub fn wide(tensor: &Tensor<2>) -> DMatrix<f64> {
    let [rows, columns] = tensor.dims();
    DMatrix::from_row_iterator(rows, columns, read(tensor).into_iter().map(f64::from))
}

pub fn narrow(matrix: &DMatrix<f64>) -> Tensor<2> {
    let values = matrix.transpose().iter().map(|&x| x as f32).collect();
    tensor(values, [matrix.nrows(), matrix.ncols()])
}

/// `(matrix + share largest-eigenvalue I)^power`, and what was added.
pub fn power(matrix: &DMatrix<f64>, power: f64, share: f64) -> (DMatrix<f64>, f64) {
    let found = SymmetricEigen::new(matrix.clone());
    let added = share * found.eigenvalues.max();
    let values = found.eigenvalues.map(|x| (x + added).powf(power));
    let vectors = &found.eigenvectors;
    (
        vectors * DMatrix::from_diagonal(&values) * vectors.transpose(),
        added,
    )
}

/// The weights after `steps` gradients at a rate of 0.01, and the state.
pub fn run<R: Optimizer, const D: usize>(
    rule: &R,
    start: Tensor<D>,
    steps: u64,
    gradient: impl Fn(u64) -> Tensor<D>,
) -> (Tensor<D>, R::State<D>) {
    let (mut p, mut state) = (start, None);
    for n in 0..steps {
        (p, state) = rule.step(0.01, p, gradient(n), state);
    }
    (p, state.unwrap())
}

fn shampoo() -> Shampoo {
    Shampoo {
        beta1: 0.8,
        beta2: 0.95,
        epsilon: 1e-8,
        matrix_epsilon: 1e-6,
        weight_decay: 0.1,
        block_size: 100,
        merge_limit: 1,
        max_side: 1000,
        frequency: 3,
        start: 7,
    }
}

/// The rule for a matrix in one block, in 64 bits.
fn exact(
    rule: Shampoo,
    start: Tensor<2>,
    steps: u64,
    gradient: impl Fn(u64) -> Tensor<2>,
) -> Tensor<2> {
    let mut p = wide(&start);
    let (rows, columns) = p.shape();
    let zeros = DMatrix::<f64>::zeros(rows, columns);
    let (mut v, mut m, mut m_graft) = (zeros.clone(), zeros.clone(), zeros);
    let (mut left, mut right) = (
        DMatrix::identity(rows, rows) * rule.matrix_epsilon,
        DMatrix::identity(columns, columns) * rule.matrix_epsilon,
    );
    let (mut p_left, mut p_right) = (left.clone(), right.clone());
    let (b1, b2) = (rule.beta1, rule.beta2);
    for n in 0..steps {
        let g = wide(&gradient(n));
        left = left * b2 + &g * g.transpose() * (1.0 - b2);
        right = right * b2 + g.transpose() * &g * (1.0 - b2);
        if n.is_multiple_of(rule.frequency as u64) {
            p_left = power(&left, -0.25, rule.matrix_epsilon).0;
            p_right = power(&right, -0.25, rule.matrix_epsilon).0;
        }
        let s = &g / g.norm();
        v = v * b2 + s.component_mul(&s) * (1.0 - b2);
        let d = s.zip_map(&v, |s, v| s / (v.sqrt() + rule.epsilon));
        let q = &p_left * &g * &p_right;
        let turned = &q * (d.norm() / q.norm()) + &p * rule.weight_decay;
        let d = d + &p * rule.weight_decay;
        m_graft = m_graft * b1 + &d * (1.0 - b1);
        m = m * b1 + &turned * (1.0 - b1);
        let step = match n < rule.start as u64 {
            true => &m_graft * b1 + d * (1.0 - b1),
            false => &m * b1 + turned * (1.0 - b1),
        };
        p -= step * 0.01;
    }
    narrow(&p)
}

#[test]
fn shampoo_follows_its_equations() {
    for shape in [[6, 4], [3, 8]] {
        let gradient = |n| random(n + 2, shape);
        for steps in [7, 30] {
            let expected = exact(shampoo(), random(1, shape), steps, gradient);
            let (p, state) = run(&shampoo(), random(1, shape), steps, gradient);
            assert!(
                apart(&p, &expected) < 2e-5,
                "{shape:?} {}",
                apart(&p, &expected)
            );
            assert_eq!(state.time, steps as usize);
        }
        // Each part matters: another start, frequency or ridge leads elsewhere.
        let expected = exact(shampoo(), random(1, shape), 30, gradient);
        for other in [
            Shampoo {
                start: 8,
                ..shampoo()
            },
            Shampoo {
                frequency: 4,
                ..shampoo()
            },
            Shampoo {
                matrix_epsilon: 0.1,
                ..shampoo()
            },
        ] {
            let (p, _) = run(&other, random(1, shape), 30, gradient);
            assert!(apart(&p, &expected) > 1e-3, "{other:?}");
        }
    }
}

#[test]
fn a_diagonal_gradient_gets_rmsprops_direction() {
    // Both roots of order 4 together divide by the root of the average of squares: with gradients of
    // the same length, whose normalized form is proportional, that is RMSProp itself.
    let rule = Shampoo {
        matrix_epsilon: 1e-12,
        weight_decay: 0.0,
        frequency: 1,
        start: 1,
        ..shampoo()
    };
    let gradient = |n: u64| {
        let angle = 0.3 + 0.7 * n as f32;
        let d = [angle.sin(), 0.0, 0.0, angle.cos()];
        tensor(d.to_vec(), [2, 2])
    };
    let (p, state) = run(&rule, random(1, [2, 2]), 25, gradient);
    let never = Shampoo {
        start: 1000,
        ..rule
    };
    let (q, plain) = run(&never, random(1, [2, 2]), 25, gradient);
    assert!(apart(&p, &q) < 1e-5, "{}", apart(&p, &q));
    assert!(apart(&state.momentum, &plain.graft_momentum) < 1e-4);
    // Turned by a rotation the gradients are no longer diagonal: RMSProp walks elsewhere.
    let turn = tensor(vec![0.8, -0.6, 0.6, 0.8], [2, 2]);
    let turned = |n| turn.clone().matmul(gradient(n));
    let (p, _) = run(&rule, random(1, [2, 2]), 25, turned);
    let (q, _) = run(&never, random(1, [2, 2]), 25, turned);
    assert!(apart(&p, &q) > 1e-2);
}

#[test]
fn a_vector_has_one_root_of_order_two() {
    let rule = Shampoo {
        weight_decay: 0.0,
        beta1: 0.0,
        frequency: 1,
        start: 1,
        ..shampoo()
    };
    let gradient = |n| random(n + 2, [5]);
    let before = run(&rule, random(1, [5]), 11, gradient).0;
    let (after, state) = run(&rule, random(1, [5]), 12, gradient);
    let root = power(&wide(&state.factors[0]), -0.5, 1e-6).0;
    let step = wide(&(before - after).reshape([5, 1]));
    let direction = root * wide(&gradient(11).reshape([5, 1]));
    let cosine = step.dot(&direction) / step.norm() / direction.norm();
    assert!(cosine > 0.999_99, "{cosine}");
}

#[test]
fn a_block_takes_the_step_that_it_takes_alone() {
    // Only one block of nine has a gradient.
    let rule = Shampoo {
        block_size: 3,
        weight_decay: 0.0,
        ..shampoo()
    };
    let inner = |n: u64| random(n + 2, [3, 2]);
    let outer = |n: u64| {
        let mut values = vec![0.0; 8 * 8];
        let inside = read(&inner(n));
        for (i, row) in inside.chunks(2).enumerate() {
            values[(3 + i) * 8 + 6..][..2].copy_from_slice(row);
        }
        tensor(values, [8, 8])
    };
    let zeros = |shape| Tensor::<2>::zeros(shape, &Device::flex());
    let (alone, _) = run(&rule, zeros([3, 2]), 20, inner);
    let (all, state): (_, ShampooState<2>) = run(&rule, zeros([8, 8]), 20, outer);
    assert_eq!(state.factors.len(), 2 * 9);
    let block = all.clone().narrow(0, 3, 3).narrow(1, 6, 2);
    assert!(apart(&block, &alone) < 1e-5, "{}", apart(&block, &alone));
    let total: f32 = read(&all).iter().map(|x| x.abs()).sum();
    let inside: f32 = read(&block).iter().map(|x| x.abs()).sum();
    assert_eq!(total, inside);
    // In one block the zeros change nothing either, but the ridge; a full gradient tells them apart.
    let gradient = |n| random(n + 2, [8, 8]);
    let (cut, _) = run(&rule, zeros([8, 8]), 20, gradient);
    let (whole, _) = run(&shampoo(), zeros([8, 8]), 20, gradient);
    assert!(apart(&cut, &whole) > 1e-3);
}

#[test]
fn long_tensors_take_the_graft_and_the_beginning_takes_it_for_all() {
    let rule = shampoo();
    let gradient = |n| random(n + 2, [6, 4]);
    let long = Shampoo {
        max_side: 5,
        ..rule
    };
    let (p, state) = run(&long, random(1, [6, 4]), 30, gradient);
    assert!(state.factors.is_empty());
    let never = Shampoo {
        start: 1000,
        ..rule
    };
    assert_eq!(
        read(&p),
        read(&run(&never, random(1, [6, 4]), 30, gradient).0)
    );
    let (seven, _) = run(&rule, random(1, [6, 4]), 7, gradient);
    assert_eq!(
        read(&seven),
        read(&run(&never, random(1, [6, 4]), 7, gradient).0)
    );
}

#[test]
fn a_gradient_of_zeros_or_without_end_does_not_break_the_roots() {
    let rule = Shampoo {
        weight_decay: 0.0,
        ..shampoo()
    };
    let start = random(1, [4, 3]);
    let (p, _) = run(&rule, start.clone(), 20, |_| {
        Tensor::zeros([4, 3], &Device::flex())
    });
    assert_eq!(read(&p), read(&start));
    let (_, state) = run(&rule, start, 4, |n| {
        let g = random(n + 2, [4, 3]);
        if n == 3 { g.mul_scalar(f32::NAN) } else { g }
    });
    assert!(state.roots.iter().flat_map(read).all(|x| x.is_finite()));
}

#[test]
fn shampoo_has_the_stated_size() {
    let rule = Shampoo {
        block_size: 128,
        merge_limit: 128,
        ..shampoo()
    };
    assert_eq!(
        rule.state_bytes(&[100, 60]),
        12 * 6000 + 8 * (100 * 100 + 60 * 60)
    );
    // 2 by 1 blocks: 128 and 72 rows.
    assert_eq!(
        rule.state_bytes(&[200, 60]),
        12 * 12_000 + 8 * (128 * 128 + 72 * 72 + 2 * 60 * 60)
    );
    // Merged: a vector of 96.
    assert_eq!(rule.state_bytes(&[8, 12]), 12 * 96 + 8 * 96 * 96);
    assert_eq!(rule.state_bytes(&[2000, 3]), 12 * 6000);
}

#[test]
fn shampoo_resumes_within_its_roots() {
    // The common test ends before roots take part.
    let rule = Shampoo {
        merge_limit: 6,
        block_size: 3,
        frequency: 4,
        ..shampoo()
    };
    let new = || ScheduledOptimizer::new(rule, Constant(0.01));
    resumes(new);
}

/// Whether 30 steps equal 14 of them and 16 in another process.
pub fn resumes(new: impl Fn() -> ScheduledOptimizer) {
    let (shapes, initial) = probe::start();
    let advance = |algorithm: &mut ScheduledOptimizer, trainee: &mut Trainee, steps: Range<u64>| {
        for n in steps {
            probe::step(algorithm, trainee, n, &probe::stream(n + 1, &shapes));
        }
        probe::values(trainee)
    };
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let mut algorithm = new();
    let middle = advance(&mut algorithm, &mut trainee, 0..14);
    let mut state = State::new();
    algorithm.save(&mut state).unwrap();
    let straight = advance(&mut algorithm, &mut trainee, 14..30);
    let again = |restore: bool| {
        let mut trainee = probe::trainee(&shapes, &middle, false);
        let mut algorithm = new();
        if restore {
            algorithm.load(&state, &trainee).unwrap();
        }
        advance(&mut algorithm, &mut trainee, 14..30)
    };
    assert_eq!(probe::bits(&again(true)), probe::bits(&straight));
    assert_ne!(probe::bits(&again(false)), probe::bits(&straight));
}

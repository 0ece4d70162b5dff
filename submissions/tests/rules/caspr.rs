//! CASPR Adaptive: against the entry's equations in 64 bits, blocks, layouts.

use crate::shampoo::{apart, narrow, power, random, read, resumes, run, tensor, wide};
use burn::tensor::{Device, Tensor};
use nalgebra::DMatrix;
use velodrome_harness::contract::{Hints, Point};
use velodrome_submissions::fused::{Elementwise, Fused};
use velodrome_submissions::optimizers::caspr::{Caspr, CasprState};
use velodrome_submissions::optimizers::nadamw::NAdamW;
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;

fn caspr() -> Caspr {
    Caspr {
        beta1: 0.8,
        beta2: 0.95,
        epsilon: 1e-8,
        matrix_epsilon: 1e-4,
        weight_decay: 0.1,
        block_size: 100,
        max_side: 1000,
        frequency: 4,
        start: 9,
    }
}

/// The rule for a matrix in one block, in 64 bits. As the entry has it: `R` is rescaled at the step
/// after a refresh, from the `L` of the refresh before and its ridge.
fn exact(
    rule: Caspr,
    start: Tensor<2>,
    steps: u64,
    gradient: impl Fn(u64) -> Tensor<2>,
) -> Tensor<2> {
    let mut p = wide(&start);
    let (rows, columns) = p.shape();
    let eye = |n: usize| DMatrix::<f64>::identity(n, n);
    let (mut left, mut right) = (eye(rows) * rule.matrix_epsilon, eye(columns));
    let mut last = left.clone();
    let (mut p_left, mut p_right) = (eye(rows), eye(columns));
    let mut m = DMatrix::<f64>::zeros(rows, columns);
    let mut v = m.clone();
    let (b1, b2) = (rule.beta1, rule.beta2);
    for t in 1..=steps {
        let g = wide(&gradient(t - 1));
        m = m * b1 + &g * (1.0 - b1);
        v = v * b2 + g.component_mul(&g) * (1.0 - b2);
        if t > 1 && (t - 1).is_multiple_of(rule.frequency as u64) {
            let (_, added) = power(&last, -0.5, rule.matrix_epsilon);
            let regular = &last + eye(rows) * added;
            right *= (&p_left * regular * &p_left).trace() / rows as f64;
            last = left.clone();
        }
        left = left * b2 + &g * g.transpose() * (1.0 - b2);
        let seen = &p_left * &g;
        right = right * b2 + seen.transpose() * &seen * ((1.0 - b2) / rows as f64);
        if t.is_multiple_of(rule.frequency as u64) {
            p_left = power(&left, -0.5, rule.matrix_epsilon).0;
            p_right = power(&right, -0.5, rule.matrix_epsilon).0;
        }
        let ahead = (&m * b1 + &g * (1.0 - b1)) / (1.0 - b1.powi(t as i32));
        let below = v.map(|v| (v / (1.0 - b2.powi(t as i32))).sqrt() + rule.epsilon);
        let plain = ahead.component_div(&below);
        let turned = &p_left * ahead * &p_right;
        let step = match t > rule.start as u64 {
            true => &turned * (plain.norm() / turned.norm()),
            false => plain,
        };
        p = &p * (1.0 - 0.01 * rule.weight_decay) - step * 0.01;
    }
    narrow(&p)
}

#[test]
fn caspr_follows_its_equations() {
    for shape in [[6, 4], [3, 8]] {
        let gradient = |n| random(n + 2, shape);
        for steps in [9, 40] {
            let expected = exact(caspr(), random(1, shape), steps, gradient);
            let (p, state) = run(&caspr(), random(1, shape), steps, gradient);
            assert!(
                apart(&p, &expected) < 5e-5,
                "{shape:?} {}",
                apart(&p, &expected)
            );
            assert_eq!(state.time, steps as usize);
        }
        // Each part matters: another start, frequency or ridge leads elsewhere.
        let expected = exact(caspr(), random(1, shape), 40, gradient);
        for other in [
            Caspr {
                start: 10,
                ..caspr()
            },
            Caspr {
                frequency: 5,
                ..caspr()
            },
            Caspr {
                matrix_epsilon: 0.1,
                ..caspr()
            },
        ] {
            let (p, _) = run(&other, random(1, shape), 40, gradient);
            assert!(apart(&p, &expected) > 1e-3, "{other:?}");
        }
    }
}

#[test]
fn the_beginning_vectors_and_long_matrices_are_nadamws() {
    let point: Point = crate::probe::point([
        ("beta1", 0.8),
        ("beta2", 0.95),
        ("epsilon", 1e-8),
        ("weight_decay", 0.1),
    ]);
    let hints = Hints {
        steps: 0,
        batch_size: 1,
    };
    let nadamw = Fused(NAdamW::new(&point, &hints).unwrap());
    let gradient = |n| random(n + 2, [6, 4]);
    let expected = |steps| run(&nadamw, random(1, [6, 4]), steps, gradient).0;
    let (p, _) = run(&caspr(), random(1, [6, 4]), 9, gradient);
    assert!(apart(&p, &expected(9)) < 1e-6);
    let (p, _) = run(&caspr(), random(1, [6, 4]), 10, gradient);
    assert!(apart(&p, &expected(10)) > 1e-3);
    let long = Caspr {
        max_side: 5,
        ..caspr()
    };
    let (p, state) = run(&long, random(1, [6, 4]), 30, gradient);
    assert!(state.matrices.is_empty() && apart(&p, &expected(30)) < 1e-6);
    let vector = |n| gradient(n).reshape([24]);
    let (p, state) = run(&caspr(), random(1, [6, 4]).reshape([24]), 30, vector);
    assert!(state.matrices.is_empty());
    assert!(apart(&p.reshape([6, 4]), &expected(30)) < 1e-6);
}

#[test]
fn a_convolution_is_the_matrix_of_its_inputs_by_its_outputs() {
    let gradient = |n| random(n + 2, [4, 2, 3, 1]);
    let matrix = |x: Tensor<4>| -> Tensor<2> { x.reshape([4, 6]).transpose() };
    let (p, _) = run(&caspr(), random(1, [4, 2, 3, 1]), 30, gradient);
    let (q, _) = run(&caspr(), matrix(random(1, [4, 2, 3, 1])), 30, |n| {
        matrix(gradient(n))
    });
    assert!(apart(&matrix(p.clone()), &q) < 1e-6);
    // The sides are not alike: whitening starts from the left.
    let other = |x: Tensor<4>| -> Tensor<2> { x.reshape([4, 6]) };
    let (q, _) = run(&caspr(), other(random(1, [4, 2, 3, 1])), 30, |n| {
        other(gradient(n))
    });
    assert!(apart(&other(p), &q) > 1e-4);
}

#[test]
fn a_block_of_caspr_takes_the_step_that_it_takes_alone() {
    let rule = Caspr {
        block_size: 3,
        weight_decay: 0.0,
        ..caspr()
    };
    let inner = |n: u64| random(n + 2, [2, 3]);
    let outer = |n: u64| {
        let mut values = vec![0.0; 8 * 7];
        for (i, row) in read(&inner(n)).chunks(3).enumerate() {
            values[(6 + i) * 7 + 3..][..3].copy_from_slice(row);
        }
        tensor(values, [8, 7])
    };
    let zeros = |shape| Tensor::<2>::zeros(shape, &Device::flex());
    let (alone, _) = run(&rule, zeros([2, 3]), 30, inner);
    let (all, state): (_, CasprState<2>) = run(&rule, zeros([8, 7]), 30, outer);
    assert_eq!(state.blocks().len(), 9);
    let block = all.clone().narrow(0, 6, 2).narrow(1, 3, 3);
    assert!(apart(&block, &alone) < 1e-5, "{}", apart(&block, &alone));
    let size = |x: &Tensor<2>| read(x).iter().map(|x| x.abs()).sum::<f32>();
    assert!(size(&block) > 0.1 && (size(&all) - size(&block)).abs() < 1e-6);
}

#[test]
fn a_refresh_turns_the_left_average_into_whitened_ones() {
    // At a refresh P L^ P is the identity, up to rounding.
    let gradient = |n| random(n + 2, [5, 7]);
    let (_, state) = run(&caspr(), random(1, [5, 7]), 24, gradient);
    let block = &state.blocks()[0];
    let root = wide(&block.left_root);
    let white = &root * wide(&block.last_left) * &root;
    assert!((white - DMatrix::identity(5, 5)).amax() < 1e-3);
    // The right root is not that of the plain products: it follows the whitened ones.
    let (_, other) = run(
        &Caspr {
            frequency: 1000,
            ..caspr()
        },
        random(1, [5, 7]),
        24,
        gradient,
    );
    assert!(apart(&block.right, &other.blocks()[0].right) > 1e-2);
}

#[test]
fn zeros_and_nothing_finite_leave_the_roots_sound() {
    let rule = Caspr {
        weight_decay: 0.0,
        ..caspr()
    };
    let start = random(1, [4, 3]);
    let zeros = |_| Tensor::zeros([4, 3], &Device::flex());
    let (p, _) = run(&rule, start.clone(), 20, zeros);
    assert_eq!(read(&p), read(&start));
    let (_, state) = run(&rule, start, 8, |n| {
        let g = random(n + 2, [4, 3]);
        if n == 7 { g.mul_scalar(f32::NAN) } else { g }
    });
    let block = &state.blocks()[0];
    let roots = [&block.left_root, &block.right_root];
    assert!(roots.into_iter().flat_map(read).all(|x| x.is_finite()));
}

#[test]
fn caspr_has_the_stated_size() {
    let rule = Caspr {
        block_size: 128,
        ..caspr()
    };
    assert_eq!(
        rule.state_bytes(&[100, 60]),
        8 * 6000 + 12 * 100 * 100 + 8 * 60 * 60
    );
    // 2 by 1 blocks; the inputs are the rows.
    assert_eq!(
        rule.state_bytes(&[60, 8, 5, 5]),
        8 * 12_000 + 12 * (128 * 128 + 72 * 72) + 8 * 2 * 60 * 60
    );
    assert_eq!(rule.state_bytes(&[300]), 2400);
}

#[test]
fn caspr_resumes_within_its_roots() {
    let rule = Caspr {
        block_size: 3,
        ..caspr()
    };
    resumes(|| ScheduledOptimizer::new(rule, Constant(0.01)));
}

//! The rules that precondition with matrices: bases, roots, grafts, projections.

use crate::probe;
use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use velodrome_harness::contract::Point;
use velodrome_submissions::linalg::{self, Blocks, Ridge};
use velodrome_submissions::optimizers::galore::{GaLore, Projection};
use velodrome_submissions::optimizers::soap::{Beginning, Soap, SoapState};
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;

fn matrix(values: &[f32], rows: usize, columns: usize) -> Tensor<2> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [rows, columns]),
        &Device::flex(),
    )
}

fn read<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec::<f32>().unwrap()
}

fn random(seed: u64, rows: usize, columns: usize) -> Tensor<2> {
    matrix(
        &probe::stream(seed, &[vec![rows, columns]])[0],
        rows,
        columns,
    )
}

fn distance<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f32 {
    let pairs = read(a).into_iter().zip(read(b));
    pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// `||Q^T Q - I||`, Frobenius.
fn skew(basis: &Tensor<2>) -> f32 {
    let gram = basis.clone().transpose().matmul(basis.clone());
    let n = basis.dims()[1];
    let off = gram - Tensor::eye(n, &Device::flex());
    read(&off).iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[test]
fn decompositions_rebuild_their_matrices() {
    let x = random(3, 9, 9);
    let square = x.clone().matmul(x.transpose());
    let found = linalg::eigen(linalg::to_host(square.clone()).unwrap()).unwrap();
    assert!(found.values.is_sorted_by(|a, b| a >= b));
    let values = nalgebra::DMatrix::from_diagonal(&found.values.clone().into());
    let rebuilt = &found.vectors * values * found.vectors.transpose();
    let rebuilt = linalg::to_device(&rebuilt, &Device::flex());
    assert!(distance(&rebuilt, &square) < 1e-5);
    // R^4 (A + ridge) = I for the root of order 4; a relative ridge is a share of the largest value.
    for (ridge, added) in [
        (Ridge::Absolute(0.5), 0.5),
        (Ridge::Relative(0.25), 0.25 * found.values[0]),
    ] {
        let root = linalg::inverse_root(square.clone(), 4.0, ridge).unwrap();
        let two = root.clone().matmul(root);
        let eye = Tensor::<2>::eye(9, &Device::flex());
        let whole = square.clone() + eye.clone().mul_scalar(added);
        assert!(distance(&two.clone().matmul(two).matmul(whole), &eye) < 1e-4);
    }
    // Nothing to decompose.
    let bad = matrix(&[1.0, f32::NAN, f32::NAN, 2.0], 2, 2);
    assert!(linalg::inverse_root(bad.clone(), 2.0, Ridge::Absolute(1.0)).is_none());
    assert!(linalg::orthonormal(bad).is_none());
    let zeros = matrix(&[0.0; 4], 2, 2);
    assert!(linalg::inverse_root(zeros.clone(), 2.0, Ridge::Relative(1e-6)).is_none());
    assert!(skew(&linalg::orthonormal(zeros).unwrap()) < 1e-6);
}

#[test]
fn turning_and_unfolding_agree_with_matrix_products() {
    let x = random(1, 4, 6);
    let (a, b) = (random(2, 4, 4), random(3, 6, 6));
    let both = [Some(&a), Some(&b)];
    let ours = linalg::turn(x.clone(), &both, false);
    let product = a.clone().transpose().matmul(x.clone()).matmul(b.clone());
    assert!(distance(&ours, &product) < 1e-5);
    let back = linalg::turn(x.clone(), &both, true);
    let product = a.clone().matmul(x.clone()).matmul(b.clone().transpose());
    assert!(distance(&back, &product) < 1e-5);
    let right = linalg::turn(x.clone(), &[None, Some(&b)], false);
    assert!(distance(&right, &x.clone().matmul(b.clone())) < 1e-5);
    let gram = linalg::gram(x.clone(), 1);
    assert!(distance(&gram, &x.clone().transpose().matmul(x.clone())) < 1e-5);
    // Of more axes: the sum of squares along each axis is that of the tensor.
    let shape = [2, 3, 4];
    let y: Tensor<3> = random(4, 1, 24).reshape(shape);
    let total: f32 = read(&y).iter().map(|v| v * v).sum();
    for (k, side) in shape.into_iter().enumerate() {
        let gram = linalg::gram(y.clone(), k);
        assert_eq!(gram.dims(), [side, side]);
        let trace: f32 = (0..side).map(|i| read(&gram)[i * side + i]).sum();
        assert!((trace - total).abs() < 1e-5);
    }
}

#[test]
fn blocks_cut_and_join_without_loss() {
    for (shape, limit) in [
        (vec![7, 5], 3),
        (vec![4, 3, 5, 2], 2),
        (vec![6], 4),
        (vec![3, 3], 8),
    ] {
        let blocks = Blocks::new(&shape, limit);
        let n: usize = shape.iter().product();
        let flat = random(9, 1, n).reshape([n]);
        let pieces = blocks.split(flat.clone());
        let sizes: Vec<usize> = pieces.iter().map(|p| p.dims()[0]).collect();
        let stated: Vec<usize> = blocks.shapes().iter().map(|s| s.iter().product()).collect();
        assert_eq!(sizes, stated);
        assert!(blocks.shapes().iter().flatten().all(|&side| side <= limit));
        assert_eq!(read(&blocks.join(pieces)), read(&flat));
    }
    // The second block of a matrix of 2 x 4 cut at 2 is its right half.
    let flat = matrix(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 1, 8).reshape([8]);
    let pieces = Blocks::new(&[2, 4], 2).split(flat);
    assert_eq!(read(&pieces[1]), [2.0, 3.0, 6.0, 7.0]);
    assert_eq!(
        Blocks::merged(&[4, 3, 5, 2], 16, 8),
        Blocks::new(&[12, 10], 8)
    );
    // From the last axis on: a convolution's window joins its inputs.
    assert_eq!(
        Blocks::merged(&[16, 4, 3, 3], 40, 40),
        Blocks::new(&[16, 36], 40)
    );
    assert_eq!(Blocks::merged(&[1, 1], 16, 16), Blocks::new(&[1], 16));
}

fn soap(pairs: &[(&str, f64)]) -> Soap {
    let mut point: Point = probe::point([
        ("beta1", 0.95),
        ("beta2", 0.95),
        ("epsilon", 1e-8),
        ("weight_decay", 0.01),
        ("precondition_frequency", 10.0),
        ("max_precondition_dim", 10000.0),
    ]);
    point
        .0
        .extend(pairs.iter().map(|(k, v)| (k.to_string(), *v)));
    Soap::from_point(&point).unwrap()
}

/// The weights after `steps` gradients, and the state.
fn run<R: Optimizer>(
    rule: &R,
    start: Tensor<2>,
    steps: u64,
    gradient: impl Fn(u64) -> Tensor<2>,
) -> (Tensor<2>, R::State<2>) {
    let (mut p, mut state) = (start, None);
    for n in 0..steps {
        (p, state) = rule.step(0.01, p, gradient(n), state);
    }
    (p, state.unwrap())
}

#[test]
fn soap_moves_nothing_at_its_first_gradient() {
    let rule = soap(&[]);
    let start = random(1, 5, 5);
    let (p, state) = run(&rule, start.clone(), 1, |_| random(2, 5, 5));
    assert_eq!(read(&p), read(&start));
    // The second gradient is turned into a basis of the first alone.
    let (moved, after) = run(&rule, start.clone(), 2, |n| random(2 + n, 5, 5));
    assert!(distance(&moved, &start) > 1e-3);
    for (a, b) in state.bases.iter().zip(&after.bases) {
        assert_eq!(read(a), read(b));
    }
}

/// Adam as SOAP has it, on plain numbers.
fn delayed_adam(start: &[f32], steps: u64, gradient: impl Fn(u64) -> Vec<f32>) -> Vec<f32> {
    let mut p: Vec<f64> = start.iter().map(|&x| x.into()).collect();
    let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
    for t in 1..steps {
        let correction = (1.0 - 0.95f64.powf(t as f64)).sqrt() / (1.0 - 0.95f64.powf(t as f64));
        for (i, g) in gradient(t).into_iter().map(f64::from).enumerate() {
            m[i] = 0.95 * m[i] + 0.05 * g;
            v[i] = 0.95 * v[i] + 0.05 * g * g;
            p[i] -= 0.01 * correction * m[i] / (v[i].sqrt() + 1e-8);
            p[i] *= 1.0 - 0.01 * 0.01;
        }
    }
    p.into_iter().map(|x| x as f32).collect()
}

#[test]
fn soap_without_bases_is_adam_delayed_by_one_step() {
    let start = random(1, 6, 4);
    let expected = delayed_adam(&read(&start), 30, |n| read(&random(n + 2, 6, 4)));
    let expected = matrix(&expected, 6, 4);
    let (p, state) = run(
        &soap(&[("max_precondition_dim", 1.0)]),
        start.clone(),
        30,
        |n| random(n + 2, 6, 4),
    );
    assert!(state.bases.is_empty());
    assert!(distance(&p, &expected) < 1e-5);
    // A tensor of one axis: the same, whatever the limit.
    let (mut q, mut state) = (start.clone().reshape([24]), None);
    for n in 0..30 {
        (q, state) = soap(&[]).step(0.01, q, random(n + 2, 6, 4).reshape([24]), state);
    }
    assert!(distance(&q, &expected.reshape([24])) < 1e-5);
    let (other, _) = run(&soap(&[]), start, 30, |n| random(n + 2, 6, 4));
    assert!(distance(&p, &other) > 1e-3);
}

#[test]
fn soap_keeps_its_bases_orthonormal() {
    let (_, state): (_, SoapState<2>) =
        run(&soap(&[]), random(1, 12, 7), 1000, |n| random(n + 2, 12, 7));
    assert_eq!(state.bases.len(), 2);
    for basis in &state.bases {
        assert!(skew(basis) < 1e-5, "{}", skew(basis));
    }
}

#[test]
fn soap_turns_with_its_problem() {
    // Turning the rows of weights and gradients turns the trajectory.
    let turn = linalg::orthonormal(random(77, 6, 6)).unwrap();
    let turned = |x: Tensor<2>| turn.clone().matmul(x);
    let rule = soap(&[]);
    let (p, _) = run(&rule, random(1, 6, 6), 35, |n| random(n + 2, 6, 6));
    let (q, _) = run(&rule, turned(random(1, 6, 6)), 35, |n| {
        turned(random(n + 2, 6, 6))
    });
    assert!(distance(&turned(p.clone()), &q) < 2e-4);
    // Adam does not.
    let adam = soap(&[("max_precondition_dim", 1.0)]);
    let (p, _) = run(&adam, random(1, 6, 6), 35, |n| random(n + 2, 6, 6));
    let (q, _) = run(&adam, turned(random(1, 6, 6)), 35, |n| {
        turned(random(n + 2, 6, 6))
    });
    assert!(distance(&turned(p), &q) > 1e-2);
}

#[test]
fn soap_has_the_stated_size() {
    let rule = soap(&[]);
    assert_eq!(
        rule.state_bytes(&[512, 256]),
        8 * 131_072 + 8 * (512 * 512 + 256 * 256)
    );
    assert_eq!(rule.state_bytes(&[300]), 8 * 300);
    let short = soap(&[("max_precondition_dim", 300.0)]);
    assert_eq!(short.state_bytes(&[512, 256]), 8 * 131_072 + 8 * 256 * 256);
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap();
    list.iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Replays a golden; returns the largest share of the tolerance used, and the notes.
fn replay(name: &str, told: bool) -> (f64, Vec<String>) {
    let path = format!("{}/tests/goldens/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let number = |of: &str, key: &str| golden[of][key].as_f64().unwrap();
    let keys = golden["hyperparameters"].as_object().unwrap().keys();
    let pairs: Vec<_> = keys
        .map(|k| (k.as_str(), number("hyperparameters", k)))
        .collect();
    let rate = number("hyperparameters", "learning_rate");
    let parameters = golden["parameters"].as_array().unwrap();
    let steps = golden["steps"].as_array().unwrap();
    let shape =
        |p: &Value| -> Vec<usize> { numbers(&p["shape"]).iter().map(|&x| x as usize).collect() };
    let shapes: Vec<_> = parameters.iter().map(shape).collect();
    let beginnings: Vec<_> = (0..shapes.len())
        .map(|i| {
            let pair = |s: &Value| (numbers(&s["gradients"][i]), numbers(&s["values"][i]));
            Beginning {
                shape: shapes[i].clone(),
                steps: steps.iter().take(10).map(pair).collect(),
            }
        })
        .collect();
    let shown = if told { &beginnings[..] } else { &[] };
    let (rule, notes) = soap(&pairs).starting_as(rate, shown).unwrap();
    let single = |v: Vec<f64>| -> Vec<f32> { v.into_iter().map(|x| x as f32).collect() };
    let all = |v: &Value| -> Vec<Vec<f64>> { v.as_array().unwrap().iter().map(numbers).collect() };
    let initial: Vec<_> = parameters
        .iter()
        .map(|p| single(numbers(&p["initial"])))
        .collect();
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let mut algorithm = ScheduledOptimizer::new(rule, Constant(rate));
    let mut worst = 0.0f64;
    for (n, step) in steps.iter().enumerate() {
        let gradients: Vec<_> = all(&step["gradients"]).into_iter().map(single).collect();
        probe::step(&mut algorithm, &mut trainee, n as u64, &gradients);
        let pairs = probe::values(&trainee)
            .concat()
            .into_iter()
            .zip(all(&step["values"]).concat());
        for (x, y) in pairs {
            let allowed =
                number("tolerance", "absolute") + number("tolerance", "relative") * y.abs();
            worst = worst.max((f64::from(x) - y).abs() / allowed);
        }
    }
    (worst, notes)
}

#[test]
fn soap_follows_the_reference() {
    for (name, parts) in [("soap", 2), ("soap_shapes", 3)] {
        let (worst, notes) = replay(name, true);
        println!(
            "{name}: at most {:.0} % of the tolerance; {notes:#?}",
            100.0 * worst
        );
        assert!(worst <= 1.0, "{name}: {worst}, {notes:#?}");
        assert_eq!(notes.len(), parts, "{notes:#?}");
        // The undetermined part matters: without being told, nobody can follow.
        assert!(replay(name, false).0 > 10.0, "{name}");
    }
}

fn galore(rank: usize, update_gap: usize) -> GaLore {
    GaLore {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-6,
        weight_decay: 0.0,
        projection: Some(Projection {
            rank,
            update_gap,
            scale: 1.0,
        }),
    }
}

/// Singular values, largest first.
fn singular(matrix: Tensor<2>) -> Vec<f64> {
    let host = linalg::to_host(matrix).unwrap();
    let mut values: Vec<f64> = host.singular_values().iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

#[test]
fn galore_moves_in_as_many_directions_as_it_keeps() {
    for (rows, columns) in [(9, 7), (7, 9)] {
        let zeros = random(1, rows, columns).mul_scalar(0.0);
        let gradient = |n| random(n + 2, rows, columns);
        let (p, _) = run(&galore(2, 20), zeros.clone(), 20, gradient);
        let values = singular(p);
        assert!(
            values[2] < 1e-6 * values[0] && values[1] > 1e-2 * values[0],
            "{values:?}"
        );
        // Two periods: twice as many.
        let values = singular(run(&galore(2, 20), zeros, 40, gradient).0);
        assert!(
            values[4] < 1e-6 * values[0] && values[3] > 1e-3 * values[0],
            "{values:?}"
        );
    }
}

#[test]
fn galore_keeps_its_averages_at_a_refresh() {
    // Directions change with the first gradient of a period, the averages run on.
    let gradient = |n| random(n + 2, 5, 8);
    let (_, state) = run(&galore(3, 4), random(1, 5, 8), 4, gradient);
    let (_, after) = run(&galore(3, 4), random(1, 5, 8), 5, gradient);
    let (old, new) = (state.directions.unwrap(), after.directions.unwrap());
    assert!(distance(&old, &new) > 0.1 && skew(&new) < 1e-5);
    let seen = new.transpose().matmul(gradient(4));
    let expected = state.moment_1.mul_scalar(0.9) + seen.mul_scalar(0.1);
    assert!(distance(&after.moment_1, &expected) < 1e-6);
    assert_eq!((state.time, after.time), (4, 5));
}

#[test]
fn galore_in_all_directions_is_adam_in_a_turned_basis() {
    let gradient = |n| random(n + 2, 6, 8);
    let start = random(1, 6, 8);
    let (p, state) = run(&galore(100, 1000), start.clone(), 30, gradient);
    let basis = state.directions.unwrap();
    assert_eq!(basis.dims(), [6, 6]);
    let turned = |x: Tensor<2>| basis.clone().transpose().matmul(x);
    let adam = galore(1, 1).plain();
    let (q, _) = run(&adam, turned(start), 30, |n| turned(gradient(n)));
    assert!(distance(&turned(p.clone()), &q) < 1e-4);
    // A projection of signs flipped walks the same way: Adam is odd.
    let flips = matrix(&[-1.0, 1.0, -1.0, 1.0, 1.0, -1.0], 6, 1);
    let flipped = |x: Tensor<2>| flips.clone() * turned(x);
    let (r, _) = run(&adam, flipped(random(1, 6, 8)), 30, |n| {
        flipped(gradient(n))
    });
    assert!(distance(&(flips.clone() * q), &r) < 1e-6);
    // What is not a matrix of the hidden layers takes Adam as it is.
    let vector = |n: u64| random(n + 2, 6, 8).reshape([48]);
    let (mut v, mut state) = (random(1, 6, 8).reshape([48]), None);
    for n in 0..30 {
        (v, state) = galore(2, 5).step(0.01, v, vector(n), state);
    }
    let (plain, _) = run(&adam, random(1, 6, 8), 30, gradient);
    assert!(distance(&v.reshape([6, 8]), &plain) < 1e-6);
}

#[test]
fn galore_has_the_stated_size() {
    let rule = galore(128, 200);
    assert_eq!(rule.state_bytes(1024, 512), 8 * 128 * 1024 + 4 * 128 * 512);
    assert_eq!(rule.state_bytes(512, 1024), rule.state_bytes(1024, 512));
    assert_eq!(rule.plain().state_bytes(1, 300), 2400);
}

//! What the rules must do by their formulas, beyond the trajectories.

use crate::{goldens, probe};
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{Algorithm, StartContext, State, Submission};
use velodrome_submissions::fused::Fused;
use velodrome_submissions::optimizers::adafactor::Adafactor;
use velodrome_submissions::optimizers::ademamix::AdEmaMix;
use velodrome_submissions::optimizers::muon::{Companion, Muon, MuonSubmission, orthogonalised};
use velodrome_submissions::optimizers::parts::rectification;
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;

/// Values after each step of a rule on the probe's start, on `gradients(step)`.
fn trajectory(
    rule: &str,
    settings: &[(&'static str, f64)],
    steps: u64,
    gradients: impl Fn(u64) -> Vec<Vec<f32>>,
) -> Vec<f32> {
    let (shapes, initial) = probe::start();
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let point = probe::point(settings.iter().copied());
    let mut algorithm = goldens::algorithm(rule, &point.0, &trainee);
    let mut all = Vec::new();
    for n in 0..steps {
        probe::step(algorithm.as_mut(), &mut trainee, n, &gradients(n));
        all.extend(probe::values(&trainee).concat());
    }
    all
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let apart = a.iter().zip(b).map(|(x, y)| (x - y).abs());
    apart.fold(0.0, f32::max)
}

fn stream(n: u64) -> Vec<Vec<f32>> {
    probe::stream(n + 1, &probe::start().0)
}

fn scaled(n: u64, factor: f32) -> Vec<Vec<f32>> {
    let mut gradients = stream(n);
    gradients.iter_mut().flatten().for_each(|g| *g *= factor);
    gradients
}

fn adam(beta1: f64, beta2: f64) -> Vec<(&'static str, f64)> {
    vec![
        ("learning_rate", 0.01),
        ("beta1", beta1),
        ("beta2", beta2),
        ("epsilon", 1e-8),
        ("weight_decay", 0.1),
    ]
}

/// AdamW's settings and more.
fn with(
    mut settings: Vec<(&'static str, f64)>,
    more: &[(&'static str, f64)],
) -> Vec<(&'static str, f64)> {
    settings.extend(more);
    settings
}

#[test]
fn rules_that_extend_adamw_become_it() {
    let adamw = trajectory("adamw", &adam(0.9, 0.99), 20, stream);
    let mix = |alpha| with(adam(0.9, 0.99), &[("beta3", 0.999), ("alpha", alpha)]);
    assert!(distance(&adamw, &trajectory("ademamix", &mix(0.0), 20, stream)) < 2e-6);
    assert!(distance(&adamw, &trajectory("ademamix", &mix(2.0), 20, stream)) > 1e-4);

    // Gradients short enough not to be clipped.
    let short = |n| scaled(n, 0.01);
    let adamw = trajectory("adamw", &adam(0.9, 0.99), 20, short);
    let mars = |gamma| with(adam(0.9, 0.99), &[("gamma", gamma), ("optimize_1d", 1.0)]);
    assert!(distance(&adamw, &trajectory("mars", &mars(0.0), 20, short)) < 5e-6);
    assert!(distance(&adamw, &trajectory("mars", &mars(0.025), 20, short)) > 1e-4);

    // A gradient that never changes has no differences.
    let same = |_| stream(0);
    let adamw = trajectory("adamw", &adam(0.98, 0.99), 20, same);
    let adan = with(adam(0.98, 0.92), &[("beta3", 0.99), ("no_prox", 1.0)]);
    assert!(distance(&adamw, &trajectory("adan", &adan, 20, same)) < 5e-6);
    assert!(distance(&adamw, &trajectory("adan", &adan, 20, stream)) > 1e-4);
}

#[test]
fn mars_leaves_vectors_to_adamw_and_clips_the_rest() {
    let settings = with(adam(0.95, 0.99), &[("gamma", 0.025)]);
    let one = trajectory("mars", &settings, 10, |n| scaled(n, 64.0));
    let two = trajectory("mars", &settings, 10, |n| scaled(n, 128.0));
    // All are clipped to length 1 (AdamW does not see the scale either).
    assert!(distance(&one, &two) < 1e-5);
    let adamw = trajectory("adamw", &adam(0.9, 0.95), 10, |n| scaled(n, 64.0));
    let vectors = 5 + 3;
    assert!(distance(&one[..vectors], &adamw[..vectors]) < 2e-6);
    let last = one.len() - (vectors + 12 + 24);
    assert!(distance(&one[last..last + vectors], &adamw[last..last + vectors]) < 5e-6);
    assert!(distance(&one[last + vectors..], &adamw[last + vectors..]) > 1e-4);
}

#[test]
fn rectification_begins_with_the_sixth_step() {
    for time in 1..=5 {
        assert_eq!(rectification(0.999, time), None);
    }
    let first = rectification(0.999, 6).unwrap();
    assert!(0.0 < first && first < 0.1, "{first}");
    assert!((rectification(0.999, 1_000_000).unwrap() - 1.0).abs() < 1e-3);
    // Before it both rules take plain momentum, so that doubling the gradients doubles the step.
    let settings = |rule| match rule {
        "radam" => with(adam(0.9, 0.999), &[("weight_decay", 0.0)]),
        _ => with(adam(0.9, 0.999), &[("weight_decay", 0.0), ("rectify", 1.0)]),
    };
    let start = probe::start().1.concat();
    for rule in ["radam", "adabelief"] {
        let moved = |factor: f32, steps: u64| {
            let all = trajectory(rule, &settings(rule), steps, |n| scaled(n, factor));
            let end = &all[all.len() - start.len()..];
            end.iter()
                .zip(&start)
                .map(|(a, b)| a - b)
                .collect::<Vec<_>>()
        };
        let doubled: Vec<f32> = moved(1.0, 5).iter().map(|x| 2.0 * x).collect();
        assert!(distance(&doubled, &moved(2.0, 5)) < 1e-6, "{rule}");
        let doubled: Vec<f32> = moved(1.0, 12).iter().map(|x| 2.0 * x).collect();
        assert!(distance(&doubled, &moved(2.0, 12)) > 1e-3, "{rule}");
    }
}

#[test]
fn ademamix_ramps_by_half_lives() {
    let mut point = probe::point(adam(0.9, 0.999));
    point.0.insert("beta3".into(), 0.9999);
    point.0.insert("alpha".into(), 8.0);
    let rule = AdEmaMix::from_point(&point, 400).unwrap();
    let published = [
        (100, 2.0, 0.99960124),
        (200, 4.0, 0.99980022),
        (300, 6.0, 0.99986672),
        (400, 8.0, 0.9999),
        (500, 8.0, 0.9999),
    ];
    for (time, alpha, beta3) in published {
        let got = rule.slow(time);
        assert!((got.0 - alpha).abs() < 1e-12, "{got:?}");
        // The published ones have 1e-8 added to the betas inside the logarithms.
        assert!((got.1 - beta3).abs() < 1e-7, "{got:?}");
    }
    assert_eq!(AdEmaMix { ramp: 0, ..rule }.slow(1), (8.0, 0.9999));
    // Without a fast average the ramp starts from no memory.
    let lean = AdEmaMix { beta1: 0.0, ..rule };
    let (_, b) = lean.slow(1);
    assert!(0.0 < b && b < 0.9999, "{b}");
}

/// Bytes of state after one step on parameters of these shapes.
fn state_bytes(mut algorithm: ScheduledOptimizer, shapes: &[Vec<usize>]) -> u64 {
    let mut trainee = probe::trainee(shapes, &probe::stream(0, shapes), false);
    probe::step(&mut algorithm, &mut trainee, 0, &probe::stream(1, shapes));
    let mut state = State::new();
    algorithm.save(&mut state).unwrap();
    state.tensor_bytes()
}

#[test]
fn adafactor_stores_rows_and_columns() {
    let mut point = probe::point([
        ("epsilon1", 1e-30),
        ("clip_threshold", 1.0),
        ("weight_decay", 0.0),
        ("decay", 0.99),
        ("beta1", 0.9),
    ]);
    let shapes = [vec![256, 256]];
    let rule = Adafactor::baseline(&point).unwrap();
    let bytes = state_bytes(ScheduledOptimizer::new(rule, Constant(0.01)), &shapes);
    assert_eq!(bytes, 4 * (65536 + 512));
    point.0.insert("beta1".into(), 0.0);
    let rule = Adafactor::baseline(&point).unwrap();
    let bytes = state_bytes(ScheduledOptimizer::new(rule, Constant(0.01)), &shapes);
    assert_eq!(bytes, 4 * 512);
}

#[test]
fn lamb_moves_a_tensor_by_a_share_of_its_length_and_a_zero_tensor_as_adam() {
    let settings = probe::point(with(adam(0.9, 0.999), &[("weight_decay", 0.0)]));
    let shapes = [vec![2], vec![3]];
    let mut trainee = probe::trainee(&shapes, &[vec![3.0, -4.0], vec![0.0; 3]], false);
    let mut algorithm = goldens::algorithm("lamb", &settings.0, &trainee);
    let gradients = [vec![0.5, -7.0], vec![0.1, -0.2, 0.0]];
    probe::step(algorithm.as_mut(), &mut trainee, 0, &gradients);
    let after = probe::values(&trainee);
    let moved = ((after[0][0] - 3.0).powi(2) + (after[0][1] + 4.0).powi(2)).sqrt();
    assert!((moved - 0.01 * 5.0).abs() < 1e-6, "{moved}");
    assert!(distance(&after[1], &[-0.01, 0.01, 0.0]) < 1e-6, "{after:?}");
}

/// Gradients of zero must not make a number that is none, nor move what does not decay.
#[test]
fn gradients_of_zero_are_survived() {
    for submission in velodrome_submissions::from_scratch() {
        let name = submission.describe().name;
        let (shapes, initial) = probe::start();
        let mut context = crate::resume::context(submission.as_ref(), 10);
        for (key, value) in &mut context.point.0 {
            if key.starts_with("weight_decay") || key == "l2" {
                *value = 0.0;
            }
        }
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let mut algorithm = submission.start(&mut trainee, &context).unwrap();
        for n in 0..4 {
            probe::step(algorithm.as_mut(), &mut trainee, n, &scaled(n, 0.0));
        }
        let after = probe::values(&trainee).concat();
        assert!(
            distance(&after, &initial.concat()) < 1e-6,
            "{name}: {after:?}"
        );
    }
}

fn matrix(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn read(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

#[test]
fn newton_schulz_has_the_published_map() {
    // A diagonal matrix keeps its axes; the norm is that of the first entry, nearly.
    for (small, image) in [(0.01, 0.698917), (0.001, 0.470544)] {
        let x = read(orthogonalised(matrix(
            vec![5.0, 0.0, 0.0, 5.0 * small],
            [2, 2],
        )));
        assert!((x[0] - 0.696436).abs() < 0.02, "{x:?}");
        assert!((x[3] - image).abs() < 0.02, "{x:?}");
        assert_eq!((x[1], x[2]), (0.0, 0.0));
    }
    // All singular values near 1: X X^T of a wide matrix has a diagonal within their squares.
    let wide = &probe::stream(3, &[vec![6, 40]])[0];
    let x = orthogonalised(matrix(wide.clone(), [6, 40]));
    let gram = read(x.clone().matmul(x.clone().transpose()));
    for i in 0..6 {
        let d = gram[i * 7];
        assert!((0.65f32.powi(2)..1.2f32.powi(2)).contains(&d), "{d}");
    }
    // The transposed matrix gives the transposed result, and scale does not matter.
    let tall = orthogonalised(matrix(wide.clone(), [6, 40]).transpose());
    assert_eq!(read(tall.transpose()), read(x.clone()));
    let larger = wide.iter().map(|v| v * 16.0).collect();
    assert_eq!(read(orthogonalised(matrix(larger, [6, 40]))), read(x));
    assert_eq!(read(orthogonalised(matrix(vec![0.0; 6], [2, 3]))), [0.0; 6]);
}

/// What the first step subtracts from a parameter of zeros.
fn muon_step(shape: &[usize], gradient: &[f32]) -> Vec<f32> {
    let shapes = [shape.to_vec()];
    let mut trainee = probe::trainee(&shapes, &[vec![0.0; gradient.len()]], false);
    let point = probe::point([("momentum", 0.95), ("weight_decay", 0.1)]);
    let rule = Muon::from_point(&point).unwrap();
    let mut algorithm = ScheduledOptimizer::new(rule, Constant(1.0));
    probe::step(&mut algorithm, &mut trainee, 0, &[gradient.to_vec()]);
    probe::values(&trainee).concat()
}

#[test]
fn muon_knows_fan_in_from_fan_out() {
    // [fan_in 2, fan_out 8], the same weights as a 1x1 kernel [8, 2, 1, 1], and their transpose.
    let flat = probe::stream(2, &[vec![2, 8]])[0].clone();
    let turned: Vec<f32> = (0..8).flat_map(|c| [flat[c], flat[8 + c]]).collect();
    let matrix_step = muon_step(&[2, 8], &flat);
    let kernel_step = muon_step(&[8, 2, 1, 1], &turned);
    let narrow_step = muon_step(&[8, 2], &turned);
    for c in 0..8 {
        for r in 0..2 {
            assert_eq!(matrix_step[r * 8 + c], kernel_step[c * 2 + r]);
            // Fan-out over fan-in is 4 in the first two and 1/4 in the third: factors 2 and 1.
            let half = narrow_step[c * 2 + r];
            assert!((matrix_step[r * 8 + c] - 2.0 * half).abs() < 1e-6);
        }
    }
    let norm = matrix_step.iter().map(|x| x * x).sum::<f32>();
    assert!((4.0 * 2.0 * 0.65f32.powi(2)..4.0 * 2.0 * 1.2f32.powi(2)).contains(&norm));
}

#[test]
fn muon_gives_vectors_to_adam_and_the_rest_to_the_matrix_rule() {
    let (shapes, initial) = probe::start();
    let context: StartContext = crate::resume::context(&MuonSubmission, 40);
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let mut algorithm = MuonSubmission.start(&mut trainee, &context).unwrap();
    let alone = |mut algorithm: ScheduledOptimizer| {
        let mut trainee = probe::trainee(&shapes, &initial, false);
        for n in 0..2 {
            probe::step(&mut algorithm, &mut trainee, n, &stream(n));
        }
        probe::values(&trainee)
    };
    for n in 0..2 {
        probe::step(algorithm.as_mut(), &mut trainee, n, &stream(n));
    }
    let both = probe::values(&trainee);
    let schedule = || velodrome_submissions::schedules::WarmupCosine::start(&context).unwrap();
    let adam = Companion::from_point(&context.point).unwrap();
    let adam = alone(ScheduledOptimizer::new(Fused(adam), schedule()));
    let rule = Muon::from_point(&context.point).unwrap();
    let muon = alone(ScheduledOptimizer::new(rule, schedule()));
    assert_eq!(probe::bits(&both[..2]), probe::bits(&adam[..2]));
    assert_eq!(probe::bits(&both[2..]), probe::bits(&muon[2..]));
    assert_ne!(probe::bits(&muon[2..]), probe::bits(&adam[2..]));
}

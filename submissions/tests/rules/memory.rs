//! What is promised of states that are smaller than the parameters.

use crate::probe;
use crate::resume::context;
use std::sync::Arc;
use velodrome_harness::contract::{State, Submission};
use velodrome_submissions::compression::adamw_8bit::{Adam8bit, AdamW8bit};
use velodrome_submissions::compression::eight_bit::{BlockRule, EightBit, Layout};
use velodrome_submissions::from_scratch;
use velodrome_submissions::optimizers::heavy_ball::HeavyBall;
use velodrome_submissions::optimizers::lion::Lion;

pub fn by_name(name: &str) -> Arc<dyn Submission> {
    let mut all = from_scratch().into_iter();
    all.find(|s| s.describe().name == name).unwrap()
}

/// So many numbers in -1..1.
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    probe::stream(seed, &[vec![n]]).concat()
}

const ADAM: AdamW8bit = AdamW8bit {
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.1,
};
const LION: Lion = Lion {
    beta1: 0.9,
    beta2: 0.99,
    weight_decay: 0.1,
};
const MOMENTUM: HeavyBall = HeavyBall {
    momentum: 0.9,
    weight_decay: 1e-4,
};

fn in_blocks<R: BlockRule<S>, const S: usize>(rule: R, block: usize) -> EightBit<R, S> {
    EightBit {
        rule,
        layout: Layout { block, least: 0 },
    }
}

fn in_32_bits<R: BlockRule<S>, const S: usize>(rule: R) -> EightBit<R, S> {
    let least = usize::MAX;
    EightBit {
        rule,
        layout: Layout { block: 1, least },
    }
}

/// The values after `steps` steps on `gradient(step)` from `start`.
fn trained<R: BlockRule<S>, const S: usize>(
    rule: &EightBit<R, S>,
    start: &[f32],
    steps: u64,
    gradient: impl Fn(u64) -> Vec<f32>,
) -> Vec<f32> {
    let mut p = start.to_vec();
    let mut slot = rule.fresh(p.len());
    for n in 0..steps {
        rule.step(0.01, &mut p, &gradient(n), &mut slot);
    }
    p
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .fold(0.0, |most, (x, y)| most.max((x - y).abs()))
}

/// A million parameters with odd sizes, small ones among them.
#[test]
fn eight_bit_states_take_the_bytes_that_the_manuals_state() {
    let shapes = vec![vec![257], vec![4096], vec![700, 1000], vec![301, 999]];
    let initial = probe::stream(0, &shapes);
    let total: usize = shapes.iter().map(|s| s.iter().product::<usize>()).sum();
    assert!(total > 1_000_000);
    for (name, states, most) in [
        ("adamw_8bit", 2, 2.1),
        ("lion_8bit", 1, 1.05),
        ("momentum_8bit", 1, 1.05),
    ] {
        let submission = by_name(name);
        let context = context(submission.as_ref(), 10);
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let mut algorithm = submission.start(&mut trainee, &context).unwrap();
        for n in 0..2 {
            let gradients = probe::stream(n + 1, &shapes);
            probe::step(algorithm.as_mut(), &mut trainee, n, &gradients);
        }
        let mut state = State::new();
        algorithm.save(&mut state).unwrap();
        let measured = state.tensor_bytes();
        let large = [4096, 700_000, 301 * 999].map(|n: usize| n + 4 * n.div_ceil(256));
        let by_hand = states * (4 * 257 + large.iter().sum::<usize>()) as u64;
        assert_eq!(measured, by_hand, "{name}");
        let formula = submission.state_bytes(&trainee.params(), &context.point);
        assert_eq!(formula, Some(measured), "{name}");
        let each = measured as f64 / total as f64;
        assert!(each <= most, "{name}: {each} bytes per parameter");
    }
}

#[test]
fn eight_bit_states_resume_bit_for_bit() {
    let shapes = vec![vec![5], vec![70, 100], vec![16, 16, 5, 5]];
    let initial = probe::stream(0, &shapes);
    for name in ["adamw_8bit", "lion_8bit", "momentum_8bit"] {
        let submission = by_name(name);
        let context = context(submission.as_ref(), 20);
        let start = || {
            let mut trainee = probe::trainee(&shapes, &initial, false);
            let algorithm = submission.start(&mut trainee, &context).unwrap();
            (trainee, algorithm)
        };
        let (mut trainee, mut algorithm) = start();
        let mut kept = None;
        for n in 0..12 {
            if n == 6 {
                let mut state = State::new();
                algorithm.save(&mut state).unwrap();
                kept = Some((state, trainee.values()));
            }
            let gradients = probe::stream(n + 1, &shapes);
            probe::step(algorithm.as_mut(), &mut trainee, n, &gradients);
        }
        let straight = probe::bits(&probe::values(&trainee));
        let (state, values) = kept.unwrap();
        let resumed = |restore: bool| {
            let (mut trainee, mut algorithm) = start();
            trainee.set_values(&values).unwrap();
            if restore {
                algorithm.load(&state, &trainee).unwrap();
            }
            for n in 6..12 {
                let gradients = probe::stream(n + 1, &shapes);
                probe::step(algorithm.as_mut(), &mut trainee, n, &gradients);
            }
            probe::bits(&probe::values(&trainee))
        };
        assert_eq!(resumed(true), straight, "{name}");
        assert_ne!(resumed(false), straight, "{name}");
    }
    // The states of another rule are refused, though they are stored alike.
    let (adamw, lion) = (by_name("adamw_8bit"), by_name("lion_8bit"));
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let mut algorithm = adamw
        .start(&mut trainee, &context(adamw.as_ref(), 20))
        .unwrap();
    probe::step(algorithm.as_mut(), &mut trainee, 0, &initial);
    let mut state = State::new();
    algorithm.save(&mut state).unwrap();
    let mut other = lion
        .start(&mut trainee, &context(lion.as_ref(), 20))
        .unwrap();
    assert!(other.load(&state, &trainee).is_err());
}

/// The parameter moves by the averages before they are encoded.
#[test]
fn the_first_step_is_that_of_the_rule_in_32_bits() {
    fn check<R: BlockRule<S>, const S: usize>(rule: R) {
        let start = numbers(1, 1000);
        let step = |rule: &EightBit<R, S>, n| trained(rule, &start, n, |n| numbers(n + 2, 1000));
        let (eight, full) = (in_blocks(rule.clone(), 64), in_32_bits(rule));
        assert!(step(&eight, 1) == step(&full, 1));
        assert!(step(&eight, 40) != step(&full, 40));
    }
    check(ADAM);
    check(LION);
    check(MOMENTUM);
    // And that is AdamW's own, but for the place of the decay.
    let rule = AdamW8bit {
        weight_decay: 0.0,
        ..ADAM
    };
    let p = trained(&in_32_bits(rule), &[1.0, -2.0], 3, |n| {
        [[0.1, -0.4], [-0.2, 0.3], [0.05, 0.1]][n as usize].to_vec()
    });
    // From the definition, in 64 bits.
    assert!(apart(&p, &[0.9950279, -1.9896835]) < 1e-6, "{p:?}");
}

/// Steps towards a target with noise, under gradients of very different sizes: blocks keep up with 32
/// bits; one scale for the whole tensor, which has an outlier, does not.
#[test]
fn blocks_keep_up_with_32_bits_and_whole_tensors_do_not() {
    const N: usize = 4096;
    let start = numbers(1, N);
    let target = numbers(2, N);
    let error = |rule: &Adam8bit| {
        let mut p = start.clone();
        let mut slot = rule.fresh(N);
        for n in 0..300 {
            let noise = numbers(n + 3, N);
            // Blocks of 256 whose gradients differ by powers of ten.
            let size = |i: usize| 10f32.powi(-((i / 256) as i32) / 2);
            let g: Vec<f32> = (0..N)
                .map(|i| (p[i] - target[i] + 0.1 * noise[i]) * size(i))
                .collect();
            rule.step(0.01, &mut p, &g, &mut slot);
        }
        let square = |(x, y): (&f32, &f32)| f64::from((x - y) * (x - y));
        p.iter().zip(&target).map(square).sum::<f64>() / N as f64
    };
    let rule = AdamW8bit {
        weight_decay: 0.0,
        ..ADAM
    };
    let full = error(&in_32_bits(rule));
    let blocks = error(&in_blocks(rule, 256));
    let whole = error(&in_blocks(rule, N));
    // At the start the error is 2/3. A NaN is no success.
    assert!(full < 2e-3 && blocks < 2e-3, "{blocks} against {full}");
    let keeps_up = whole < 0.02;
    assert!(!keeps_up, "{whole} against {full}");
}

#[test]
fn an_outlier_touches_its_own_block_alone() {
    const BLOCK: usize = 128;
    let rule = in_blocks(ADAM, BLOCK);
    let codes = |outlier: f32| {
        let mut p = numbers(1, 10 * BLOCK);
        let mut slot = rule.fresh(p.len());
        for n in 0..3 {
            let mut g = numbers(n + 2, 10 * BLOCK);
            g[3 * BLOCK + 5] *= outlier;
            rule.step(0.01, &mut p, &g, &mut slot);
        }
        slot.codes().to_vec()
    };
    let (plain, with_outlier) = (codes(1.0), codes(1e4));
    for (i, (a, b)) in plain
        .chunks(2 * BLOCK)
        .zip(with_outlier.chunks(2 * BLOCK))
        .enumerate()
    {
        assert_eq!(a == b, i != 3, "block {i}");
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let start = numbers(1, 100_003);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| {
            let p = trained(&in_blocks(ADAM, 256), &start, 3, |n| {
                numbers(n + 2, 100_003)
            });
            probe::bits(&[p])
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
}

#[test]
fn a_gradient_that_is_not_finite_leaves_its_entry_alone() {
    for bad in [f32::NAN, f32::INFINITY] {
        let rule = in_blocks(ADAM, 16);
        let mut p = numbers(1, 50);
        let mut slot = rule.fresh(50);
        rule.step(0.01, &mut p, &numbers(2, 50), &mut slot);
        let before = p.clone();
        let mut g = numbers(3, 50);
        g[20] = bad;
        rule.step(0.01, &mut p, &g, &mut slot);
        assert!(p.iter().all(|x| x.is_finite()));
        for i in 0..50 {
            assert_eq!(p[i] == before[i], i == 20, "entry {i}");
        }
        // Its averages are zero: block 1 holds entries 16 to 32, the first average first.
        let codes = &slot.codes()[2 * 16..];
        assert_eq!([codes[4], codes[16 + 4]], [127, 0]);
    }
}

#[test]
fn storage_that_makes_no_sense_is_refused() {
    for (name, value) in [
        ("block_size", 0.0),
        ("block_size", 2.5),
        ("min_8bit_size", -1.0),
        ("embedding_bits", 16.0),
    ] {
        let submission = by_name("lion_8bit");
        let mut context = context(submission.as_ref(), 10);
        context.point.0.insert(name.into(), value);
        let mut trainee = probe::trainee(&[vec![3]], &[vec![1.0; 3]], false);
        let result = submission.start(&mut trainee, &context);
        let Err(error) = result else {
            panic!("took {name} = {value}")
        };
        assert!(error.to_string().contains(name), "{error}");
        let stated = submission.state_bytes(&trainee.params(), &context.point);
        assert_eq!(stated, None);
    }
}

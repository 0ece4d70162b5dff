//! Self-tuning networks against the closed form of ridge regression and a bilevel problem whose optimum
//! is known; what each kind of step leaves alone; examples held back; resuming.

use crate::probe;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Algorithm, Batch, HostBatch, HostField, HostValues, ModelError, Network, ParamKind, Pass,
    State, StepContext, Submission, Trained, Trainee,
};
use velodrome_submissions::optimizers::adamw::AdamW;
use velodrome_submissions::schedules::{Constant, Schedule, WarmupCosine};
use velodrome_submissions::self_tuning::stn::tuned::{Knob, Sets, Tuned, Tuning, entropy};
use velodrome_submissions::self_tuning::stn::{Plan, SelfTuning, StnSubmission};

/// Linear regression without bias: `(w x - y)^2 / 2`.
#[derive(Module, Debug)]
struct Ridge {
    weight: Param<Tensor<2>>,
}

impl Network for Ridge {
    fn losses(&self, batch: &Batch, _pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        let w = self.weight.val();
        let (mut x, mut y) = (batch.float::<2>("x")?, batch.float::<1>("y")?);
        if w.device().is_autodiff() {
            (x, y) = (Tensor::from_inner(x), Tensor::from_inner(y));
        }
        let found = x.matmul(w).reshape([batch.len()]);
        Ok((found - y).square().mul_scalar(0.5))
    }

    fn evaluate(
        &self,
        _batches: &mut dyn Iterator<Item = Batch>,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        Ok(BTreeMap::new())
    }

    fn kind_of(_path: &str) -> Option<ParamKind> {
        Some(ParamKind::Matrix)
    }
}

/// Solution without penalty.
const SOLUTION: [f32; 4] = [1.0, -2.0, 0.5, 3.0];

fn ridge() -> Trainee {
    let device = Device::flex().autodiff();
    let data = TensorData::new(vec![0.3f32, 0.1, -0.2, 0.4], [4, 1]);
    let weight = Tensor::<2>::from_data(data, &device).require_grad();
    let weight = Param::initialized(ParamId::new(), weight);
    Trainee::new(Box::new(Trained::new(Ridge { weight })), device, 1)
}

/// Each axis in both directions, twice its unit long, so that the mean of `x x'` over any eight in a row
/// is the identity. The labels are those of the solution times `factor(id)`.
fn batch(ids: std::ops::Range<usize>, factor: impl Fn(usize) -> f32) -> Batch {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for id in ids.clone() {
        let (axis, entry) = (id % 4, if id % 8 < 4 { 2.0 } else { -2.0 });
        x.extend((0..4).map(|i| if i == axis { entry } else { 0.0 }));
        y.push(entry * SOLUTION[axis] * factor(id));
    }
    let n = ids.len();
    let field = |name, shape, values| HostField {
        name,
        shape,
        values: HostValues::Float(values),
    };
    let host = HostBatch {
        fields: vec![field("x", vec![n, 4], x), field("y", vec![n], y)],
        examples: n,
        units: n,
    };
    Batch::from_host(host, ids.collect(), &Device::flex())
}

const L2: Knob = Knob {
    sets: Sets::L2,
    high: 2.0,
    start: 0.5,
};

fn plan(scale: f64, draws: usize) -> Plan {
    Plan {
        rule: AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        },
        tuning: Tuning {
            learning_rate: 3e-3,
            scale,
            learn_scale: false,
            entropy: 0.0,
        },
        held_share: 0.2,
        draws,
        train_steps: 2,
        settle: 0,
        seed: 11,
    }
}

fn started(trainee: &Trainee, plan: Plan, schedule: impl Schedule + 'static) -> SelfTuning {
    SelfTuning::new(trainee, vec![L2], plan, schedule)
}

fn read(tensors: Vec<Tensor<1>>) -> Vec<f32> {
    let read = |t: Tensor<1>| t.into_data().try_to_vec::<f32>().unwrap();
    tensors.into_iter().flat_map(read).collect()
}

fn bits(algorithm: &SelfTuning, trainee: &Trainee) -> (Vec<u32>, Vec<u8>) {
    let values = read(algorithm.values_at(trainee, &[0.7])).into_iter();
    let mut state = State::new();
    algorithm.save(&mut state).unwrap();
    let responses = state.get_tensors("responses", &trainee.device()).unwrap();
    let all = values.chain(read(trainee.values())).chain(read(responses));
    let position = format!("{:?}", algorithm.tuned().position());
    (all.map(f32::to_bits).collect(), position.into_bytes())
}

#[test]
fn values_and_entropy_have_their_closed_forms() {
    for knob in [
        L2,
        Knob {
            sets: Sets::Dropout,
            high: 0.9,
            start: 0.05,
        },
    ] {
        for y in [0.01, 0.05, 0.4, 0.85] {
            assert!((knob.value(knob.unvalue(y)) - y).abs() < 1e-12);
        }
        let tuned = Tuned::new(vec![knob], plan(0.5, 1).tuning);
        assert!((tuned.values()[0] - knob.start).abs() < 1e-12);
        assert!((tuned.scales()[0] - 0.5).abs() < 1e-12);
    }
    assert!((entropy(&[0.5]) - 0.725791).abs() < 1e-6);
    // Without a loss the entropy alone moves the scale, at the start by the learning rate in softplus
    // units: to where the entropy is larger. The numbers themselves stay.
    let tuning = Tuning {
        learn_scale: true,
        entropy: 1e-3,
        ..plan(0.5, 1).tuning
    };
    let mut tuned = Tuned::new(vec![L2], tuning);
    let before = (tuned.scales()[0], tuned.center().to_vec());
    let draw = tuned.draw(&mut StepContext::new(0, 1).rng());
    tuned.step(&[0.0], &draw);
    let slope = 1.0 - (-0.5f64).exp();
    let moved = tuned.scales()[0] - before.0;
    assert!((moved - 3e-3 * slope).abs() < 1e-5, "{moved}");
    assert_eq!(tuned.center(), before.1);
}

#[test]
fn draws_are_normal_around_the_numbers() {
    let tuned = Tuned::new(vec![L2, L2], plan(0.25, 1).tuning);
    let mut rng = StepContext::new(3, 9).rng();
    let n = 20_000;
    let mut sums = [0.0; 5];
    for _ in 0..n {
        let draw = tuned.draw(&mut rng);
        let [a, b] = [0, 1].map(|i| (draw.at[i] - tuned.center()[i]) / 0.25);
        assert!((a - draw.noise[0]).abs() < 1e-9);
        for (sum, x) in sums.iter_mut().zip([a, a * a, a.powi(4), b, a * b]) {
            *sum += x / n as f64;
        }
    }
    for (found, expected) in sums.into_iter().zip([0.0, 1.0, 3.0, 0.0, 0.0]) {
        assert!((found - expected).abs() < 0.15, "{sums:?}");
    }
}

#[test]
fn a_training_step_leaves_the_hyperparameters_and_a_validation_step_the_weights() {
    let mut trainee = ridge();
    let mut algorithm = started(&trainee, plan(0.5, 1), Constant(0.01));
    let (train, valid) = (batch(0..8, |_| 1.0), batch(8..16, |_| 0.5));
    let mut rng = StepContext::new(0, 1).rng();
    for step in 0..4 {
        let before = bits(&algorithm, &trainee);
        algorithm
            .train(&mut trainee, &train, step, &mut rng)
            .unwrap();
        let between = bits(&algorithm, &trainee);
        assert_eq!(before.1, between.1);
        assert_ne!(before.0, between.0);
        algorithm.tune(&mut trainee, &valid, &mut rng).unwrap();
        let after = bits(&algorithm, &trainee);
        assert_eq!(between.0, after.0);
        assert_ne!(between.1, after.1);
    }
}

#[test]
fn draws_share_a_batch() {
    let run = |draws: usize, scale: f64| {
        let mut trainee = ridge();
        let mut algorithm = started(&trainee, plan(scale, draws), Constant(0.01));
        let train = batch(0..20, |_| 1.0);
        for step in 0..3 {
            let mut rng = StepContext::new(step, 1).rng();
            algorithm
                .train(&mut trainee, &train, step, &mut rng)
                .unwrap();
        }
        let counters = *trainee.counters();
        (read(trainee.values()), counters)
    };
    let apart = |a: &[f32], b: &[f32]| {
        let pairs = a.iter().zip(b);
        pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
    };
    // Without perturbations the parts add up to the batch, and each example is differentiated once.
    let ((one, once), (two, twice)) = (run(1, 1e-7), run(2, 1e-7));
    assert!(apart(&one, &two) < 1e-6, "{one:?} {two:?}");
    assert_eq!((once.work, twice.work), (60, 60));
    assert_eq!((once.forward_passes, twice.forward_passes), (3, 6));
    // Too few for three parts of eight.
    assert_eq!(run(3, 1e-7).1.forward_passes, 6);
}

/// With the penalty `l |w|^2 / 2` and features whose mean square is the identity, the solution is
/// `w / (1 + l)`: one gate for all entries.
#[test]
fn the_response_is_that_of_ridge_regression() {
    const STEPS: u64 = 4000;
    let mut trainee = ridge();
    let schedule = WarmupCosine {
        peak: 0.03,
        warmup: 0,
        horizon: STEPS,
    };
    let mut algorithm = started(&trainee, plan(0.3, 1), schedule);
    let train = batch(0..8, |_| 1.0);
    for step in 0..STEPS {
        let mut rng = StepContext::new(step, 1).rng();
        algorithm
            .train(&mut trainee, &train, step, &mut rng)
            .unwrap();
    }
    let center = algorithm.tuned().center()[0];
    for away in [-0.3, 0.0, 0.3] {
        let l2 = L2.value(center + away);
        let found = read(algorithm.values_at(&trainee, &[center + away]));
        println!("{away}: {found:?} against 1 / {}", 1.0 + l2);
        for (found, solution) in found.into_iter().zip(SOLUTION) {
            let expected = f64::from(solution) / (1.0 + l2);
            assert!((f64::from(found) / expected - 1.0).abs() < 0.01, "{away}");
        }
    }
    // The penalty matters: the response is no constant.
    assert!(L2.value(center + 0.3) - L2.value(center - 0.3) > 0.2);
}

/// Validation labels are half the training labels: the best penalty is 1, where `h` is 0, on whichever
/// side it starts; 2000 training steps first, as the response must be known.
#[test]
fn the_penalty_comes_to_the_best_one() {
    for start in [0.5, 1.5] {
        let mut trainee = ridge();
        let knobs = vec![Knob { start, ..L2 }];
        let mut algorithm = SelfTuning::new(&trainee, knobs, plan(0.1, 1), Constant(0.01));
        let (train, valid) = (batch(0..8, |_| 1.0), batch(8..16, |_| 0.5));
        let mut tail = 0.0;
        for step in 0..2000 {
            let mut rng = StepContext::new(step, 1).rng();
            for _ in 0..if step == 0 { 2000 } else { 2 } {
                algorithm
                    .train(&mut trainee, &train, step, &mut rng)
                    .unwrap();
            }
            algorithm.tune(&mut trainee, &valid, &mut rng).unwrap();
            if step >= 1500 {
                tail += algorithm.tuned().center()[0] / 500.0;
            }
        }
        println!("from {start}: {tail} {:?}", algorithm.tuned().values());
        assert!(tail.abs() < 0.01, "from {start}: {tail}");
        for (found, solution) in read(algorithm.values_at(&trainee, &[tail]))
            .into_iter()
            .zip(SOLUTION)
        {
            assert!((found - solution / 2.0).abs() < 0.03 * solution.abs());
        }
    }
}

#[test]
fn a_fixed_share_of_the_examples_is_held_back() {
    let trains = |id: usize| {
        let mut trainee = ridge();
        let late = Plan {
            settle: 100,
            ..plan(0.5, 1)
        };
        let mut algorithm = started(&trainee, late, Constant(0.01));
        let before = read(trainee.values());
        let context = StepContext::new(id as u64 % 7, 1);
        algorithm
            .update(&mut trainee, &batch(id..id + 1, |_| 1.0), &context)
            .unwrap();
        read(trainee.values()) != before
    };
    let held: Vec<usize> = (0..300).filter(|id| !trains(*id)).collect();
    let share = held.len() as f64 / 300.0;
    assert!((share - 0.2).abs() < 0.07, "{share}");
    // Before the hyperparameters move, their labels have no effect in a mixed batch; others' have.
    let run = |factor: &dyn Fn(usize) -> f32| {
        let mut trainee = ridge();
        let late = Plan {
            settle: 100,
            ..plan(0.5, 2)
        };
        let mut algorithm = started(&trainee, late, Constant(0.01));
        for step in 0..3 {
            let batch = batch(60 * step..60 * (step + 1), factor);
            let context = StepContext::new(step as u64, 1);
            algorithm.update(&mut trainee, &batch, &context).unwrap();
        }
        read(trainee.values())
    };
    let plain = run(&|_| 1.0);
    let wrong = |of_held: bool| {
        run(&|id| {
            if held.contains(&id) == of_held {
                9.0
            } else {
                1.0
            }
        })
    };
    assert_eq!(wrong(true), plain);
    assert_ne!(wrong(false), plain);
}

/// On whole batches, so that hyperparameters and scales move; the evaluation weights are others than
/// the training weights.
#[test]
fn a_resumed_trial_of_stn_changes_no_bit() {
    const STEPS: u64 = 24;
    let context = crate::resume::context(&StnSubmission, STEPS);
    let step = |algorithm: &mut dyn Algorithm, trainee: &mut Trainee, n: u64| {
        let ids = 40 * n as usize..40 * (n as usize + 1);
        let batch = batch(ids, |id| 1.0 + 0.1 * (id % 5) as f32);
        algorithm
            .update(trainee, &batch, &StepContext::new(n, 1))
            .unwrap();
    };
    let mut trainee = ridge();
    let mut algorithm = StnSubmission.start(&mut trainee, &context).unwrap();
    let mut kept = None;
    for n in 0..STEPS {
        if n == STEPS / 2 {
            let mut state = State::new();
            algorithm.save(&mut state).unwrap();
            kept = Some((state, trainee.values()));
        }
        step(algorithm.as_mut(), &mut trainee, n);
    }
    let finish = |algorithm: &mut dyn Algorithm, trainee: &mut Trainee| {
        let mut state = State::new();
        algorithm.save(&mut state).unwrap();
        (
            probe::bits(&probe::values(trainee)),
            probe::bits(&probe::eval_values(algorithm, trainee)),
            state,
        )
    };
    let straight = finish(algorithm.as_mut(), &mut trainee);
    assert_ne!(straight.0, straight.1);

    let (state, values) = kept.unwrap();
    assert!(state != straight.2);
    let mut trainee = ridge();
    let mut algorithm = StnSubmission.start(&mut trainee, &context).unwrap();
    trainee.set_values(&values).unwrap();
    algorithm.load(&state, &trainee).unwrap();
    for n in STEPS / 2..STEPS {
        step(algorithm.as_mut(), &mut trainee, n);
    }
    let resumed = finish(algorithm.as_mut(), &mut trainee);
    assert_eq!(resumed.0, straight.0);
    assert_eq!(resumed.1, straight.1);
    assert!(resumed.2 == straight.2);
}

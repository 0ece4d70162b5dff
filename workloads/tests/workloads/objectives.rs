//! The finer faces of a pass: weights of examples and units, weights that depend on the losses,
//! objectives of a submission's own, values that stand in for the parameters.

use crate::common::{batch, bits, build, lock, numbers, parameter_bits, registry, training_device};
use burn::tensor::{Tensor, TensorData};
use velodrome_harness::contract::{
    Batch, Gradients, ModelError, PassOptions, Trainee, Weights, cross_entropy,
};

const WORKLOADS: [&str; 3] = ["digits_mlp", "fashion_resnet", "shakespeare_gpt"];
const EXAMPLES: usize = 6;

/// Each base workload's model with a training batch.
fn each(mut check: impl FnMut(&str, Trainee, Batch)) {
    let _lock = lock();
    for name in WORKLOADS {
        let registry = registry();
        let workload = registry.workload(name).unwrap();
        let splits = workload.open().unwrap();
        let device = training_device();
        let ids: Vec<usize> = (10..10 + EXAMPLES).collect();
        let batch = batch(splits.train.as_ref(), &ids, &device);
        let trainee = Trainee::new(build(workload.as_ref(), 5), device, 5);
        check(name, trainee, batch);
    }
}

fn quiet() -> PassOptions {
    PassOptions {
        update_norm: false,
        ..PassOptions::default()
    }
}

fn vector(trainee: &Trainee, values: Vec<f32>) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), &trainee.device())
}

fn flat(gradients: &Gradients) -> Vec<Vec<f32>> {
    let params = gradients.params().clone();
    let gradient = |p| numbers(gradients.get(p).unwrap());
    params.iter().map(gradient).collect()
}

/// Largest difference, and largest entry of the second.
fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> (f32, f32) {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.fold((0.0, 0.0), |(d, m), (x, y)| {
        (f32::max(d, (x - y).abs()), f32::max(m, y.abs()))
    })
}

fn assert_close(name: &str, a: &[Vec<f32>], b: &[Vec<f32>]) {
    let (difference, largest) = apart(a, b);
    assert!(
        difference < 2e-5 * largest.max(0.1),
        "{name}: {difference} of {largest}"
    );
}

/// Units in the batch, from one look at it.
fn units(trainee: &mut Trainee, batch: &Batch) -> usize {
    let mut units = 0;
    trainee
        .gradients_weighted(batch, &quiet(), |seen| {
            units = seen.unit_losses()?.losses.dims()[0];
            assert_eq!(seen.predictions()?.dims()[0], units);
            Ok(Weights::Examples(seen.losses.ones_like()))
        })
        .unwrap();
    units
}

#[test]
fn weights_chosen_from_the_losses_equal_the_same_weights_given_beforehand() {
    each(|name, mut trainee, batch| {
        let by_loss = |losses: Tensor<1>| losses.square().mul_scalar(0.3);
        let seen = trainee.gradients(&batch, &quiet()).unwrap();
        let given = PassOptions {
            weights: Some(by_loss(seen.losses.clone())),
            ..quiet()
        };
        let given = trainee.gradients(&batch, &given).unwrap();
        let before = *trainee.counters();
        let chosen = trainee
            .gradients_weighted(&batch, &quiet(), |seen| {
                Ok(Weights::Examples(by_loss(seen.losses.clone())))
            })
            .unwrap();
        let after = *trainee.counters();
        assert_eq!(after.forward_passes, before.forward_passes + 1, "{name}");
        assert_eq!(after.backward_passes, before.backward_passes + 1);
        assert_eq!(after.work, before.work + EXAMPLES as u64);
        assert_eq!(bits(chosen.losses), bits(given.losses), "{name}");
        assert_eq!(bits(chosen.loss), bits(given.loss), "{name}");
        assert_eq!(flat(&chosen.gradients), flat(&given.gradients), "{name}");
        assert!(apart(&flat(&chosen.gradients), &flat(&seen.gradients)).0 > 1e-3);
    });
}

/// The gradient is linear in the weights of the units: two halves add up to the whole, and one half
/// is not the whole.
#[test]
fn weights_of_units_split_the_gradient() {
    each(|name, mut trainee, batch| {
        let n = units(&mut trainee, &batch);
        let half = |trainee: &mut Trainee, odd: usize| {
            let weights = (0..n).map(|u| f32::from(u % 2 == odd)).collect();
            let options = PassOptions {
                unit_weights: Some(vector(trainee, weights)),
                ..quiet()
            };
            flat(&trainee.gradients(&batch, &options).unwrap().gradients)
        };
        let (even, odd) = (half(&mut trainee, 0), half(&mut trainee, 1));
        let sum: Vec<Vec<f32>> = even
            .iter()
            .zip(&odd)
            .map(|(a, b)| a.iter().zip(b).map(|(x, y)| x + y).collect())
            .collect();
        let whole = flat(&trainee.gradients(&batch, &quiet()).unwrap().gradients);
        assert_close(name, &sum, &whole);
        assert!(apart(&even, &whole).0 > 1e-3, "{name}");

        let chosen = trainee
            .gradients_weighted(&batch, &quiet(), |seen| {
                let weights = (0..n).map(|u| f32::from(u % 2 == 0)).collect();
                let data = TensorData::new(weights, [n]);
                let device = seen.losses.device();
                Ok(Weights::Units(Tensor::from_data(data, &device)))
            })
            .unwrap();
        assert_eq!(flat(&chosen.gradients), even, "{name}");
        let wrong = PassOptions {
            unit_weights: Some(vector(&trainee, vec![1.0; n + 1])),
            ..quiet()
        };
        assert!(trainee.gradients(&batch, &wrong).is_err(), "{name}");
    });
}

#[test]
fn an_objective_of_ones_own_that_is_the_loss_gives_its_gradient() {
    each(|name, mut trainee, batch| {
        let loss = trainee.gradients(&batch, &quiet()).unwrap();
        let own = trainee
            .gradients_replaced(&batch, &quiet(), |p| {
                Ok(cross_entropy(p.logits, p.labels, 0.0).mean())
            })
            .unwrap();
        let (a, b) = (numbers(own.loss)[0], numbers(loss.loss)[0]);
        assert!((a - b).abs() < 1e-5, "{name}: {a} {b}");
        assert_eq!(bits(own.losses), bits(loss.losses), "{name}");
        assert_close(name, &flat(&own.gradients), &flat(&loss.gradients));
        // Another objective has another gradient.
        let other = trainee
            .gradients_replaced(&batch, &quiet(), |p| Ok(p.logits.square().mean()))
            .unwrap();
        assert!(apart(&flat(&other.gradients), &flat(&loss.gradients)).0 > 1e-3);
        let fails =
            trainee.gradients_replaced(&batch, &quiet(), |_| Err(ModelError::Compute("no".into())));
        assert!(fails.is_err());
    });
}

#[test]
fn values_that_stand_in_for_the_parameters_pass_their_gradients_on() {
    each(|name, mut trainee, batch| {
        let before = common_values(&trainee);
        let plain = trainee.gradients(&batch, &quiet()).unwrap();
        let identity = trainee
            .gradients_through(&batch, &quiet(), &[], |_, value, _| value)
            .unwrap();
        assert_eq!(bits(identity.pass.loss), bits(plain.loss.clone()), "{name}");
        assert_eq!(
            flat(&identity.pass.gradients),
            flat(&plain.gradients),
            "{name}"
        );

        // Every parameter times the auxiliary number 1: its gradient is the sum of g p, and one
        // without use has none.
        let one = vector(&trainee, vec![1.0]);
        let unused = vector(&trainee, vec![3.0, 4.0]);
        let scaled = trainee
            .gradients_through(&batch, &quiet(), &[one, unused], |_, value, aux| {
                value * aux[0].clone()
            })
            .unwrap();
        assert_close(name, &flat(&scaled.pass.gradients), &flat(&plain.gradients));
        let expected: f64 = flat(&plain.gradients)
            .iter()
            .flatten()
            .zip(before.iter().flatten())
            .map(|(g, p)| f64::from(*g) * f64::from(*p))
            .sum();
        let found = f64::from(numbers(scaled.auxiliary[0].clone())[0]);
        assert!(
            (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
            "{name}: {found} {expected}"
        );
        assert_eq!(numbers(scaled.auxiliary[1].clone()), [0.0, 0.0]);

        // Doubled values are really used, and the parameters stay as they are.
        let doubled = trainee
            .gradients_through(&batch, &quiet(), &[], |_, value, _| value.mul_scalar(2.0))
            .unwrap();
        trainee.map(|_, value| value.mul_scalar(2.0));
        let there = trainee.gradients(&batch, &quiet()).unwrap();
        assert_eq!(bits(doubled.pass.loss), bits(there.loss), "{name}");
        let chained: Vec<Vec<f32>> = flat(&there.gradients)
            .iter()
            .map(|g| g.iter().map(|x| 2.0 * x).collect())
            .collect();
        assert_close(name, &flat(&doubled.pass.gradients), &chained);
        trainee.map(|_, value| value.mul_scalar(0.5));
        assert_eq!(common_values(&trainee), before, "{name}");
        let wrong = trainee.gradients_through(&batch, &quiet(), &[], |_, value, _| value.sum());
        assert!(wrong.is_err(), "{name}");
    });
}

fn common_values(trainee: &Trainee) -> Vec<Vec<f32>> {
    trainee.values().into_iter().map(numbers).collect()
}

/// Gradients in evaluation mode are those of the losses that evaluation has.
#[test]
fn a_pass_as_in_evaluation_has_the_losses_of_evaluation() {
    each(|name, mut trainee, batch| {
        let options = PassOptions {
            dropout: Some(0.5),
            label_smoothing: 0.2,
            as_in_evaluation: true,
            ..PassOptions::default()
        };
        let snapshot = common_values(&trainee);
        let before = bits(trainee.losses(&batch).unwrap());
        let pass = trainee.gradients(&batch, &options).unwrap();
        assert_eq!(bits(pass.losses), before, "{name}");
        // Running statistics do not move.
        assert_eq!(bits(trainee.losses(&batch).unwrap()), before, "{name}");
        assert_eq!(common_values(&trainee), snapshot);
        let norm: f32 = flat(&pass.gradients).iter().flatten().map(|g| g * g).sum();
        assert!(norm > 0.0, "{name}");
        // Short, since kinks and curvature bend longer differences.
        let (info, shift) = (trainee.params()[0].clone(), 1e-3f32);
        // Along the gradient of the first parameter the loss rises by its square.
        let gradient = pass.gradients.get(&info).unwrap();
        let square: f32 = numbers(gradient.clone()).iter().map(|g| g * g).sum();
        let mut at = |by: f32| {
            trainee.map(|p, value| match p.index == info.index {
                true => value + gradient.clone().mul_scalar(by / square),
                false => value,
            });
            let losses = numbers(trainee.losses(&batch).unwrap());
            losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64
        };
        let above = at(shift);
        let below = at(-2.0 * shift);
        let slope = (above - below) / (2.0 * f64::from(shift));
        assert!((slope - 1.0).abs() < 0.03, "{name}: {slope}");
    });
}

#[test]
fn a_batch_is_partitioned_by_the_examples_identities() {
    each(|name, trainee, batch| {
        let device = training_device();
        let (held, kept) = batch.partition(|id| id % 3 == 0, &device);
        assert_eq!(held.ids(), [12, 15], "{name}");
        assert_eq!(kept.ids(), [10, 11, 13, 14], "{name}");
        assert_eq!(held.units() * 2, kept.units());
        let (all, none) = batch.partition(|_| true, &device);
        assert_eq!((all.len(), none.len()), (EXAMPLES, 0));
        let mut trainee = trainee;
        let whole = numbers(trainee.losses(&batch).unwrap());
        let part = numbers(trainee.losses(&held).unwrap());
        for (part, whole) in part.iter().zip([whole[2], whole[5]]) {
            assert!((part - whole).abs() < 1e-5, "{name}");
        }
    });
}

#[test]
fn a_removed_gradient_is_gone() {
    each(|name, mut trainee, batch| {
        let mut gradients = trainee.gradients(&batch, &quiet()).unwrap().gradients;
        let params = trainee.params();
        let there = bits(gradients.get(&params[0]).unwrap());
        assert_eq!(bits(gradients.remove(&params[0]).unwrap()), there, "{name}");
        assert!(gradients.get(&params[0]).is_none() && gradients.get(&params[1]).is_some());
    });
}

/// Loss and parameters are those that the plain pass had before the finer faces came, to the bit:
/// the mean of the cross entropies, example by example.
#[test]
fn the_plain_pass_is_the_mean_of_the_examples_losses() {
    each(|name, mut trainee, batch| {
        let pass = trainee.gradients(&batch, &quiet()).unwrap();
        assert_eq!(bits(pass.losses.mean()), bits(pass.loss), "{name}");
    });
    let registry = registry();
    for name in WORKLOADS {
        let _lock = lock();
        let workload = registry.workload(name).unwrap();
        let [a, b] = [(); 2].map(|()| parameter_bits(build(workload.as_ref(), 5).as_ref()));
        assert_eq!(a, b, "{name}");
    }
}

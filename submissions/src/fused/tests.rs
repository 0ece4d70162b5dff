use super::pass::whole;
use super::*;
use crate::optimizers::adamw::AdamW;
use crate::optimizers::adan::Adan;
use crate::optimizers::lion::Lion;
use burn::tensor::TensorData;

/// Numbers in -1..1 that depend on `salt`.
fn numbers(salt: u32, len: usize) -> Tensor<1> {
    let entry = |i: u32| (i.wrapping_mul(2_654_435_761) ^ salt.wrapping_mul(40_503)) as i32;
    let values: Vec<f32> = (0..len as u32)
        .map(|i| entry(i) as f32 / i32::MAX as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, [len]), &Device::flex())
}

fn bits(tensors: &[Tensor<1>]) -> Vec<Vec<u32>> {
    let bits = |t: &Tensor<1>| -> Vec<u32> {
        let values = t.to_data().try_to_vec::<f32>().unwrap();
        values.iter().map(|x: &f32| x.to_bits()).collect()
    };
    tensors.iter().map(bits).collect()
}

type Step<R, const S: usize> =
    fn(&R, Now, Tensor<1>, Tensor<1>, [Tensor<1>; S]) -> (Tensor<1>, [Tensor<1>; S]);

/// Parameter and state after some steps.
fn ride<R: Rule<S>, const S: usize>(rule: &R, len: usize, step: Step<R, S>) -> Vec<Vec<u32>> {
    let mut parameter = numbers(0, len);
    let mut state: [Tensor<1>; S] = std::array::from_fn(|_| parameter.zeros_like());
    for time in 1..=4 {
        let now = Now { lr: 0.01, time };
        let gradient = numbers(time as u32, len);
        (parameter, state) = step(rule, now, parameter, gradient, state);
    }
    let mut all = vec![parameter];
    all.extend(state);
    bits(&all)
}

fn adamw() -> AdamW {
    AdamW {
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
    }
}

fn adan() -> Adan {
    Adan {
        beta1: 0.98,
        beta2: 0.92,
        beta3: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.02,
        no_prox: false,
    }
}

fn lion() -> Lion {
    Lion {
        beta1: 0.9,
        beta2: 0.99,
        weight_decay: 0.1,
    }
}

#[test]
fn one_pass_has_the_bits_of_the_tensor_expressions() {
    fn check<R: Rule<S>, const S: usize>(rule: &R) {
        // None, less than a vector, one, a rest, several chunks.
        for len in [0, 1, 15, 16, 17, 100, 16_384, 50_021] {
            assert_eq!(ride(rule, len, step), ride(rule, len, whole), "{len}");
        }
    }
    check(&adamw());
    check(&adan());
    check(&lion());
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let ride_on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| ride(&adamw(), 50_021, step))
    };
    let alone = ride_on(1);
    assert_eq!(alone, ride_on(2));
    assert_eq!(alone, ride_on(3));
}

#[test]
fn shared_and_turned_tensors_keep_their_values() {
    let (kept, gradient) = (numbers(0, 12), numbers(1, 12));
    let before = bits(std::slice::from_ref(&kept));
    let turned = kept.clone().reshape([3, 4]).transpose();
    let turned_gradient = gradient.clone().reshape([3, 4]).transpose();
    let state = [turned.zeros_like(), turned.zeros_like()];
    let now = Now { lr: 0.01, time: 1 };
    let (got, _) = step(&adamw(), now, turned, turned_gradient, state);
    assert_eq!(bits(std::slice::from_ref(&kept)), before);
    let state = [kept.zeros_like(), kept.zeros_like()];
    let (straight, _) = step(&adamw(), now, kept, gradient, state);
    let got = got.transpose().reshape([12]);
    assert_eq!(bits(&[got]), bits(&[straight]));
}

#[test]
fn a_number_on_the_host_is_one_on_a_device() {
    use number::{Entry, Whole};
    let inputs = [-2.5, -0.0, 0.0, 0.5, 3.0, f32::NAN, f32::INFINITY];
    let tensor = Tensor::<1>::from_data(TensorData::new(inputs.to_vec(), [7]), &Device::flex());
    macro_rules! same {
        ($f:expr) => {{
            let entries: Vec<f32> = inputs.iter().map(|&x| ($f)(Entry(x)).0).collect();
            let whole = ($f)(Whole(tensor.clone())).0;
            let values = whole.to_data().try_to_vec::<f32>().unwrap();
            for (x, (a, b)) in inputs.iter().zip(entries.iter().zip(&values)) {
                let same = (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 || a == b;
                assert!(same, "{}({x}): {a} and {b}", stringify!($f));
            }
        }};
    }
    same!(Number::sign);
    same!(Number::abs);
    same!(Number::heaviside);
    same!(|x| Number::clamp(x, -1.0, 2.0));
    same!(|x| Number::sqrt(Number::abs(x)));
    same!(|x| Number::powf(Number::abs(x), 0.7));
    same!(std::ops::Neg::neg);
}

/// A copy of a parameter per step would cost as much as the step.
#[test]
fn tensors_that_nobody_else_holds_are_changed_in_place() {
    let place = |t: Tensor<1>| -> (usize, Tensor<1>) {
        let data = t.into_data();
        let at = data.as_slice::<f32>().unwrap().as_ptr() as usize;
        (at, Tensor::from_data(data, &Device::flex()))
    };
    let (p_at, p) = place(numbers(0, 5000));
    let (m_at, m) = place(numbers(0, 5000).zeros_like());
    let (v_at, v) = place(numbers(0, 5000).zeros_like());
    let now = Now { lr: 0.01, time: 1 };
    let (p, [m, v]) = step(&adamw(), now, p, numbers(1, 5000), [m, v]);
    assert_eq!([place(p).0, place(m).0, place(v).0], [p_at, m_at, v_at]);
}

//! What single methods claim beyond what all promise.

use super::support::{far, tensor};
use burn::module::{Module, Reparameterization};
use burn::tensor::{Device, Tensor};
use std::sync::Arc;
use velodrome_submissions::adapters::allora::AlLora;
use velodrome_submissions::adapters::dsee::{Dsee, Places, magnitude_masks};
use velodrome_submissions::adapters::dylora::{Active, DyLora};
use velodrome_submissions::adapters::eva::Directions;
use velodrome_submissions::adapters::flora::Flora;
use velodrome_submissions::adapters::layout::values;
use velodrome_submissions::adapters::mosl::Mosl;
use velodrome_submissions::adapters::selection::lora_plus;
use velodrome_submissions::adapters::{
    Adapted, Added, Draw, Method, Options, Parts, Shape, checks, entry,
};

const SHAPE: Shape = Shape {
    d_in: 24,
    d_out: 16,
};

fn random(seed: u64, shape: [usize; 2]) -> Tensor<2> {
    Draw::seeded(seed).normal(shape, 1.0, &Device::flex())
}

fn base() -> Tensor<2> {
    random(1, [SHAPE.d_in, SHAPE.d_out])
}

fn named(name: &str, options: &str) -> Arc<dyn Method> {
    let values = checks::options(options);
    let built = (entry(name).unwrap().build)(&Options::new(&values, SHAPE), SHAPE);
    Arc::from(built.unwrap())
}

/// Gradients of the trained factors, for the gradient `flow` of the adapted weight.
fn gradients(method: &dyn Method, adapted: &Adapted, flow: &Tensor<2>) -> Vec<Tensor<2>> {
    let graph = |t: &Tensor<2>| Tensor::<2>::from_inner(t.clone());
    let (factors, trained) = adapted.in_graph();
    let weight = method.materialize(graph(adapted.frozen()), &factors);
    let gradients = (weight * graph(flow)).sum().backward();
    let zero = |t: &Tensor<2>| Tensor::zeros(t.dims(), &Device::flex());
    trained
        .iter()
        .map(|t| t.grad(&gradients).unwrap_or_else(|| zero(t)))
        .collect()
}

#[test]
fn allora_computes_lora_and_scales_its_gradient() {
    let allora = Arc::new(AlLora::new(SHAPE, 4, 2.0));
    let lora = named("lora", r#"{"r": 4, "lora_alpha": 4}"#);
    let factors = vec![random(2, [24, 4]), random(3, [4, 16])];
    let ours = Adapted::with_trained(allora.clone(), base(), factors.clone()).unwrap();
    let plain = Adapted::with_trained(lora.clone(), base(), factors.clone()).unwrap();
    assert_eq!(values(ours.weight()), values(plain.weight()));
    let flow = random(4, [24, 16]);
    let scaled = gradients(allora.as_ref(), &ours, &flow);
    let whole = gradients(lora.as_ref(), &plain, &flow);
    let c = allora.coefficients(&factors[0], &factors[1]);
    // The shortcut by the Gram matrix gives the columns' norms.
    let norms = factors[0]
        .clone()
        .matmul(factors[1].clone())
        .square()
        .sum_dim(0)
        .sqrt();
    let wanted = norms.add_scalar(0.25).sqrt().recip();
    assert!(far(c.clone(), wanted) < 1e-6);
    assert!(far(scaled[1].clone(), whole[1].clone() * c) < 1e-4);
    assert!(far(scaled[0].clone(), whole[0].clone()) > 1e-2);
}

#[test]
fn dylora_trains_one_component_a_step() {
    let active = Active::new(8);
    let dylora = Arc::new(Added(DyLora::new(SHAPE, 8, 16.0, true, active.clone())));
    let factors = vec![random(2, [24, 8]), random(3, [8, 16])];
    let adapted = Adapted::with_trained(dylora.clone(), base(), factors).unwrap();
    for b in [1, 5, 8] {
        active.set(b);
        let moving = gradients(dylora.as_ref(), &adapted, &random(4, [24, 16]));
        let count = |t: &Tensor<2>| values(t.clone()).iter().filter(|x| **x != 0.0).count();
        assert_eq!(count(&moving[0]) + count(&moving[1]), 24 + 16, "{b}");
    }
}

#[test]
fn flora_of_a_kernel_is_the_sum_over_all_ranks() {
    let (axes, ranks) = ([4, 3, 2, 2], [2, 3, 1, 2]);
    let both: Vec<(usize, usize)> = axes.into_iter().zip(ranks).collect();
    let flora = Flora::new(&both, 0.5).unwrap();
    let factors: Vec<Tensor<2>> = flora
        .trained()
        .iter()
        .enumerate()
        .map(|(i, f)| random(10 + i as u64, f.shape()))
        .collect();
    let host: Vec<Vec<f32>> = factors.iter().map(|f| values(f.clone())).collect();
    let found = values(flora.materialize(Tensor::zeros([4, 12], &Device::flex()), &factors));
    for (place, found) in found.iter().enumerate() {
        let at = [place / 12, place / 4 % 3, place / 2 % 2, place % 2];
        let mut wanted = 0.0;
        for core in 0..ranks.iter().product::<usize>() {
            let k = [core / 6, core / 2 % 3, 0, core % 2];
            let product: f32 = (0..4).map(|m| host[m][at[m] * ranks[m] + k[m]]).product();
            wanted += 0.5 * host[4][core] * product;
        }
        assert!((found - wanted).abs() < 1e-5, "{at:?}");
    }
    let kernel = Flora::new(&[(128, 8), (64, 8), (3, 2), (3, 2)], 4.0).unwrap();
    let count: usize = kernel.trained().iter().map(|f| f.len()).sum();
    assert_eq!(count, 1804);
    assert!(Flora::new(&[(4, 2)], 1.0).is_err());
}

#[test]
fn dsee_frees_the_entries_that_it_says() {
    let mut weight = vec![0.1f32; 24 * 16];
    weight[5 * 16 + 3] = -9.0;
    weight[20 * 16 + 11] = 4.0;
    let base = tensor(weight, [24, 16]);
    for places in [Places::Largest, Places::Residual] {
        let dsee = Dsee {
            shape: SHAPE,
            rank: 2,
            count: 2,
            scale: 1.0,
            places,
            seed: 0,
            mask: None,
        };
        let found = values(dsee.derive(&base).unwrap().remove(0));
        // Outputs, then inputs. The low-rank part takes the constant, not the outliers.
        if places == Places::Largest {
            assert_eq!(found, [3.0, 11.0, 5.0, 20.0], "{places:?}");
        }
        assert_eq!(found.len(), 4);
    }
    let weights = [random(5, [10, 10]), random(6, [20, 5]).mul_scalar(10.0)];
    let masks = magnitude_masks(&weights, 0.2);
    let kept = |m: &Tensor<2>| values(m.clone()).iter().sum::<f32>();
    assert_eq!(kept(&masks[0]) + kept(&masks[1]), 160.0);
    assert!(kept(&masks[0]) < kept(&masks[1]));
}

#[test]
fn mosl_s_bands_are_disjoint_and_cover_all() {
    let active = Active::new(4);
    let mosl = Mosl {
        shape: SHAPE,
        rank: 3,
        experts: 4,
        scale: 2.0,
        seed: 3,
        active: active.clone(),
    };
    let bands = mosl.derive(&base()).unwrap().remove(0).reshape([4, 48]);
    assert!(values(bands.clone().sum_dim(0)).iter().all(|x| *x == 1.0));
    assert!(values(bands.sum_dim(1)).iter().all(|x| *x == 12.0));
    let factors = vec![random(2, [24, 3]), random(3, [12, 16])];
    let method = Arc::new(Added(mosl));
    let adapted = Adapted::with_trained(method, base(), factors).unwrap();
    let all = adapted.weight() - base();
    let mut sum = Tensor::zeros([24, 16], &Device::flex());
    for expert in 0..4 {
        active.set(expert);
        let one = adapted.weight() - base();
        assert!(far(one.clone(), all.clone()) > 1e-2);
        sum = sum + one;
    }
    assert!(far(sum, all) < 1e-5);
}

#[test]
fn s2ft_s_gradient_is_the_rows_of_the_weight_s() {
    let s2ft = named("s2ft", r#"{"rows": 5, "seed": 9}"#);
    let mut draw = Draw::seeded(0);
    let adapted = Adapted::start(s2ft.clone(), base(), &mut draw).unwrap();
    let flow = random(4, [24, 16]);
    let found = values(gradients(s2ft.as_ref(), &adapted, &flow).remove(0));
    let rows = values(adapted.constants()[0].clone());
    let flow = values(flow);
    let wanted: Vec<f32> = rows
        .iter()
        .flat_map(|r| flow[*r as usize * 16..(*r as usize + 1) * 16].to_vec())
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn eva_s_directions_are_those_of_all_inputs_at_once() {
    // 512 inputs of width 12 with falling deviations, turned and shifted.
    let spread = Tensor::<2>::from_floats(
        [[9., 7., 5., 3., 1., 1., 1., 1., 1., 1., 1., 1.]],
        &Device::flex(),
    );
    let turn = random(7, [12, 12]);
    let inputs = (random(8, [512, 12]) * spread).matmul(turn).add_scalar(3.0);
    let mut once = Directions::new(8, 12);
    once.update(inputs.clone()).unwrap();
    let mut parts = Directions::new(8, 12);
    let mut last = None;
    for batch in 0..8 {
        last = parts
            .update(inputs.clone().narrow(0, 64 * batch, 64))
            .unwrap();
    }
    assert!(last.unwrap() > 0.5);
    let (a, b) = (
        once.leading(3, &Device::flex()),
        parts.leading(3, &Device::flex()),
    );
    let cosines = values((a.clone() * b.clone()).sum_dim(0).abs());
    assert!(cosines.iter().all(|c| *c > 0.99), "{cosines:?}");
    let gram = b.clone().transpose().matmul(b.clone());
    assert!(far(gram, Tensor::eye(3, &Device::flex())) < 1e-4);
    // The shares are the variance that the directions take, and sum to at most 1.
    let shares = once.shares();
    assert!(shares.windows(2).all(|w| w[0] >= w[1]) && shares.iter().sum::<f64>() <= 1.0 + 1e-9);
    let centred = inputs.clone() - inputs.clone().mean_dim(0);
    let taken =
        values(centred.clone().matmul(a).square().sum())[0] / values(centred.square().sum())[0];
    assert!((f64::from(taken) - shares[..3].iter().sum::<f64>()).abs() < 1e-4);
    assert_eq!(parts.update(inputs.narrow(0, 0, 4)).unwrap(), None);
}

#[test]
fn an_attached_adapter_computes_the_same_with_and_without_a_graph() {
    for (name, options) in [
        ("vera", r#"{"r": 4}"#),
        ("lora", r#"{"r": 4}"#),
        ("shira", r#"{"r": 2}"#),
    ] {
        let mut draw = Draw::seeded(0);
        let fresh = Adapted::start(named(name, options), base(), &mut draw).unwrap();
        let moved = fresh.trained().iter().enumerate();
        let moved = moved.map(|(i, f)| f.clone() + random(20 + i as u64, f.dims()));
        let adapted = fresh.retrained(moved.collect()).unwrap();
        let wanted = values(adapted.weight());
        let adapter = adapted.clone().attach();
        let graph = adapter.apply(Tensor::<2>::from_inner(adapted.frozen().clone()));
        assert_eq!(values(graph), wanted, "{name}");
        let plain = adapter.valid().apply(adapted.frozen().clone());
        assert_eq!(values(plain), wanted, "{name}");
        assert_eq!(adapter.num_params(), adapted.trainable(), "{name}");
    }
}

#[test]
fn lora_plus_hastens_what_starts_at_zero() {
    let start = |name: &str| {
        let mut draw = Draw::seeded(0);
        Adapted::start(named(name, "{}"), base(), &mut draw).unwrap()
    };
    assert_eq!(lora_plus(&start("lora"), 16.0), [1.0, 16.0]);
    assert_eq!(lora_plus(&start("loha"), 16.0), [1.0, 1.0, 1.0, 16.0]);
    assert_eq!(lora_plus(&start("ia3"), 16.0), [1.0]);
}

//! Methods against weights computed elsewhere from their equations.

use super::support::{far, matrix, numbers, tensor};
use burn::tensor::{Device, Tensor};
use serde_json::Value;
use std::sync::Arc;
use velodrome_submissions::adapters::allora::AlLora;
use velodrome_submissions::adapters::dylora::{Active, DyLora};
use velodrome_submissions::adapters::eva::allocate;
use velodrome_submissions::adapters::flora::Flora;
use velodrome_submissions::adapters::layout::values;
use velodrome_submissions::adapters::loldu::LoLdu;
use velodrome_submissions::adapters::{Adapted, Added, Method, Options, Shape, checks, entry};

const TEXT: &str = include_str!("../goldens/adapter_equations.json");

fn all() -> Value {
    serde_json::from_str(TEXT).unwrap()
}

fn base(all: &Value) -> Tensor<2> {
    matrix(&all["base"]["W_burn"])
}

/// The method of this line of the table for the 6 by 4 weight.
fn method(name: &str, options: &str) -> Arc<dyn Method> {
    let (values, shape) = (checks::options(options), Shape::new(6, 4));
    let built = (entry(name).unwrap().build)(&Options::new(&values, shape), shape);
    Arc::from(built.unwrap())
}

fn effective(method: Arc<dyn Method>, base: Tensor<2>, factors: Vec<Tensor<2>>) -> Tensor<2> {
    Adapted::with_trained(method, base, factors)
        .unwrap()
        .weight()
}

#[test]
fn bat_miss_and_adalora() {
    let all = all();
    let blocks = numbers(&all["bat"]["block_B"]);
    let bat = method("bone", r#"{"r": 2, "init_weights": "bat"}"#);
    let found = effective(bat, base(&all), vec![tensor(blocks, [4, 2])]);
    assert!(far(found, matrix(&all["bat"]["effective_burn"])) < 1e-6);

    let miss = method("miss", r#"{"r": 2}"#);
    let found = effective(miss, base(&all), vec![matrix(&all["miss"]["M"])]);
    assert!(far(found, matrix(&all["miss"]["effective_burn"])) < 1e-6);

    let of = &all["adalora"];
    let factors = vec![
        matrix(&of["A"]).transpose(),
        matrix(&of["B"]).transpose(),
        tensor(numbers(&of["E"]), [1, 2]),
    ];
    let adalora = method("adalora", r#"{"init_r": 2, "lora_alpha": 16}"#);
    let found = effective(adalora, base(&all), factors);
    assert!(far(found, matrix(&of["effective_burn"])) < 2e-6);
}

#[test]
fn dylora_at_both_ranks() {
    let all = all();
    let factors = vec![
        matrix(&all["adalora"]["A"]).transpose(),
        matrix(&all["adalora"]["B"]).transpose(),
    ];
    let active = Active::new(2);
    let dylora = DyLora::new(Shape::new(6, 4), 2, 16.0, true, active.clone());
    let adapted = Adapted::with_trained(Arc::new(Added(dylora)), base(&all), factors).unwrap();
    for rank in [1, 2] {
        active.set(rank);
        let wanted = &all["dylora"]["by_rank"][rank.to_string()]["effective_burn"];
        assert!(far(adapted.weight(), matrix(wanted)) < 1e-5, "{rank}");
    }
}

#[test]
fn flora_of_a_matrix() {
    let all = all();
    let of = &all["flora_linear"];
    let flora = Flora::new(&[(6, 2), (4, 3)], 4.0).unwrap();
    let factors = ["P_in", "P_out", "G"].map(|n| matrix(&of[n])).to_vec();
    let found = effective(Arc::new(flora), base(&all), factors);
    assert!(far(found, matrix(&of["effective_burn"])) < 1e-5);
}

#[test]
fn hydra_with_its_bias() {
    let all = all();
    let of = &all["hydra"];
    let hydra = method("hydra", r#"{"r": 2, "sequential_r": 2, "scale": 0.1}"#);
    let names = ["A_par", "B_par", "A_seq", "B_seq"];
    let factors = names.map(|n| matrix(&of[n])).to_vec();
    let adapted = Adapted::with_trained(hydra, base(&all), factors).unwrap();
    assert!(far(adapted.weight(), matrix(&of["effective_burn"])) < 1e-6);
    let bias = tensor(numbers(&of["bias"]), [1, 4]);
    let bias = adapted.bias(bias.reshape([4])).reshape([1, 4]);
    assert!(far(bias.clone(), tensor(numbers(&of["bias_eff"]), [1, 4])) < 1e-6);
    let y = adapted.forward(matrix(&all["base"]["x"])) + bias;
    assert!(far(y, matrix(&of["y"])) < 2e-6);
}

#[test]
fn loldu_of_a_weight_that_needs_pivots() {
    let all = all();
    let of = &all["loldu"];
    let base = matrix(&of["W_out_in"]).transpose();
    let loldu = Arc::new(Added(LoLdu {
        shape: Shape::new(3, 3),
        rank: 2,
        scale: 1.0,
    }));
    let z = tensor(numbers(&of["z_perturbed"]), [1, 2]);
    let adapted = Adapted::with_trained(loldu, base, vec![z]).unwrap();
    let residual = matrix(&of["residual_burn"]);
    assert!(far(adapted.frozen().clone(), residual) < 1e-6);
    assert!(far(adapted.weight(), matrix(&of["effective_burn"])) < 1e-6);

    // Without pivots, a zero in the first place would have no inverse.
    let swapped = tensor(vec![0.0, 1.0, 2.0, 3.0], [2, 2]);
    let full = Arc::new(Added(LoLdu {
        shape: Shape::new(2, 2),
        rank: 2,
        scale: 1.0,
    }));
    let z = full.0.clone();
    let mut draw = velodrome_submissions::adapters::Draw::seeded(1);
    let start = Adapted::start(full, swapped.clone(), &mut draw).unwrap();
    assert_eq!(z.rank, start.trainable());
    assert!(far(start.weight(), swapped) < 1e-6);
    assert!(
        values(start.frozen().clone())
            .iter()
            .all(|x| x.abs() < 1e-6)
    );
}

#[test]
fn eva_s_allocation_and_allora_s_coefficients() {
    let all = all();
    let of = &all["eva_allocation"];
    let shares = ["ratios_a", "ratios_b"].map(|n| numbers(&of[n]));
    let shares: Vec<Vec<f64>> = shares
        .iter()
        .map(|s| s.iter().map(|x| f64::from(*x)).collect())
        .collect();
    assert_eq!(allocate(&shares, 2), [2, 2]);
    assert_eq!(allocate(&[vec![0.9, 0.8, 0.7], vec![0.1]], 2), [3, 1]);

    let coefficients = all["allora"]["coeff"].as_object().unwrap();
    for (norm, wanted) in coefficients {
        let norm: f32 = norm.parse().unwrap();
        let allora = AlLora::new(Shape::new(1, 1), 1, 2.0);
        let one = tensor(vec![1.0], [1, 1]);
        let found = values(allora.coefficients(&one, &tensor(vec![norm], [1, 1])));
        assert!((f64::from(found[0]) - wanted.as_f64().unwrap()).abs() < 1e-6);
    }
    assert_eq!(base(&all).device(), Device::flex());
}

//! Reference trajectories, replayed through the code that races.

use crate::probe;
use serde::Deserialize;
use std::collections::BTreeMap;
use velodrome_harness::contract::{Algorithm, Hints, PassOptions, Point, Trainee};
use velodrome_submissions::averaging::schedule_free::{Form, ScheduleFree, ScheduleFreeAdamW};
use velodrome_submissions::fused::{Elementwise, Fused};
use velodrome_submissions::optimizers::adabelief::AdaBelief;
use velodrome_submissions::optimizers::adamg::AdamG;
use velodrome_submissions::optimizers::adamw::AdamW;
use velodrome_submissions::optimizers::adan::Adan;
use velodrome_submissions::optimizers::ademamix::AdEmaMix;
use velodrome_submissions::optimizers::amos::paper::{PaperAmos, PaperAmosRace};
use velodrome_submissions::optimizers::heavy_ball::HeavyBall;
use velodrome_submissions::optimizers::lion::Lion;
use velodrome_submissions::optimizers::nadamp::NadamP;
use velodrome_submissions::optimizers::nadamw::NAdamW;
use velodrome_submissions::optimizers::nesterov::Nesterov;
use velodrome_submissions::optimizers::radam::RAdam;
use velodrome_submissions::optimizers::{adafactor, lamb, mars, muon, prodigy};
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;

const RULES: [&str; 17] = [
    "adamw",
    "nadamw",
    "nesterov",
    "heavy_ball",
    "lion",
    "schedule_free_adamw",
    "lamb",
    "adabelief",
    "radam",
    "ademamix",
    "adan",
    "mars",
    "adafactor",
    "muon",
    "prodigy",
    "adamg",
    "amos",
];

/// No reference here depends on them.
const HINTS: Hints = Hints {
    steps: 0,
    batch_size: 1,
};

/// Rules without a row in `three_steps.json`.
const NO_ROW: [&str; 3] = ["radam", "muon", "amos"];

/// Switches of our rules that a reference does not have, at the values that it stands for.
const SWITCHES: [(&str, f64); 7] = [
    ("rectify", 0.0),
    ("no_prox", 0.0),
    ("optimize_1d", 0.0),
    ("lr_1d_ratio", 1.0),
    ("beta1_1d", 0.9),
    ("beta2_1d", 0.95),
    ("weight_decay_1d", 0.1),
];

#[derive(Deserialize)]
struct Golden {
    format: String,
    optimizer: String,
    hyperparameters: BTreeMap<String, f64>,
    parameters: Vec<Parameter>,
    steps: Vec<Step>,
    tolerance: Tolerance,
}

#[derive(Deserialize)]
struct Parameter {
    shape: Vec<usize>,
    initial: Vec<f64>,
}

#[derive(Deserialize)]
struct Step {
    gradients: Vec<Vec<f64>>,
    values: Vec<Vec<f64>>,
    eval_values: Option<Vec<Vec<f64>>>,
}

#[derive(Deserialize, Clone, Copy)]
struct Tolerance {
    relative: f64,
    absolute: f64,
}

#[derive(Deserialize)]
struct ThreeSteps {
    initial: Vec<f64>,
    gradients: Vec<Vec<f64>>,
    rules: BTreeMap<String, ThreeStepRule>,
}

#[derive(Deserialize)]
struct ThreeStepRule {
    hyperparameters: BTreeMap<String, f64>,
    values: Vec<Vec<f64>>,
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/goldens/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The racing algorithm of a submission at a constant learning rate.
pub fn algorithm(
    name: &str,
    hyperparameters: &BTreeMap<String, f64>,
    trainee: &Trainee,
) -> Box<dyn Algorithm> {
    let mut point = Point(hyperparameters.clone());
    for (name, value) in SWITCHES {
        point.0.entry(name.into()).or_insert(value);
    }
    let point = &mut point;
    let rate = Constant(point.get("learning_rate").unwrap());
    macro_rules! racing {
        ($rule:expr) => {
            Box::new(ScheduledOptimizer::new($rule.unwrap(), rate))
        };
    }
    macro_rules! fused {
        ($rule:expr) => {
            racing!($rule.map(Fused))
        };
    }
    match name {
        "adamw" => fused!(AdamW::from_point(point)),
        "nadamw" => fused!(NAdamW::from_point(point)),
        "nadamp" => fused!(NadamP::new(point, &HINTS)),
        "nesterov" => fused!(Nesterov::new(point, &HINTS)),
        "heavy_ball" => fused!(HeavyBall::new(point, &HINTS)),
        "lion" => fused!(Lion::new(point, &HINTS)),
        "lamb" => racing!(lamb::Lamb::from_point(point, lamb::Form::Corrected)),
        "lamb_rate_corrected" => {
            racing!(lamb::Lamb::from_point(point, lamb::Form::RateCorrected))
        }
        "adabelief" | "adabelief_rectified" => fused!(AdaBelief::from_point(point)),
        "radam" => fused!(RAdam::from_point(point)),
        "ademamix" => fused!(AdEmaMix::from_point(point, 0)),
        "adan" | "adan_no_prox" => fused!(Adan::new(point, &HINTS)),
        "mars" => racing!(mars::Mars::from_point(point)),
        "mars_early_epsilon" => racing!(mars::Mars::from_point(point).map(|rule| mars::Mars {
            early_epsilon: true,
            ..rule
        })),
        "adafactor" => racing!(adafactor::Adafactor::baseline(point)),
        "adafactor_original" => racing!(adafactor::Adafactor::original(point)),
        "muon" => racing!(muon::Muon::from_point(point)),
        "adamg" => fused!(AdamG::package(point)),
        "amos_paper" => {
            let rule = PaperAmos::from_point(point).unwrap();
            let options = PassOptions::default();
            Box::new(PaperAmosRace::new(rule, rate, options, trainee))
        }
        "prodigy" => {
            let rule = prodigy::Prodigy::from_point(point).unwrap();
            let options = PassOptions::default();
            Box::new(prodigy::ProdigyRace::new(rule, rate, options, trainee))
        }
        "schedule_free_adamw" | "schedule_free_adamw_paper" | "schedule_free_adamw_algoperf" => {
            let form = match name {
                "schedule_free_adamw" => Form::Package,
                "schedule_free_adamw_paper" => Form::Paper,
                _ => Form::AlgoPerf,
            };
            let rule = ScheduleFreeAdamW::reference(point, form).unwrap();
            Box::new(ScheduleFree::new(rule, PassOptions::default(), trainee))
        }
        other => panic!("no rule {other}"),
    }
}

fn single(values: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let row = |v: &Vec<f64>| v.iter().map(|&x| x as f32).collect();
    values.iter().map(row).collect()
}

/// Compares, and returns the largest share of the tolerance that was used.
fn compare(ours: &[Vec<f32>], reference: &[Vec<f64>], tolerance: Tolerance, what: &str) -> f64 {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let mut worst = 0.0f64;
    for (i, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert_eq!(a.len(), b.len(), "{what}");
        for (j, (&x, &y)) in a.iter().zip(b).enumerate() {
            let allowed = tolerance.absolute + tolerance.relative * y.abs();
            let used = (f64::from(x) - y).abs() / allowed;
            assert!(
                used <= 1.0,
                "{what}, parameter {i}, entry {j}: {x}, not {y}"
            );
            worst = worst.max(used);
        }
    }
    worst
}

/// The values of a matrix of this shape, column by column.
fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let columns = shape[1];
    let column = |c: usize| values.iter().skip(c).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

#[test]
fn trajectories_equal_the_references() {
    for name in RULES {
        let golden: Golden = read(name);
        assert_eq!(golden.format, "optimizer-trajectory/1");
        assert_eq!(golden.optimizer, name);
        assert!(golden.steps.len() >= 10, "{name}");
        // These four references compute another form than the one that races.
        let rule = match name {
            "lamb" => "lamb_rate_corrected",
            "adafactor" => "adafactor_original",
            "mars" => "mars_early_epsilon",
            "amos" => "amos_paper",
            other => other,
        };
        // References hold matrices as [fan_out, fan_in]; to Muon and Amos it
        // matters which is which.
        let flip = |p: &Parameter| ["muon", "amos"].contains(&name) && p.shape.len() == 2;
        // The probe holds its parameters in order of rank.
        let mut order: Vec<usize> = (0..golden.parameters.len()).collect();
        order.sort_by_key(|&i| golden.parameters[i].shape.len());
        let sorted = |v: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let mut ordered = Vec::new();
            for &i in &order {
                let p = &golden.parameters[i];
                let flat = v[i].clone();
                ordered.push(if flip(p) {
                    transposed(&flat, &p.shape)
                } else {
                    flat
                });
            }
            ordered
        };
        let shapes: Vec<_> = order
            .iter()
            .map(|&i| {
                let mut shape = golden.parameters[i].shape.clone();
                if flip(&golden.parameters[i]) {
                    shape.reverse();
                }
                shape
            })
            .collect();
        let initial: Vec<_> = golden
            .parameters
            .iter()
            .map(|p| p.initial.clone())
            .collect();
        let mut trainee = probe::trainee(&shapes, &single(&sorted(&initial)), false);
        let mut algorithm = algorithm(rule, &golden.hyperparameters, &trainee);
        let mut worst = 0.0f64;
        for (n, step) in golden.steps.iter().enumerate() {
            let gradients = single(&sorted(&step.gradients));
            probe::step(algorithm.as_mut(), &mut trainee, n as u64, &gradients);
            let what = format!("{name}, step {}", n + 1);
            let ours = probe::values(&trainee);
            worst = worst.max(compare(
                &ours,
                &sorted(&step.values),
                golden.tolerance,
                &what,
            ));
            let evaluated = probe::eval_values(algorithm.as_mut(), &mut trainee);
            let reference = step.eval_values.as_ref().unwrap_or(&step.values);
            let what = format!("{what}, evaluation");
            worst = worst.max(compare(
                &evaluated,
                &sorted(reference),
                golden.tolerance,
                &what,
            ));
        }
        println!("{name}: at most {:.0} % of the tolerance", 100.0 * worst);
    }
    // The one whose evaluation point is another must say so.
    let golden: Golden = read("schedule_free_adamw");
    assert!(golden.steps.iter().all(|s| s.eval_values.is_some()));
}

#[test]
fn first_three_steps_equal_the_published_ones() {
    let cases: ThreeSteps = read("three_steps");
    for name in RULES {
        let has_row = cases.rules.contains_key(name);
        assert_eq!(has_row, !NO_ROW.contains(&name), "{name}");
    }
    let tolerance = Tolerance {
        relative: 2e-6,
        absolute: 0.0,
    };
    for (name, case) in &cases.rules {
        let initial = vec![cases.initial.clone()];
        let mut trainee = probe::trainee(&[vec![2]], &single(&initial), false);
        let mut algorithm = algorithm(name, &case.hyperparameters, &trainee);
        assert_eq!(case.values.len(), 3);
        for (n, (g, reference)) in cases.gradients.iter().zip(&case.values).enumerate() {
            let gradients = single(std::slice::from_ref(g));
            probe::step(algorithm.as_mut(), &mut trainee, n as u64, &gradients);
            let ours = probe::eval_values(algorithm.as_mut(), &mut trainee);
            let what = format!("{name}, step {}", n + 1);
            compare(&ours, std::slice::from_ref(reference), tolerance, &what);
        }
    }
}

#[test]
fn lion_ignores_the_scale_of_the_gradients() {
    let trajectory = |scale: f32| {
        let (shapes, initial) = probe::start();
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let hyperparameters = probe::point([
            ("learning_rate", 0.01),
            ("beta1", 0.9),
            ("beta2", 0.99),
            ("weight_decay", 0.1),
        ]);
        let mut algorithm = algorithm("lion", &hyperparameters.0, &trainee);
        for n in 0..20 {
            let mut gradients = probe::stream(n + 1, &shapes);
            gradients.iter_mut().flatten().for_each(|g| *g *= scale);
            probe::step(algorithm.as_mut(), &mut trainee, n, &gradients);
        }
        probe::values(&trainee)
    };
    // A power of two scales without rounding, so that even the bits must agree.
    assert_eq!(
        probe::bits(&trajectory(1.0)),
        probe::bits(&trajectory(64.0))
    );
}

#[test]
fn nadamw_without_momentum_is_adamw_without_momentum() {
    let trajectory = |name: &str, beta1: f64| {
        let (shapes, initial) = probe::start();
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let hyperparameters = probe::point([
            ("learning_rate", 0.01),
            ("beta1", beta1),
            ("beta2", 0.99),
            ("epsilon", 1e-8),
            ("weight_decay", 0.1),
        ]);
        let mut algorithm = algorithm(name, &hyperparameters.0, &trainee);
        for n in 0..20 {
            let gradients = probe::stream(n + 1, &shapes);
            probe::step(algorithm.as_mut(), &mut trainee, n, &gradients);
        }
        probe::values(&trainee).concat()
    };
    let distance = |a: Vec<f32>, b: Vec<f32>| {
        a.iter()
            .zip(&b)
            .map(|(x, y)| (x - y).abs())
            .fold(0.0f32, f32::max)
    };
    let same = distance(trajectory("nadamw", 0.0), trajectory("adamw", 0.0));
    assert!(same < 2e-6, "{same}");
    let other = distance(trajectory("nadamw", 0.9), trajectory("adamw", 0.9));
    assert!(other > 1e-3, "{other}");
}

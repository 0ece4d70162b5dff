//! Rules whose step depends on the whole model: what holds beyond the common trajectories.

use crate::probe;
use serde_json::Value;
use velodrome_harness::contract::{Algorithm, PassOptions, Point, Trainee};
use velodrome_submissions::all;
use velodrome_submissions::optimizers::prodigy::{Prodigy, ProdigyRace};
use velodrome_submissions::schedules::{Constant, Schedule};

/// A trajectory of a reference, its parameters in order of rank.
struct Trajectory {
    point: Point,
    shapes: Vec<Vec<usize>>,
    initial: Vec<Vec<f32>>,
    steps: Vec<Value>,
    tolerance: (f64, f64),
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn single(values: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let row = |v: &Vec<f64>| v.iter().map(|&x| x as f32).collect();
    values.iter().map(row).collect()
}

impl Trajectory {
    fn read(name: &str) -> Self {
        let path = format!("{}/tests/goldens/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let golden: Value = serde_json::from_str(&text).unwrap();
        let parameters = golden["parameters"].as_array().unwrap();
        let shapes = parameters
            .iter()
            .map(|p| serde_json::from_value(p["shape"].clone()).unwrap());
        let initial: Vec<Vec<f64>> = parameters
            .iter()
            .map(|p| serde_json::from_value(p["initial"].clone()).unwrap())
            .collect();
        let tolerance = |kind: &str| golden["tolerance"][kind].as_f64().unwrap();
        Self {
            point: serde_json::from_value(golden["hyperparameters"].clone()).unwrap(),
            shapes: shapes.collect(),
            initial: single(&initial),
            steps: golden["steps"].as_array().unwrap().clone(),
            tolerance: (tolerance("relative"), tolerance("absolute")),
        }
    }

    /// Takes the steps, and compares weights and evaluation weights after each.
    fn replay(&self, start: impl FnOnce(&Point, &Trainee) -> Box<dyn Algorithm>) {
        let mut trainee = probe::trainee(&self.shapes, &self.initial, false);
        let mut algorithm = start(&self.point, &trainee);
        assert!(self.steps.len() >= 8);
        for (n, step) in self.steps.iter().enumerate() {
            let gradients = single(&rows(&step["gradients"]));
            probe::step(algorithm.as_mut(), &mut trainee, n as u64, &gradients);
            let values = rows(&step["values"]);
            self.compare(&probe::values(&trainee), &values, n);
            let evaluated = probe::eval_values(algorithm.as_mut(), &mut trainee);
            let expected = step.get("eval_values").map_or(values, rows);
            self.compare(&evaluated, &expected, n);
        }
    }

    fn compare(&self, ours: &[Vec<f32>], reference: &[Vec<f64>], n: usize) {
        let (relative, absolute) = self.tolerance;
        assert_eq!(ours.len(), reference.len());
        for (a, b) in ours.iter().zip(reference) {
            assert_eq!(a.len(), b.len());
            for (&x, &y) in a.iter().zip(b) {
                let apart = (f64::from(x) - y).abs();
                assert!(
                    apart <= absolute + relative * y.abs(),
                    "step {}: {x}, not {y}",
                    n + 1
                );
            }
        }
    }
}

fn prodigy(rule: Prodigy, rate: impl Schedule + 'static, trainee: &Trainee) -> ProdigyRace {
    ProdigyRace::new(rule, rate, PassOptions::default(), trainee)
}

fn prodigy_rule() -> Prodigy {
    let point = probe::point([
        ("beta1", 0.9),
        ("beta2", 0.99),
        ("epsilon", 0.0),
        ("weight_decay", 0.1),
        ("d0", 1e-3),
    ]);
    Prodigy::from_point(&point).unwrap()
}

#[test]
fn claims_of_the_manuals_hold() {
    let mut checked = 0;
    for submission in all() {
        for claim in submission.claims() {
            let (holds, note) = (claim.check)().unwrap();
            let name = submission.describe().name;
            println!("{name}: {} {note}", claim.statement);
            assert!(holds, "{name}: {} {note}", claim.statement);
            checked += 1;
        }
    }
    assert!(checked >= 2);
}

#[test]
fn prodigy_honours_every_option_of_the_reference() {
    for name in ["prodigy_options", "prodigy_without_momentum"] {
        let golden = Trajectory::read(name);
        golden.replay(|point, trainee| {
            let rate = Constant(point.get("learning_rate").unwrap());
            Box::new(prodigy(Prodigy::from_point(point).unwrap(), rate, trainee))
        });
    }
}

/// The bits of 12 steps of [`Prodigy`], with start and gradients scaled, and the last `d`.
fn prodigy_run(rule: Prodigy, start: f32, slope: f32) -> (Vec<f32>, f64) {
    let (shapes, mut values) = probe::start();
    let scale = |tensors: &mut [Vec<f32>], by: f32| {
        tensors.iter_mut().flatten().for_each(|x| *x *= by);
    };
    scale(&mut values, start);
    let mut trainee = probe::trainee(&shapes, &values, false);
    let mut algorithm = prodigy(rule, Constant(1.0), &trainee);
    for n in 0..12 {
        // Half of each gradient is the same at every step, so that there is a way to go.
        let mut gradients = probe::stream(n + 1, &shapes);
        let steady = probe::stream(99, &shapes);
        for (g, s) in gradients.iter_mut().flatten().zip(steady.iter().flatten()) {
            *g = 0.5 * *g + s;
        }
        scale(&mut gradients, slope);
        probe::step(&mut algorithm, &mut trainee, n, &gradients);
    }
    (probe::values(&trainee).concat(), algorithm.distance().d)
}

#[test]
fn prodigy_follows_the_scale_of_the_problem() {
    // Powers of two scale without rounding, so that the bits must agree.
    let (values, d) = prodigy_run(prodigy_rule(), 1.0, 1.0);
    assert!(d > 2e-3, "{d}");
    let (steep, same_d) = prodigy_run(prodigy_rule(), 1.0, 1024.0);
    assert_eq!((&steep, same_d), (&values, d));
    // Decay is no part of that law: it moves weights by `d wd p`.
    let narrow = Prodigy {
        weight_decay: 0.0,
        ..prodigy_rule()
    };
    let wide = Prodigy { d0: 4e-3, ..narrow };
    let (values, d) = prodigy_run(narrow, 1.0, 1.0);
    let (wide, four_d) = prodigy_run(wide, 4.0, 1.0);
    let shrunk: Vec<f32> = wide.iter().map(|x| x / 4.0).collect();
    assert_eq!((shrunk, four_d), (values, 4.0 * d));
}

#[test]
fn prodigy_slices_change_d_alone() {
    let with = |slice, d_coef| {
        let rule = Prodigy {
            slice,
            d_coef,
            ..prodigy_rule()
        };
        prodigy_run(rule, 1.0, 1.0)
    };
    // Where d does not rise, slices change nothing.
    let (full, slices) = (with(1, 1e-9), with(3, 1e-9));
    assert_eq!(full, slices);
    assert_eq!(full.1, 1e-3);
    assert_ne!(with(1, 1.0), with(3, 1.0));
}

#[test]
fn prodigy_ignores_steps_at_rate_zero() {
    struct EveryOther;
    impl Schedule for EveryOther {
        fn at(&self, step: u64) -> f64 {
            (step % 2) as f64
        }
    }
    let (shapes, initial) = probe::start();
    let mut with = probe::trainee(&shapes, &initial, false);
    let mut without = probe::trainee(&shapes, &initial, false);
    let mut resting = prodigy(prodigy_rule(), EveryOther, &with);
    let mut plain = prodigy(prodigy_rule(), Constant(1.0), &without);
    for n in 0..20 {
        let gradients = probe::stream(n + 1, &shapes);
        probe::step(&mut resting, &mut with, n, &gradients);
        if n % 2 == 1 {
            probe::step(&mut plain, &mut without, n / 2, &gradients);
        }
    }
    let (with, without) = (probe::values(&with), probe::values(&without));
    assert_eq!(probe::bits(&with), probe::bits(&without));
    assert_ne!(with, initial);
}

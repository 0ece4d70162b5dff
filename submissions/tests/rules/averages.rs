//! Rules whose step depends on the whole model: what holds beyond the common trajectories.

use crate::probe;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use velodrome_harness::contract::{
    Algorithm, Direction, ParamInfo, ParamKind, PassOptions, Point, StepContext, Trainee,
};
use velodrome_submissions::averaging::schedule_free::{
    Form, Guard, ScheduleFree, ScheduleFreeAdamW,
};
use velodrome_submissions::averaging::schedule_free_prodigy::{
    ScheduleFreeProdigy, ScheduleFreeProdigyRace,
};
use velodrome_submissions::from_scratch;
use velodrome_submissions::fused::Fused;
use velodrome_submissions::optimizers::adamg::AdamG;
use velodrome_submissions::optimizers::amos::paper::{PaperAmos, PaperAmosRace};
use velodrome_submissions::optimizers::amos::{Amos, AmosParam, AmosState, base_rate, tau};
use velodrome_submissions::optimizers::prodigy::{Prodigy, ProdigyRace};
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::{Constant, Schedule};

/// A trajectory of a reference, its parameters in order of rank.
struct Trajectory {
    point: Point,
    shapes: Vec<Vec<usize>>,
    kinds: Vec<ParamKind>,
    initial: Vec<Vec<f32>>,
    steps: Vec<Value>,
    /// The columns of matrices that have to be transposed, by parameter.
    columns: Vec<Option<usize>>,
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
        let kinds = parameters
            .iter()
            .map(|p| serde_json::from_value(p["kind"].clone()).unwrap());
        let columns = parameters.iter().map(|_| None);
        let initial: Vec<Vec<f64>> = parameters
            .iter()
            .map(|p| serde_json::from_value(p["initial"].clone()).unwrap())
            .collect();
        let tolerance = |kind: &str| golden["tolerance"][kind].as_f64().unwrap();
        Self {
            point: serde_json::from_value(golden["hyperparameters"].clone()).unwrap(),
            shapes: shapes.collect(),
            kinds: kinds.collect(),
            columns: columns.collect(),
            initial: single(&initial),
            steps: golden["steps"].as_array().unwrap().clone(),
            tolerance: (tolerance("relative"), tolerance("absolute")),
        }
    }

    /// For rules to which it matters that references hold matrices as `[fan_out, fan_in]`.
    fn transposed(mut self) -> Self {
        for (shape, columns) in self.shapes.iter_mut().zip(&mut self.columns) {
            if shape.len() == 2 {
                *columns = Some(shape[1]);
                shape.reverse();
            }
        }
        self.initial = self.turned(self.initial.clone());
        self
    }

    fn turned<T: Copy>(&self, values: Vec<Vec<T>>) -> Vec<Vec<T>> {
        let turn = |(v, columns): (Vec<T>, &Option<usize>)| match *columns {
            Some(n) => (0..n)
                .flat_map(|c| v.iter().skip(c).step_by(n).copied())
                .collect(),
            None => v,
        };
        values.into_iter().zip(&self.columns).map(turn).collect()
    }

    /// Takes the steps, and compares weights and evaluation weights after each.
    fn replay(&self, start: impl FnOnce(&Point, &Trainee) -> Box<dyn Algorithm>) {
        let mut trainee = probe::trainee(&self.shapes, &self.initial, false);
        let mut algorithm = start(&self.point, &trainee);
        assert!(self.steps.len() >= 8);
        for (n, step) in self.steps.iter().enumerate() {
            let gradients = single(&self.turned(rows(&step["gradients"])));
            probe::step(algorithm.as_mut(), &mut trainee, n as u64, &gradients);
            let values = self.turned(rows(&step["values"]));
            self.compare(&probe::values(&trainee), &values, n);
            let evaluated = probe::eval_values(algorithm.as_mut(), &mut trainee);
            let expected = step.get("eval_values").map(rows);
            let expected = expected.map_or(values, |x| self.turned(x));
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
    for submission in from_scratch() {
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

#[test]
fn adamg_decays_in_each_way_of_the_reference() {
    for name in ["adamg_coupled", "adamg_decoupled", "adamg_fixed"] {
        Trajectory::read(name).replay(|point, _| {
            let rate = Constant(point.get("learning_rate").unwrap());
            let rule = AdamG::package(point).unwrap();
            Box::new(ScheduledOptimizer::new(Fused(rule), rate))
        });
    }
}

#[test]
fn amos_of_the_paper_honours_every_option_of_the_reference() {
    let golden = Trajectory::read("amos_options").transposed();
    golden.replay(|point, trainee| {
        let rate = Constant(point.get("learning_rate").unwrap());
        let rule = PaperAmos::from_point(point).unwrap();
        Box::new(PaperAmosRace::new(
            rule,
            rate,
            PassOptions::default(),
            trainee,
        ))
    });
}

fn info(kind: ParamKind, shape: &[usize]) -> ParamInfo {
    ParamInfo {
        index: 0,
        kind,
        shape: shape.to_vec(),
        layer: 0,
        block: None,
        fan_in_axis: None,
        tokens: None,
        trainable: true,
    }
}

#[test]
fn amos_equals_the_algoperf_submission() {
    let golden = Trajectory::read("amos_algoperf");
    let rule = Amos::from_point(&golden.point).unwrap();
    let xi = golden.point.get("learning_rate").unwrap();
    let tensor = |v: &Vec<f32>| {
        let n = v.len();
        Tensor::<1>::from_data(TensorData::new(v.clone(), [n]), &Device::flex())
    };
    let params: Vec<_> = golden
        .kinds
        .iter()
        .zip(&golden.shapes)
        .map(|(&kind, shape)| AmosParam::of(&info(kind, shape)))
        .collect();
    let mut values: Vec<_> = golden.initial.iter().map(tensor).collect();
    let mut states: Vec<_> = params
        .iter()
        .zip(&values)
        .map(|(param, p)| AmosState::start(param, p.clone()))
        .collect();
    for (n, step) in golden.steps.iter().enumerate() {
        let gradients = single(&rows(&step["gradients"]));
        let at = params.iter().zip(&mut states).zip(&gradients);
        for (p, ((param, state), g)) in values.iter_mut().zip(at) {
            *p = rule.step(xi, n + 1, param, p.clone(), tensor(g), state);
        }
        let ours: Vec<_> = values
            .iter()
            .map(|p| p.clone().into_data().try_to_vec::<f32>().unwrap())
            .collect();
        golden.compare(&ours, &rows(&step["values"]), n);
    }
}

#[test]
fn amos_has_the_published_scalars() {
    assert!((tau(10.0) - 3.450260).abs() < 5e-7, "{}", tau(10.0));
    let bias = info(ParamKind::Bias, &[100]);
    let rate = base_rate(&[bias], 1000.0);
    assert!((rate - 0.0879144).abs() < 5e-8, "{rate}");
    // An embedding has a group per row, so that its width counts, not its size.
    let table = info(ParamKind::Embedding, &[5000, 100]);
    assert_eq!(base_rate(&[table], 1000.0), rate);
    assert_eq!(tau(1.0), 0.0);
}

#[test]
fn schedule_free_forms_honour_every_option_of_the_references() {
    for (name, form) in [
        ("schedule_free_adamw_options", Form::Package),
        ("schedule_free_adamw_paper", Form::Paper),
        ("schedule_free_adamw_algoperf", Form::AlgoPerf),
    ] {
        Trajectory::read(name).replay(|point, trainee| {
            let rule = ScheduleFreeAdamW::reference(point, form).unwrap();
            Box::new(ScheduleFree::new(rule, PassOptions::default(), trainee))
        });
    }
}

#[test]
fn schedule_free_prodigy_equals_the_algoperf_submission() {
    Trajectory::read("schedule_free_prodigy").replay(|point, trainee| {
        let rule = ScheduleFreeProdigy::from_point(point, 0).unwrap();
        let options = PassOptions::default();
        Box::new(ScheduleFreeProdigyRace::new(rule, options, trainee))
    });

    let point = probe::point([
        ("learning_rate", 1.0),
        ("beta1", 0.9),
        ("beta2", 0.9955),
        ("epsilon", 1e-8),
        ("weight_decay", 0.1),
        ("d0", 1e-6),
    ]);
    let rule = ScheduleFreeProdigy::from_point(&point, 0).unwrap();
    let mut trainee = probe::trainee(&[vec![2]], &[vec![1.0, -2.0]], false);
    let mut algorithm = ScheduleFreeProdigyRace::new(rule, PassOptions::default(), &trainee);
    let published = [
        ([0.1, -0.4], [0.9999849929, -1.9999848929]),
        ([-0.2, 0.3], [0.9999932955, -1.9999903846]),
        ([0.05, 0.1], [0.9999940193, -1.9999931411]),
    ];
    for (n, (g, expected)) in published.into_iter().enumerate() {
        probe::step(&mut algorithm, &mut trainee, n as u64, &[g.to_vec()]);
        let x = probe::eval_values(&mut algorithm, &mut trainee).concat();
        for (x, y) in x.into_iter().zip(expected) {
            assert!(
                (f64::from(x) - y).abs() < 3e-7,
                "step {}: {x}, not {y}",
                n + 1
            );
        }
    }
}

#[test]
fn schedule_free_prodigy_waits_for_a_gradient() {
    let point = probe::point([
        ("learning_rate", 1.0),
        ("beta1", 0.9),
        ("beta2", 0.9955),
        ("epsilon", 1e-8),
        ("weight_decay", 0.1),
        ("d0", 1e-3),
    ]);
    let rule = ScheduleFreeProdigy::from_point(&point, 0).unwrap();
    let (shapes, initial) = probe::start();
    let run = |waits: usize| {
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let mut algorithm = ScheduleFreeProdigyRace::new(rule, PassOptions::default(), &trainee);
        let zeros: Vec<Vec<f32>> = initial.iter().map(|v| vec![0.0; v.len()]).collect();
        for n in 0..waits {
            probe::step(&mut algorithm, &mut trainee, n as u64, &zeros);
        }
        let before = probe::values(&trainee);
        assert_eq!(probe::bits(&before), probe::bits(&initial));
        for n in 0..10 {
            probe::step(
                &mut algorithm,
                &mut trainee,
                n,
                &probe::stream(n + 1, &shapes),
            );
        }
        (probe::values(&trainee), algorithm.distance())
    };
    assert_eq!(run(0), run(3));
    assert!(run(0).1.d >= 1e-3);
}

fn guarded_rule(learning_rate: f64) -> ScheduleFreeAdamW {
    ScheduleFreeAdamW {
        form: Form::AlgoPerf,
        learning_rate,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        warmup: 2,
        average_power: 0.75,
        average_lr_power: 2.0,
    }
}

/// The weights after 20 steps of a run of 100, with a guard, and with these evaluations seen from
/// step `from` on.
fn guarded(from: u64, evaluations: &[f64], direction: Direction) -> Vec<Vec<u32>> {
    let (shapes, initial) = probe::start();
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let guard = Guard::new(100, &trainee);
    let mut algorithm = ScheduleFree::new(guarded_rule(0.08), PassOptions::default(), &trainee)
        .with_training_statistics()
        .with_guard(guard);
    for n in 0..20 {
        let mut context = StepContext::new(n, 1);
        context.direction = direction;
        if n >= from {
            context.evaluations = std::sync::Arc::new(evaluations.to_vec());
        }
        let batch = probe::batch(&probe::stream(n + 1, &shapes));
        algorithm.update(&mut trainee, &batch, &context).unwrap();
    }
    probe::bits(&probe::values(&trainee))
}

/// The weights after steps `from` to 20 without a guard.
fn unguarded(from: u64, learning_rate: f64) -> Vec<Vec<u32>> {
    let (shapes, initial) = probe::start();
    let mut trainee = probe::trainee(&shapes, &initial, false);
    let rule = guarded_rule(learning_rate);
    let mut algorithm = ScheduleFree::new(rule, PassOptions::default(), &trainee);
    for n in from..20 {
        let gradients = probe::stream(n + 1, &shapes);
        probe::step(&mut algorithm, &mut trainee, n, &gradients);
    }
    probe::bits(&probe::values(&trainee))
}

#[test]
fn the_guard_starts_again_at_exactly_half_the_rate() {
    use velodrome_harness::contract::Direction::{Maximize, Minimize};
    let (stuck, straight) = ([0.1, 0.5, 0.1, 0.1, 0.1, 0.1], unguarded(0, 0.08));
    // Not in the first tenth of the run, nor at its end.
    assert_eq!(guarded(15, &stuck, Maximize), unguarded(15, 0.04));
    assert_eq!(guarded(0, &stuck, Maximize), unguarded(11, 0.04));
    // Not with three evaluations, nor while any of the last three gains, nor above the first.
    assert_eq!(guarded(0, &stuck[..3], Maximize), straight);
    assert_eq!(
        guarded(0, &[0.1, 0.5, 0.05, 0.1, 0.1, 0.1], Maximize),
        straight
    );
    assert_eq!(guarded(0, &[0.1, 0.5, 0.5, 0.5, 0.5], Maximize), straight);
    // Losses count the other way.
    let rising = [1.0, 1.2, 1.3, 1.4, 1.5];
    assert_eq!(guarded(0, &rising, Minimize), unguarded(11, 0.04));
    assert_eq!(guarded(0, &rising, Maximize), straight);
}

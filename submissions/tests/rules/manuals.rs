//! What the manuals state: search spaces, defaults, state sizes; and hyperparameters out of range.

use crate::probe;
use crate::resume::context;
use velodrome_harness::contract::{Hints, Range, State, StepContext, SubmissionError};
use velodrome_harness::registry::{Registry, RegistryError};
use velodrome_submissions::fused::{Elementwise, Fused};
use velodrome_submissions::optimizers::heavy_ball::HeavyBall;
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;
use velodrome_submissions::{all, from_scratch, register};

#[test]
fn search_spaces_are_sound_and_contain_their_defaults() {
    for submission in all() {
        let name = submission.describe().name;
        let space = submission.search_space();
        assert_eq!(space.faults(), Vec::<String>::new(), "{name}");
        for d in &space.0 {
            // A hair of slack: 1 - 0.9 is not 0.1.
            let within = |low: f64, high: f64, x: f64| low - 1e-12 <= x && x <= high + 1e-12;
            let inside = match &d.range {
                Range::Uniform { low, high } | Range::LogUniform { low, high } => {
                    within(*low, *high, d.default)
                }
                Range::OneMinusLogUniform { low, high } => within(*low, *high, 1.0 - d.default),
                Range::Choice { values } => values.contains(&d.default),
                Range::Fixed => true,
            };
            assert!(
                inside,
                "{name}: default of {} is outside {:?}",
                d.name, d.range
            );
        }
    }
}

/// The corners of every space must start, too: 0 and just below 1 in each dimension.
#[test]
fn every_corner_of_a_search_space_starts() {
    let (shapes, initial) = probe::start();
    for submission in from_scratch() {
        for u in [0.0, 0.5, 1.0 - f64::EPSILON] {
            let mut context = context(submission.as_ref(), 10);
            for d in submission.search_space().0 {
                context.point.0.insert(d.name, d.range.at(u, d.default));
            }
            let mut trainee = probe::trainee(&shapes, &initial, false);
            let mut algorithm = submission.start(&mut trainee, &context).unwrap();
            for n in 0..3 {
                probe::step(
                    algorithm.as_mut(),
                    &mut trainee,
                    n,
                    &probe::stream(n + 1, &shapes),
                );
            }
            let finite = probe::values(&trainee)
                .concat()
                .iter()
                .all(|x| x.is_finite());
            assert!(finite, "{} at {u}", submission.describe().name);
        }
    }
}

#[test]
fn a_hyperparameter_out_of_range_is_an_error_that_names_it() {
    let (shapes, initial) = probe::start();
    for submission in from_scratch() {
        for (name, value) in [
            ("learning_rate", f64::NAN),
            ("learning_rate", -1.0),
            ("beta1", 1.0),
            ("beta2", 1.0),
            ("beta3", -0.5),
            ("alpha", f64::NAN),
            ("gamma", -1.0),
            ("decay", 0.0),
            ("clip_threshold", 0.0),
            ("ramp_factor", -1.0),
            ("adam_learning_rate", -1.0),
            ("adam_beta2", 1.0),
            ("d0", 0.0),
            ("p", 0.0),
            ("q", 0.0),
            ("horizon_factor", 0.0),
            ("converge", 0.0),
            ("guard", 0.5),
            ("average_power", -1.0),
            ("l2", -1.0),
            ("rho", -0.1),
            ("queue_length", 2.5),
            ("interval", 0.0),
            ("curvature_share", 0.0),
            ("curvature_share", 1.1),
            ("difference", 0.0),
            ("power", 0.0),
            ("nesterov", 0.5),
            ("precondition", 2.0),
            ("cosine_decay_fraction", 0.0),
            ("cycles", 0.0),
            ("learning_rate_2", f64::NAN),
            ("beta1_3", 1.0),
            ("horizon_factor_1", 0.0),
            ("ema_beta", 1.0),
            ("burn_in_factor", 1.0),
            ("temperature", 0.0),
            ("strategy", 1.5),
            ("lambda", 0.0),
            ("margin", -0.1),
            ("normalise", 0.5),
            ("estimator", 2.0),
            ("every_factor", -0.1),
            ("epsilon", -1.0),
            ("momentum", 1.5),
            ("weight_decay", -0.1),
            ("dropout", 1.0),
            ("label_smoothing", -0.1),
            ("reach", 0.0),
            ("slope", 0.0),
            ("learn_shape", 0.5),
            ("hyper_learning_rate", -1.0),
            ("perturbation", 0.0),
            ("learn_scale", 0.5),
            ("entropy", -1.0),
            ("draws", 0.0),
            ("train_steps", 0.0),
            ("settle_factor", 1.0),
            ("held_share", 1.0),
            ("warmup_factor", 2.0),
            ("matrix_epsilon", 0.0),
            ("block_size", 0.0),
            ("merge_limit", 1.5),
            ("max_side", 0.0),
            ("precondition_frequency", 0.5),
            ("start", 0.0),
        ] {
            let mut context = context(submission.as_ref(), 10);
            if context.point.get(name).is_err() {
                continue;
            }
            context.point.0.insert(name.into(), value);
            let mut trainee = probe::trainee(&shapes, &initial, false);
            match submission.start(&mut trainee, &context) {
                Err(SubmissionError::Hyperparameter { name: named, .. }) => assert_eq!(named, name),
                Err(other) => panic!("{name}: {other}"),
                Ok(_) => panic!("{} took {name} = {value}", submission.describe().name),
            }
            context.point.0.remove(name);
            assert!(
                submission.start(&mut trainee, &context).is_err(),
                "{name} is missing"
            );
        }
    }
}

/// Bytes of state for a parameter of this shape.
type Bytes = Box<dyn Fn(&[usize]) -> u64>;

fn size(shape: &[usize]) -> u64 {
    shape.iter().product::<usize>() as u64
}

/// Adafactor's: momentum, and one number for each row and column of the last two axes.
fn factored(shape: &[usize]) -> u64 {
    match shape {
        [rest @ .., rows, columns] => 4 * size(shape) + 4 * size(rest) * (rows + columns) as u64,
        _ => 8 * size(shape),
    }
}

#[test]
fn state_sizes_are_those_of_the_manuals() {
    let flat = |bytes: u64| move |shape: &[usize]| bytes * size(shape);
    let expected: Vec<(&str, Bytes)> = vec![
        ("adamw", Box::new(flat(8))),
        ("nadamw", Box::new(flat(8))),
        ("nesterov", Box::new(flat(4))),
        ("heavy_ball", Box::new(flat(4))),
        ("lion", Box::new(flat(4))),
        ("schedule_free_adamw", Box::new(flat(8))),
        ("lamb", Box::new(flat(8))),
        ("adabelief", Box::new(flat(8))),
        ("radam", Box::new(flat(8))),
        ("ademamix", Box::new(flat(12))),
        ("adan", Box::new(flat(16))),
        (
            "mars",
            Box::new(|s| size(s) * if s.len() < 2 { 8 } else { 12 }),
        ),
        ("adafactor", Box::new(factored)),
        (
            "muon",
            Box::new(|s| size(s) * if s.len() < 2 { 8 } else { 4 }),
        ),
        ("prodigy", Box::new(flat(16))),
        ("adamg", Box::new(flat(12))),
        ("schedule_free_adamw_paper", Box::new(flat(8))),
        ("schedule_free_adamw_algoperf", Box::new(flat(12))),
        ("schedule_free_prodigy", Box::new(flat(16))),
        ("amos", Box::new(|s| 8 * size(s) + 4)),
        ("lawa_queue", Box::new(flat(8 + 40))),
        ("lawa_ema", Box::new(flat(12))),
        ("sam", Box::new(flat(8))),
        // Beside 4 bytes for each training example, where the model has class scores.
        ("aldr_kl", Box::new(flat(8))),
    ];
    let (shapes, initial) = probe::start();
    for submission in from_scratch() {
        let name = submission.describe().name;
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let context = context(submission.as_ref(), 10);
        let mut algorithm = submission.start(&mut trainee, &context).unwrap();
        probe::step(
            algorithm.as_mut(),
            &mut trainee,
            0,
            &probe::stream(1, &shapes),
        );
        let mut state = State::new();
        algorithm.save(&mut state).unwrap();
        let table = expected.iter().find(|(other, _)| *other == name);
        let listed = table.map(|(_, bytes)| shapes.iter().map(|shape| bytes(shape)).sum());
        let formula = submission.state_bytes(&trainee.params(), &context.point);
        // Depends on what is drawn: tested with tensors of one size.
        let drawn = name == "frugal";
        assert!(
            drawn || listed.is_some() || formula.is_some(),
            "{name}: no size"
        );
        for stated in [listed, formula].into_iter().flatten() {
            assert_eq!(state.tensor_bytes(), stated, "{name}");
        }
    }
}

#[test]
fn registers_once_and_describes_itself() {
    let mut registry = Registry::new();
    register(&mut registry).unwrap();
    assert_eq!(registry.submissions().count(), all().len());
    assert!(matches!(
        register(&mut registry),
        Err(RegistryError::Duplicate { .. })
    ));
    for submission in registry.submissions() {
        let d = submission.describe();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            !d.name.is_empty() && d.name.chars().all(plain),
            "{}",
            d.name
        );
        assert!(
            ![d.summary, d.paper, d.reference].contains(&""),
            "{}",
            d.name
        );
        assert!(!d.rulesets.is_empty());
    }
}

#[test]
fn clipping_bounds_the_step() {
    let moved = |clip: Option<f64>| {
        let mut trainee = probe::trainee(&[vec![2]], &[vec![1.0, 1.0]], false);
        let point = probe::point([("momentum", 0.0), ("weight_decay", 0.0)]);
        let hints = Hints {
            steps: 0,
            batch_size: 1,
        };
        let rule = HeavyBall::new(&point, &hints).unwrap();
        let mut algorithm = ScheduledOptimizer::new(Fused(rule), Constant(0.5));
        if let Some(max_norm) = clip {
            algorithm = algorithm.with_clip_norm(max_norm);
        }
        use velodrome_harness::contract::Algorithm;
        let batch = probe::batch(&[vec![3.0, 4.0]]);
        algorithm
            .update(&mut trainee, &batch, &StepContext::new(0, 1))
            .unwrap();
        probe::values(&trainee)
    };
    assert_eq!(moved(None), [[-0.5, -1.0]]);
    assert_eq!(moved(Some(10.0)), [[-0.5, -1.0]]);
    let clipped = moved(Some(1.0)).concat();
    assert!(
        (clipped[0] - 0.7).abs() < 1e-6 && (clipped[1] - 0.6).abs() < 1e-6,
        "{clipped:?}"
    );
}

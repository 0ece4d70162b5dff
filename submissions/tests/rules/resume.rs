//! Saving in the middle and going on elsewhere changes no bit.

use crate::probe;
use velodrome_harness::contract::{
    Hints, Ruleset, StartContext, State, Submission, SubmissionError,
};
use velodrome_submissions::from_scratch;

pub fn context(submission: &dyn Submission, steps: u64) -> StartContext {
    StartContext {
        point: submission.search_space().default_point(),
        hints: Hints {
            steps,
            batch_size: 1,
        },
        ruleset: Ruleset::SelfTuning,
        seed: 5,
    }
}

#[test]
fn a_resumed_trial_equals_an_uninterrupted_one() {
    const STEPS: u64 = 40;
    for submission in from_scratch() {
        let name = submission.describe().name;
        let (shapes, initial) = probe::start();
        let context = context(submission.as_ref(), STEPS);
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let mut algorithm = submission.start(&mut trainee, &context).unwrap();
        let mut kept = None;
        for n in 0..STEPS {
            if n == STEPS / 2 {
                let mut state = State::new();
                algorithm.save(&mut state).unwrap();
                kept = Some((state, probe::values(&trainee)));
            }
            probe::step(
                algorithm.as_mut(),
                &mut trainee,
                n,
                &probe::stream(n + 1, &shapes),
            );
        }
        let straight = probe::values(&trainee);
        let straight_eval = probe::eval_values(algorithm.as_mut(), &mut trainee);
        assert_ne!(straight, initial, "{name} does not train");

        let (state, values) = kept.unwrap();
        let run = |restore: bool| {
            // As a new process does: start at the initial weights, then load.
            let mut trainee = probe::trainee(&shapes, &initial, false);
            let mut algorithm = submission.start(&mut trainee, &context).unwrap();
            let flat: Vec<_> = probe::trainee(&shapes, &values, false).values();
            trainee.set_values(&flat).unwrap();
            if restore {
                algorithm.load(&state, &trainee).unwrap();
            }
            for n in STEPS / 2..STEPS {
                probe::step(
                    algorithm.as_mut(),
                    &mut trainee,
                    n,
                    &probe::stream(n + 1, &shapes),
                );
            }
            let after = probe::values(&trainee);
            (after, probe::eval_values(algorithm.as_mut(), &mut trainee))
        };
        let (resumed, resumed_eval) = run(true);
        assert_eq!(probe::bits(&resumed), probe::bits(&straight), "{name}");
        assert_eq!(
            probe::bits(&resumed_eval),
            probe::bits(&straight_eval),
            "{name}"
        );
        // The state matters: without it the result is another.
        assert_ne!(probe::bits(&run(false).0), probe::bits(&straight), "{name}");
    }
}

#[test]
fn foreign_state_is_refused() {
    let submissions = from_scratch();
    let (shapes, initial) = probe::start();
    let state_of = |submission: &dyn Submission| {
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let context = context(submission, 10);
        let mut algorithm = submission.start(&mut trainee, &context).unwrap();
        probe::step(
            algorithm.as_mut(),
            &mut trainee,
            0,
            &probe::stream(1, &shapes),
        );
        let mut state = State::new();
        algorithm.save(&mut state).unwrap();
        state
    };
    let load = |submission: &dyn Submission, state: &State| {
        let mut trainee = probe::trainee(&shapes, &initial, false);
        let context = context(submission, 10);
        let mut algorithm = submission.start(&mut trainee, &context).unwrap();
        algorithm.load(state, &trainee)
    };
    let by_name = |name: &str| {
        submissions
            .iter()
            .find(|s| s.describe().name == name)
            .unwrap()
    };
    for (from, to) in [
        ("lion", "adamw"),
        ("adamw", "nadamw"),
        ("heavy_ball", "lion"),
        ("adamw", "schedule_free_adamw"),
        ("schedule_free_adamw", "adamw"),
    ] {
        let state = state_of(by_name(from).as_ref());
        let result = load(by_name(to).as_ref(), &state);
        assert!(
            matches!(result, Err(SubmissionError::State { .. })),
            "{to} took the state of {from}: {result:?}"
        );
        load(by_name(from).as_ref(), &state).unwrap();
    }
    // Schedule-free holds its tensors by position: another model's are refused.
    let schedule_free = by_name("schedule_free_adamw");
    let state = state_of(schedule_free.as_ref());
    let mut other = probe::trainee(&[vec![7]], &[vec![0.5; 7]], false);
    let mut algorithm = schedule_free
        .start(&mut other, &context(schedule_free.as_ref(), 10))
        .unwrap();
    assert!(algorithm.load(&state, &other).is_err());
}

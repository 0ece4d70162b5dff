//! Conformance: does a submission keep the contract?
//!
//! Each check trains a small model (an embedding, a linear map, a kernel of four axes, a layer norm,
//! a head, a gain of one entry) on a fixed task, so that authors learn of a forgotten piece of state in
//! a second and not after a crash on the third day of a race.

mod given;
pub mod golden;
mod probe;
mod processes;
mod survival;

use crate::contract::{
    Algorithm, Point, Ruleset, StartContext, State, StepContext, Submission, SubmissionError,
    Trained, Trainee,
};
use burn::tensor::Device;
use probe::{Line, Probe, batch};
pub use processes::check_processes;
use serde::Serialize;
use std::panic::AssertUnwindSafe;

const STEPS: u64 = 24;
/// The upper end of a range: ranges are half open.
const TOP: f64 = 1.0 - 1e-9;

/// One check and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// Whether the submission passed.
    pub passed: bool,
    /// What was found, and what to do where it failed.
    pub message: String,
}

/// Runs all checks on `device` (without autodiff).
pub fn check_submission(submission: &dyn Submission, device: &Device) -> Vec<Check> {
    let lab = Lab { submission, device };
    let mut checks = vec![
        lab.description(),
        lab.search_space(),
        lab.trains(),
        lab.deterministic(),
        lab.resumes(),
        lab.evaluation_is_harmless(),
        lab.whole_space_runs(),
        lab.state_bytes(),
        lab.zero_gradients(),
        lab.frozen_parameters(),
        lab.batch_size(),
        lab.not_a_number(),
    ];
    checks.extend(lab.claims());
    checks
}

/// Starts a submission at `point` on the model of the checks: whether it takes the point. A panic
/// counts as taken; it is for a trial or a check to show.
pub(crate) fn try_start(submission: &dyn Submission, point: Point) -> Result<(), SubmissionError> {
    let device = Device::flex();
    let lab = Lab {
        submission,
        device: &device,
    };
    let start = AssertUnwindSafe(|| lab.begin(point).map(|_| ()));
    std::panic::catch_unwind(start).unwrap_or(Ok(()))
}

/// What a run of the checks leaves: the values of all parameters, and the loss.
struct Left {
    values: Vec<Vec<f32>>,
    loss: f64,
}

/// Equal to the bit; weights that are not numbers equal themselves.
impl PartialEq for Left {
    fn eq(&self, other: &Self) -> bool {
        let bits = |left: &Self| -> Vec<Vec<u32>> {
            let row = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
            left.values.iter().map(row).collect()
        };
        self.loss.to_bits() == other.loss.to_bits() && bits(self) == bits(other)
    }
}

/// A trial in miniature.
struct Ride<'a> {
    trainee: Trainee,
    algorithm: Box<dyn Algorithm>,
    queue: Line<'a>,
}

/// The values of all parameters, in order.
fn host(trainee: &Trainee) -> Vec<Vec<f32>> {
    let read = |v: burn::tensor::Tensor<1>| v.into_data().convert::<f32>().iter::<f32>().collect();
    trainee.values().into_iter().map(read).collect()
}

struct Lab<'a> {
    submission: &'a dyn Submission,
    device: &'a Device,
}

impl<'a> Lab<'a> {
    fn begin(&self, point: Point) -> Result<Ride<'a>, SubmissionError> {
        self.begin_with(point, |_| {})
    }

    /// A ride on a trainee that `prepare` was given first.
    fn begin_with(
        &self,
        point: Point,
        prepare: impl FnOnce(&mut Trainee),
    ) -> Result<Ride<'a>, SubmissionError> {
        self.device.seed(1);
        let model = Trained::new(Probe::new(&self.device.clone().autodiff()));
        let mut trainee = Trainee::new(Box::new(model), self.device.clone(), 3);
        prepare(&mut trainee);
        let rulesets = self.submission.describe().rulesets;
        let context = StartContext {
            point,
            hints: crate::contract::Hints {
                steps: STEPS,
                batch_size: 12,
            },
            ruleset: rulesets.first().copied().unwrap_or(Ruleset::SelfTuning),
            seed: 3,
        };
        let algorithm = self.submission.start(&mut trainee, &context)?;
        Ok(Ride {
            trainee,
            algorithm,
            queue: Line {
                next: 0,
                examples: 12,
                factor: 1.0,
                device: self.device,
            },
        })
    }

    fn default_ride(&self) -> Result<Ride<'a>, SubmissionError> {
        self.begin(self.submission.search_space().default_point())
    }

    fn steps(&self, ride: &mut Ride<'a>, from: u64, to: u64) -> Result<(), SubmissionError> {
        for step in from..to {
            let context = StepContext::new(step, 3);
            let batch = ride.algorithm.select(&mut ride.queue, &context)?;
            ride.algorithm.update(&mut ride.trainee, &batch, &context)?;
            ride.trainee.counters_mut().steps += 1;
        }
        Ok(())
    }

    fn left(&self, ride: &mut Ride<'a>) -> Result<Left, SubmissionError> {
        ride.algorithm.prepare_for_eval(&mut ride.trainee)?;
        let mut all = (0..4).map(|i| batch(i, 12, 1.0, self.device));
        let measures = ride.trainee.evaluate(&mut all)?;
        let values = host(&ride.trainee);
        ride.algorithm.after_eval(&mut ride.trainee)?;
        Ok(Left {
            values,
            loss: measures.get("loss").copied().unwrap_or(f64::NAN),
        })
    }

    fn straight(&self) -> Result<Left, SubmissionError> {
        let mut ride = self.default_ride()?;
        self.steps(&mut ride, 0, STEPS)?;
        self.left(&mut ride)
    }

    fn description(&self) -> Check {
        let d = self.submission.describe();
        let well_named = !d.name.is_empty()
            && d.name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let mut faults = Vec::new();
        if !well_named {
            faults.push("`name` must be lower-case letters, digits and underscores");
        }
        if d.summary.is_empty() {
            faults.push("`summary` is empty");
        }
        if d.rulesets.is_empty() {
            faults.push("`rulesets` is empty");
        }
        if d.version.is_empty() {
            faults.push("`version` is empty");
        }
        Check {
            name: "description",
            passed: faults.is_empty(),
            message: if faults.is_empty() {
                "complete".into()
            } else {
                faults.join("; ")
            },
        }
    }

    fn search_space(&self) -> Check {
        let space = self.submission.search_space();
        let faults = space.faults();
        Check {
            name: "search_space",
            passed: faults.is_empty(),
            message: if faults.is_empty() {
                format!("{} hyperparameters", space.0.len())
            } else {
                faults.join("; ")
            },
        }
    }

    /// Runs `f`; an error of the submission is a failed check.
    fn check(
        &self,
        name: &'static str,
        f: impl FnOnce() -> Result<(bool, String), SubmissionError>,
    ) -> Check {
        let (passed, message) = f().unwrap_or_else(|e| (false, format!("returned an error: {e}")));
        Check {
            name,
            passed,
            message,
        }
    }

    fn trains(&self) -> Check {
        self.check("trains", || {
            let mut ride = self.default_ride()?;
            let before = self.left(&mut ride)?.loss;
            self.steps(&mut ride, 0, STEPS)?;
            let after = self.left(&mut ride)?.loss;
            Ok((
                after < before,
                format!("loss {before:.4} before, {after:.4} after {STEPS} steps"),
            ))
        })
    }

    fn deterministic(&self) -> Check {
        self.check("deterministic", || {
            let same = self.straight()? == self.straight()?;
            Ok((
                same,
                if same {
                    "two runs with one seed are bit-identical".into()
                } else {
                    "two runs with one seed differ: draw randomness from the context's seed only"
                        .into()
                },
            ))
        })
    }

    fn resumes(&self) -> Check {
        self.check("resumes", || {
            let straight = self.straight()?;
            let mut first = self.default_ride()?;
            self.steps(&mut first, 0, STEPS / 2)?;
            let mut state = State::new();
            first.algorithm.save(&mut state)?;
            let model = first.trainee.save()?;
            let mut second = self.default_ride()?;
            second.trainee.load(&model, *first.trainee.counters())?;
            second.algorithm.load(&state, &second.trainee)?;
            second.queue = first.queue;
            self.steps(&mut second, STEPS / 2, STEPS)?;
            let same = self.left(&mut second)? == straight;
            Ok((
                same,
                if same {
                    format!("bit-identical; {} bytes of state", state.tensor_bytes())
                } else {
                    "a resumed run differs from a straight one: `save` and `load` must carry \
                     everything that later steps depend on"
                        .into()
                },
            ))
        })
    }

    fn evaluation_is_harmless(&self) -> Check {
        self.check("evaluation_is_harmless", || {
            let straight = self.straight()?;
            let mut ride = self.default_ride()?;
            for half in [0, STEPS / 2] {
                self.steps(&mut ride, half, half + STEPS / 2)?;
                self.left(&mut ride)?;
            }
            let same = self.left(&mut ride)? == straight;
            Ok((
                same,
                if same {
                    "evaluating more often changes nothing".into()
                } else {
                    "evaluating more often changes the training: `after_eval` must put the \
                     training weights back exactly"
                        .into()
                },
            ))
        })
    }

    fn whole_space_runs(&self) -> Check {
        self.check("whole_space_runs", || {
            let space = self.submission.search_space();
            let at = |u: f64| -> Point {
                let each = space.0.iter();
                Point(
                    each.map(|d| (d.name.clone(), d.range.at(u, d.default)))
                        .collect(),
                )
            };
            let mut places = vec![
                ("at the lower ends".to_string(), at(0.0)),
                ("in the middle".to_string(), at(0.5)),
                ("at the upper ends".to_string(), at(TOP)),
            ];
            for d in &space.0 {
                for value in [0.0, TOP].map(|u| d.range.at(u, d.default)) {
                    if value != d.default {
                        let mut point = space.default_point();
                        point.0.insert(d.name.clone(), value);
                        places.push((format!("with `{}` at {value}", d.name), point));
                    }
                }
            }
            let tried = places.len();
            for (place, point) in places {
                let ride = self.begin(point);
                if let Err(e) = ride.and_then(|mut ride| self.steps(&mut ride, 0, 3)) {
                    return Ok((false, format!("{place}: {e}")));
                }
            }
            Ok((
                true,
                format!(
                    "the ends and the middle of the space, and each dimension's two ends with \
                     the others at their defaults: {tried} points"
                ),
            ))
        })
    }
}

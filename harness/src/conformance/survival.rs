//! What a submission must survive, and what it states of itself.

use super::{Check, Lab, Ride, host};
use crate::contract::{ParamInfo, ParamKind, State, SubmissionError};

/// Index of the parameter that is frozen for a check: the hidden matrix.
const FROZEN: usize = 1;

fn finite(ride: &Ride<'_>) -> bool {
    host(&ride.trainee).iter().flatten().all(|x| x.is_finite())
}

impl Lab<'_> {
    /// What is saved is as large as the submission states.
    pub(super) fn state_bytes(&self) -> Check {
        self.check("state_bytes", || {
            let mut ride = self.default_ride()?;
            let point = self.submission.search_space().default_point();
            let params = ride.trainee.params();
            let stated = self.submission.state_bytes(&params, &point);
            self.steps(&mut ride, 0, 1)?;
            let mut state = State::new();
            ride.algorithm.save(&mut state)?;
            let saved = state.tensor_bytes();
            Ok(match stated {
                Some(stated) => (
                    stated == saved,
                    format!("{saved} bytes saved, {stated} stated"),
                ),
                None => (true, format!("{saved} bytes saved; no formula stated")),
            })
        })
    }

    /// Gradients of zero, first and amid others, leave finite weights.
    pub(super) fn zero_gradients(&self) -> Check {
        self.check("zero_gradients", || {
            for (from, to) in [(0, 3), (3, 6)] {
                let mut ride = self.default_ride()?;
                for step in 0..9 {
                    let zero = (from..to).contains(&step);
                    ride.queue.factor = if zero { 0.0 } else { 1.0 };
                    self.steps(&mut ride, step, step + 1)?;
                    if !finite(&ride) {
                        let message = format!("weights are not finite after step {step}, with gradients of zero in steps {from} to {}", to - 1);
                        return Ok((false, message));
                    }
                }
            }
            Ok((true, "the weights stay finite".into()))
        })
    }

    /// A parameter that is frozen before the start never moves, not even for evaluations.
    pub(super) fn frozen_parameters(&self) -> Check {
        self.check("frozen_parameter", || {
            let point = self.submission.search_space().default_point();
            let freeze = |trainee: &mut crate::contract::Trainee| {
                trainee.set_trainable(|info| info.index != FROZEN);
            };
            let mut ride = self.begin_with(point, freeze)?;
            // An adapter's factors may stand in front of it; they are of no kind.
            let params = ride.trainee.params();
            let own = |p: &&ParamInfo| p.kind != ParamKind::Other;
            let place = params.iter().filter(own).nth(FROZEN).map(|p| p.index);
            let before = host(&ride.trainee);
            self.steps(&mut ride, 0, 8)?;
            let evaluated = self.left(&mut ride)?.values;
            let after = host(&ride.trainee);
            let stays = |values: &[Vec<f32>]| {
                place.is_some_and(|place| values.get(place) == before.get(place))
            };
            Ok(if !stays(&after) || !stays(&evaluated) {
                (false, "a parameter moved that was frozen before the start: leave out what is not `trainable`".into())
            } else if after == before {
                (false, "nothing moved beside it".into())
            } else {
                (true, "stays where it is, and the others move".into())
            })
        })
    }

    /// The number of examples may change from step to step.
    pub(super) fn batch_size(&self) -> Check {
        self.check("batch_size", || {
            let mut ride = self.default_ride()?;
            let mut from = 0;
            for examples in [12, 5, 1, 24] {
                ride.queue.examples = examples;
                self.steps(&mut ride, from, from + 3)?;
                from += 3;
            }
            let whole = finite(&ride);
            Ok((
                whole,
                if whole {
                    "batches of 12, 5, 1 and 24 examples run".into()
                } else {
                    "weights are not finite after batches of 12, 5, 1 and 24 examples".to_string()
                },
            ))
        })
    }

    /// Gradients that are not numbers must show as a training loss that is not finite, which ends a
    /// trial as `diverged`; an error would be a crash, and a rule that hides them races on.
    pub(super) fn not_a_number(&self) -> Check {
        self.check("not_a_number", || {
            let mut ride = self.default_ride()?;
            self.steps(&mut ride, 0, 2)?;
            ride.queue.factor = f32::NAN;
            self.steps(&mut ride, 2, 3)?;
            let seen = ride.trainee.take_last_loss();
            let loss = seen.map(|l| f64::from(l.into_scalar::<f32>()));
            Ok(match loss {
                Some(loss) if !loss.is_finite() => (
                    true,
                    "the training loss is not finite, so that a trial ends as diverged".into(),
                ),
                Some(loss) => (
                    false,
                    format!("the training loss is {loss} where the gradients are not numbers"),
                ),
                None => (false, "the step asked for no gradients".into()),
            })
        })
    }

    /// The claims of the manual, one check each.
    pub(super) fn claims(&self) -> Vec<Check> {
        let claims = self.submission.claims();
        let check = |claim: crate::contract::Claim| {
            self.check("claim", || {
                let (holds, found): (bool, String) = (claim.check)()?;
                Ok::<_, SubmissionError>((holds, format!("{}: {found}", claim.statement)))
            })
        };
        claims.into_iter().map(check).collect()
    }
}

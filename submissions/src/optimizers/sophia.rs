//! Sophia: momentum over a diagonal estimate of the curvature, cut off at the sign.
//!
//! # Rule
//! With gradient `g`, parameter `p`, averages `m` and `h` from zero:
//! ```text
//! m = beta1 m + (1 - beta1) g
//! p = (1 - lr wd) p - lr clip(m / (gamma max(h, 0) + 1e-15), -1, 1)
//! ```
//! and after every `interval`-th step `h = beta2 h + (1 - beta2) d`, where `d` estimates the diagonal of
//! the curvature of the mean loss at the new weights, on the first `curvature_share` of the batch. As
//! long as `h` is 0 each entry takes a step of its sign, as in signed momentum.
//!
//! The estimate is the Gauss-Newton-Bartlett one, [`curvature::gauss_newton`]: one more gradient, at
//! labels drawn from the predictions. With `estimator` 1, and for models without class scores, it is
//! Hutchinson's, [`curvature::hutchinson`]: two more gradients. All are on the clock. Schedule:
//! [`WarmupCosine`].
//!
//! # Hyperparameters
//! | name | default | search |
//! |---|---|---|
//! | `learning_rate` | 1e-3 | 1e-4 to 1e-2, logarithmic |
//! | `beta1` | 0.965 | complement 0.02 to 0.2, logarithmic |
//! | `beta2` | 0.99 | fixed |
//! | `gamma` | 0.05 | 5e-3 to 0.1, logarithmic |
//! | `weight_decay` | 0.1 | 5e-3 to 1, logarithmic |
//! | `estimator` | 0 | fixed; 0 Gauss-Newton-Bartlett, 1 Hutchinson |
//! | `interval` | 10 | fixed; steps between two estimates |
//! | `curvature_share` | 0.5 | fixed; share of the batch that an estimate sees |
//! | `difference` | 1e-3 | fixed; distance of Hutchinson's gradients from the weights, per entry |
//! | `warmup_factor` | 0.05 | fixed; share of the step hint |
//! | `label_smoothing` | 0.1 | 0, 0.1, 0.2 |
//! | `dropout` | 0 | 0, 0.1 |
//!
//! The rate is that of a signed step; the ranges are wide around the authors' settings. The defaults are
//! untuned, but for a look at a handful of rates on one small language model.
//!
//! # State
//! 8 bytes per trainable parameter: `m` and `h` in 32 bits.
//!
//! # Sources
//! Liu et al., arXiv 2305.14342. Checked against three steps of the authors' class in 64 bits, and
//! the estimates against the matrices that they estimate.
//!
//! # What differs
//! The authors' code puts the number of units into the step instead of the estimate; the result is the
//! same. They estimate on other data than the step's. The paper's Hutchinson estimate takes an exact
//! product with the Hessian, for which burn has no second derivatives, and a `gamma` of 0.01.

use super::curvature::{self, Diagonal};
use super::parts::ema;
use crate::common::{
    PRETRAIN, checked, fraction, non_negative, pass_options, positive, switch, whole,
    with_regularisation,
};
use crate::fused::{self, Now, Number, Rule};
use crate::schedules::{Constant, Schedule, WarmupCosine};
use crate::{bowl, flat};
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ModelError, ParamInfo, PassOptions, Point, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Trainee,
};

/// The update rule, between two estimates. Its state is `m` and `h`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SophiaStep {
    /// Decay rate of the average of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Share of the curvature in the divisor: the larger, the fewer entries are cut off.
    pub gamma: f64,
    /// Decoupled weight decay; multiplied by the learning rate.
    pub weight_decay: f64,
}

impl Rule<2> for SophiaStep {
    fn rule<N: Number>(&self, now: Now) -> impl Fn(N, N, [N; 2]) -> (N, [N; 2]) + Sync {
        let Self { beta1, gamma, .. } = *self;
        let lr = now.lr;
        let keep = 1.0 - lr * self.weight_decay;
        move |p, g, [m, h]| {
            let m = m.ema(g, beta1);
            let divisor = h.clone().clamp(0.0, f64::from(f32::MAX)) * gamma + 1e-15;
            let step = (m.clone() / divisor).clamp(-1.0, 1.0);
            (p * keep - step * lr, [m, h])
        }
    }
}

/// What the curvature is estimated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimator {
    /// [`curvature::gauss_newton`] where the model has class scores, [`curvature::hutchinson`] else.
    GaussNewton,
    /// [`curvature::hutchinson`].
    Hutchinson,
}

/// When and how the curvature is estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimates {
    /// By what.
    pub estimator: Estimator,
    /// Decay rate of their average, in `[0, 1)`.
    pub beta2: f64,
    /// Steps between two.
    pub interval: u64,
    /// Share of the batch, above 0 and at most 1.
    pub share: f64,
    /// Distance of Hutchinson's two gradients from the weights, per entry.
    pub difference: f64,
}

/// `m` and `h` of one parameter.
type Slot = [Tensor<1>; 2];

/// Sophia at work in one trial.
pub struct Sophia {
    rule: SophiaStep,
    estimates: Estimates,
    schedule: Box<dyn Schedule>,
    options: PassOptions,
    /// By parameter; `None` for frozen ones.
    slots: Vec<Option<Slot>>,
}

impl Sophia {
    /// Starts with averages of zero for the trainee's trainable parameters.
    pub fn new(
        rule: SophiaStep,
        estimates: Estimates,
        schedule: impl Schedule + 'static,
        options: PassOptions,
        trainee: &Trainee,
    ) -> Self {
        let params = trainee.params();
        let zeros = |p: &ParamInfo| Tensor::zeros([p.len()], &trainee.device());
        let slots = params
            .iter()
            .map(|p| p.trainable.then(|| [zeros(p), zeros(p)]))
            .collect();
        Self {
            rule,
            estimates,
            schedule: Box::new(schedule),
            options,
            slots,
        }
    }

    fn estimate(
        &self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<Diagonal, SubmissionError> {
        let part = curvature::part(batch, self.estimates.share, &trainee.device());
        let (options, distance) = (&self.options, self.estimates.difference);
        let rng = &mut context.rng();
        if self.estimates.estimator == Estimator::GaussNewton {
            match curvature::gauss_newton(trainee, &part, options, rng) {
                Err(SubmissionError::Model(ModelError::Unsupported(_))) => {}
                other => return other,
            }
        }
        curvature::hutchinson(trainee, &part, options, distance, rng)
    }
}

impl Algorithm for Sophia {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let gradients = trainee.gradients(batch, &self.options)?.gradients;
        let now = Now {
            lr: self.schedule.at(context.step),
            time: context.step as usize + 1,
        };
        let (rule, slots) = (self.rule, &mut self.slots);
        trainee.map(
            |info, p| match (slots.get_mut(info.index), gradients.get(info)) {
                (Some(slot), Some(g)) => match slot.take() {
                    Some(state) => {
                        let (p, state) = fused::step(&rule, now, p, g, state);
                        *slot = Some(state);
                        p
                    }
                    None => p,
                },
                _ => p,
            },
        );
        if (context.step + 1).is_multiple_of(self.estimates.interval) {
            let diagonal = self.estimate(trainee, batch, context)?;
            let beta2 = self.estimates.beta2;
            for (slot, d) in self.slots.iter_mut().zip(diagonal) {
                if let (Some([_, h]), Some(d)) = (slot, d) {
                    *h = ema(Some(h.clone()), d, beta2);
                }
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        let slots = || self.slots.iter().flatten();
        flat::save(state, "m", slots().map(|[m, _]| m))?;
        flat::save(state, "h", slots().map(|[_, h]| h))
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        let device = trainee.device();
        let slots = self.slots.iter_mut().flatten();
        flat::load(state, "m", &device, slots.map(|[m, _]| m))?;
        let slots = self.slots.iter_mut().flatten();
        flat::load(state, "h", &device, slots.map(|[_, h]| h))
    }
}

/// The submission `sophia`.
#[derive(Debug, Clone, Copy)]
pub struct SophiaSubmission;

impl Submission for SophiaSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "sophia",
            summary: "Momentum over an estimate of the curvature, cut off at the sign",
            paper: "arXiv 2305.14342",
            reference: "the authors' SophiaG, three steps in 64 bits",
            version: "2",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 1e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.2, 0.965)
            .fixed("beta2", 0.99)
            .log_uniform("gamma", 5e-3, 0.1, 0.05)
            .log_uniform("weight_decay", 5e-3, 1.0, 0.1)
            .fixed("estimator", 0.0)
            .fixed("interval", 10.0)
            .fixed("curvature_share", 0.5)
            .fixed("difference", 1e-3)
            .fixed("warmup_factor", 0.05);
        with_regularisation(space)
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(flat::bytes_per_entry(params, 2))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![
            Claim {
                statement: "beside the decay no entry moves by more than the learning rate, and by \
                            all of it as long as there is no estimate",
                check: steps_are_bounded,
            },
            Claim {
                statement: "on a diagonal quadratic Hutchinson's estimate is exact, and the step is Newton's \
                            times the learning rate",
                check: is_newton_on_a_diagonal,
            },
        ]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        let rule = SophiaStep {
            beta1: fraction(point, "beta1")?,
            gamma: positive(point, "gamma")?,
            weight_decay: non_negative(point, "weight_decay")?,
        };
        let estimator = if switch(point, "estimator")? {
            Estimator::Hutchinson
        } else {
            Estimator::GaussNewton
        };
        let estimates = Estimates {
            estimator,
            beta2: fraction(point, "beta2")?,
            interval: whole(point, "interval")? as u64,
            share: checked(point, "curvature_share", "above 0 and at most 1", |x| {
                x > 0.0 && x <= 1.0
            })?,
            difference: positive(point, "difference")?,
        };
        let schedule = WarmupCosine::start(context)?;
        let options = pass_options(point)?;
        Ok(Box::new(Sophia::new(
            rule, estimates, schedule, options, trainee,
        )))
    }
}

fn steps_are_bounded() -> Result<(bool, String), SubmissionError> {
    let rule = SophiaStep {
        beta1: 0.9,
        gamma: 0.04,
        weight_decay: 0.0,
    };
    let now = Now { lr: 0.01, time: 1 };
    let vector = |f: &dyn Fn(i64) -> f32| {
        let values: Vec<f32> = (0..1000).map(f).collect();
        Tensor::<1>::from_data(TensorData::new(values, [1000]), &Device::flex())
    };
    let noise =
        |seed: i64| move |i: i64| (((i * 7919 + seed) * 104_729 % 2003) as f32 / 1001.5) - 1.0;
    let moved = |h: Tensor<1>| -> Result<Vec<f32>, SubmissionError> {
        let p = vector(&|_| 0.0);
        let m = vector(&|i| noise(5)(i).powi(9));
        let (p, _) = fused::step(&rule, now, p, vector(&noise(1)), [m, h]);
        let values = p.into_data().try_to_vec::<f32>();
        values.map_err(|e| SubmissionError::Other(format!("{e:?}")))
    };
    let largest = |v: &[f32]| v.iter().fold(0.0f32, |a, x| a.max(x.abs()));
    let smallest = |v: &[f32]| v.iter().fold(1.0f32, |a, x| a.min(x.abs()));
    let before = moved(vector(&|_| 0.0))?;
    let after = moved(vector(&|i| 8.0 * noise(3)(i)))?;
    let found = format!(
        "before an estimate {:.6} to {:.6}, after it {:.6} to {:.6}",
        smallest(&before),
        largest(&before),
        smallest(&after),
        largest(&after)
    );
    let all = (smallest(&before) - 0.01).abs() < 1e-8 && (largest(&before) - 0.01).abs() < 1e-8;
    let cut = smallest(&after) < 0.005 && largest(&after) <= 0.01 + 1e-8;
    Ok((all && cut, found))
}

fn is_newton_on_a_diagonal() -> Result<(bool, String), SubmissionError> {
    let rule = SophiaStep {
        beta1: 0.0,
        gamma: 1.0,
        weight_decay: 0.0,
    };
    let estimates = Estimates {
        estimator: Estimator::Hutchinson,
        beta2: 0.0,
        interval: 1,
        share: 1.0,
        difference: 1e-3,
    };
    let mut trainee = bowl::trainee(&[0.5, -0.3]);
    let batch = bowl::batch(&[4.0, 0.0, 0.0, 0.5], 2);
    let options = PassOptions::default();
    let mut sophia = Sophia::new(rule, estimates, Constant(0.1), options, &trainee);
    // The first step has no estimate: it is the sign's.
    let mut expected = [0.4, -0.2];
    let mut worst = 0.0f64;
    for step in 0..6 {
        sophia.update(&mut trainee, &batch, &StepContext::new(step, 1))?;
        let apart = bowl::position(&trainee).into_iter().zip(expected);
        worst = apart.fold(worst, |worst, (x, e)| worst.max((x - e).abs()));
        expected = expected.map(|x| 0.9 * x);
    }
    Ok((worst < 1e-4, format!("six steps; apart by {worst:.1e}")))
}

//! Each check of the conformance suite against a submission that breaks it, and it alone.

use burn::tensor::{Device, Tensor};
use std::sync::atomic::{AtomicU64, Ordering};
use velodrome_harness::conformance::check_submission;
use velodrome_harness::contract::{
    Algorithm, Batch, Claim, Description, ParamInfo, PassOptions, Point, Ruleset, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Track, Trainee,
};

#[derive(Clone, Copy, PartialEq)]
enum Vice {
    None,
    NoSummary,
    NameTwice,
    Ascends,
    HiddenState,
    ForgetsMomentum,
    KeepsAverage,
    RefusesCorner,
    RefusesEnd,
    MisstatesState,
    DividesByNorm,
    DecaysAll,
    OneBatchSize,
    RefusesNan,
    FalseClaim,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

struct Rider(Vice);

struct Ride {
    vice: Vice,
    rate: f64,
    momentum: Vec<Tensor<1>>,
    held: Option<Vec<Tensor<1>>>,
}

impl Submission for Rider {
    fn describe(&self) -> Description {
        Description {
            name: "rider",
            summary: if self.0 == Vice::NoSummary {
                ""
            } else {
                "a rider"
            },
            paper: "none",
            reference: "none",
            track: Track::Pretrain,
            rulesets: &[Ruleset::SelfTuning],
            version: "1",
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new().log_uniform("learning_rate", 1e-3, 0.1, 0.03);
        match self.0 {
            Vice::NameTwice => space.fixed("learning_rate", 0.03),
            Vice::RefusesEnd => space.uniform("other", 0.0, 1.0, 0.5),
            _ => space,
        }
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        let entries: usize = params.iter().map(ParamInfo::len).sum();
        let numbers = match self.0 {
            Vice::MisstatesState => 2,
            Vice::ForgetsMomentum => 0,
            _ => 1,
        };
        Some(4 * numbers * entries as u64)
    }

    fn claims(&self) -> Vec<Claim> {
        let check = match self.0 {
            Vice::FalseClaim => || Ok((false, "it does not".to_string())),
            _ => || Ok((true, "it does".to_string())),
        };
        let statement = "it keeps what it says";
        vec![Claim { statement, check }]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let rate = context.point.get("learning_rate")?;
        if self.0 == Vice::RefusesCorner && rate > 0.09 {
            return Err("too fast".into());
        }
        // Not where both are at their upper ends.
        if self.0 == Vice::RefusesEnd && rate < 0.09 && context.point.get("other")? > 0.9 {
            return Err("too much of the other".into());
        }
        Ok(Box::new(Ride {
            vice: self.0,
            rate,
            momentum: trainee.values().iter().map(Tensor::zeros_like).collect(),
            held: None,
        }))
    }
}

impl Algorithm for Ride {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        _context: &StepContext,
    ) -> Result<(), SubmissionError> {
        if self.vice == Vice::OneBatchSize && batch.len() != 12 {
            return Err("12 examples, please".into());
        }
        let pass = trainee.gradients(batch, &PassOptions::default())?;
        if self.vice == Vice::RefusesNan && pass.loss.into_scalar::<f32>().is_nan() {
            return Err("not a number".into());
        }
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) as f64;
        let rate = match self.vice {
            Vice::Ascends => -self.rate,
            Vice::HiddenState => self.rate / (1.0 + 1e-3 * calls),
            _ => self.rate,
        };
        let norm = match self.vice {
            Vice::DividesByNorm => pass.gradients.global_norm(),
            _ => 1.0,
        };
        let (momentum, vice) = (&mut self.momentum, self.vice);
        trainee.map(|info, p| match pass.gradients.get(info) {
            Some(g) => {
                let m = momentum[info.index].clone().mul_scalar(0.5) + g.div_scalar(norm);
                momentum[info.index] = m.clone();
                p - m.mul_scalar(rate)
            }
            None if vice == Vice::DecaysAll => p.mul_scalar(0.99),
            None => p,
        });
        Ok(())
    }

    fn prepare_for_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        self.held = Some(trainee.values());
        trainee.map(|info, p| {
            if info.trainable {
                p.mul_scalar(1.001)
            } else {
                p
            }
        });
        Ok(())
    }

    fn after_eval(&mut self, trainee: &mut Trainee) -> Result<(), SubmissionError> {
        match self.held.take() {
            Some(values) if self.vice != Vice::KeepsAverage => trainee.set_values(&values),
            _ => Ok(()),
        }
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        match self.vice {
            Vice::ForgetsMomentum => Ok(()),
            _ => state.put_tensors("momentum", &self.momentum),
        }
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        if self.vice != Vice::ForgetsMomentum {
            self.momentum = state.get_tensors("momentum", &trainee.device())?;
        }
        Ok(())
    }
}

/// The names of the checks that fail.
fn failed(vice: Vice) -> Vec<&'static str> {
    let checks = check_submission(&Rider(vice), &Device::flex());
    let failed = checks.into_iter().filter(|check| !check.passed);
    failed.map(|check| check.name).collect()
}

#[test]
fn an_honest_rider_passes_and_each_vice_fails_its_own_check() {
    let nothing: &[&str] = &[];
    assert_eq!(failed(Vice::None), nothing);
    for (vice, check) in [
        (Vice::NoSummary, "description"),
        (Vice::NameTwice, "search_space"),
        (Vice::Ascends, "trains"),
        (Vice::ForgetsMomentum, "resumes"),
        (Vice::KeepsAverage, "evaluation_is_harmless"),
        (Vice::RefusesCorner, "whole_space_runs"),
        (Vice::RefusesEnd, "whole_space_runs"),
        (Vice::MisstatesState, "state_bytes"),
        (Vice::DividesByNorm, "zero_gradients"),
        (Vice::DecaysAll, "frozen_parameter"),
        (Vice::OneBatchSize, "batch_size"),
        (Vice::RefusesNan, "not_a_number"),
        (Vice::FalseClaim, "claim"),
    ] {
        assert_eq!(failed(vice), [check]);
    }
    // Whatever compares two runs sees a state that is in neither checkpoint nor seed.
    assert_eq!(
        failed(Vice::HiddenState),
        ["deterministic", "resumes", "evaluation_is_harmless"]
    );
}

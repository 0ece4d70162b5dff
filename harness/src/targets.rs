//! The target-setting procedure: what a well-tuned baseline reaches within the step hint.
//!
//! 1. **Search.** Each baseline algorithm trains at its default point and at `trials` quasi-random
//!    points of its own search space, to the end of the step hint's work, with no target in sight.
//! 2. **Choice.** The point with the best validation metric at any evaluation wins.
//! 3. **Repetition.** The winner trains from `seeds` fresh seeds.
//! 4. **Target.** The worst of the seeds' best validation values, and the worst of the test values
//!    at those evaluations, rounded to four decimals towards the easier side: what the winner
//!    reaches from every seed.
//!
//! AlgoPerf (arXiv 2306.07179, section 4.3) takes the best of some 200 trials of each baseline and
//! the median over 20 repetitions; ours is smaller, and strict in that every repetition meets it.
//! A variant is given the point that won on its base, and repetitions of its own.

use crate::contract::{Point, Ruleset};
use crate::race::{
    Event, Override, Plan, PlanError, RaceError, RunOptions, Suite, SuiteError, halton, plan, run,
};
use crate::registry::{Registry, RegistryError};
use crate::seed::derive;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use toml::Spanned;
use velodrome_results::run::Run;
use velodrome_results::{RecordError, TrialRecord};

/// How a target is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Procedure {
    /// Baseline algorithms (names of submissions).
    pub algorithms: Vec<String>,
    /// Points that each of them tries beside its default.
    pub trials: u32,
    /// Fresh seeds that the winner repeats.
    pub seeds: u32,
    /// Seed of the procedure.
    pub seed: u64,
}

/// What the procedure found for one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Workload.
    pub workload: String,
    /// Winning algorithm.
    pub algorithm: String,
    /// Its point.
    pub point: Point,
    /// Best validation value of every trial of the search, by algorithm and trial; empty where
    /// the point was given.
    pub searched: Vec<(String, u32, Option<f64>)>,
    /// Best validation value, and the test value beside it, of each repetition.
    pub repeated: Vec<(f64, f64)>,
    /// Validation target.
    pub validation: f64,
    /// Test target.
    pub test: f64,
}

/// Why no target could be set.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The suite of the procedure.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// Its plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Its race.
    #[error(transparent)]
    Race(#[from] RaceError),
    /// Its records.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It was interrupted; the same command continues.
    #[error("interrupted; the same command continues")]
    Interrupted,
    /// Trials failed where the procedure needs them.
    #[error("{workload}: {message}")]
    Failed {
        /// The workload.
        workload: String,
        /// What failed.
        message: String,
    },
}

/// Where and how the procedure races.
pub struct Bench<'a> {
    /// What there is.
    pub registry: &'a Registry,
    /// Folder of the runs; the same folder continues an interrupted procedure.
    pub dir: &'a Path,
    /// Set to stop.
    pub interrupted: &'a AtomicBool,
}

/// Sets the target of `workload`. `given` is the point that won on the base of a variant.
pub fn set_target(
    bench: &Bench<'_>,
    procedure: &Procedure,
    workload: &str,
    given: Option<(&str, &Point)>,
    report: &mut dyn FnMut(&Event),
) -> Result<Finding, TargetError> {
    let (algorithm, point, searched) = match given {
        Some((algorithm, point)) => (algorithm.to_string(), point.clone(), Vec::new()),
        None => search(bench, procedure, workload, report)?,
    };
    let winner = std::slice::from_ref(&algorithm);
    let mut suite = blank(bench, workload, winner, procedure.seed + 1)?;
    suite.studies = procedure.seeds;
    suite
        .points
        .insert(spanned(&algorithm), vec![values(&point)]);
    let trials = race(bench, &suite, &format!("{workload}-repeat"), report)?;
    let minimize = |t: &TrialRecord| t.target.direction == velodrome_results::Direction::Minimize;
    let mut repeated = Vec::new();
    for trial in &trials {
        match (trial.outcome.best_validation, trial.outcome.test_at_best) {
            (Some(validation), Some(test)) => repeated.push((validation, test)),
            _ => {
                return Err(TargetError::Failed {
                    workload: workload.to_string(),
                    message: format!("repetition {} is {}", trial.id, trial.status),
                });
            }
        }
    }
    // Rounded to four decimals towards the easier side, so that the repetitions still meet it.
    let worst = |values: &mut dyn Iterator<Item = f64>| {
        let values = values.filter(|v| v.is_finite());
        if trials.first().is_some_and(minimize) {
            (values.fold(f64::NEG_INFINITY, f64::max) * 1e4).ceil() / 1e4
        } else {
            (values.fold(f64::INFINITY, f64::min) * 1e4).floor() / 1e4
        }
    };
    Ok(Finding {
        workload: workload.to_string(),
        algorithm,
        point,
        searched,
        validation: worst(&mut repeated.iter().map(|r| r.0)),
        test: worst(&mut repeated.iter().map(|r| r.1)),
        repeated,
    })
}

/// Winning algorithm, its point, and the best value of every trial.
type Searched = (String, Point, Vec<(String, u32, Option<f64>)>);

fn search(
    bench: &Bench<'_>,
    procedure: &Procedure,
    workload: &str,
    report: &mut dyn FnMut(&Event),
) -> Result<Searched, TargetError> {
    let mut suite = blank(bench, workload, &procedure.algorithms, procedure.seed)?;
    for name in &procedure.algorithms {
        let space = bench.registry.submission(name)?.search_space();
        let seed = derive(procedure.seed, &["targets", name]);
        let drawn = (0..u64::from(procedure.trials)).map(|i| halton::point(&space, seed, i));
        let points = std::iter::once(space.default_point()).chain(drawn);
        let points = points.map(|p| values(&p)).collect();
        suite.points.insert(spanned(name), points);
    }
    let trials = race(bench, &suite, &format!("{workload}-search"), report)?;
    let mut best: Option<&TrialRecord> = None;
    for trial in &trials {
        let value = |t: &TrialRecord| t.outcome.best_validation.unwrap_or(f64::NAN);
        let beaten = best.map_or(f64::NAN, value);
        if trial.target.direction.better(value(trial), beaten) {
            best = Some(trial);
        }
    }
    let best = best.ok_or_else(|| TargetError::Failed {
        workload: workload.to_string(),
        message: "no trial of the search has a finite metric".into(),
    })?;
    let searched = trials
        .iter()
        .map(|t| (t.submission.clone(), t.trial, t.outcome.best_validation))
        .collect();
    Ok((best.submission.clone(), Point(best.point.clone()), searched))
}

/// A point as a suite file would list it.
fn values(point: &Point) -> BTreeMap<Spanned<String>, f64> {
    let values = point.0.iter().map(|(k, v)| (spanned(k), *v));
    values.collect()
}

fn spanned(name: &str) -> Spanned<String> {
    Spanned::new(0..0, name.to_string())
}

/// A suite over one workload whose budget is the step hint's work, without a target.
fn blank(
    bench: &Bench<'_>,
    workload: &str,
    algorithms: &[String],
    seed: u64,
) -> Result<Suite, TargetError> {
    let spec = bench.registry.workload(workload)?.spec();
    let mut suite = Suite::parse(
        "name = \"targets\"\nworkloads = []\nsubmissions = []\nruleset = \"external\"\n",
        Path::new("(target-setting procedure)"),
    )?;
    suite.workloads = vec![spanned(workload)];
    suite.submissions = algorithms.iter().map(|a| spanned(a)).collect();
    debug_assert_eq!(suite.ruleset, Ruleset::External);
    suite.seed = seed;
    suite.without_target = true;
    let change = Override {
        budget_work: Some(spec.hints.steps * spec.hints.batch_size as u64),
        ..Override::default()
    };
    suite.overrides.insert(spanned(workload), change);
    Ok(suite)
}

/// Races a suite into its own folder and reads the records back.
fn race(
    bench: &Bench<'_>,
    suite: &Suite,
    name: &str,
    report: &mut dyn FnMut(&Event),
) -> Result<Vec<TrialRecord>, TargetError> {
    let plan: Plan = plan(suite, bench.registry)?;
    let dir = bench.dir.join(name);
    let options = RunOptions::default();
    if run(&plan, &dir, &options, bench.interrupted, report)?.interrupted {
        return Err(TargetError::Interrupted);
    }
    let run = Run::read(&dir)?;
    if let Some((_, error)) = run.damaged.into_iter().next() {
        return Err(error.into());
    }
    Ok(run.trials.into_iter().map(|t| t.record).collect())
}

//! The target-setting procedure: what a well-tuned baseline reaches within half of the step hint. The
//! other half is the slack that a race gives: its submissions are told the whole hint.
//!
//! 1. **Search.** Each baseline algorithm trains at its default point and at `trials` quasi-random
//!    points of its own search space, with a schedule over [`horizon`] steps and to their end, with no
//!    target in sight. On a variant each algorithm trains at the point that was its best on the base.
//! 2. **Choice.** The point with the best validation metric at any evaluation wins.
//! 3. **Repetition.** The winner trains from `seeds` fresh seeds.
//! 4. **Target.** The median of the seeds' best validation values; and the worst test value of those
//!    seeds that reach it, at their best evaluation. Both rounded to four decimals towards the easier
//!    side. The cadence (some fifty evaluations on the way, at a fifth of the clock's time at most) and
//!    the budgets follow from the same runs.
//!
//! This is the procedure of AlgoPerf (arXiv 2306.07179, section 4.3) at a smaller size: it takes the
//! best of some 200 trials of each of four baselines and 20 repetitions.

mod finding;

pub use finding::{Finding, Repetition, Searched, Winner};

use crate::contract::{Point, Ruleset, WorkloadSpec};
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
use velodrome_results::RecordError;
use velodrome_results::run::Run;

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
    /// Threads of the compute pool; all processors where absent.
    pub threads: Option<usize>,
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

/// A target and the runs that it was set by.
#[derive(Debug)]
pub struct Outcome {
    /// What was found.
    pub finding: Finding,
    /// The best point of each algorithm in the search.
    pub best: Vec<Winner>,
    /// The search.
    pub search: Run,
    /// The repetitions.
    pub repeat: Run,
}

/// Sets the target of `workload`. `given` has the best point of each algorithm on the base of a variant;
/// it is empty for a base.
pub fn set_target(
    bench: &Bench<'_>,
    procedure: &Procedure,
    workload: &str,
    given: &[Winner],
    report: &mut dyn FnMut(&Event),
) -> Result<Outcome, TargetError> {
    let spec = bench.registry.workload(workload)?.spec();
    let search = search(bench, procedure, &spec, given, report)?;
    let best = finding::best_points(&search);
    let winner = finding::choose(&search, workload)?;
    let algorithm = std::slice::from_ref(&winner.algorithm);
    let mut suite = blank(&spec, algorithm, procedure, procedure.seed + 1)?;
    suite.studies = procedure.seeds;
    suite
        .points
        .insert(spanned(&winner.algorithm), vec![values(&winner.point)]);
    let repeat = race(bench, &suite, &format!("{workload}-repeat"), report)?;
    let batch_size = spec.hints.batch_size as u64;
    let finding = Finding::from_runs(
        workload,
        &search,
        &repeat,
        spec.hints.steps * batch_size,
        batch_size,
    )?;
    Ok(Outcome {
        finding,
        best,
        search,
        repeat,
    })
}

fn search(
    bench: &Bench<'_>,
    procedure: &Procedure,
    spec: &WorkloadSpec,
    given: &[Winner],
    report: &mut dyn FnMut(&Event),
) -> Result<Run, TargetError> {
    let mut algorithms = procedure.algorithms.clone();
    if !given.is_empty() {
        algorithms.retain(|name| given.iter().any(|best| best.algorithm == *name));
    }
    let mut suite = blank(spec, &algorithms, procedure, procedure.seed)?;
    for name in &algorithms {
        let space = bench.registry.submission(name)?.search_space();
        let seed = derive(procedure.seed, &["targets", name]);
        let drawn = (0..u64::from(procedure.trials)).map(|i| halton::point(&space, seed, i));
        let points: Vec<Point> = match given.iter().find(|best| best.algorithm == *name) {
            Some(best) => vec![best.point.clone()],
            None => std::iter::once(space.default_point())
                .chain(drawn)
                .collect(),
        };
        let points = points.iter().map(values).collect();
        suite.points.insert(spanned(name), points);
    }
    race(bench, &suite, &format!("{}-search", spec.name), report)
}

/// A point as a suite file would list it.
fn values(point: &Point) -> BTreeMap<Spanned<String>, f64> {
    let values = point.0.iter().map(|(k, v)| (spanned(k), *v));
    values.collect()
}

fn spanned(name: &str) -> Spanned<String> {
    Spanned::new(0..0, name.to_string())
}

/// A suite over one workload whose budget is the work of the horizon, without a target.
fn blank(
    spec: &WorkloadSpec,
    algorithms: &[String],
    procedure: &Procedure,
    seed: u64,
) -> Result<Suite, TargetError> {
    let mut suite = Suite::parse(
        "name = \"targets\"\nworkloads = []\nsubmissions = []\nruleset = \"external\"\n",
        Path::new("(target-setting procedure)"),
    )?;
    suite.workloads = vec![spanned(&spec.name)];
    suite.submissions = algorithms.iter().map(|a| spanned(a)).collect();
    debug_assert_eq!(suite.ruleset, Ruleset::External);
    suite.seed = seed;
    suite.threads = procedure.threads;
    suite.without_target = true;
    let steps = horizon(spec.hints.steps);
    let change = Override {
        budget_work: Some(steps * spec.hints.batch_size as u64),
        step_hint: Some(steps),
        ..Override::default()
    };
    suite.overrides.insert(spanned(&spec.name), change);
    Ok(suite)
}

/// Steps of a run of the procedure on a workload whose step hint is `hint`: half of it.
pub fn horizon(hint: u64) -> u64 {
    (hint / 2).max(1)
}

/// Races a suite into its own folder and reads the records back.
fn race(
    bench: &Bench<'_>,
    suite: &Suite,
    name: &str,
    report: &mut dyn FnMut(&Event),
) -> Result<Run, TargetError> {
    let plan: Plan = plan(suite, bench.registry)?;
    let dir = bench.dir.join(name);
    let options = RunOptions::default();
    if run(&plan, &dir, &options, bench.interrupted, report)?.interrupted {
        return Err(TargetError::Interrupted);
    }
    let mut run = Run::read(&dir)?;
    if let Some((_, error)) = run.damaged.pop() {
        return Err(error.into());
    }
    Ok(run)
}

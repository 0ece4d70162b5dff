//! The plan: every trial of a suite, with its point, its seeds and a content hash.

use super::device::{DeviceError, device};
use super::fingerprint::{cores, hex, sha256_of, take};
use super::halton;
use super::held_out;
use super::spaces;
use super::suite::{Cadence, Limits, Override, Suite, SuiteError};
use crate::contract::{Point, Ruleset, Submission, Track, WorkloadSpec};
use crate::registry::{Registry, RegistryError, nearest};
use crate::seed::derive;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use toml::Spanned;
use velodrome_results::record::TRIAL_FORMAT;
use velodrome_results::{Budget, Direction, Outcome, Seeds, Status, TrialRecord};

/// Why a suite gives no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A name or a value in the suite file is wrong.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// This program's own file cannot be read, so its hash is unknown.
    #[error("cannot read this program's own file, whose hash every record holds: {0}")]
    Executable(std::io::Error),
}

/// A plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the suite.
    pub suite: String,
    /// Ruleset.
    pub ruleset: Ruleset,
    /// When trials are evaluated.
    pub cadence: Cadence,
    /// Seed of the suite.
    pub seed: u64,
    /// Limits.
    pub limits: Limits,
    /// Held-out workloads: variants that a submission must also solve for its time on their base to
    /// count.
    pub held_out: Vec<String>,
    /// The trials in racing order, each as the record that it will become.
    pub trials: Vec<TrialRecord>,
}

impl Plan {
    /// Content hash over all trials, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for trial in &self.trials {
            hash.update(trial.hash.as_bytes());
        }
        hex(&hash.finalize()[..8])
    }

    /// The part of the plan that machine `index` (from 1) of `of` machines races.
    pub fn shard(mut self, index: u32, of: u32) -> Self {
        let mut number = 0;
        self.trials.retain(|_| {
            number += 1;
            (number - 1) % of.max(1) == index.saturating_sub(1)
        });
        self
    }
}

/// Plans a suite. Names are looked up in `registry`; errors name the file, the line and the
/// nearest valid name.
pub fn plan(suite: &Suite, registry: &Registry) -> Result<Plan, PlanError> {
    device(&suite.device)?;
    let mut workloads = suite
        .workloads
        .iter()
        .map(|name| {
            registry
                .workload(name.get_ref())
                .map_err(|e| located(suite, name, e))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let submissions = suite
        .submissions
        .iter()
        .map(|name| {
            let submission = registry
                .submission(name.get_ref())
                .map_err(|e| located(suite, name, e))?;
            check_submission(suite, name, &submission)?;
            Ok(submission)
        })
        .collect::<Result<Vec<_>, PlanError>>()?;
    check_list(suite, "workloads", &suite.workloads)?;
    check_list(suite, "submissions", &suite.submissions)?;
    check_keys(suite, "overrides", suite.overrides.keys(), &suite.workloads)?;
    check_keys(suite, "points", suite.points.keys(), &suite.submissions)?;
    check_keys(suite, "spaces", suite.spaces.keys(), &suite.submissions)?;
    let mut held = Vec::new();
    if let Some(seed) = suite.held_out {
        held = held_out::draw(registry, &workloads, seed);
        for name in &held {
            if !workloads.iter().any(|w| w.spec().name == *name) {
                let drawn = registry.workload(name);
                workloads.push(drawn.map_err(|e| suite.fault(0, e.to_string()))?);
            }
        }
    }
    for workload in &workloads {
        let spec = workload.spec();
        for (name, submission) in suite.submissions.iter().zip(&submissions) {
            check_track(suite, name, submission.describe().track, &spec)?;
        }
    }
    check_size(suite, workloads.len(), submissions.len())?;
    let executable = executable_hash().map_err(PlanError::Executable)?;
    let threads = suite.threads.unwrap_or_else(cores);
    let fingerprint = take(&suite.device, threads, &executable);
    let mut points = Vec::new();
    for submission in &submissions {
        let studies = 1..=suite.studies;
        let of_study = |study| points_of(suite, submission.as_ref(), study);
        points.push(studies.map(of_study).collect::<Result<Vec<_>, _>>()?);
    }
    let mut trials = Vec::new();
    for workload in &workloads {
        let spec = workload.spec();
        let change = find(&suite.overrides, &spec.name)
            .cloned()
            .unwrap_or_default();
        if change.step_hint == Some(0) {
            let message = format!("overrides.{}: field `step_hint` is 0", spec.name);
            return Err(suite.fault(0, message).into());
        }
        for (submission, studies) in submissions.iter().zip(&points) {
            for (study, points) in (1..).zip(studies) {
                for (trial, point) in (1..).zip(points.iter().cloned()) {
                    let mut record = blank(
                        suite,
                        &spec,
                        submission.as_ref(),
                        study,
                        trial,
                        point,
                        &change,
                    );
                    record.threads = threads;
                    if suite.without_target {
                        let never = match record.target.direction {
                            Direction::Minimize => f64::NEG_INFINITY,
                            Direction::Maximize => f64::INFINITY,
                        };
                        (record.target.validation, record.target.test) = (never, never);
                    }
                    record.fingerprint = fingerprint.clone();
                    record.hash = content_hash(&record, &spec, submission.as_ref());
                    trials.push(record);
                }
            }
        }
    }
    // Study by study, so that a machine that slows down does it to every row alike.
    trials.sort_by_key(|trial| trial.study);
    Ok(Plan {
        suite: suite.name.clone(),
        ruleset: suite.ruleset,
        cadence: suite.cadence,
        seed: suite.seed,
        held_out: held,
        limits: suite.limits.clone(),
        trials,
    })
}

fn located(suite: &Suite, name: &Spanned<String>, error: RegistryError) -> SuiteError {
    suite.fault(name.span().start, error.to_string())
}

fn check_submission(
    suite: &Suite,
    name: &Spanned<String>,
    submission: &Arc<dyn Submission>,
) -> Result<(), PlanError> {
    let description = submission.describe();
    if !description.rulesets.contains(&suite.ruleset) {
        let message = format!(
            "`{}` does not race under the ruleset `{}`",
            description.name,
            suite.ruleset.as_str()
        );
        return Err(suite.fault(name.span().start, message).into());
    }
    let faults = submission.search_space().faults();
    if !faults.is_empty() {
        let message = format!(
            "search space of `{}`: {}",
            description.name,
            faults.join("; ")
        );
        return Err(suite.fault(name.span().start, message).into());
    }
    Ok(())
}

/// The most trials of a plan. One of more would fill the memory before the first is raced.
const MOST_TRIALS: u64 = 50_000;

/// The plan must not be larger than [`MOST_TRIALS`].
fn check_size(suite: &Suite, workloads: usize, submissions: usize) -> Result<(), PlanError> {
    let each = match suite.ruleset {
        Ruleset::External => suite.trials,
        Ruleset::SelfTuning => 1,
    };
    let rows = workloads as u64 * submissions as u64;
    let studies = u64::from(suite.studies) * u64::from(each);
    let all = rows.saturating_mul(studies);
    if all <= MOST_TRIALS {
        return Ok(());
    }
    let message = format!(
        "{workloads} workloads, {submissions} submissions, {} studies and {each} trials in each are {all} \
         trials, of which a plan has {MOST_TRIALS} at most: lower `studies` or `trials`, or race in parts",
        suite.studies
    );
    Err(suite.fault(suite.offset_of("studies"), message).into())
}

/// Adapters of random weights are no contest; any optimizer may fine-tune, with all weights.
fn check_track(
    suite: &Suite,
    name: &Spanned<String>,
    track: Track,
    workload: &WorkloadSpec,
) -> Result<(), PlanError> {
    if track == Track::Finetune && workload.track == Track::Pretrain {
        let message = format!(
            "`{}` fine-tunes, but `{}` begins from random weights",
            name.get_ref(),
            workload.name
        );
        return Err(suite.fault(name.span().start, message).into());
    }
    Ok(())
}

/// A list of names must not be empty and must not repeat.
fn check_list(suite: &Suite, list: &str, names: &[Spanned<String>]) -> Result<(), PlanError> {
    if names.is_empty() {
        return Err(suite.fault(0, format!("`{list}` is empty")).into());
    }
    for (i, name) in names.iter().enumerate() {
        if names[..i].iter().any(|n| n.get_ref() == name.get_ref()) {
            let message = format!("`{}` stands twice in `{list}`", name.get_ref());
            return Err(suite.fault(name.span().start, message).into());
        }
    }
    Ok(())
}

fn check_keys<'a>(
    suite: &Suite,
    table: &str,
    keys: impl Iterator<Item = &'a Spanned<String>>,
    names: &[Spanned<String>],
) -> Result<(), PlanError> {
    for key in keys {
        if names.iter().any(|n| n.get_ref() == key.get_ref()) {
            continue;
        }
        let near = nearest(key.get_ref(), names.iter().map(|n| n.get_ref().as_str()));
        let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        let message = format!(
            "`{table}.{}` names nothing that this suite races{hint}",
            key.get_ref()
        );
        return Err(suite.fault(key.span().start, message).into());
    }
    Ok(())
}

pub(super) fn find<'a, T>(map: &'a BTreeMap<Spanned<String>, T>, name: &str) -> Option<&'a T> {
    map.iter()
        .find(|(k, _)| k.get_ref() == name)
        .map(|(_, v)| v)
}

/// The points of one study, in trial order.
fn points_of(
    suite: &Suite,
    submission: &dyn Submission,
    study: u32,
) -> Result<Vec<Point>, PlanError> {
    let name = submission.describe().name;
    let space = spaces::space_of(suite, submission)?;
    if let Some(fixed) = find(&suite.points, name) {
        let points = fixed
            .iter()
            .map(|values| spaces::fixed_point(suite, submission, values))
            .collect::<Result<Vec<_>, _>>()?;
        if suite.ruleset == Ruleset::SelfTuning && points.len() > 1 {
            let message = format!(
                "`points.{name}` lists {} points, but the self-tuning ruleset has one trial per \
                 study",
                points.len()
            );
            return Err(suite.fault(0, message).into());
        }
        return Ok(points);
    }
    if suite.ruleset == Ruleset::SelfTuning {
        return Ok(vec![space.default_point()]);
    }
    // Consecutive parts of one sequence, so that no two studies try the same point.
    let seed = derive(suite.seed, &["points", name]);
    let first = u64::from(study - 1) * u64::from(suite.trials);
    Ok((0..u64::from(suite.trials))
        .map(|t| halton::point(&space, seed, first + t))
        .collect())
}

/// The record of a trial that has not been raced.
fn blank(
    suite: &Suite,
    spec: &WorkloadSpec,
    submission: &dyn Submission,
    study: u32,
    trial: u32,
    point: Point,
    change: &Override,
) -> TrialRecord {
    let name = submission.describe().name;
    let repetition = [study.to_string(), trial.to_string()];
    // Not by submission: all riders of a study meet the same data order and the same initial
    // model, so that their differences are paired.
    let seed = |axis: &str| {
        derive(
            suite.seed,
            &[axis, &spec.name, &repetition[0], &repetition[1]],
        )
    };
    let by_clock = suite.cadence == Cadence::Clock;
    let every_work = change.eval_every_work.unwrap_or(spec.eval_every_work);
    let budget = Budget {
        work: change.budget_work.unwrap_or(spec.budget.work),
        seconds: change.budget_seconds.unwrap_or(spec.budget.seconds),
    };
    TrialRecord {
        format: TRIAL_FORMAT.to_string(),
        id: format!("{}.{name}.study-{study}.trial-{trial}", spec.name),
        hash: String::new(),
        workload: spec.name.clone(),
        workload_version: spec.version,
        base: spec.base.clone(),
        submission: name.to_string(),
        ruleset: suite.ruleset.as_str().to_string(),
        study,
        trial,
        point: point.0,
        seeds: Seeds {
            data: seed("data"),
            model: seed("model"),
            algorithm: seed("algorithm"),
        },
        device: suite.device.clone(),
        threads: 0,
        target: spec.target.clone(),
        step_hint: change.step_hint,
        eval_every_work: if by_clock { 0 } else { every_work.max(1) },
        // By the clock, a fiftieth of the budget unless the suite says otherwise.
        eval_every_seconds: if by_clock {
            change.eval_every_seconds.unwrap_or(budget.seconds / 50.0)
        } else {
            0.0
        },
        budget,
        fingerprint: velodrome_results::Fingerprint::default(),
        started: None,
        status: Status::Running,
        ended_by: None,
        reason: None,
        outcome: Outcome::default(),
        findings: Vec::new(),
    }
}

/// Hash over everything that can change a trial's outcome: the protocol, the workload in full,
/// the submission's version and space, and the executable itself, so that results of an edited
/// program are never mistaken for those of the old one.
pub(super) fn content_hash(
    record: &TrialRecord,
    spec: &WorkloadSpec,
    submission: &dyn Submission,
) -> String {
    let content = serde_json::json!({
        "record": record,
        "workload": spec,
        "submission": submission.describe(),
        "space": submission.search_space(),
    });
    let mut hash = Sha256::new();
    hash.update(content.to_string().as_bytes());
    hex(&hash.finalize()[..8])
}

/// SHA-256 of this executable, read once.
pub fn executable_hash() -> std::io::Result<String> {
    static HASH: OnceLock<String> = OnceLock::new();
    if let Some(hash) = HASH.get() {
        return Ok(hash.clone());
    }
    let hash = sha256_of(&std::env::current_exe()?)?;
    Ok(HASH.get_or_init(|| hash).clone())
}

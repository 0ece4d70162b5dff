//! Gathers the trials of all runs into one plain table, and what cannot enter it into notes.

use super::AssembleError;
use crate::record::{Direction, Status, Target};
use crate::run::{Run, Trial};
use crate::score::{Reach, StudyTimes, Table, TrialRow};
use std::collections::{BTreeMap, BTreeSet};

/// At most so many failures, faults or warnings are listed one by one in the notes.
const LISTED: usize = 20;

/// What a trial is, whatever run it lies in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    workload: String,
    submission: String,
    study: u32,
    trial: u32,
}

/// One workload of the collection, as its first trial describes it.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    pub base: String,
    pub target: Target,
}

/// The trials of all runs.
#[derive(Debug)]
pub(super) struct Collected<'a> {
    pub table: Table,
    /// One per workload of the table.
    pub workloads: Vec<Workload>,
    /// The trials that were raced and could be read, one per row of the table.
    pub trials: Vec<&'a Trial>,
    /// Trials that are still running: submission, workload and trial.
    pub running: Vec<(usize, usize, &'a Trial)>,
    /// Planned trials without a record.
    missing: Vec<String>,
    /// Trials whose record cannot be used, with the reason.
    damaged: Vec<String>,
    /// Planned workloads of which no record exists.
    unknown_workloads: Vec<String>,
}

/// Collects the trials of all runs.
pub(super) fn collect(runs: &[Run]) -> Result<Collected<'_>, AssembleError> {
    let mut found: BTreeMap<Key, (&Run, &Trial)> = BTreeMap::new();
    for run in runs {
        for trial in &run.trials {
            let record = &trial.record;
            let key = Key {
                workload: record.workload.clone(),
                submission: record.submission.clone(),
                study: record.study,
                trial: record.trial,
            };
            match found.get(&key) {
                Some((_, other)) if settled(other) && settled(trial) => {
                    return Err(AssembleError::Twice {
                        id: record.id.clone(),
                        first: found[&key].0.path.clone(),
                        second: run.path.clone(),
                    });
                }
                Some((_, other)) if settled(other) || !settled(trial) => {}
                _ => {
                    found.insert(key, (run, trial));
                }
            }
        }
    }
    // The order of rows and columns is that of the plan, whether a trial has a record or not.
    let mut submissions: Vec<String> = Vec::new();
    let mut planned_workloads: Vec<String> = Vec::new();
    let mut missing = Vec::new();
    for run in runs {
        let lost: BTreeSet<&str> = run.missing.iter().map(String::as_str).collect();
        for (id, _) in &run.record.trials {
            let Some(key) = parse_id(id) else {
                if lost.contains(id.as_str()) {
                    missing.push(id.clone());
                }
                continue;
            };
            push_new(&mut submissions, &key.submission);
            push_new(&mut planned_workloads, &key.workload);
            if lost.contains(id.as_str()) && !found.contains_key(&key) && !missing.contains(id) {
                missing.push(id.clone());
            }
        }
        for trial in &run.trials {
            push_new(&mut submissions, &trial.record.submission);
            push_new(&mut planned_workloads, &trial.record.workload);
        }
    }

    let mut workloads = Vec::new();
    let mut names = Vec::new();
    let mut unknown_workloads = Vec::new();
    for name in planned_workloads {
        match found.values().find(|(_, t)| t.record.workload == name) {
            Some((_, trial)) => {
                workloads.push(Workload {
                    base: trial.record.base.clone(),
                    target: trial.record.target.clone(),
                });
                names.push(name);
            }
            None => unknown_workloads.push(name),
        }
    }

    let mut collected = Collected {
        table: Table {
            submissions,
            workloads: names,
            trials: Vec::new(),
        },
        workloads,
        trials: Vec::new(),
        running: Vec::new(),
        missing,
        damaged: runs
            .iter()
            .flat_map(|run| run.damaged.iter().map(|(id, e)| format!("{id}: {e}")))
            .collect(),
        unknown_workloads,
    };
    for (key, (_, trial)) in &found {
        collected.add(key, trial);
    }
    Ok(collected)
}

/// Whether the trial was raced to its end (a trial left to another shard is `skipped` or absent).
fn settled(trial: &Trial) -> bool {
    !matches!(trial.record.status, Status::Running | Status::Skipped)
}

impl<'a> Collected<'a> {
    fn add(&mut self, key: &Key, trial: &'a Trial) {
        let place = |names: &[String], name: &str| names.iter().position(|n| n == name);
        let (Some(submission), Some(workload)) = (
            place(&self.table.submissions, &key.submission),
            place(&self.table.workloads, &key.workload),
        ) else {
            return;
        };
        if trial.record.status == Status::Running {
            self.running.push((submission, workload, trial));
            return;
        }
        match reach(trial) {
            Ok(reached) => {
                self.table.trials.push(TrialRow {
                    submission,
                    workload,
                    study: key.study,
                    trial: key.trial,
                    status: trial.record.status,
                    reached,
                });
                self.trials.push(trial);
            }
            Err(why) => {
                let path = trial.path.join("trial.json");
                let id = &trial.record.id;
                self.damaged
                    .push(format!("{id}: {}: {why}", path.display()));
            }
        }
    }

    /// What a reader must know about the trials.
    pub(super) fn notes(&self, studies: &StudyTimes) -> Vec<String> {
        let mut notes = Vec::new();
        let running: Vec<String> = self
            .running
            .iter()
            .map(|(_, _, t)| t.record.id.clone())
            .collect();
        list(
            &mut notes,
            "still running or interrupted, not counted",
            &running,
        );
        list(
            &mut notes,
            "planned, but without a record yet",
            &self.missing,
        );
        list(&mut notes, "damaged, not counted", &self.damaged);
        for name in &self.unknown_workloads {
            notes.push(format!(
                "Workload {name}: no trial has a record yet, so it is not on this board."
            ));
        }
        let broken: Vec<String> = self
            .trials
            .iter()
            .filter(|t| t.record.status.is_failure() || t.record.status == Status::Skipped)
            .map(|t| {
                let reason = t.record.reason.as_deref().unwrap_or("no reason recorded");
                format!("{}: {} ({reason})", t.record.id, t.record.status)
            })
            .collect();
        list(
            &mut notes,
            "failed or skipped, counted as not reached",
            &broken,
        );
        let builds: BTreeSet<&str> = self
            .trials
            .iter()
            .filter(|t| t.record.status != Status::Skipped)
            .map(|t| t.record.fingerprint.commit.as_str())
            .collect();
        if builds.len() > 1 {
            let commits: Vec<&str> = builds.into_iter().collect();
            notes.push(format!(
                "The trials were raced by builds of different commits: {}.",
                commits.join(", ")
            ));
        }
        self.uneven(studies, &mut notes);
        self.findings(&mut notes);
        notes
    }

    /// Notes cells that have fewer studies than others, or trials.
    fn uneven(&self, studies: &StudyTimes, notes: &mut Vec<String>) {
        let all = studies.studies().len();
        let mut short = Vec::new();
        for (s, submission) in self.table.submissions.iter().enumerate() {
            for (w, workload) in self.table.workloads.iter().enumerate() {
                let n = studies.cells[s][w].len();
                if n < all {
                    short.push(format!("{submission} on {workload}: {n} of {all}"));
                }
            }
        }
        if !short.is_empty() {
            notes.push(format!(
                "Cells with fewer studies than the others: {}.",
                shorten(&short)
            ));
        }
    }

    /// One note per kind of warning that trials carry.
    fn findings(&self, notes: &mut Vec<String>) {
        let mut kinds: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
        for trial in &self.trials {
            for finding in &trial.record.findings {
                kinds
                    .entry(&finding.code)
                    .or_insert((0, &trial.record.id, &finding.message))
                    .0 += 1;
            }
        }
        for (code, (count, id, message)) in kinds {
            let trials = if count == 1 { "trial" } else { "trials" };
            notes.push(format!(
                "Warning {code} in {count} {trials}, first in {id}: {message}"
            ));
        }
    }
}

fn list(notes: &mut Vec<String>, what: &str, items: &[String]) {
    if !items.is_empty() {
        let trials = if items.len() == 1 { "trial" } else { "trials" };
        notes.push(format!(
            "{} {trials} {what}: {}.",
            items.len(),
            shorten(items)
        ));
    }
}

fn shorten(items: &[String]) -> String {
    let shown = items[..items.len().min(LISTED)].join("; ");
    if items.len() > LISTED {
        format!("{shown}; and {} more", items.len() - LISTED)
    } else {
        shown
    }
}

fn push_new(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|n| n == name) {
        names.push(name.to_string());
    }
}

/// Reads `WORKLOAD.SUBMISSION.study-N.trial-N`.
fn parse_id(id: &str) -> Option<Key> {
    let mut parts = id.rsplitn(3, '.');
    let trial = parts.next()?.strip_prefix("trial-")?.parse().ok()?;
    let study = parts.next()?.strip_prefix("study-")?.parse().ok()?;
    let (workload, submission) = parts.next()?.split_once('.')?;
    Some(Key {
        workload: workload.to_string(),
        submission: submission.to_string(),
        study,
        trial,
    })
}

/// When a trial reached its target, checked against its own evaluations: a board must not repeat
/// a time that the log does not bear out.
fn reach(trial: &Trial) -> Result<Option<Reach>, String> {
    let record = &trial.record;
    if record.status != Status::Reached {
        return Ok(None);
    }
    let time = record
        .outcome
        .time_to_target
        .ok_or("field `status` is \"reached\", but field `outcome.time_to_target` is empty")?;
    let steps = record
        .outcome
        .steps_to_target
        .ok_or("field `status` is \"reached\", but field `outcome.steps_to_target` is empty")?;
    let (index, eval) = trial
        .evals
        .iter()
        .enumerate()
        .find(|(_, e)| e.step == steps && e.clock == time)
        .ok_or_else(|| {
            format!(
                "evals.jsonl has no evaluation at step {steps} and clock {time} s, where the \
                     target is said to be reached"
            )
        })?;
    let Target {
        metric,
        direction,
        validation,
        ..
    } = &record.target;
    let value = eval.validation.get(metric).copied().unwrap_or(f64::NAN);
    if !direction.meets(value, *validation) {
        let sign = match direction {
            Direction::Minimize => "at most",
            Direction::Maximize => "at least",
        };
        return Err(format!(
            "the evaluation at step {steps} has {metric} {value}, which does not meet the target \
             of {sign} {validation}"
        ));
    }
    Ok(Some(Reach {
        time,
        index: index as u64,
        steps: Some(steps),
    }))
}

//! The audit of a run: does each record follow from its plan and its own evaluations, and does a trial that
//! is raced again give the same?

use super::fingerprint::{check_weights, take};
use super::plan::{Plan, content_hash};
use super::suite::{Cadence, Limits};
use super::trial::WEIGHTS;
use crate::contract::Ruleset;
use crate::registry::Registry;
use std::collections::HashMap;
use std::fmt::Debug;
use velodrome_results::run::{Run, Trial};
use velodrome_results::{EvalRecord, Outcome, Status, TrialRecord};

/// Something in a record that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Doubt {
    /// The trial.
    pub trial: String,
    /// What was held against what: stable short name.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
}

impl Doubt {
    fn new(trial: &TrialRecord, code: &'static str, message: String) -> Self {
        Self {
            trial: trial.id.clone(),
            code,
            message,
        }
    }
}

/// A record as it was before the plan gave it a hash.
fn planned(record: &TrialRecord) -> TrialRecord {
    TrialRecord {
        hash: String::new(),
        ..record.as_planned()
    }
}

/// Holds every record of a run against the plan, against this program's workloads and submissions, and
/// against its own evaluations. `executable` is the hash of this program: what another build raced is not
/// held against this one's workloads and submissions.
pub fn check(run: &Run, registry: &Registry, executable: &str) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    for (id, error) in &run.damaged {
        doubts.push(Doubt {
            trial: id.clone(),
            code: "damaged",
            message: error.to_string(),
        });
    }
    let plan = run.record.trials.iter();
    let plan: HashMap<&str, &str> = plan.map(|(id, hash)| (&**id, &**hash)).collect();
    for trial in &run.trials {
        let record = &trial.record;
        let hash = plan.get(&*record.id).copied();
        if hash != Some(&record.hash) {
            let message = format!(
                "its hash is {}, but run.json planned {}",
                record.hash,
                hash.unwrap_or("no such trial")
            );
            doubts.push(Doubt::new(record, "hash", message));
        }
        if record.fingerprint.executable == executable {
            doubts.extend(altered(record, registry));
        }
        doubts.extend(own_evaluations(trial));
        let weights = trial.path.join(WEIGHTS);
        if weights.exists()
            && let Err(error) = check_weights(record, &weights)
        {
            doubts.push(Doubt::new(record, "weights", error.to_string()));
        }
    }
    doubts
}

/// Whether the settings give the hash that the plan gave them.
fn altered(record: &TrialRecord, registry: &Registry) -> Option<Doubt> {
    let found = registry.workload(&record.workload);
    let parts = found.and_then(|w| Ok((w, registry.submission(&record.submission)?)));
    let message = match parts {
        Err(error) => error.to_string(),
        Ok((workload, submission)) => {
            let hash = content_hash(&planned(record), &workload.spec(), &*submission);
            if hash == record.hash {
                return None;
            }
            format!(
                "its settings give the hash {hash}, not {}: a field was changed after the race",
                record.hash
            )
        }
    };
    Some(Doubt::new(record, "settings", message))
}

/// Whether the outcome follows from the evaluations.
fn own_evaluations(trial: &Trial) -> Vec<Doubt> {
    let (record, evals) = (&trial.record, &trial.evals);
    if !record.status.is_final() {
        return Vec::new();
    }
    let mut doubts = Vec::new();
    let mut doubt = |code, message| doubts.push(Doubt::new(record, code, message));
    let (target, found) = (&record.target, &record.outcome);
    let mut expected = Outcome::default();
    for (nth, eval) in evals.iter().enumerate() {
        if eval.n != nth as u64 {
            doubt(
                "order",
                format!("evaluation {nth} has the number {}", eval.n),
            );
        }
        let (validation, test) = (
            target.value_in(&eval.validation),
            target.value_in(&eval.test),
        );
        expected.observe(target, validation, test);
        if target.direction.meets(test, target.test) {
            expected.time_to_test_target.get_or_insert(eval.clock);
        }
        if target.direction.meets(validation, target.validation) {
            expected.time_to_target.get_or_insert(eval.clock);
            expected.steps_to_target.get_or_insert(eval.step);
            expected.work_to_target.get_or_insert(eval.work);
        }
        expected.last_eval_work = eval.work;
    }
    for (before, after) in evals.iter().zip(evals.iter().skip(1)) {
        let grows = before.step < after.step
            && before.work < after.work
            && before.clock <= after.clock
            && before.wall <= after.wall;
        if !grows {
            let message = format!(
                "evaluation {} is not later than the one before it in steps, work and seconds",
                after.n
            );
            doubt("order", message);
        }
        if before.work >= record.budget.work {
            let message = format!(
                "evaluation {} comes after the budget of {} was spent",
                after.n, record.budget.work
            );
            doubt("budget", message);
        }
    }
    // The last one may come early: at the end of the budget.
    let every = record.eval_every_work.max(1);
    let regular = evals.iter().take(evals.len().saturating_sub(1));
    for (before, after) in regular.clone().zip(regular.skip(1)) {
        if record.eval_every_work > 0 && before.work / every == after.work / every {
            let message = format!(
                "evaluations {} and {} lie within one interval of {every}",
                before.n, after.n
            );
            doubt("cadence", message);
        }
    }
    let reached = record.status == Status::Reached;
    if reached != expected.time_to_target.is_some() {
        let message = match reached {
            true => "no evaluation meets the target that it is said to have reached",
            false => "an evaluation meets the target, but the record does not say so",
        };
        doubt("target", message.to_string());
    }
    let mut field = |name: &str, found: &dyn Debug, expected: &dyn Debug| {
        let [found, expected] = [found, expected].map(|v| format!("{v:?}"));
        if found != expected {
            let message =
                format!("field `outcome.{name}` is {found}, but the evaluations give {expected}");
            doubt("outcome", message);
        }
    };
    let (f, e) = (found, &expected);
    field("time_to_target", &f.time_to_target, &e.time_to_target);
    field("steps_to_target", &f.steps_to_target, &e.steps_to_target);
    field("work_to_target", &f.work_to_target, &e.work_to_target);
    field("best_validation", &f.best_validation, &e.best_validation);
    field("test_at_best", &f.test_at_best, &e.test_at_best);
    // What a crash left is counted by the runner, which knows less.
    if !record.status.is_failure() {
        let test = (&f.time_to_test_target, &e.time_to_test_target);
        field("time_to_test_target", test.0, test.1);
        field("last_eval_work", &f.last_eval_work, &e.last_eval_work);
    }
    doubts
}

/// The plan that races these trials once more, by this program, whose hash is `executable`, on this machine.
pub fn again(run: &Run, trials: &[&Trial], executable: &str) -> Plan {
    let ruleset = match run.record.ruleset.as_str() {
        "external" => Ruleset::External,
        _ => Ruleset::SelfTuning,
    };
    let cadence = match run.record.cadence.as_str() {
        "clock" => Cadence::Clock,
        _ => Cadence::Work,
    };
    let records = trials.iter().map(|trial| TrialRecord {
        hash: trial.record.hash.clone(),
        fingerprint: take(&trial.record.device, trial.record.threads, executable),
        ..planned(&trial.record)
    });
    Plan {
        suite: run.record.suite.clone(),
        ruleset,
        cadence,
        seed: run.record.seed,
        limits: Limits::default(),
        held_out: run.record.held_out.clone(),
        trials: records.collect(),
    }
}

/// What differs between a trial and the same one raced again, seconds and memory apart.
pub fn differences(recorded: &Trial, again: &Trial) -> Vec<Doubt> {
    let record = &recorded.record;
    let mut doubts = Vec::new();
    let pairs = recorded.evals.iter().zip(&again.evals);
    for (then, now) in pairs {
        let (then, now) = (then.timeless(), now.timeless());
        if then != now {
            let of = |e: &EvalRecord| {
                let value = record.target.value_in(&e.validation);
                format!("{} {value} at step {}", record.target.metric, e.step)
            };
            let message = format!(
                "evaluation {} was {}; raced again it is {}",
                then.n,
                of(&then),
                of(&now)
            );
            doubts.push(Doubt::new(record, "again", message));
            return doubts;
        }
    }
    let (then, now) = (record.timeless(), again.record.timeless());
    let lengths = [recorded, again].map(|t| t.evals.len());
    if lengths[0] != lengths[1] || then.status != now.status || then.outcome != now.outcome {
        let message = format!(
            "it {} after {} evaluations and {} steps; raced again it {} after {} and {}",
            then.status.as_str(),
            lengths[0],
            then.outcome.counters.steps,
            now.status.as_str(),
            lengths[1],
            now.outcome.counters.steps
        );
        doubts.push(Doubt::new(record, "again", message));
    }
    doubts
}

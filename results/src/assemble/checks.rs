//! What may stand on one board.

use super::AssembleError;
use super::collect::Collected;
use crate::record::{Direction, Fingerprint, Status, TrialRecord};
use crate::run::{Run, Trial};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// The rules that all runs share.
#[derive(Debug, Clone)]
pub(super) struct SameRules {
    pub ruleset: String,
    pub cadence: String,
}

/// The runs' ruleset and cadence, or an error where they differ.
pub(super) fn same_rules(runs: &[Run]) -> Result<SameRules, AssembleError> {
    let Some(first) = runs.first() else {
        return Err(AssembleError::Empty { paths: Vec::new() });
    };
    for run in runs {
        for (field, a, b) in [
            ("ruleset", &first.record.ruleset, &run.record.ruleset),
            ("cadence", &first.record.cadence, &run.record.cadence),
        ] {
            if a != b {
                return Err(AssembleError::Rules {
                    field,
                    first: a.clone(),
                    first_path: first.path.clone(),
                    second: b.clone(),
                    second_path: run.path.clone(),
                });
            }
        }
        if let Some(trial) = run
            .trials
            .iter()
            .find(|t| t.record.ruleset != run.record.ruleset)
        {
            return Err(AssembleError::Rules {
                field: "ruleset",
                first: run.record.ruleset.clone(),
                first_path: run.path.clone(),
                second: trial.record.ruleset.clone(),
                second_path: trial.path.clone(),
            });
        }
    }
    Ok(SameRules {
        ruleset: first.record.ruleset.clone(),
        cadence: first.record.cadence.clone(),
    })
}

/// Two amounts of memory within so much of each other are the same machine size: the part that
/// the system keeps for itself varies from boot to boot.
const MEMORY_TOLERANCE: f64 = 0.10;

/// Every difference among the trials that changes times or results, one sentence each.
pub(super) fn differences(collected: &Collected<'_>) -> Vec<String> {
    let mut found = machines(collected);
    let mut first_of: BTreeMap<&str, &Trial> = BTreeMap::new();
    let mut reported = Vec::new();
    for trial in raced(collected) {
        let workload = trial.record.workload.as_str();
        let first = *first_of.entry(workload).or_insert(trial);
        let fields = setting_fields(&first.record).into_iter();
        for ((field, a), (_, b)) in fields.zip(setting_fields(&trial.record)) {
            if a != b && !reported.contains(&(workload, field)) {
                reported.push((workload, field));
                found.push(format!(
                    "{workload}: {}",
                    sentence(field, (&a, first), (&b, trial))
                ));
            }
        }
    }
    found
}

/// The trials that ran on some machine; a skipped one did not.
fn raced<'a>(collected: &'a Collected<'_>) -> impl Iterator<Item = &'a Trial> {
    let running = collected.running.iter().map(|(_, _, t)| *t);
    let all = collected.trials.iter().copied().chain(running);
    all.filter(|t| t.record.status != Status::Skipped)
}

fn machines(collected: &Collected<'_>) -> Vec<String> {
    let Some(first) = raced(collected).next() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut reported: Vec<&str> = Vec::new();
    for trial in raced(collected) {
        let (a, b) = (&first.record.fingerprint, &trial.record.fingerprint);
        let fields = machine_fields(a).into_iter().zip(machine_fields(b));
        for ((field, a), (_, b)) in fields {
            if a != b && !reported.contains(&field) {
                found.push(sentence(field, (&a, first), (&b, trial)));
                reported.push(field);
            }
        }
        let (low, high) = (
            a.memory_bytes.min(b.memory_bytes) as f64,
            a.memory_bytes.max(b.memory_bytes) as f64,
        );
        let memory = "fingerprint.memory_bytes";
        if high > low * (1.0 + MEMORY_TOLERANCE) && !reported.contains(&memory) {
            let (a, b) = (a.memory_bytes.into(), b.memory_bytes.into());
            found.push(sentence(memory, (&a, first), (&b, trial)));
            reported.push(memory);
        }
    }
    found
}

/// The value of a field: told only where it differs, which is seldom.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Count(u64),
    Real(f64),
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Count(a), Value::Count(b)) => a == b,
            (Value::Real(a), Value::Real(b)) => a == b || (a.is_nan() && b.is_nan()),
            _ => false,
        }
    }
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Count(n) => n.fmt(f),
            Value::Real(x) => x.fmt(f),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text.into())
    }
}

impl From<u64> for Value<'_> {
    fn from(n: u64) -> Self {
        Value::Count(n)
    }
}

/// The parts of a fingerprint that must be equal, by name.
pub(crate) fn machine_fields<'a>(f: &'a Fingerprint) -> [(&'static str, Value<'a>); 8] {
    let mut features: Vec<&str> = f.features.iter().map(String::as_str).collect();
    features.sort_unstable();
    let or_none = |text: Option<&'a String>| text.map_or("none", String::as_str);
    let version = |name| or_none(f.versions.get(name)).into();
    [
        ("fingerprint.cpu", f.cpu.as_str().into()),
        ("fingerprint.cores", (f.cores as u64).into()),
        ("fingerprint.device", f.device.as_str().into()),
        ("fingerprint.threads", (f.threads as u64).into()),
        (
            "fingerprint.accelerator",
            or_none(f.accelerator.as_ref()).into(),
        ),
        (
            "fingerprint.features",
            Value::Text(features.join(", ").into()),
        ),
        ("fingerprint.versions.velodrome", version("velodrome")),
        ("fingerprint.versions.burn", version("burn")),
    ]
}

/// The parts of a trial's settings that must be equal on one workload, by name.
pub(crate) fn setting_fields(r: &TrialRecord) -> [(&'static str, Value<'_>); 11] {
    let direction = match r.target.direction {
        Direction::Minimize => "minimize",
        Direction::Maximize => "maximize",
    };
    let step_hint = r.step_hint.map_or("the workload's".into(), Value::Count);
    [
        ("base", r.base.as_str().into()),
        ("workload_version", u64::from(r.workload_version).into()),
        ("target.metric", r.target.metric.as_str().into()),
        ("target.direction", direction.into()),
        ("target.validation", Value::Real(r.target.validation)),
        ("target.test", Value::Real(r.target.test)),
        ("budget.work", r.budget.work.into()),
        ("budget.seconds", Value::Real(r.budget.seconds)),
        ("step_hint", step_hint),
        ("eval_every_work", r.eval_every_work.into()),
        ("eval_every_seconds", Value::Real(r.eval_every_seconds)),
    ]
}

fn sentence(field: &str, a: (&Value<'_>, &Trial), b: (&Value<'_>, &Trial)) -> String {
    let file = |t: &Trial| t.path.join("trial.json").display().to_string();
    format!(
        "field `{field}` is \"{}\" in {}, but \"{}\" in {}",
        a.0,
        file(a.1),
        b.0,
        file(b.1)
    )
}

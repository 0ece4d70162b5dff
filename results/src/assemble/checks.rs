//! What may stand on one board.

use super::AssembleError;
use super::collect::Collected;
use crate::record::{Fingerprint, Status, TrialRecord};
use crate::run::{Run, Trial};
use std::collections::BTreeMap;

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
        for (field, a, b) in setting_fields(&first.record, &trial.record) {
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
    let mut reported: Vec<String> = Vec::new();
    for trial in raced(collected) {
        let (a, b) = (&first.record.fingerprint, &trial.record.fingerprint);
        let fields = machine_fields(a).into_iter().zip(machine_fields(b));
        for ((field, a), (_, b)) in fields {
            if a != b && !reported.contains(&field) {
                found.push(sentence(&field, (&a, first), (&b, trial)));
                reported.push(field);
            }
        }
        let (low, high) = (
            a.memory_bytes.min(b.memory_bytes) as f64,
            a.memory_bytes.max(b.memory_bytes) as f64,
        );
        let memory = "fingerprint.memory_bytes".to_string();
        if high > low * (1.0 + MEMORY_TOLERANCE) && !reported.contains(&memory) {
            let (a, b) = (a.memory_bytes.to_string(), b.memory_bytes.to_string());
            found.push(sentence(&memory, (&a, first), (&b, trial)));
            reported.push(memory);
        }
    }
    found
}

/// The parts of a fingerprint that must be equal, by name.
pub(crate) fn machine_fields(f: &Fingerprint) -> Vec<(String, String)> {
    let mut features = f.features.clone();
    features.sort_unstable();
    let none = || "none".to_string();
    let mut fields = vec![
        ("cpu", f.cpu.clone()),
        ("cores", f.cores.to_string()),
        ("device", f.device.clone()),
        ("threads", f.threads.to_string()),
        ("accelerator", f.accelerator.clone().unwrap_or_else(none)),
        ("features", features.join(", ")),
    ];
    for name in ["velodrome", "burn"] {
        let version = f.versions.get(name).cloned().unwrap_or_else(none);
        fields.push((
            if name == "burn" {
                "versions.burn"
            } else {
                "versions.velodrome"
            },
            version,
        ));
    }
    fields
        .into_iter()
        .map(|(field, value)| (format!("fingerprint.{field}"), value))
        .collect()
}

/// The parts of a trial's settings that must be equal on one workload: name and both values.
pub(crate) fn setting_fields(
    a: &TrialRecord,
    b: &TrialRecord,
) -> [(&'static str, String, String); 11] {
    let both = |field, get: &dyn Fn(&TrialRecord) -> String| (field, get(a), get(b));
    [
        both("base", &|r| r.base.clone()),
        both("workload_version", &|r| r.workload_version.to_string()),
        both("target.metric", &|r| r.target.metric.clone()),
        both("target.direction", &|r| {
            format!("{:?}", r.target.direction).to_lowercase()
        }),
        both("target.validation", &|r| r.target.validation.to_string()),
        both("target.test", &|r| r.target.test.to_string()),
        both("budget.work", &|r| r.budget.work.to_string()),
        both("budget.seconds", &|r| r.budget.seconds.to_string()),
        both("step_hint", &|r| match r.step_hint {
            Some(steps) => steps.to_string(),
            None => "the workload's".into(),
        }),
        both("eval_every_work", &|r| r.eval_every_work.to_string()),
        both("eval_every_seconds", &|r| r.eval_every_seconds.to_string()),
    ]
}

fn sentence(field: &str, a: (&str, &Trial), b: (&str, &Trial)) -> String {
    let file = |t: &Trial| t.path.join("trial.json").display().to_string();
    format!(
        "field `{field}` is \"{}\" in {}, but \"{}\" in {}",
        a.0,
        file(a.1),
        b.0,
        file(b.1)
    )
}

//! Our own records in the official layout.

use super::trial::{EVALS, HPARAMS, METADATA};
use super::{LogError, Ruleset, targets};
use crate::error::RecordError;
use crate::record::{EvalRecord, Status, is_plain_name, write_atomic, write_json};
use crate::run::{Run, Trial};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// How to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// The framework that folders are named after: the official scorer knows only `jax` and
    /// `pytorch`.
    pub framework: &'static str,
    /// Names of workloads to be listed as held out.
    pub held_out: Vec<String>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            framework: "pytorch",
            held_out: Vec::new(),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The folders that hold the submissions, one per ruleset.
    pub logs: Vec<PathBuf>,
    /// The targets file.
    pub targets: PathBuf,
    /// Trials with evaluations.
    pub trials: usize,
    /// Trials of which there is only an empty folder: they left no evaluation.
    pub empty: usize,
    /// What the official scorer will not take as it is, in sentences.
    pub notes: Vec<String>,
}

/// Writes runs as official logs into `folder`:
/// `RULESET/SUBMISSION/study_N/WORKLOAD_FRAMEWORK/trial_N/` with `eval_measurements.csv`,
/// `hparams.json` and `meta_data_0.json`, and `targets.json` beside the rulesets.
///
/// The clock of an evaluation becomes `score` and `accumulated_submission_time`; all other wall
/// time becomes `accumulated_eval_time`. A trial without an evaluation is an empty folder, as in
/// the official logs; trials that were skipped or still run are left out.
///
/// # Errors
/// [`LogError::Export`] when the folder is not empty, two runs hold the same trial, a workload has
/// two different targets, or a name cannot be a folder; [`LogError::Record`] when a write fails.
pub fn export(runs: &[Run], folder: &Path, options: &ExportOptions) -> Result<Exported, LogError> {
    let occupied = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(refuse(folder, "the folder is not empty; name a new one"));
    }
    let mut exported = Exported {
        logs: Vec::new(),
        targets: folder.join("targets.json"),
        trials: 0,
        empty: 0,
        notes: Vec::new(),
    };
    let targets = targets_file(runs, options, &mut exported.notes)?;
    let mut seen = BTreeSet::new();
    let mut rulesets = BTreeSet::new();
    for trial in runs.iter().flat_map(|r| &r.trials) {
        let record = &trial.record;
        if matches!(record.status, Status::Skipped | Status::Running) {
            exported
                .notes
                .push(format!("{}: {}, left out.", record.id, record.status));
            continue;
        }
        let ruleset = Ruleset::named(&record.ruleset).ok_or_else(|| {
            let message = format!(
                "field `ruleset` is \"{}\", which AlgoPerf does not have",
                record.ruleset
            );
            refuse(&trial.path, message)
        })?;
        let root = folder.join(ruleset.folder());
        let path = root
            .join(name(&record.submission, trial)?)
            .join(format!("study_{}", record.study))
            .join(format!(
                "{}_{}",
                name(&record.workload, trial)?,
                options.framework
            ))
            .join(format!("trial_{}", record.trial));
        if !seen.insert(path.clone()) {
            return Err(refuse(
                &trial.path,
                "the same trial is in two of the runs; export them one by one",
            ));
        }
        rulesets.insert(root);
        std::fs::create_dir_all(&path).map_err(|e| RecordError::io(&path, "create", e))?;
        if trial.evals.is_empty() {
            exported.empty += 1;
            continue;
        }
        exported.trials += 1;
        write_atomic(&path.join(EVALS), measurements(&trial.evals).as_bytes())?;
        write_json(&path.join(HPARAMS), &record.point)?;
        write_json(&path.join(METADATA), &metadata(trial))?;
    }
    if seen.is_empty() {
        return Err(refuse(folder, "there is no finished trial to export"));
    }
    exported.logs = rulesets.into_iter().collect();
    write_json(&exported.targets, &targets)?;
    Ok(exported)
}

fn refuse(path: &Path, message: impl Into<String>) -> LogError {
    LogError::Export {
        path: path.to_path_buf(),
        message: message.into(),
    }
}

/// A name that can be a folder.
fn name<'a>(name: &'a str, trial: &Trial) -> Result<&'a str, LogError> {
    if !is_plain_name(name) {
        return Err(refuse(
            &trial.path,
            format!("\"{name}\" cannot be the name of a folder"),
        ));
    }
    Ok(name)
}

/// The targets of all workloads in the form that [`super::Targets::read`] takes.
fn targets_file(
    runs: &[Run],
    options: &ExportOptions,
    notes: &mut Vec<String>,
) -> Result<serde_json::Value, LogError> {
    let mut entries: BTreeMap<&str, (serde_json::Value, &Trial)> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for trial in runs.iter().flat_map(|r| &r.trials) {
        let record = &trial.record;
        let metric = record.target.metric.as_str();
        if targets::direction(metric) != Some(record.target.direction) {
            return Err(refuse(
                &trial.path,
                format!(
                    "field `target.metric` is \"{metric}\", which the official scorer does not know \
                     to improve in this direction"
                ),
            ));
        }
        let entry = json!({
            "target_metric_name": metric,
            "validation_target_value": record.target.validation,
        });
        match entries.get(record.workload.as_str()) {
            Some((other, first)) if *other != entry => {
                let message = format!(
                    "workload {} has another target here than in {}",
                    record.workload,
                    first.path.display()
                );
                return Err(refuse(&trial.path, message));
            }
            Some(_) => {}
            None => {
                order.push(&record.workload);
                entries.insert(&record.workload, (entry, trial));
            }
        }
    }
    let held: Vec<&str> = order
        .iter()
        .copied()
        .filter(|w| options.held_out.iter().any(|h| h == w))
        .collect();
    let base: Vec<&str> = order
        .iter()
        .copied()
        .filter(|w| !held.contains(w))
        .collect();
    for name in &held {
        match base.iter().find(|b| name.contains(*b)) {
            Some(b) if entries[name].1.record.base == **b => {}
            found => notes.push(format!(
                "{name}: the official scorer takes the first workload whose name is a part of this \
                 one for its base, which is {}.",
                found.copied().unwrap_or("none")
            )),
        }
    }
    let workloads: BTreeMap<&str, &serde_json::Value> = entries
        .iter()
        .map(|(name, (entry, _))| (*name, entry))
        .collect();
    Ok(json!({
        "base_workloads": base,
        "held_out_workloads": held,
        "workloads": workloads,
    }))
}

/// `eval_measurements.csv`. Numbers are written with as many digits as it takes to read the same
/// number back.
fn measurements(evals: &[EvalRecord]) -> String {
    let mut measured: BTreeSet<String> = BTreeSet::new();
    for e in evals {
        for (split, measures) in [
            ("train", &e.train),
            ("validation", &e.validation),
            ("test", &e.test),
        ] {
            measured.extend(measures.keys().map(|k| format!("{split}/{k}")));
        }
    }
    let fixed = [
        "accumulated_eval_time",
        "accumulated_logging_time",
        "accumulated_submission_time",
        "global_step",
        "preemption_count",
        "score",
        "total_duration",
    ];
    let mut text = fixed.join(",");
    for name in &measured {
        // A comma in a name would shift the cells.
        let _ = write!(text, ",{}", name.replace([',', '"', '\n'], "_"));
    }
    text.push('\n');
    for e in evals {
        let apart = (e.wall - e.clock).max(0.0);
        let _ = write!(
            text,
            "{apart},0.0,{},{},0,{},{}",
            e.clock, e.step, e.clock, e.wall
        );
        for name in &measured {
            let value = name.split_once('/').and_then(|(split, key)| match split {
                "train" => e.train.get(key),
                "validation" => e.validation.get(key),
                _ => e.test.get(key),
            });
            text.push(',');
            if let Some(value) = value.filter(|v| !v.is_nan()) {
                let _ = write!(text, "{value}");
            }
        }
        text.push('\n');
    }
    text
}

fn metadata(trial: &Trial) -> serde_json::Value {
    let r = &trial.record;
    json!({
        "workload.target_metric_name": r.target.metric,
        "workload.validation_target_value": r.target.validation,
        "workload.test_target_value": r.target.test,
        "workload.max_allowed_runtime_sec": r.budget.seconds,
        "workload.eval_period_time_sec": r.eval_every_seconds,
        "cpu_model_name": r.fingerprint.cpu,
        "cpu_count": r.fingerprint.cores,
        "mem.total": r.fingerprint.memory_bytes,
        "gpu_model_name": r.fingerprint.accelerator,
        "os_platform": r.fingerprint.os,
        "git_commit_hash": r.fingerprint.commit,
        "rng_seed": r.seeds.algorithm as i64,
        "velodrome.id": r.id,
        "velodrome.status": r.status,
        "velodrome.device": r.device,
        "velodrome.versions": r.fingerprint.versions,
    })
}

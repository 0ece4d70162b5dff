//! One trial folder.

use super::csv::{self, Evals};
use super::finding::{FindingKind, LogFinding};
use super::targets::Targets;
use super::tree::TrialFolder;
use crate::record::Status;
use serde::Deserialize;
use std::path::Path;

/// The file with the evaluations.
pub const EVALS: &str = "eval_measurements.csv";
/// The file with the hyperparameters.
pub const HPARAMS: &str = "hparams.json";
/// The file with the machine and the workload's settings.
pub const METADATA: &str = "meta_data_0.json";

/// What of a trial's metadata bears on a score.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Processor.
    pub cpu_model_name: Option<String>,
    /// Logical processors.
    pub cpu_count: Option<f64>,
    /// Accelerator.
    pub gpu_model_name: Option<String>,
    /// Accelerators.
    pub gpu_count: Option<f64>,
    /// Driver of the accelerator.
    pub gpu_driver: Option<String>,
    /// Operating system.
    pub os_platform: Option<String>,
    /// Commit of the code that ran.
    pub git_commit_hash: Option<String>,
    /// Budget of an external-tuning trial in seconds.
    #[serde(rename = "workload.max_allowed_runtime_sec")]
    pub budget: Option<f64>,
    /// Test target.
    #[serde(rename = "workload.test_target_value")]
    pub test_target: Option<f64>,
    /// Seconds between evaluations.
    #[serde(rename = "workload.eval_period_time_sec")]
    pub eval_period: Option<f64>,
    /// Bytes of main memory.
    #[serde(rename = "mem.total")]
    pub memory: Option<f64>,
    /// Seed of the trial.
    pub rng_seed: Option<i64>,
}

/// A trial as far as a score needs it.
#[derive(Debug, Clone)]
pub struct LogTrial {
    /// Where it lies, and what it is.
    pub folder: TrialFolder,
    /// `reached`, `missed`, `crashed` or `diverged`; see [`super::Logs`].
    pub status: Status,
    /// Why, for a failure.
    pub reason: Option<String>,
    /// What its evaluations say; `None` where they cannot be read, and the trial is absent.
    pub(super) evals: Option<Evals>,
    /// Its metadata, where there is any.
    pub metadata: Option<Metadata>,
}

/// Reads a trial folder. `budget` is that of its workload in seconds.
pub(super) fn read(
    folder: TrialFolder,
    targets: &Targets,
    budget: Option<f64>,
) -> (LogTrial, Vec<LogFinding>) {
    let mut findings = Vec::new();
    let mut find = |kind, path: &Path, message: String| {
        findings.push(LogFinding::new(kind, path, message).of(&folder.submission));
    };
    let names = match names(&folder.path) {
        Ok(names) => names,
        Err(e) => {
            find(
                FindingKind::Unreadable,
                &folder.path,
                format!("cannot be read: {e}; the trial is left out"),
            );
            Vec::new()
        }
    };
    for name in names.iter().filter(|n| !is_known(n)) {
        let message = "a file that no harness writes; it is ignored";
        find(
            FindingKind::StrayFile,
            &folder.path.join(name),
            message.into(),
        );
    }
    let has = |name: &str| names.iter().any(|n| n == name);

    let file = folder.path.join(EVALS);
    let mut evals = None;
    let mut reason = None;
    if has(EVALS) {
        match std::fs::read(&file) {
            Ok(bytes) => match csv::parse(&bytes, &targets.workloads[folder.workload]) {
                Ok(mut read) => {
                    for (kind, message) in std::mem::take(&mut read.findings) {
                        find(kind, &file, message);
                    }
                    evals = Some(read);
                }
                Err(none) => {
                    reason = Some(none.message.clone());
                    find(none.kind, &file, none.message);
                }
            },
            Err(e) => {
                let message = format!("cannot be read: {e}; the trial is left out");
                reason = Some(message.clone());
                find(FindingKind::Unreadable, &file, message);
            }
        }
    } else if names.is_empty() {
        reason = Some("the trial folder is empty".into());
        find(
            FindingKind::EmptyTrial,
            &folder.path,
            "the trial folder is empty: the run left no evaluation; the trial is left out".into(),
        );
    } else {
        reason = Some(format!("{EVALS} is missing"));
        find(
            FindingKind::MissingFile,
            &folder.path,
            format!("{EVALS} is missing; the trial is left out"),
        );
    }

    let mut metadata = None;
    if has(METADATA) {
        let path = folder.path.join(METADATA);
        match std::fs::read(&path)
            .map_err(|e| e.to_string())
            .and_then(|bytes| serde_json::from_slice::<Metadata>(&bytes).map_err(|e| e.to_string()))
        {
            Ok(read) => metadata = Some(read),
            Err(e) => find(
                FindingKind::DamagedSidecar,
                &path,
                format!("cannot be read: {e}; it is ignored"),
            ),
        }
    }
    let (status, why) = match &evals {
        Some(evals) => status(evals, budget),
        None => (Status::Crashed, None),
    };
    if let (Some(budget), Some(reach)) = (budget, evals.as_ref().and_then(|e| e.reached))
        && reach.time > budget
    {
        find(
            FindingKind::OverBudget,
            &file,
            format!(
                "the target was reached at {} s, after the budget of {budget} s; it counts, as in \
                 the official scorer",
                reach.time
            ),
        );
    }
    let trial = LogTrial {
        folder,
        status,
        reason: reason.or(why),
        evals,
        metadata,
    };
    (trial, findings)
}

fn names(path: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Whether a harness or its loggers write a file of this name.
fn is_known(name: &str) -> bool {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(".json"))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(
        name,
        EVALS | HPARAMS | "measurements.csv" | "wandb" | "checkpoint"
    ) || numbered("meta_data_")
        || numbered("flags_")
        || name.starts_with("checkpoint_")
        || name.starts_with("events.out.tfevents")
        || name.ends_with(".log")
}

/// A trial that stops before this share of its budget without its target did not miss it: it
/// ended early. (In the published logs the clock of a miss ends at 0.97 of the budget or later,
/// that of a crash at 0.8 or before.)
const SPENT: f64 = 0.9;

/// How a trial with a log ended.
fn status(evals: &Evals, budget: Option<f64>) -> (Status, Option<String>) {
    if evals.reached.is_some() {
        return (Status::Reached, None);
    }
    if evals.rows == 0 {
        return (
            Status::Crashed,
            Some("it ended before its first evaluation".into()),
        );
    }
    if evals.ends_in_nan {
        return (
            Status::Diverged,
            Some("the metric of its last evaluation is NaN".into()),
        );
    }
    let last = evals.last_clock.unwrap_or(0.0);
    match budget {
        Some(budget) if last < SPENT * budget => {
            let share = 100.0 * last / budget;
            (
                Status::Crashed,
                Some(format!(
                    "its log ends at {last:.0} s, {share:.0} % of its budget, without the target"
                )),
            )
        }
        _ => (Status::Missed, None),
    }
}

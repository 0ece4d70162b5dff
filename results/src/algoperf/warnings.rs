//! What no single file shows: counts against the ruleset, machines, step times.

use super::Logs;
use super::finding::{FindingKind, LogFinding};
use super::trial::{LogTrial, METADATA, Metadata};
use crate::score::median;
use std::collections::{BTreeMap, BTreeSet};

/// Studies of one submission and workload share code and machines, so their steps should take the
/// same time; a difference of more than this factor is told.
const STEP_TIMES: f64 = 1.25;
/// The studies that the rules ask for.
const STUDIES: usize = 3;

/// A field of the metadata: its name and its value in words.
type MachineField = (&'static str, fn(&Metadata) -> Option<String>);

pub(super) fn all(logs: &Logs) -> Vec<LogFinding> {
    let mut findings = Vec::new();
    counts(logs, &mut findings);
    machines(logs, &mut findings);
    step_times(logs, &mut findings);
    findings
}

/// The trials by submission and workload.
fn cells(logs: &Logs) -> BTreeMap<(&str, usize), Vec<&LogTrial>> {
    let mut cells: BTreeMap<(&str, usize), Vec<&LogTrial>> = BTreeMap::new();
    for trial in &logs.trials {
        let key = (trial.folder.submission.as_str(), trial.folder.workload);
        cells.entry(key).or_default().push(trial);
    }
    cells
}

/// Counts of trials, studies and workloads.
fn counts(logs: &Logs, findings: &mut Vec<LogFinding>) {
    let cells = cells(logs);
    let studies =
        |trials: &[&LogTrial]| -> BTreeSet<u32> { trials.iter().map(|t| t.folder.study).collect() };
    let most = cells.values().map(|t| studies(t).len()).max().unwrap_or(0);
    let expected = most.max(STUDIES);
    let due = logs.ruleset.trials();
    for submission in &logs.submissions {
        let at = |kind, path: &std::path::Path, message: String| {
            LogFinding::new(kind, path, message).of(submission)
        };
        for (w, workload) in logs.targets.workloads.iter().enumerate() {
            let name = &workload.name;
            let Some(trials) = cells.get(&(submission.as_str(), w)) else {
                let path = logs.submission_path(submission);
                let message = format!("no log of workload `{name}`: absent, and never solved");
                findings.push(at(FindingKind::AbsentWorkload, &path, message));
                continue;
            };
            let first = trials[0].folder.path.parent().unwrap_or(&logs.root);
            if trials.iter().all(|t| t.evals.is_none()) {
                let message =
                    format!("no trial of workload `{name}` can be read: absent, and never solved");
                findings.push(at(FindingKind::AbsentWorkload, first, message));
            }
            let present = studies(trials);
            if present.len() < expected {
                let message = format!(
                    "workload `{name}` has {} of {expected} studies",
                    present.len()
                );
                findings.push(at(FindingKind::TooFew, first, message));
            }
            for study in present {
                let of: Vec<_> = trials.iter().filter(|t| t.folder.study == study).collect();
                let path = of[0].folder.path.parent().unwrap_or(&logs.root);
                let count = format!("{} trials; ruleset {} has {due}", of.len(), logs.ruleset);
                if of.len() < due {
                    findings.push(at(FindingKind::TooFew, path, count));
                } else if of.len() > due {
                    let message = format!("{count}; all of them count, as in the official scorer");
                    findings.push(at(FindingKind::ExtraTrial, path, message));
                }
            }
        }
    }
}

/// One finding per field of the machine and value that differs from the first trial's.
fn machines(logs: &Logs, findings: &mut Vec<LogFinding>) {
    let fields: [MachineField; 6] = [
        ("gpu_model_name", |m| m.gpu_model_name.clone()),
        ("gpu_count", |m| m.gpu_count.map(|n| n.to_string())),
        ("gpu_driver", |m| m.gpu_driver.clone()),
        ("cpu_model_name", |m| m.cpu_model_name.clone()),
        ("cpu_count", |m| m.cpu_count.map(|n| n.to_string())),
        ("os_platform", |m| m.os_platform.clone()),
    ];
    for (field, get) in fields {
        let mut seen: BTreeMap<String, (usize, &LogTrial)> = BTreeMap::new();
        let mut first: Option<(String, &LogTrial)> = None;
        for trial in &logs.trials {
            let Some(value) = trial.metadata.as_ref().and_then(get) else {
                continue;
            };
            first.get_or_insert((value.clone(), trial));
            seen.entry(value).or_insert((0, trial)).0 += 1;
        }
        let Some((usual, _)) = first else { continue };
        for (value, (count, trial)) in seen.iter().filter(|(v, _)| **v != usual) {
            let trials = if *count == 1 { "trial" } else { "trials" };
            let message = format!(
                "field `{field}` is \"{value}\" in {count} {trials}, first here, but \"{usual}\" \
                 in the first trial of the logs: times on different machines do not compare"
            );
            let path = trial.folder.path.join(METADATA);
            let finding = LogFinding::new(FindingKind::MixedHardware, path, message);
            findings.push(finding.of(&trial.folder.submission));
        }
    }
}

/// One finding per submission and workload whose fastest and slowest study differ.
fn step_times(logs: &Logs, findings: &mut Vec<LogFinding>) {
    for ((submission, _), trials) in cells(logs) {
        let mut studies: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for trial in &trials {
            let Some(evals) = &trial.evals else { continue };
            // The first row holds compilation; with few rows it would be the median.
            let steady = evals.step_times.get(1..).unwrap_or_default();
            studies
                .entry(trial.folder.study)
                .or_default()
                .extend(steady);
        }
        let medians: Vec<(f64, u32)> = studies
            .into_iter()
            .filter_map(|(study, times)| Some((median(times)?, study)))
            .collect();
        let order = |a: &&(f64, u32), b: &&(f64, u32)| a.0.total_cmp(&b.0);
        let (Some(low), Some(high)) = (medians.iter().min_by(order), medians.iter().max_by(order))
        else {
            continue;
        };
        if high.0 <= STEP_TIMES * low.0 {
            continue;
        }
        let slow = trials.iter().find(|t| t.folder.study == high.1);
        let path = slow
            .and_then(|t| t.folder.path.parent())
            .unwrap_or(&logs.root);
        let message = format!(
            "a step takes {:.3} s in study {} but {:.3} s in study {}: {:.2} times as long",
            high.0,
            high.1,
            low.0,
            low.1,
            high.0 / low.0
        );
        findings.push(LogFinding::new(FindingKind::StepTimes, path, message).of(submission));
    }
}

impl Logs {
    /// The folder of a submission.
    pub(super) fn submission_path(&self, submission: &str) -> std::path::PathBuf {
        let trial = self
            .trials
            .iter()
            .find(|t| t.folder.submission == submission);
        trial
            .and_then(|t| t.folder.path.ancestors().nth(3))
            .map_or_else(|| self.root.join(submission), std::path::Path::to_path_buf)
    }
}

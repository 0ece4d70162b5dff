//! Logs as the records that our own trials leave.

use super::csv;
use super::trial::{EVALS, HPARAMS, LogTrial, Metadata};
use super::{Logs, Ruleset};
use crate::error::RecordError;
use crate::log::EvalLog;
use crate::measures::Measures;
use crate::record::{
    Budget, ClockParts, Counters, EndedBy, EvalRecord, Finding, Fingerprint, Outcome, RUN_FORMAT,
    RunRecord, Seeds, Status, StepSummary, TRIAL_FORMAT, Target, TrialRecord,
};
use crate::run::{Run, Trial, trial_dir};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

impl Logs {
    /// The logs as a run, every column of every evaluation included, for tables, charts, reports
    /// and comparisons.
    ///
    /// What the logs do not say is 0 or empty: work (a batch's size is not in them), memory and
    /// parameters. Evaluations without a clock are left out. Trials without evaluations are
    /// [`Run::missing`], those with files that cannot be read [`Run::damaged`].
    pub fn run(&self) -> Run {
        let mut findings: BTreeMap<&Path, Vec<Finding>> = BTreeMap::new();
        for finding in &self.findings {
            findings.entry(&finding.path).or_default().push(Finding {
                code: finding.kind.to_string(),
                message: finding.message.clone(),
            });
        }
        let read: Vec<Result<Trial, RecordError>> = self
            .trials
            .par_iter()
            .map(|trial| {
                let mut trial = self.record(trial)?;
                let path = trial.path.join(EVALS);
                trial.record.findings = findings.get(path.as_path()).cloned().unwrap_or_default();
                Ok(trial)
            })
            .collect();
        let mut run = Run {
            path: self.root.clone(),
            record: RunRecord {
                format: RUN_FORMAT.into(),
                suite: "AlgoPerf logs".into(),
                ruleset: self.ruleset.to_string(),
                cadence: "clock".into(),
                seed: 0,
                held_out: Vec::new(),
                trials: Vec::new(),
            },
            trials: Vec::new(),
            missing: Vec::new(),
            damaged: Vec::new(),
        };
        for (log, read) in self.trials.iter().zip(read) {
            let id = self.id(log);
            let hash = read
                .as_ref()
                .map(|t| t.record.hash.clone())
                .unwrap_or_default();
            run.record.trials.push((id.clone(), hash));
            match read {
                Ok(trial) => run.trials.push(trial),
                Err(_) if !log.folder.path.join(EVALS).exists() => run.missing.push(id),
                Err(error) => run.damaged.push((id, error)),
            }
        }
        run
    }

    fn id(&self, trial: &LogTrial) -> String {
        let f = &trial.folder;
        let workload = &self.targets.workloads[f.workload].name;
        format!(
            "{workload}.{}.study-{}.trial-{}",
            f.submission, f.study, f.trial
        )
    }

    fn record(&self, trial: &LogTrial) -> Result<Trial, RecordError> {
        let folder = &trial.folder;
        let path = folder.path.join(EVALS);
        let bytes = std::fs::read(&path).map_err(|e| RecordError::io(&path, "read", e))?;
        let Some(read) = &trial.evals else {
            let why = trial.reason.clone().unwrap_or_default();
            return Err(RecordError::damaged(&path, None, why));
        };
        let evals = evaluations(&bytes);
        let workload = &self.targets.workloads[folder.workload];
        let metadata = trial.metadata.clone().unwrap_or_default();
        let seed = metadata.rng_seed.unwrap_or(0) as u64;
        let value = |e: &EvalRecord| {
            e.validation
                .get(&workload.metric)
                .copied()
                .unwrap_or(f64::NAN)
        };
        let best = evals.iter().reduce(|a, b| {
            if workload.direction.better(value(b), value(a)) {
                b
            } else {
                a
            }
        });
        let last = evals.last();
        let record = TrialRecord {
            format: TRIAL_FORMAT.into(),
            id: self.id(trial),
            hash: hex(&Sha256::digest(&bytes)),
            workload: workload.name.clone(),
            workload_version: 1,
            base: self.targets.workloads[self.targets.base_of(folder.workload)]
                .name
                .clone(),
            submission: folder.submission.clone(),
            ruleset: self.ruleset.to_string(),
            study: folder.study,
            trial: folder.trial,
            point: hyperparameters(&folder.path.join(HPARAMS)),
            seeds: Seeds {
                data: seed,
                model: seed,
                algorithm: seed,
            },
            device: folder.framework.to_string(),
            threads: 0,
            target: Target {
                metric: workload.metric.clone(),
                direction: workload.direction,
                validation: workload.target,
                test: metadata.test_target.unwrap_or(workload.target),
                trainable_share: None,
            },
            budget: Budget {
                work: 0,
                seconds: self.budget(folder.workload).unwrap_or(0.0),
            },
            eval_every_work: 0,
            step_hint: None,
            eval_every_seconds: metadata.eval_period.unwrap_or(0.0),
            fingerprint: fingerprint(&metadata, folder.framework),
            started: None,
            status: trial.status,
            ended_by: Some(match trial.status {
                Status::Reached => EndedBy::Target,
                Status::Missed => EndedBy::TimeBudget,
                Status::Diverged => EndedBy::Divergence,
                _ => EndedBy::Failure,
            }),
            reason: trial.reason.clone(),
            outcome: Outcome {
                time_to_target: read.reached.map(|r| r.time),
                steps_to_target: read.reached.and_then(|r| r.steps),
                best_validation: best.map(value).filter(|v| v.is_finite()),
                test_at_best: best
                    .and_then(|e| e.test.get(&workload.metric).copied())
                    .filter(|v| v.is_finite()),
                clock: clock(&bytes, last),
                counters: Counters {
                    steps: last.map_or(0, |e| e.step),
                    evaluations: evals.len() as u64,
                    ..Counters::default()
                },
                step_times: steps(&read.step_times, last),
                ..Outcome::default()
            },
            findings: Vec::new(),
        };
        Ok(Trial {
            path: folder.path.clone(),
            record,
            evals,
        })
    }
}

/// Writes a run into `folder` as if it had been raced there: `run.json`, and `trial.json` and
/// `evals.jsonl` of every trial. So logs can be scored, reported and compared like our own.
///
/// # Errors
/// [`RecordError`] when the folder holds a run already or refuses the write.
pub fn write_run(run: &Run, folder: &Path) -> Result<(), RecordError> {
    let file = folder.join("run.json");
    if file.exists() {
        let taken = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(RecordError::io(&file, "create", taken));
    }
    for trial in &run.trials {
        let dir = trial_dir(folder, &trial.record.id);
        std::fs::create_dir_all(&dir).map_err(|e| RecordError::io(&dir, "create", e))?;
        let mut log = EvalLog::open(&dir.join("evals.jsonl"), 0)?;
        for eval in &trial.evals {
            log.append(eval)?;
        }
        trial.record.write(&dir.join("trial.json"))?;
    }
    std::fs::create_dir_all(folder).map_err(|e| RecordError::io(folder, "create", e))?;
    run.record.write(&file)
}

/// Every evaluation with all its columns.
fn evaluations(bytes: &[u8]) -> Vec<EvalRecord> {
    let (names, rows) = csv::table(bytes);
    let column = |name: &str| names.iter().position(|n| n == name);
    let clock = column("score").or(column("accumulated_submission_time"));
    let (step, wall) = (column("global_step"), column("total_duration"));
    let mut evals = Vec::with_capacity(rows.len());
    for row in rows {
        let get = |at: Option<usize>| at.and_then(|i| row[i]).filter(|x| x.is_finite());
        let (Some(clock), Some(step)) = (get(clock), get(step)) else {
            continue;
        };
        let measures = |prefix: &str| -> Measures {
            let values = names.iter().zip(&row).filter_map(|(name, value)| {
                Some((name.strip_prefix(prefix)?.to_string(), (*value)?))
            });
            values.collect()
        };
        evals.push(EvalRecord {
            n: evals.len() as u64,
            step: step as u64,
            work: 0,
            clock,
            wall: get(wall).unwrap_or(clock),
            train: measures("train/"),
            validation: measures("validation/"),
            test: measures("test/"),
        });
    }
    evals
}

/// Hyperparameters that are numbers; true is 1, false 0.
fn hyperparameters(path: &Path) -> BTreeMap<String, f64> {
    let values = std::fs::read(path).ok().and_then(|bytes| {
        serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&bytes).ok()
    });
    let number = |v: serde_json::Value| v.as_f64().or(v.as_bool().map(|b| f64::from(u8::from(b))));
    let values = values.unwrap_or_default().into_iter();
    values.filter_map(|(k, v)| Some((k, number(v)?))).collect()
}

fn clock(bytes: &[u8], last: Option<&EvalRecord>) -> ClockParts {
    let (names, rows) = csv::table(bytes);
    let value = |name: &str| {
        let at = names.iter().position(|n| n == name)?;
        rows.last()?[at].filter(|x| x.is_finite())
    };
    ClockParts {
        training: last.map_or(0.0, |e| e.clock),
        evaluation: value("accumulated_eval_time").unwrap_or(0.0),
        logging: value("accumulated_logging_time").unwrap_or(0.0),
        total: last.map_or(0.0, |e| e.wall),
        ..ClockParts::default()
    }
}

/// The step times between evaluations, each a mean over the steps between two rows.
fn steps(between: &[f64], last: Option<&EvalRecord>) -> StepSummary {
    let mut sorted: Vec<f64> = between.iter().copied().filter(|t| t.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(min), Some(max), Some(last)) = (sorted.first(), sorted.last(), last) else {
        return StepSummary::default();
    };
    let quantile = |q: f64| sorted[(q * (sorted.len() - 1) as f64).round() as usize];
    StepSummary {
        count: last.step,
        mean: if last.step > 0 {
            last.clock / last.step as f64
        } else {
            0.0
        },
        quantiles: [0.05, 0.25, 0.5, 0.75, 0.95].map(quantile),
        min: *min,
        max: *max,
        histogram: Vec::new(),
    }
}

fn fingerprint(m: &Metadata, framework: &str) -> Fingerprint {
    let unknown = || "unknown".to_string();
    let gpu = m.gpu_model_name.as_ref().map(|name| {
        let count = m.gpu_count.unwrap_or(1.0);
        let driver = m.gpu_driver.as_deref().unwrap_or("unknown");
        format!("{count} x {name}, driver {driver}")
    });
    Fingerprint {
        cpu: m.cpu_model_name.clone().unwrap_or_else(unknown),
        cores: m.cpu_count.unwrap_or(0.0) as usize,
        memory_bytes: m.memory.unwrap_or(0.0) as u64,
        accelerator: gpu,
        os: m.os_platform.clone().unwrap_or_else(unknown),
        device: framework.to_string(),
        commit: m.git_commit_hash.clone().unwrap_or_else(unknown),
        ..Fingerprint::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Ruleset {
    /// The ruleset of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::External, Self::SelfTuning]
            .into_iter()
            .find(|r| r.as_str() == name || r.folder() == name)
    }
}

//! Builders of synthetic records for tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use velodrome_results::log;
use velodrome_results::record::{RUN_FORMAT, TRIAL_FORMAT};
use velodrome_results::run::{Run, Trial, trial_dir};
use velodrome_results::{
    Budget, ClockParts, Counters, Direction, EndedBy, EvalRecord, Finding, Fingerprint, Outcome,
    RunRecord, Seeds, Status, StepSummary, Target, TrialRecord,
};

/// Validation target of every synthetic workload: loss at most this.
pub const TARGET: f64 = 0.5;
/// Evaluations of a synthetic trial, the one at step 0 included.
pub const EVALS: u64 = 6;

/// Builds one trial; without a word on its end, it missed the target.
pub struct TrialBuilder {
    record: TrialRecord,
    evals: Vec<EvalRecord>,
}

pub fn fingerprint() -> Fingerprint {
    Fingerprint {
        cpu: "Example CPU 3000".into(),
        cores: 2,
        cpu_flags: vec!["avx2".into(), "fma".into()],
        memory_bytes: 8_000_000_000,
        accelerator: None,
        os: "Linux 6.1".into(),
        device: "flex".into(),
        features: vec!["simd".into(), "rayon".into()],
        threads: 2,
        rustc: "1.95.0".into(),
        versions: [("velodrome", "0.1.0"), ("burn", "0.22.1")]
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .into(),
        commit: "0123abc".into(),
        executable: "ab".repeat(32),
    }
}

impl TrialBuilder {
    pub fn new(workload: &str, submission: &str, study: u32, trial: u32) -> Self {
        let id = format!("{workload}.{submission}.study-{study}.trial-{trial}");
        let record = TrialRecord {
            format: TRIAL_FORMAT.into(),
            hash: format!(
                "{:016x}",
                id.bytes()
                    .fold(7u64, |h, b| h.wrapping_mul(31) ^ u64::from(b))
            ),
            id,
            workload: workload.into(),
            workload_version: 1,
            base: workload.into(),
            submission: submission.into(),
            ruleset: "external".into(),
            study,
            trial,
            point: [("learning_rate".to_string(), 1e-3 * f64::from(trial))].into(),
            seeds: Seeds {
                data: u64::from(study),
                model: u64::from(study) + 1000,
                algorithm: u64::from(trial) + 2000,
            },
            device: "flex".into(),
            threads: 2,
            target: Target {
                metric: "loss".into(),
                direction: Direction::Minimize,
                validation: TARGET,
                test: 0.55,
                trainable_share: None,
            },
            budget: Budget {
                work: 100_000,
                seconds: 600.0,
            },
            eval_every_work: 1000,
            step_hint: None,
            eval_every_seconds: 0.0,
            fingerprint: fingerprint(),
            started: None,
            status: Status::Missed,
            ended_by: None,
            reason: None,
            outcome: Outcome::default(),
            findings: Vec::new(),
        };
        Self {
            record,
            evals: Vec::new(),
        }
        .missed(0.8)
    }

    /// Reaches the target at `time` seconds and `steps` steps, at the last of [`EVALS`]
    /// evaluations.
    pub fn reached(self, time: f64, steps: u64) -> Self {
        self.reached_at(time, steps, EVALS - 1)
    }

    /// The same, at the evaluation number `index`.
    pub fn reached_at(mut self, time: f64, steps: u64, index: u64) -> Self {
        self.curve(time, steps, index + 1, TARGET);
        self.record.status = Status::Reached;
        self.record.ended_by = Some(EndedBy::Target);
        self.record.reason = None;
        self.record.outcome.time_to_target = Some(time);
        self.record.outcome.steps_to_target = Some(steps);
        self.record.outcome.work_to_target = Some(steps * 10);
        self
    }

    /// Spends its budget; `best` is its best validation loss.
    pub fn missed(mut self, best: f64) -> Self {
        self.curve(600.0, 10_000, EVALS, best);
        self.record.status = Status::Missed;
        self.record.ended_by = Some(EndedBy::WorkBudget);
        self
    }

    /// Ends with a failure after half of its evaluations.
    pub fn failed(mut self, status: Status, reason: &str) -> Self {
        self.curve(300.0, 5000, EVALS / 2, 1.2);
        self.record.status = status;
        self.record.ended_by = Some(EndedBy::Failure);
        self.record.reason = Some(reason.into());
        self
    }

    /// Has started and not ended.
    pub fn running(mut self) -> Self {
        self.curve(100.0, 1000, 2, 1.5);
        self.record.status = Status::Running;
        self.record.ended_by = None;
        self
    }

    /// Changes anything else.
    pub fn edit(mut self, change: impl FnOnce(&mut TrialRecord)) -> Self {
        change(&mut self.record);
        self
    }

    pub fn build(self) -> Trial {
        Trial {
            path: PathBuf::from("run/trials").join(&self.record.id),
            record: self.record,
            evals: self.evals,
        }
    }

    /// Evaluations from step 0 to `steps`, evenly spaced, the loss falling from 2 to `end`; and
    /// the outcome that goes with them.
    fn curve(&mut self, time: f64, steps: u64, evals: u64, end: f64) {
        let last = (evals - 1).max(1) as f64;
        self.evals = (0..evals)
            .map(|n| {
                let done = if n + 1 == evals { 1.0 } else { n as f64 / last };
                let loss = 2.0 + (end - 2.0) * done;
                let loss = if done == 1.0 { end } else { loss };
                let step = (steps as f64 * done).round() as u64;
                EvalRecord {
                    n,
                    step,
                    work: step * 10,
                    clock: time * done,
                    wall: time * done * 1.25 + 0.1,
                    train: one("loss", loss * 0.9),
                    validation: [
                        ("loss".to_string(), loss),
                        ("error_rate".to_string(), loss / 4.0),
                    ]
                    .into(),
                    test: one("loss", loss * 1.1),
                }
            })
            .collect();
        let outcome = &mut self.record.outcome;
        *outcome = Outcome {
            time_to_target: None,
            steps_to_target: None,
            work_to_target: None,
            time_to_test_target: None,
            best_validation: Some(end),
            test_at_best: Some(end * 1.1),
            clock: ClockParts {
                setup: 0.1,
                start: time * 0.01,
                training: time * 0.98,
                prepare: time * 0.01,
                background: 0.0,
                input_wait: time * 0.02,
                evaluation: time * 0.2,
                logging: time * 0.01,
                checkpoint: time * 0.02,
                total: 0.1 + time * 1.25,
                warm_up: time * 0.03,
            },
            counters: Counters {
                steps,
                work: steps * 10,
                tokens: steps * 10,
                forward_passes: steps,
                backward_passes: steps,
                evaluations: evals,
            },
            step_times: StepSummary {
                count: steps,
                mean: time / steps as f64,
                quantiles: [0.8, 0.9, 1.0, 1.1, 1.2].map(|q| q * time / steps as f64),
                min: 0.7 * time / steps as f64,
                max: 2.0 * time / steps as f64,
                histogram: vec![(0.9 * time / steps as f64, steps)],
            },
            state_bytes: 4096,
            trainable_parameters: 512,
            parameters: 512,
            retained: None,
            peak_memory_bytes: Some(50_000_000),
            last_eval_work: 0,
            weights_sha256: None,
            resumes: 0,
        };
    }
}

fn one(name: &str, value: f64) -> BTreeMap<String, f64> {
    [(name.to_string(), value)].into()
}

/// A finding for [`TrialBuilder::edit`].
pub fn finding(code: &str, message: &str) -> Finding {
    Finding {
        code: code.into(),
        message: message.into(),
    }
}

/// A run in memory that planned exactly these trials.
pub fn run(suite: &str, trials: Vec<Trial>) -> Run {
    let planned = |t: &Trial| (t.record.id.clone(), t.record.hash.clone());
    let path = PathBuf::from(format!("{suite}-run"));
    let trials: Vec<Trial> = trials
        .into_iter()
        .map(|t| Trial {
            path: trial_dir(&path, &t.record.id),
            ..t
        })
        .collect();
    Run {
        record: RunRecord {
            format: RUN_FORMAT.into(),
            suite: suite.into(),
            ruleset: "external".into(),
            cadence: "work".into(),
            seed: 1,
            held_out: Vec::new(),
            trials: trials.iter().map(planned).collect(),
        },
        path,
        trials,
        missing: Vec::new(),
        damaged: Vec::new(),
    }
}

/// Writes a run into `folder` as the harness does.
pub fn write_run(run: &Run, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    run.record.write(&folder.join("run.json")).unwrap();
    for trial in &run.trials {
        let dir = trial_dir(folder, &trial.record.id);
        std::fs::create_dir_all(&dir).unwrap();
        trial.record.write(&dir.join("trial.json")).unwrap();
        let mut file = log::EvalLog::open(&dir.join("evals.jsonl"), 0).unwrap();
        for eval in &trial.evals {
            file.append(eval).unwrap();
        }
        file.sync().unwrap();
    }
}

/// Two workloads, three submissions, two studies of two trials: reached times with spread, a
/// missed cell, a crash, an out-of-memory, and a running trial.
pub fn example_run() -> Run {
    let mut trials = Vec::new();
    for study in 1..=2 {
        let s = f64::from(study);
        for trial in 1..=2 {
            let t = f64::from(trial);
            let at = |w: &str, name: &str| TrialBuilder::new(w, name, study, trial);
            trials.push(
                at("digits", "adamw")
                    .reached(10.0 + s + t, 100 * u64::from(trial))
                    .build(),
            );
            trials.push(
                at("digits", "lion")
                    .reached(20.0 + 2.0 * s + t, 150)
                    .build(),
            );
            trials.push(if trial == 1 {
                at("digits", "nesterov")
                    .failed(Status::Crashed, "panic at step 7")
                    .build()
            } else {
                at("digits", "nesterov").missed(0.7).build()
            });
            trials.push(at("text", "adamw").reached(100.0 * s + t, 1000).build());
            trials.push(
                at("text", "lion")
                    .failed(Status::OutOfMemory, "over 1 GiB")
                    .build(),
            );
            trials.push(at("text", "nesterov").reached(90.0 * s + t, 900).build());
        }
    }
    run("example", trials)
}

//! What a run directory holds before a race goes on.

use super::checkpoint::Checkpoint;
use super::plan::Plan;
use super::runner::RaceError;
use super::trial::Trial;
use std::collections::HashMap;
use std::path::Path;
use velodrome_results::record::RUN_FORMAT;
use velodrome_results::run::{Trial as Recorded, trial_dir};
use velodrome_results::{RecordError, RunRecord, Status, TrialRecord};

/// How a planned trial stands in the run directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not begun.
    New,
    /// Begun; continues from its checkpoint, or from the start where there is none.
    Interrupted,
    /// Ended.
    Final(Status),
}

/// The run record after this plan is added to what the folder holds. The plan may repeat or
/// extend an earlier one; a trial of the same name and another content is another run.
pub fn merge_run_record(plan: &Plan, dir: &Path) -> Result<RunRecord, RaceError> {
    let planned = RunRecord {
        format: RUN_FORMAT.to_string(),
        suite: plan.suite.clone(),
        ruleset: plan.ruleset.as_str().to_string(),
        cadence: plan.cadence.as_str().to_string(),
        seed: plan.seed,
        held_out: plan.held_out.clone(),
        trials: plan
            .trials
            .iter()
            .map(|t| (t.id.clone(), t.hash.clone()))
            .collect(),
    };
    let path = dir.join("run.json");
    if !path.exists() {
        return Ok(planned);
    }
    let mut held = RunRecord::read(&path)?;
    let fields = [
        ("suite", &held.suite, &planned.suite),
        ("ruleset", &held.ruleset, &planned.ruleset),
        ("cadence", &held.cadence, &planned.cadence),
        ("seed", &held.seed.to_string(), &planned.seed.to_string()),
        (
            "list of held-out workloads",
            &held.held_out.join(", "),
            &planned.held_out.join(", "),
        ),
    ];
    for (name, there, here) in fields {
        if there != here {
            return Err(other(dir, format!("its {name} is {there}, not {here}")));
        }
    }
    let hashes: HashMap<String, String> = held.trials.iter().cloned().collect();
    for (id, hash) in &planned.trials {
        match hashes.get(id) {
            Some(held_hash) if held_hash != hash => {
                return Err(other(dir, difference(dir, plan, id)));
            }
            Some(_) => {}
            None => held.trials.push((id.clone(), hash.clone())),
        }
    }
    Ok(held)
}

fn other(dir: &Path, difference: String) -> RaceError {
    RaceError::OtherPlan {
        path: dir.to_path_buf(),
        difference,
    }
}

/// Names the first field in which a recorded trial differs from the planned one.
fn difference(dir: &Path, plan: &Plan, id: &str) -> String {
    let unknown = format!("trial {id} was planned with other settings");
    let Some(planned) = plan.trials.iter().find(|t| t.id == id) else {
        return unknown;
    };
    let path = trial_dir(dir, id).join("trial.json");
    let Ok(held) = TrialRecord::read(&path) else {
        return unknown;
    };
    let json = |record| serde_json::to_value(record).unwrap_or_default();
    let (there, here) = (json(&held), json(planned));
    let settings = [
        "point",
        "seeds",
        "device",
        "threads",
        "target",
        "budget",
        "step_hint",
        "eval_every_work",
        "eval_every_seconds",
        "fingerprint",
    ];
    let Some(field) = settings.into_iter().find(|f| there[*f] != here[*f]) else {
        return format!("trial {id} differs in its workload or submission");
    };
    if field == "fingerprint" && held.fingerprint.executable != planned.fingerprint.executable {
        return format!("trial {id} was raced by another build of this program");
    }
    format!("trial {id} differs in `{field}`")
}

/// How each planned trial stands, in order. Damaged files are an error that lists them all; a record of other
/// settings than the planned ones is another run's, whatever `run.json` says.
pub fn scan(plan: &Plan, dir: &Path) -> Result<Vec<Standing>, RaceError> {
    let mut damaged = Vec::new();
    let mut standing = Vec::new();
    for planned in &plan.trials {
        match stands(&trial_dir(dir, &planned.id)) {
            Ok(None) => standing.push(Standing::New),
            Ok(Some((record, _))) if record.as_planned() != *planned => {
                return Err(other(dir, difference(dir, plan, &planned.id)));
            }
            Ok(Some((_, s))) => standing.push(s),
            Err(error) => damaged.push(error),
        }
    }
    if damaged.is_empty() {
        Ok(standing)
    } else {
        Err(RaceError::Damaged(damaged))
    }
}

/// The record of the trial in `dir`, where there is one, and how the trial stands.
fn stands(dir: &Path) -> Result<Option<(TrialRecord, Standing)>, RecordError> {
    if !dir.join("trial.json").exists() {
        return Ok(None);
    }
    let checkpoint = Trial::checkpoint_path(dir);
    let record = Recorded::read(dir)?.record;
    if record.status.is_final() {
        let standing = Standing::Final(record.status);
        return Ok(Some((record, standing)));
    }
    if checkpoint.exists() {
        let saved = Checkpoint::read(&checkpoint)?;
        let log = dir.join("evals.jsonl");
        let length = std::fs::metadata(&log)
            .map_err(|e| RecordError::io(&log, "read", e))?
            .len();
        if length < saved.header.log_bytes {
            return Err(RecordError::damaged(
                &log,
                None,
                format!(
                    "has {length} bytes, but the checkpoint was taken at {}",
                    saved.header.log_bytes
                ),
            ));
        }
    }
    Ok(Some((record, Standing::Interrupted)))
}

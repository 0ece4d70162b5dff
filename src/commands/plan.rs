//! `velodrome run --dry-run`: the plan, printed.

use super::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use velodrome_harness::race::Plan;
use velodrome_results::TrialRecord;

/// Prints `plan`, which would be raced in `directory`.
pub(crate) fn print(
    plan: &Plan,
    directory: &Path,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if format == Format::Json {
        let trials: Vec<_> = plan.trials.iter().map(json_trial).collect();
        console.print_json(&json!({
            "suite": plan.suite,
            "hash": plan.hash(),
            "ruleset": plan.ruleset.as_str(),
            "cadence": plan.cadence.as_str(),
            "seed": plan.seed,
            "directory": directory,
            "trials": trials,
        }))?;
        return Ok(Exit::Ok);
    }
    let seconds: f64 = plan.trials.iter().map(|t| t.budget.seconds).sum();
    let rows = plan.trials.iter().enumerate().map(|(i, t)| row(i, t));
    let table = console.table(
        &[
            "",
            "trial",
            "seeds: data, model, algorithm",
            "budget",
            "point",
        ],
        rows.collect(),
    );
    console.print(format!(
        "{} trials of suite {} (ruleset {}, seed {}), plan {}\n{table}\
         At most {} of submission time, if every trial spent its whole budget.\n\
         They would be raced in {}. Nothing was written.\n",
        plan.trials.len(),
        plan.suite,
        plan.ruleset.as_str(),
        plan.seed,
        plan.hash(),
        crate::reporters::words::duration(seconds),
        directory.display(),
    ))?;
    Ok(Exit::Ok)
}

fn row(i: usize, trial: &TrialRecord) -> Vec<String> {
    let seeds = trial.seeds;
    vec![
        (i + 1).to_string(),
        trial.id.clone(),
        format!(
            "{:016x} {:016x} {:016x}",
            seeds.data, seeds.model, seeds.algorithm
        ),
        format!("{} examples, {} s", trial.budget.work, trial.budget.seconds),
        point(&trial.point),
    ]
}

/// `beta1 0.9, learning_rate 0.001`.
fn point(point: &BTreeMap<String, f64>) -> String {
    let parts: Vec<String> = point
        .iter()
        .map(|(k, v)| format!("{k} {}", short(*v)))
        .collect();
    parts.join(", ")
}

/// Four significant digits, without trailing zeros.
fn short(x: f64) -> String {
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    if rounded != 0.0 && !(1e-3..1e6).contains(&rounded.abs()) {
        format!("{rounded:e}")
    } else {
        rounded.to_string()
    }
}

fn json_trial(trial: &TrialRecord) -> serde_json::Value {
    json!({
        "id": trial.id,
        "hash": trial.hash,
        "workload": trial.workload,
        "submission": trial.submission,
        "study": trial.study,
        "trial": trial.trial,
        "point": trial.point,
        "seeds": trial.seeds,
        "device": trial.device,
        "threads": trial.threads,
        "target": trial.target,
        "budget": trial.budget,
        "step_hint": trial.step_hint,
        "eval_every_work": trial.eval_every_work,
        "eval_every_seconds": trial.eval_every_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_short_and_exact_enough() {
        assert_eq!(short(0.001), "0.001");
        assert_eq!(short(1e-8), "1e-8");
        assert_eq!(short(0.0), "0");
        assert_eq!(short(-0.000123456), "-1.235e-4");
        assert_eq!(short(0.98765432), "0.9877");
        let map = BTreeMap::from([("b".to_string(), 0.9), ("a".to_string(), 3e-4)]);
        assert_eq!(point(&map), "a 3e-4, b 0.9");
    }
}

//! Fine-tuning: pretrained weights, what is forgotten, and a limit of what trains.

mod common;

use common::*;
use velodrome::results::{EvalRecord, Status};

/// Three submissions for a handful of steps.
const SUITE: &str = r#"
name = "tuning"
workloads = ["moby_gpt", "moby_gpt_lean"]
submissions = ["full_finetuning", "lora", "ia3"]
studies = 1

[overrides.moby_gpt]
budget_work = 64
eval_every_work = 32
[overrides.moby_gpt_lean]
budget_work = 64
eval_every_work = 32
"#;

#[test]
fn adapters_race_and_what_trains_too_much_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let out = dir.path().join("run");
    succeed(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    let run = read(&out);
    assert_eq!(run.trials.len(), 6);
    for trial in &run.trials {
        let (record, outcome) = (&trial.record, &trial.record.outcome);
        let id = &record.id;
        let retained = outcome.retained.unwrap();
        // Shakespeare is known, to a model of bytes that saw nothing else: ln 256 is 5.5.
        assert!(retained.before < 1.7, "{id}: {retained:?}");
        if (record.submission.as_str(), record.workload.as_str())
            == ("full_finetuning", "moby_gpt_lean")
        {
            assert_eq!(record.status, Status::Skipped, "{id}");
            let reason = record.reason.as_deref().unwrap();
            assert!(reason.contains("the target allows 10 %"), "{reason}");
            continue;
        }
        assert_eq!(record.status, Status::Missed, "{id}");
        assert!(retained.after != retained.before, "{id} moved nothing");
        let share = outcome.trainable_parameters as f64 / outcome.parameters as f64;
        match record.submission.as_str() {
            "full_finetuning" => assert_eq!(share, 1.0),
            "lora" => assert!((0.02..0.1).contains(&share), "{share}"),
            _ => assert!(share < 0.01, "{share}"),
        }
    }
    let board = succeed(
        velodrome()
            .arg("score")
            .arg(&out)
            .args(["--format", "markdown"]),
    );
    assert!(board.contains("## Fine-tuning"), "{board}");
}

/// Trained tokens in front of a model's own, in text and in images.
#[test]
fn prompts_and_prefixes_race() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
name = "prompts"
workloads = ["moby_gpt", "garments_vit"]
submissions = ["prompt_tuning", "prefix_tuning", "ept"]
studies = 1

[overrides.moby_gpt]
budget_work = 64
eval_every_work = 32
[overrides.garments_vit]
budget_work = 64
eval_every_work = 32
"#;
    let suite = suite(dir.path(), text);
    let out = dir.path().join("run");
    succeed(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    let run = read(&out);
    assert_eq!(run.trials.len(), 6);
    for trial in &run.trials {
        let (record, outcome) = (&trial.record, &trial.record.outcome);
        let id = &record.id;
        assert_eq!(record.status, Status::Missed, "{id}: {:?}", record.reason);
        let share = outcome.trainable_parameters as f64 / outcome.parameters as f64;
        assert!(share < 0.05, "{id}: {share}");
        // The weights themselves are the same, but what they are asked is not.
        let retained = outcome.retained.unwrap();
        assert!(retained.after != retained.before, "{id}: {retained:?}");
        let losses: Vec<f64> = trial.evals.iter().map(|e| e.validation["loss"]).collect();
        assert!(losses.first() != losses.last(), "{id}: {losses:?}");
    }
}

#[test]
fn an_adapter_does_not_race_from_random_weights() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "name = \"wrong\"\nworkloads = [\"digits_mlp\"]\nsubmissions = [\"adamw\", \"lora\"]\n";
    let suite = suite(dir.path(), text);
    let (_, error, code) = finish(velodrome().args(["run", "--dry-run"]).arg(&suite));
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("`lora` fine-tunes, but `digits_mlp` begins from random weights"),
        "{error}"
    );
}

/// What a trial learned, through PEFT's files and back into the model.
#[test]
fn an_exported_adapter_computes_the_same_when_it_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
name = "kept"
workloads = ["moby_gpt"]
submissions = ["dora", "pissa"]
studies = 1

[limits]
keep_weights = true

[overrides.moby_gpt]
budget_work = 80
eval_every_work = 80
"#;
    let suite = suite(dir.path(), text);
    let out = dir.path().join("run");
    succeed(velodrome().arg("run").arg(&suite).arg("--out").arg(&out));
    for trial in read(&out).trials {
        let id = &trial.record.id;
        let folder = dir.path().join(id);
        let place = out.join("trials").join(id);
        let mut export = velodrome();
        succeed(export.args(["adapter", "export"]).arg(&place).arg(&folder));
        let mut import = velodrome();
        import.args(["adapter", "import"]).arg(&folder);
        let found = succeed(import.args(["moby_gpt", "--format", "json"]));
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        let last: &EvalRecord = trial.evals.last().unwrap();
        let near = |name: &str, wanted: f64| {
            let value = found[name].as_f64().unwrap();
            assert!(
                (value - wanted).abs() < 1e-5,
                "{id}: {name} {value}, not {wanted}"
            );
        };
        near("validation", last.validation["loss"]);
        near("test", last.test["loss"]);
        let retained = trial.record.outcome.retained.unwrap();
        near("retained_before", retained.before);
        near("retained_after", retained.after);
        assert!(last.validation["loss"] < 4.0, "{id}: {:?}", last.validation);
        // The weights beside it are whole: an adapter that is folded into them is gone.
        let merged = folder.join("merged.safetensors");
        let mut merge = velodrome();
        merge.args(["adapter", "merge"]);
        merge.arg(folder.join("base.safetensors"));
        succeed(merge.arg(&folder).arg(&merged));
        assert!(merged.exists());
    }
}

#[test]
fn a_trial_without_weights_is_not_exported() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("trial");
    std::fs::create_dir(&place).unwrap();
    let out = dir.path().join("out");
    let mut export = velodrome();
    let (_, error, code) = finish(export.args(["adapter", "export"]).arg(&place).arg(&out));
    assert_eq!(code, 7, "{error}");
    assert!(error.contains("trial.json"), "{error}");
}

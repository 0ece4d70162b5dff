//! A run as one Parquet file comes back as it was, and damage is named.

use crate::common::{TrialBuilder, example_run, run, write_run};
use velodrome_results::archive;
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::compare::{CompareOptions, compare};
use velodrome_results::render;
use velodrome_results::run::{Run, read_all};
use velodrome_results::trace::{Evaluation, Trace};

fn text(run: &Run) -> String {
    let trials: Vec<String> = run
        .trials
        .iter()
        .map(|t| format!("{:?} {:?}", t.record, t.evals))
        .collect();
    format!("{:?} {trials:#?} {:?}", run.record, run.missing)
}

#[test]
fn a_run_comes_back_whole_and_scores_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    let mut run = example_run();
    // NaN, infinity, text with line breaks, and a planned trial without a record.
    run.trials[0].evals[0].train.insert("loss".into(), f64::NAN);
    run.trials[0].evals[0]
        .test
        .insert("loss".into(), f64::INFINITY);
    run.trials[0].record.reason = Some("two\nlines: é".into());
    let missing = run.trials.pop().unwrap();
    run.missing.push(missing.record.id);
    archive::write(&run, &path).unwrap();
    let back = archive::read(&path).unwrap();
    assert_eq!(text(&back), text(&run));

    let board = |run: Run| {
        let board = assemble(&[run], &AssembleOptions::default()).unwrap();
        render::json(&board).unwrap()
    };
    assert_eq!(board(back), board(run));
}

#[test]
fn a_damaged_trial_is_not_archived() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("run");
    let run = run(
        "s",
        vec![TrialBuilder::new("w", "a", 1, 1).missed(0.5).build()],
    );
    write_run(&run, &source);
    let trial = source.join("trials").join(&run.trials[0].record.id);
    std::fs::write(trial.join("trial.json"), "{").unwrap();
    let run = Run::read(&source).unwrap();
    let path = folder.path().join("records.parquet");
    let error = archive::write(&run, &path).unwrap_err().to_string();
    assert!(error.contains("trial.json"), "{error}");
    assert!(!path.exists());
}

#[test]
fn what_is_not_an_archive_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    archive::write(&example_run(), &path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for bytes in [&b""[..], b"PAR1", &whole[..whole.len() / 2]] {
        std::fs::write(&path, bytes).unwrap();
        let error = archive::read(&path).unwrap_err().to_string();
        assert!(error.contains("records.parquet"), "{error}");
    }
}

/// Files and folders, in full and as traces: the same trials, and the same verdict.
#[test]
fn traces_stand_for_the_evaluations() {
    let folder = tempfile::tempdir().unwrap();
    let (mut base, candidate) = (example_run(), example_run());
    let changed = &mut base.trials[3].evals[0].validation;
    changed.values_mut().for_each(|x| *x += 1e-9);
    let paths = ["base", "candidate.parquet"].map(|name| folder.path().join(name));
    write_run(&base, &paths[0]);
    archive::write(&candidate, &paths[1]).unwrap();
    let traced = read_all::<Trace>(&paths).unwrap();
    for (run, traced) in [&base, &candidate].into_iter().zip(&traced) {
        assert_eq!(run.trials.len(), traced.trials.len());
        for (a, b) in run.trials.iter().zip(&traced.trials) {
            assert_eq!(a.record, b.record);
            let traces: Vec<Trace> = a.evals.iter().map(Evaluation::trace).collect();
            assert_eq!(traces, b.evals);
        }
    }
    let options = CompareOptions::default();
    let found = compare(&base, &candidate, &options).unwrap();
    assert_eq!(compare(&traced[0], &traced[1], &options).unwrap(), found);
    assert!(found.rows.iter().any(|r| r.changed == Some(true)));
    assert!(found.rows.iter().any(|r| r.changed == Some(false)));
}

/// Whoever reads traces alone finds the same damage.
#[test]
fn damage_is_named_in_full_and_in_traces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    let mut cut = example_run();
    cut.trials[1].evals.pop();
    let id = cut.trials[1].record.id.clone();
    let mut strange = example_run();
    strange.trials[0].record.format = "velodrome-trial/9".into();
    for (run, parts) in [
        (cut, [id.as_str(), "field `outcome.counters.evaluations`"]),
        (strange, ["row 1/record", "velodrome-trial/9"]),
    ] {
        archive::write(&run, &path).unwrap();
        let full = archive::read(&path).unwrap_err().to_string();
        let traced = archive::read_as::<Trace>(&path).unwrap_err().to_string();
        assert_eq!(full, traced);
        for part in parts {
            assert!(full.contains(part), "{full}");
        }
        // The first path that cannot be read speaks.
        let nobody = folder.path().join("nobody");
        let error = |paths: [&std::path::Path; 2]| {
            let paths = paths.map(|p| p.to_path_buf());
            read_all::<Trace>(&paths).unwrap_err().to_string()
        };
        assert!(error([&path, &nobody]).contains("records.parquet"));
        assert!(error([&nobody, &path]).contains("run.json"));
    }

    let source = folder.path().join("run");
    let run = example_run();
    write_run(&run, &source);
    let log = |i: usize| {
        let id = &run.trials[i].record.id;
        source.join("trials").join(id).join("evals.jsonl")
    };
    let edit = |i: usize, from: &str, to: &str| {
        let text = std::fs::read_to_string(log(i)).unwrap();
        std::fs::write(log(i), text.replacen(from, to, 1)).unwrap();
    };
    edit(0, "\"step\":", "\"stop\":");
    edit(1, "\"crc\"", "\"cr");
    std::fs::remove_file(log(3)).unwrap();
    let (full, traced) = (
        Run::read(&source).unwrap(),
        Run::<Trace>::read_as(&source).unwrap(),
    );
    assert_eq!(full.damaged.len(), 3);
    assert_eq!(
        format!("{:?}", full.damaged),
        format!("{:?}", traced.damaged)
    );
    let error = compare(&traced, &traced, &CompareOptions::default()).unwrap_err();
    for part in ["3 damaged trials", "evals.jsonl, line 1", "field `crc`"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

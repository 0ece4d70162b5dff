//! A run as one Parquet file comes back as it was, and damage is named.

use crate::common::{TrialBuilder, example_run, run, write_run};
use velodrome_results::archive;
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::render;
use velodrome_results::run::Run;

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

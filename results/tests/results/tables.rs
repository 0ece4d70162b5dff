//! Parquet and CSV hold what the records hold.

use crate::common::{TrialBuilder, example_run, run};
use polars::prelude::{CsvReadOptions, CsvReader, DataFrame, ParquetReader, SerReader};
use std::path::Path;
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::run::Run;
use velodrome_results::tables::{board_frame, evals_frame, trials_frame, write_tables};
use velodrome_results::{RecordError, render, tables::TableError};

fn runs() -> Vec<Run> {
    let mut other = TrialBuilder::new("text", "sgd", 1, 1)
        .reached(1.0 / 3.0, 7)
        .edit(|r| {
            r.point = [("momentum".to_string(), 0.1 + 0.2)].into();
            r.seeds.data = u64::MAX;
            r.reason = Some("a, \"b\"\nc".into());
        })
        .build();
    other.evals[1].train.insert("loss".into(), f64::NAN);
    other.evals[2].train.insert("loss".into(), f64::INFINITY);
    vec![example_run(), run("more", vec![other])]
}

fn parquet(path: &Path) -> DataFrame {
    ParquetReader::new(std::fs::File::open(path).unwrap())
        .finish()
        .unwrap()
}

fn real(frame: &DataFrame, column: &str, row: usize) -> Option<f64> {
    frame.column(column).unwrap().f64().unwrap().get(row)
}

fn count(frame: &DataFrame, column: &str, row: usize) -> Option<u64> {
    frame.column(column).unwrap().u64().unwrap().get(row)
}

fn text<'f>(frame: &'f DataFrame, column: &str, row: usize) -> Option<&'f str> {
    frame.column(column).unwrap().str().unwrap().get(row)
}

#[test]
fn written_tables_read_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run/tables");
    let runs = runs();
    let board = assemble(&runs, &AssembleOptions::default()).unwrap();
    let paths = write_tables(&folder, &runs, &board).unwrap();
    let names: Vec<_> = paths
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "trials.parquet",
            "trials.csv",
            "evals.parquet",
            "evals.csv",
            "board.parquet",
            "board.csv"
        ]
    );
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        6,
        "no temporary file is left"
    );
    for (name, frame) in [
        ("trials", trials_frame(&runs).unwrap()),
        ("evals", evals_frame(&runs).unwrap()),
        ("board", board_frame(&board).unwrap()),
    ] {
        let back = parquet(&folder.join(format!("{name}.parquet")));
        assert!(back.equals_missing(&frame), "{name}: {back}\n{frame}");
        assert_eq!(back.get_column_names(), frame.get_column_names());
        // The same numbers in the CSV, to the last bit.
        let file = std::fs::File::open(folder.join(format!("{name}.csv"))).unwrap();
        let options = CsvReadOptions::default().with_schema(Some(frame.schema().clone()));
        let csv = CsvReader::new(file).with_options(options).finish().unwrap();
        assert!(csv.equals_missing(&frame), "{name}.csv: {csv}\n{frame}");
    }
    assert_eq!(
        render::csv(&board).unwrap(),
        std::fs::read(&paths[5]).unwrap()
    );
    assert_eq!(
        render::parquet(&board).unwrap(),
        std::fs::read(&paths[4]).unwrap()
    );
}

#[test]
fn a_row_per_trial_with_every_scalar() {
    let runs = runs();
    let frame = trials_frame(&runs).unwrap();
    assert_eq!(frame.height(), 25);
    let all: Vec<_> = runs.iter().flat_map(|r| &r.trials).collect();
    for (row, trial) in all.iter().enumerate() {
        let r = &trial.record;
        assert_eq!(text(&frame, "id", row), Some(r.id.as_str()));
        assert_eq!(text(&frame, "status", row), Some(r.status.as_str()));
        assert_eq!(text(&frame, "reason", row), r.reason.as_deref());
        assert_eq!(count(&frame, "seeds.data", row), Some(r.seeds.data));
        assert_eq!(
            real(&frame, "time_to_target", row),
            r.outcome.time_to_target
        );
        assert_eq!(
            count(&frame, "steps_to_target", row),
            r.outcome.steps_to_target
        );
        assert_eq!(
            real(&frame, "clock.training", row),
            Some(r.outcome.clock.training)
        );
        assert_eq!(
            real(&frame, "clock.on_clock", row),
            Some(r.outcome.clock.on_clock())
        );
        assert_eq!(
            count(&frame, "counters.work", row),
            Some(r.outcome.counters.work)
        );
        assert_eq!(
            real(&frame, "step_times.q95", row),
            Some(r.outcome.step_times.quantiles[4])
        );
        assert_eq!(
            real(&frame, "hp.learning_rate", row),
            r.point.get("learning_rate").copied()
        );
        assert_eq!(
            real(&frame, "hp.momentum", row),
            r.point.get("momentum").copied()
        );
        assert_eq!(text(&frame, "fingerprint.accelerator", row), None);
    }
    // Every scalar of the record as JSON has a column; what is a list or a map of its own is not.
    let json = serde_json::to_value(&all[24].record).unwrap();
    let mut missing = Vec::new();
    for (key, value) in json.as_object().unwrap() {
        let parts: Vec<String> = match (key.as_str(), value) {
            ("format" | "findings" | "point", _) => continue,
            ("outcome", serde_json::Value::Object(outcome)) => outcome
                .iter()
                .flat_map(|(k, v)| match v.as_object() {
                    Some(inner) => inner.keys().map(|i| format!("{k}.{i}")).collect(),
                    None => vec![k.clone()],
                })
                .collect(),
            (_, serde_json::Value::Object(inner)) => {
                inner.keys().map(|i| format!("{key}.{i}")).collect()
            }
            _ => vec![key.clone()],
        };
        missing.extend(parts.into_iter().filter(|p| frame.column(p).is_err()));
    }
    assert_eq!(
        missing,
        [
            "fingerprint.cpu_flags",
            "step_times.histogram",
            "step_times.quantiles"
        ]
    );
}

#[test]
fn a_row_per_evaluation() {
    let runs = runs();
    let frame = evals_frame(&runs).unwrap();
    let all: Vec<_> = runs
        .iter()
        .flat_map(|r| &r.trials)
        .flat_map(|t| &t.evals)
        .collect();
    assert_eq!(frame.height(), all.len());
    let bits = |x: Option<f64>| x.map(f64::to_bits);
    for (row, eval) in all.iter().enumerate() {
        assert_eq!(count(&frame, "step", row), Some(eval.step));
        assert_eq!(real(&frame, "clock", row), Some(eval.clock));
        assert_eq!(
            bits(real(&frame, "train.loss", row)),
            bits(eval.train.get("loss").copied())
        );
        assert_eq!(
            real(&frame, "validation.error_rate", row),
            eval.validation.get("error_rate").copied()
        );
    }
}

#[test]
fn the_board_as_a_table_keeps_failures_apart() {
    let board = assemble(&[example_run()], &AssembleOptions::default()).unwrap();
    let frame = board_frame(&board).unwrap();
    assert_eq!(frame.height(), 6);
    let result = |submission: &str, workload: &str| {
        let row = (0..6)
            .find(|i| {
                text(&frame, "submission", *i) == Some(submission)
                    && text(&frame, "workload", *i) == Some(workload)
            })
            .unwrap();
        (
            text(&frame, "result", row).unwrap(),
            real(&frame, "time_s", row),
            real(&frame, "ratio", row),
        )
    };
    assert_eq!(
        result("adamw", "digits"),
        ("reached", Some(12.5), Some(1.0))
    );
    assert_eq!(result("nesterov", "digits"), ("missed", None, None));
    assert_eq!(result("lion", "text"), ("out_of_memory", None, None));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("tables");
    std::fs::write(&blocked, "a file").unwrap();
    let runs = [example_run()];
    let board = assemble(&runs, &AssembleOptions::default()).unwrap();
    let error = write_tables(&blocked, &runs, &board).unwrap_err();
    assert!(matches!(error, TableError::Record(RecordError::Io { .. })));
    assert!(error.to_string().contains("tables"), "{error}");
}

#[test]
fn tables_of_nothing_have_their_columns() {
    let empty = [run("empty", Vec::new())];
    assert_eq!(trials_frame(&empty).unwrap().height(), 0);
    assert!(evals_frame(&empty).unwrap().column("clock").is_ok());
}

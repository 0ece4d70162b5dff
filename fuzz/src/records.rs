//! Records of runs, and AlgoPerf's logs.

use super::parts;
use std::fs;
use std::path::{Component, Path};
use tempfile::TempDir;
use velodrome_results::algoperf::{Budgets, ExportOptions, LogScoreOptions, Logs, Targets, export};
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::bootstrap::BootstrapOptions;
use velodrome_results::report::{self, Report};
use velodrome_results::run::Run;
use velodrome_results::trace::Evaluation;
use velodrome_results::{archive, charts, log, render};

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}

/// A line with the checksum that belongs to it, so that a change reaches what lies behind the check.
fn signed(line: &str) -> String {
    let open = match line.rsplit_once(",\"crc\":\"") {
        Some((open, _)) => open,
        None => line.strip_suffix('}').unwrap_or(line),
    };
    let crc = crc32(format!("{open}}}").as_bytes());
    format!("{open},\"crc\":\"{crc:08x}\"}}")
}

/// Lines of `evals.jsonl`, as they are and with right checksums.
pub fn evaluations(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut all = true;
    for line in text.lines() {
        all &= log::decode(line).is_ok();
        if let Ok(record) = log::decode(&signed(line)) {
            let again = log::encode(&record).expect("what was read can be written");
            let again = log::decode(&again).expect("what was written can be read");
            assert_eq!(again.trace(), record.trace());
        }
    }
    all
}

fn write(path: &Path, bytes: &[u8]) {
    let parent = path.parent().expect("a path below a folder");
    fs::create_dir_all(parent).expect("a folder can be made");
    fs::write(path, bytes).expect("a file can be written");
}

/// A run folder of `run.json`, one `trial.json` and its `evals.jsonl`: read, scored, drawn, exported.
pub fn run(bytes: &[u8]) -> bool {
    let folder = TempDir::new().expect("a folder can be made");
    let place = folder.path().join("place");
    let run = place.join("run");
    let [record, trial, evals] = parts(bytes);
    let lines: Vec<String> = String::from_utf8_lossy(evals).lines().map(signed).collect();
    let evals = lines.join("\n") + "\n";
    // A trial within the run, and one that no run may reach.
    for of in [run.join("trials/t"), folder.path().join("outside")] {
        write(&of.join("trial.json"), trial);
        write(&of.join("evals.jsonl"), evals.as_bytes());
    }
    write(&run.join("run.json"), record);
    let mut whole = false;
    if let Ok(read) = Run::read(&run) {
        whole = read.trials.len() == read.record.trials.len();
        for trial in &read.trials {
            let below = trial.path.strip_prefix(run.join("trials"));
            let mut below = below.expect("a trial lies in its run").components();
            assert!(matches!(below.next(), Some(Component::Normal(_))));
            assert!(below.next().is_none(), "{}", trial.path.display());
        }
        use_run(read, &place);
    }
    let names = |path: &Path| {
        let entries = fs::read_dir(path).expect("the folder is there");
        let names = entries.map(|e| e.expect("an entry").file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), ["outside", "place"]);
    assert_eq!(
        names(&folder.path().join("outside")),
        ["evals.jsonl", "trial.json"]
    );
    let allowed = ["charts", "logs", "records.parquet", "run"];
    assert!(names(&place).iter().all(|n| allowed.iter().any(|a| n == a)));
    assert_eq!(names(&run), ["run.json", "trials"]);
    whole
}

/// What the command makes of a run.
fn use_run(run: Run, place: &Path) {
    let options = AssembleOptions {
        bootstrap: BootstrapOptions {
            resamples: 10,
            ..BootstrapOptions::default()
        },
        ..AssembleOptions::default()
    };
    let runs = [run];
    let _ = export(&runs, &place.join("logs"), &ExportOptions::default());
    let file = place.join("records.parquet");
    if archive::write(&runs[0], &file).is_ok() {
        archive::read(&file).expect("what was written can be read");
    }
    let Ok(board) = assemble(&runs, &options) else {
        return;
    };
    let _ = (render::markdown(&board), render::terminal(&board, Some(80)));
    let _ = (render::json(&board), render::csv(&board));
    let command = String::new();
    let report = Report {
        board: &board,
        runs: &runs,
        command,
    };
    if let Ok(page) = report::render(&report) {
        assert!(!page.contains("<script"));
    }
    // PNG files take long.
    let _ = charts::times_svg(&board);
}

const TARGETS: &str = r#"{"benchmark_version": "0.6", "base_workloads": ["ogbg"], "held_out_workloads": [],
    "workloads": {"ogbg": {"target_metric_name": "mean_average_precision",
    "validation_target_value": 0.25, "step_hint": 1000}}}"#;

/// A log of AlgoPerf: read, scored, and turned into a record.
pub fn log_csv(bytes: &[u8]) -> bool {
    let folder = TempDir::new().expect("a folder can be made");
    let [csv, metadata] = parts(bytes);
    let trial = folder
        .path()
        .join("external_tuning/rider/study_0/ogbg_jax/trial_1");
    write(&trial.join("eval_measurements.csv"), csv);
    write(&trial.join("meta_data_0.json"), metadata);
    let targets = Targets::parse(TARGETS, Path::new("targets.json")).expect("sound targets");
    let budgets = Budgets::published().expect("sound budgets");
    let logs = Logs::read(folder.path(), targets, budgets, None).expect("the folders are in order");
    let options = LogScoreOptions {
        bootstrap: BootstrapOptions {
            resamples: 10,
            ..BootstrapOptions::default()
        },
        ..LogScoreOptions::default()
    };
    if let Ok(score) = logs.score(&options) {
        let _ = score.json();
    }
    let run = logs.run();
    let _ = assemble(&[run], &AssembleOptions::default());
    logs.trials.iter().all(|t| t.reason.is_none())
}

/// A targets file of AlgoPerf.
pub fn log_targets(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(targets) = Targets::parse(text, Path::new("targets.json")) else {
        return false;
    };
    for (position, name) in targets.names().iter().enumerate() {
        assert_eq!(targets.position(name), Some(position));
        assert!(targets.base_of(position) <= position);
    }
    true
}

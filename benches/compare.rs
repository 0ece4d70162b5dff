//! Time of `velodrome compare` on two runs of 10,000 trials, with its parts: reading folders or
//! archives, and the statistics with and without common seeds.
//!
//! `cargo bench --bench compare`. The aim is 2 s for the whole command; see `docs/comparison.md`.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use velodrome::results::archive;
use velodrome::results::compare::{CompareOptions, compare};
use velodrome::results::log::EvalLog;
use velodrome::results::run::{Run, Trial, trial_dir};
use velodrome::results::trace::Trace;

const ROWS: u32 = 100;
const SEEDS: u32 = 100;

/// A number in 0..1, the same at every call.
fn unit(row: u32, seed: u32, side: u32) -> f64 {
    let mixed = (row * 7919 + seed * 104_729 + side * 15_485_863).wrapping_mul(2_654_435_761);
    f64::from(mixed >> 8) / f64::from(1 << 24)
}

/// A run of [`ROWS`] rows with [`SEEDS`] seeds each, made of a recorded trial.
fn raced(template: &Trial, side: u32, other_seeds: bool) -> Run {
    let mut run = Run {
        path: "run".into(),
        record: velodrome::results::RunRecord {
            format: velodrome::results::record::RUN_FORMAT.into(),
            suite: "bench".into(),
            ruleset: "external".into(),
            cadence: "work".into(),
            seed: 0,
            held_out: Vec::new(),
            trials: Vec::new(),
        },
        trials: Vec::new(),
        missing: Vec::new(),
        damaged: Vec::new(),
    };
    for row in 0..ROWS {
        for seed in 1..=SEEDS {
            let mut trial = template.clone();
            let record = &mut trial.record;
            record.workload = format!("workload_{row}");
            record.study = seed;
            record.id = format!("workload_{row}.adamw.study-{seed}.trial-1");
            record.seeds.data = u64::from(seed + if other_seeds { side * 1000 } else { 0 });
            let steps = 400.0 + 200.0 * unit(row, seed, side);
            record.outcome.steps_to_target = Some(steps as u64);
            record.outcome.step_times.mean *= 1.0 + 0.1 * unit(row, seed, side + 2);
            let bytes = 5e7 * (1.0 + 0.1 * unit(row, seed, side + 4));
            record.outcome.peak_memory_bytes = Some(bytes as u64);
            // Trials that went the same way would need no test, and take no room in an archive.
            for (i, eval) in (0..).zip(&mut trial.evals) {
                let change = 1.0 + 0.01 * unit(row, seed, side + 6 + 2 * i);
                for measures in [&mut eval.train, &mut eval.validation, &mut eval.test] {
                    measures.values_mut().for_each(|x| *x *= change);
                }
                eval.clock *= change;
                eval.wall *= change;
            }
            run.record
                .trials
                .push((record.id.clone(), record.hash.clone()));
            run.trials.push(trial);
        }
    }
    run
}

fn write(run: &Run, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    run.record.write(&folder.join("run.json")).unwrap();
    for trial in &run.trials {
        let dir = trial_dir(folder, &trial.record.id);
        std::fs::create_dir_all(&dir).unwrap();
        let text = serde_json::to_string_pretty(&trial.record).unwrap();
        std::fs::write(dir.join("trial.json"), text).unwrap();
        let mut log = EvalLog::open(&dir.join("evals.jsonl"), 0).unwrap();
        for eval in &trial.evals {
            log.append(eval).unwrap();
        }
    }
}

/// Runs the command; its exit code is the verdict.
fn command(base: &Path, candidate: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velodrome"));
    command.arg("compare").args([base, candidate]);
    let code = command.stdout(Stdio::null()).status().unwrap().code();
    assert!(matches!(code, Some(0 | 11 | 12)), "{code:?}");
}

fn benches(c: &mut Criterion) {
    let board = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/results/boards/external-digits/records.parquet"
    );
    let recorded = archive::read(Path::new(board)).unwrap();
    let most = |t: &&Trial| (t.record.outcome.steps_to_target.is_some(), t.evals.len());
    let template = recorded.trials.iter().max_by_key(most).unwrap();
    println!("{} evaluations for each trial", template.evals.len());
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    let mut group = c.benchmark_group("compare two runs of 10,000 trials");
    group.sample_size(10);
    for (name, side, other_seeds) in [
        ("base", 0, false),
        ("candidate", 1, false),
        ("stranger", 1, true),
    ] {
        let run = raced(template, side, other_seeds);
        archive::write(&run, &in_folder(&format!("{name}.parquet"))).unwrap();
        if !other_seeds {
            write(&run, &in_folder(name));
        }
    }
    let read = |name: &str| archive::read_as::<Trace>(&in_folder(name)).unwrap();
    let base = read("base.parquet");
    for (seeds, other) in [("common", "candidate"), ("other", "stranger")] {
        let other = format!("{other}.parquet");
        let run = read(&other);
        group.bench_function(format!("statistics, {seeds} seeds"), |b| {
            b.iter(|| black_box(compare(&base, &run, &CompareOptions::default()).unwrap()));
        });
        group.bench_function(format!("the command, archives, {seeds} seeds"), |b| {
            b.iter(|| command(&in_folder("base.parquet"), &in_folder(&other)));
        });
    }
    group.bench_function("the command, folders, common seeds", |b| {
        b.iter(|| command(&in_folder("base"), &in_folder("candidate")));
    });
    group.bench_function("reading one archive", |b| {
        b.iter(|| black_box(read("base.parquet")));
    });
    group.bench_function("reading one folder", |b| {
        b.iter(|| black_box(Run::<Trace>::read_as(&in_folder("base")).unwrap()));
    });
    group.bench_function("reading one folder, evaluations in full", |b| {
        b.iter(|| black_box(Run::read(&in_folder("base")).unwrap()));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);

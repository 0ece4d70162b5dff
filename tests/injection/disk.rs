//! No room on the disk, wherever a run writes: every file is first one that stays too small to be written
//! whole. A limit on the size of files does it, which no user needs rights for.

use crate::common::*;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use velodrome::results::Status;

const SUITE: &str = r#"
name = "disk"
workloads = ["digits_mlp"]
submissions = ["adamw", "nesterov"]
threads = 1

[limits]
checkpoint_seconds = 0

[overrides.digits_mlp]
budget_work = 1280
eval_every_work = 640
"#;

/// Whether the process hears of a file that is too large by an error, as of a full disk, or by a signal.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    ByError,
    BySignal,
}

/// Lets no file of `command` and its children grow beyond `bytes`.
fn limit(command: &mut Command, bytes: u64, told: Told) {
    let before = move || -> std::io::Result<()> {
        if told == Told::ByError {
            // SAFETY: no handler of ours runs, the signal is ignored.
            #[allow(unsafe_code)]
            unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
        }
        Ok(setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)?)
    };
    // SAFETY: both are system calls that may be made between fork and exec.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(before)
    };
}

fn run(suite: &Path, out: &Path) -> Command {
    let mut command = velodrome();
    command.arg("run").arg(suite).arg("--records-only");
    command.arg("--out").arg(out);
    command
}

/// The file that the last error names: its name, without the folder.
fn named(err: &str) -> Option<String> {
    let line = err.lines().rfind(|l| l.starts_with("error: "))?;
    let cannot = line.find(": cannot ")?;
    let path = Path::new(line[..cannot].rsplit(": ").next()?);
    Some(path.file_name()?.to_str()?.to_string())
}

/// Sizes that some file of a run outgrows: for each name, just below the largest such file, and some way. The
/// record of an ended trial is not of quite the same size each time.
fn sizes(run: &Path) -> BTreeSet<u64> {
    let mut largest: BTreeMap<OsString, u64> = BTreeMap::new();
    for (path, content) in files(run) {
        let size = largest.entry(path.file_name().unwrap().into()).or_default();
        *size = content.len().max(*size as usize) as u64;
    }
    let sizes = largest.into_values();
    let below = |n: u64| [n / 2, n * 3 / 4, n.saturating_sub(1)];
    sizes.flat_map(below).collect()
}

/// Races under every limit on the size of files that stops the race somewhere else, goes on without the limit,
/// and collects the files that errors named.
fn race_without_room(text: &str) -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), text);
    let straight = dir.path().join("straight");
    succeed(&mut run(&suite, &straight));
    let (mut found, mut refused) = (BTreeSet::new(), 0);
    let mut sizes = sizes(&straight);
    // A checkpoint is gone by the end.
    sizes.insert(20_000);
    for size in &sizes {
        let out = dir.path().join(format!("limit-{size}"));
        let mut command = run(&suite, &out);
        limit(&mut command, *size, Told::ByError);
        let (stdout, err, code) = finish(&mut command);
        if code != 0 {
            assert_eq!(code, 7, "{size} bytes: {stdout}\n{err}");
            let file = named(&err).unwrap_or_else(|| panic!("no file is named: {err}"));
            let who = match err.contains("could not go on") {
                true => "trial",
                false => "runner",
            };
            found.insert(format!("{who}: {file}"));
            refused += 1;
        }
        let ended: Vec<(PathBuf, Vec<u8>)> = match out.join("run.json").exists() {
            true => {
                let run = velodrome::results::run::Run::read(&out).unwrap();
                assert!(run.damaged.is_empty(), "{:?}", run.damaged);
                let ended = run.trials.iter().filter(|t| t.record.status.is_final());
                ended
                    .map(|t| t.path.join("trial.json"))
                    .map(|p| (p.clone(), std::fs::read(p).unwrap()))
                    .collect()
            }
            false => Vec::new(),
        };
        succeed(&mut run(&suite, &out));
        for (path, before) in ended {
            assert!(std::fs::read(&path).unwrap() == before, "{path:?}");
        }
        assert_same(&straight, &out);
    }
    println!(
        "{} limits, {refused} races stopped by {found:?}",
        sizes.len()
    );
    found
}

fn expect(found: &BTreeSet<String>, names: &[&str]) {
    for name in names {
        assert!(found.contains(*name), "{name} is not among {found:?}");
    }
}

#[test]
fn a_full_disk_is_named_wherever_a_trial_writes_and_costs_nothing() {
    let found = race_without_room(SUITE);
    let by_runner = ["runner: .lock", "runner: run.json", "runner: trial.json"];
    expect(&found, &by_runner);
    expect(&found, &["trial: checkpoint"]);
    // Without checkpoints, the final record is the largest file; or the log; or the weights.
    let without = SUITE.replace("checkpoint_seconds = 0", "checkpoint_seconds = 1e9");
    expect(&race_without_room(&without), &["trial: trial.json"]);
    let long_log = without.replace("eval_every_work = 640", "eval_every_work = 64");
    expect(&race_without_room(&long_log), &["trial: evals.jsonl"]);
    let weights = without.replace("[limits]", "[limits]\nkeep_weights = true");
    expect(&race_without_room(&weights), &["trial: weights.burnpack"]);
}

/// What is made from the records: no file is ever a part of itself, and each is named where it cannot be written.
#[test]
fn a_full_disk_is_named_wherever_a_board_or_a_report_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let (out, board) = (dir.path().join("run"), dir.path().join("board"));
    succeed(&mut run(&suite, &out));
    let records = files(&out);
    let score = |size: Option<u64>| {
        let mut command = velodrome();
        command.arg("score").arg(&out).arg("--out").arg(&board);
        if let Some(size) = size {
            limit(&mut command, size, Told::ByError);
        }
        finish(&mut command)
    };
    assert_eq!(score(None).2, 0);
    let written = files(&board);
    let mut found = BTreeSet::new();
    for (path, content) in &written {
        std::fs::remove_dir_all(&board).unwrap();
        let (_, err, code) = score(Some(content.len() as u64 - 1));
        assert_eq!(code, 7, "{path:?}: {err}");
        found.insert(named(&err).unwrap_or_else(|| panic!("no file is named: {err}")));
        for (path, content) in files(&board) {
            assert!(written.get(&path) == Some(&content), "{path:?} is a part");
        }
        // A file that is smaller than one before it is never the first for which there is no room.
        std::fs::remove_dir_all(&board).unwrap();
        std::fs::create_dir_all(path).unwrap();
        let (_, err, code) = score(None);
        let name = path.file_name().unwrap().to_str();
        assert_eq!((code, named(&err).as_deref()), (7, name), "{err}");
    }
    let page = dir.path().join("page.html");
    let mut command = velodrome();
    command.arg("report").arg(&out).arg("--out").arg(&page);
    limit(&mut command, 10_000, Told::ByError);
    let (_, err, code) = finish(&mut command);
    assert_eq!(
        (code, named(&err).as_deref()),
        (7, Some("page.html")),
        "{err}"
    );
    assert!(!page.exists());
    println!("{} files, no room for {found:?}", written.len());
    assert_eq!(records, files(&out), "the records were touched");
}

/// A trial's process tells its error even where its own log has no room for it.
#[test]
fn an_error_needs_no_room_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let out = dir.path().join("run");
    succeed(&mut run(&suite, &out));
    let trial = out.join("trials/digits_mlp.adamw.study-1.trial-1");
    rewind(&trial);
    // More than the limit: a submission that prints much.
    std::fs::write(trial.join("stderr.log"), "words\n".repeat(5_000)).unwrap();
    let mut command = run(&suite, &out);
    limit(&mut command, 20_000, Told::ByError);
    let (_, err, code) = finish(&mut command);
    assert_eq!(
        (code, named(&err).as_deref()),
        (7, Some("checkpoint")),
        "{err}"
    );
}

/// A limit on the size of files that ends the process by a signal is not the submission's fault either.
#[test]
fn a_file_that_outgrows_a_limit_is_no_crash_of_the_submission() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let (straight, out) = (dir.path().join("straight"), dir.path().join("run"));
    succeed(&mut run(&suite, &straight));
    let mut command = run(&suite, &out);
    limit(&mut command, 20_000, Told::BySignal);
    let (_, err, code) = finish(&mut command);
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("adamw") && err.contains("ulimit -f"), "{err}");
    let first = velodrome::results::run::Run::read(&out).unwrap();
    assert_eq!(first.trials[0].record.status, Status::Running);
    succeed(&mut run(&suite, &out));
    assert_same(&straight, &out);
}

/// A file that cannot be opened is named too, whoever opens it.
#[test]
fn a_folder_in_the_place_of_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let out = dir.path().join("run");
    succeed(&mut run(&suite, &out));
    let trial = out.join("trials/digits_mlp.adamw.study-1.trial-1");
    for name in [
        "stderr.log",
        "evals.jsonl",
        ".lock",
        "checkpoint",
        "trial.json.tmp",
    ] {
        let path = trial.join(name);
        rewind(&trial);
        let _ = std::fs::remove_file(&path);
        std::fs::create_dir(&path).unwrap();
        let (_, err, code) = finish(&mut run(&suite, &out));
        assert!(matches!(code, 4 | 7), "{name}: {code} {err}");
        assert!(err.contains(name.trim_end_matches(".tmp")), "{name}: {err}");
        std::fs::remove_dir(&path).unwrap();
        succeed(&mut run(&suite, &out));
    }
}

/// Nobody reads what the race tells, or its stream is full: that is not worth the race.
#[cfg(target_os = "linux")]
#[test]
fn events_without_a_reader_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let straight = dir.path().join("straight");
    succeed(&mut run(&suite, &straight));
    for events in ["plain", "json", "bars"] {
        let out = dir.path().join(events);
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = run(&suite, &out);
        command.args(["--events", events]).stderr(full.unwrap());
        let status = command.status().unwrap();
        assert_eq!(status.code(), Some(0), "{events}");
        assert_same(&straight, &out);
    }
    // A board that cannot be printed is an error, after everything was recorded.
    let out = dir.path().join("unprinted");
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = velodrome();
    command.arg("run").arg(&suite).arg("--out").arg(&out);
    assert_eq!(
        command.stdout(full.unwrap()).status().unwrap().code(),
        Some(7)
    );
    assert_same(&straight, &out);
}

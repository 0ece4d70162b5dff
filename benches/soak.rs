//! Two thousand short trials in one run folder: does the runner keep its memory, its open files and its pace,
//! and how long do board, tables and report of them take?
//!
//! `cargo bench --bench soak`, or `cargo bench --bench soak -- 200` for fewer trials. Memory and files are those
//! of the runner's process, from `/proc` (Linux). A trial's process is not counted: it ends with its trial.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use velodrome::results::run::Run;

/// Trials at the start that are left out: the runner still grows into its memory.
const FIRST: usize = 100;
/// The most that the runner may grow.
const MOST_KIB_PER_100: f64 = 32.0;

fn suite(trials: usize) -> String {
    format!(
        "name = \"soak\"\nworkloads = [\"digits_mlp\"]\nsubmissions = [\"adamw\", \"nesterov\"]\n\
         studies = {}\nthreads = 1\n\n[overrides.digits_mlp]\nbudget_work = 128\n\
         eval_every_work = 128\n",
        trials.div_ceil(2)
    )
}

/// What the runner holds, and when.
struct Look {
    at: Instant,
    kib: f64,
    files: usize,
}

fn look(runner: u32) -> Option<Look> {
    let status = std::fs::read_to_string(format!("/proc/{runner}/status")).ok()?;
    let resident = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    Some(Look {
        at: Instant::now(),
        kib: resident.split_whitespace().nth(1)?.parse().ok()?,
        files: std::fs::read_dir(format!("/proc/{runner}/fd"))
            .ok()?
            .count(),
    })
}

/// Least-squares slope of `values` over their places.
fn slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (mx, my) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (x, y) in values.iter().enumerate() {
        xy += (x as f64 - mx) * (y - my);
        xx += (x as f64 - mx).powi(2);
    }
    xy / xx
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds that an action on `of` takes, with what it writes into `out`.
fn timed(action: &str, of: &Path, out: Option<&Path>) -> f64 {
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_velodrome"));
    command.arg(action).arg(of).stdout(Stdio::null());
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    assert!(command.stderr(Stdio::null()).status().unwrap().success());
    start.elapsed().as_secs_f64()
}

fn main() {
    let trials = std::env::args().find_map(|a| a.parse().ok());
    let trials: usize = trials.unwrap_or(2000);
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("soak.toml"), dir.path().join("run"));
    std::fs::write(&file, suite(trials)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_velodrome"));
    command.arg("run").arg(&file).arg("--out").arg(&out);
    command.args(["--records-only", "--events", "json"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut runner = command.spawn().unwrap();
    let mut looks = Vec::new();
    let events = BufReader::new(runner.stderr.take().unwrap());
    for line in events.lines().map_while(Result::ok) {
        if line.contains("\"trial_ended\"") {
            looks.extend(look(runner.id()));
        }
    }
    assert!(runner.wait().unwrap().success());

    let run = Run::read(&out).unwrap();
    assert!(run.damaged.is_empty() && run.missing.is_empty());
    println!("{} trials", run.trials.len());
    if looks.len() != run.trials.len() || looks.len() < 3 * FIRST {
        println!("memory and open files: not measured here");
    } else {
        let kib: Vec<f64> = looks[FIRST..].iter().map(|l| l.kib).collect();
        let growth = 100.0 * slope(&kib);
        let (first, last) = (kib[0], kib[kib.len() - 1]);
        println!(
            "memory of the runner: {first} KiB, then {last} KiB; {growth:+.2} KiB per 100 trials"
        );
        // A look may meet the next trial's start, with its pipes: medians.
        let files: Vec<f64> = looks[FIRST..].iter().map(|l| l.files as f64).collect();
        let part = files.len() / 4;
        let files = [&files[..part], &files[files.len() - part..]].map(median);
        println!(
            "open files of the runner: {} in the first quarter, {} in the last (medians)",
            files[0], files[1]
        );
        // From the end of one trial to the end of the next, less what the next one's own record tells.
        let own: Vec<f64> = looks
            .windows(2)
            .zip(&run.trials[1..])
            .map(|(w, t)| (w[1].at - w[0].at).as_secs_f64() - t.record.outcome.clock.total)
            .map(|seconds| 1e3 * seconds)
            .collect();
        let quarter = own.len() / 4;
        println!(
            "the harness's own time per trial: {:.1} ms in the first quarter, {:.1} ms in the last (medians)",
            median(&own[..quarter]),
            median(&own[own.len() - quarter..])
        );
        assert!(growth < MOST_KIB_PER_100, "the runner's memory grows");
        assert!(files[1] <= files[0] + 1.0, "the runner's open files grow");
    }
    let board = dir.path().join("board");
    let page = dir.path().join("report.html");
    println!("board: {:.2} s", timed("score", &out, None));
    let written = timed("score", &out, Some(&board));
    println!("board, tables and charts: {written:.2} s");
    println!("report: {:.2} s", timed("report", &out, Some(&page)));
    // Reads all records, races nothing, and writes board, tables, charts and report.
    let again = timed("run", &file, Some(&out));
    println!("the same command again: {again:.2} s");
}

//! Time and memory of `velodrome score --algoperf` on a log tree as large as a competition's, and
//! how they grow.
//!
//! `cargo bench --bench algoperf` writes a tree of 11 submissions, 14 workloads (6 held out), 3
//! studies and 8 trials (3,696 logs, some 51 MB) and one of 10 times as many studies into a
//! temporary folder, and scores each five times with a warm file cache.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const SUBMISSIONS: usize = 11;
const TRIALS: usize = 8;
const ROWS: usize = 58;
const WORKLOADS: [(&str, &str); 14] = [
    ("alpha", "loss"),
    ("beta", "ssim"),
    ("gamma", "accuracy"),
    ("delta", "accuracy"),
    ("epsilon", "wer"),
    ("zeta", "wer"),
    ("eta", "mean_average_precision"),
    ("theta", "bleu"),
    ("alpha_wide", "loss"),
    ("beta_tanh", "ssim"),
    ("gamma_deep", "accuracy"),
    ("epsilon_norm", "wer"),
    ("zeta_large", "wer"),
    ("theta_glu", "bleu"),
];
const BASE: usize = 8;

/// A small generator of numbers in 0..1 (SplitMix64), so that the tree is always the same.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn write_targets(path: &Path) {
    let entry = |(name, metric): &(&str, &str)| {
        format!(
            "\"{name}\": {{\"target_metric_name\": \"{metric}\", \"validation_target_value\": 0.5, \
             \"step_hint\": 1000}}"
        )
    };
    let names = |list: &[(&str, &str)]| {
        let names: Vec<String> = list.iter().map(|w| format!("\"{}\"", w.0)).collect();
        names.join(", ")
    };
    let text = format!(
        "{{\"base_workloads\": [{}], \"held_out_workloads\": [{}], \"workloads\": {{{}}}}}",
        names(&WORKLOADS[..BASE]),
        names(&WORKLOADS[BASE..]),
        WORKLOADS.iter().map(entry).collect::<Vec<_>>().join(", ")
    );
    std::fs::write(path, text).unwrap();
}

/// Writes the tree; gives files and bytes.
fn write_tree(root: &Path, studies: usize) -> (usize, usize) {
    let (mut files, mut bytes) = (0, 0);
    let mut noise = Noise(1);
    for s in 0..SUBMISSIONS {
        for study in 0..studies {
            for (workload, metric) in WORKLOADS {
                for trial in 1..=TRIALS {
                    let dir = root.join(format!(
                        "submission_{s}/study_{study}/{workload}_jax/trial_{trial}"
                    ));
                    std::fs::create_dir_all(&dir).unwrap();
                    let text = log(metric, &mut noise);
                    bytes += text.len();
                    files += 1;
                    std::fs::write(dir.join("eval_measurements.csv"), text).unwrap();
                }
            }
        }
    }
    (files, bytes)
}

/// One log: a metric that comes near its target or meets it, among the usual other columns.
fn log(metric: &str, noise: &mut Noise) -> String {
    let minimised = ["loss", "wer"].contains(&metric);
    let splits = ["test", "train", "validation"];
    let mut text = String::from(
        "accumulated_eval_time,accumulated_logging_time,accumulated_submission_time,global_step,\
         preemption_count,score",
    );
    for split in splits {
        let _ = write!(text, ",{split}/extra,{split}/{metric},{split}/num_examples");
    }
    text.push_str(",total_duration\n");
    let (speed, skill) = (0.5 + noise.next(), 0.9 + 0.25 * noise.next());
    for row in 0..ROWS {
        let clock = speed * (100.0 * row as f64 + noise.next());
        let progress = skill * (row as f64 / ROWS as f64).sqrt() + 0.02 * noise.next();
        let value = if minimised {
            1.0 - progress / 2.0
        } else {
            progress / 2.0
        };
        let _ = write!(
            text,
            "{},{},{clock},{},0,{clock}",
            noise.next() * 1e3,
            noise.next(),
            1 + row * 100
        );
        for _ in splits {
            let _ = write!(text, ",{},{value},50000", noise.next());
        }
        let _ = writeln!(text, ",{}", clock + noise.next() * 1e3);
    }
    text
}

/// Processor seconds of all children so far, and the highest resident memory of any in MB (those
/// that are measured only grow).
fn children() -> (f64, f64) {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or((f64::NAN, f64::NAN), |u| {
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        (
            seconds(u.user_time()) + seconds(u.system_time()),
            u.max_rss() as f64 / 1024.0,
        )
    })
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let targets = dir.path().join("targets.json");
    write_targets(&targets);
    println!("logs   MB   seconds (best and worst of 5)   processor seconds   peak memory [MB]");
    for (name, studies) in [("small", 3), ("large", 30)] {
        let root = dir.path().join(name);
        let (files, bytes) = write_tree(&root, studies);
        let (before, _) = children();
        let mut times: Vec<f64> = (0..6)
            .map(|_| {
                let start = Instant::now();
                let status = Command::new(env!("CARGO_BIN_EXE_velodrome"))
                    .args(["score", "--format", "json", "--algoperf"])
                    .arg(&root)
                    .arg("--targets")
                    .arg(&targets)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .unwrap();
                assert!(status.success());
                start.elapsed().as_secs_f64()
            })
            .skip(1)
            .collect();
        times.sort_by(f64::total_cmp);
        let (used, memory) = children();
        println!(
            "{files}   {:.1}   {:.3} to {:.3}   {:.3}   {memory:.0}",
            bytes as f64 / 1e6,
            times[0],
            times[4],
            (used - before) / 6.0,
        );
    }
}

//! Files that are removed, cut short or changed between two runs.

use crate::common::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use velodrome::results::TrialRecord;
use velodrome::results::run::trial_dir;

const SUITE: &str = r#"
name = "damage"
workloads = ["digits_mlp"]
submissions = ["adamw", "nesterov", "schedule_free_adamw"]
threads = 1

[limits]
checkpoint_seconds = 0

[overrides.digits_mlp]
budget_work = 1920
eval_every_work = 320
"#;

pub const ENDED: &str = "digits_mlp.adamw.study-1.trial-1";
pub const RUNNING: &str = "digits_mlp.nesterov.study-1.trial-1";
const PLANNED: &str = "digits_mlp.schedule_free_adamw.study-1.trial-1";

/// A suite, its undisturbed run, and a run that was interrupted: one trial has ended, one has a checkpoint, one
/// has not begun.
pub struct Halfway {
    pub dir: tempfile::TempDir,
    pub suite: PathBuf,
    pub straight: PathBuf,
    pub halfway: PathBuf,
}

impl Halfway {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let suite = suite(dir.path(), SUITE);
        let (straight, halfway) = (dir.path().join("straight"), dir.path().join("halfway"));
        let made = Self {
            dir,
            suite,
            straight,
            halfway,
        };
        succeed(&mut made.run(&made.straight));
        copy(&made.straight, &made.halfway);
        std::fs::remove_dir_all(trial_dir(&made.halfway, PLANNED)).unwrap();
        let running = trial_dir(&made.halfway, RUNNING);
        rewind(&running);
        std::fs::remove_file(running.join("evals.jsonl")).unwrap();
        let mut command = velodrome();
        command.arg("__trial").arg("--dir").arg(&running);
        let arguments =
            r#"{"checkpoint_seconds":0,"keep_weights":false,"drill":{"halt_at_work":960}}"#;
        command.args(["--arguments", arguments]);
        // It ends with its runner, which is gone when its standard input closes.
        let mut trial = command.stdin(Stdio::piped()).spawn().unwrap();
        let input = trial.stdin.take();
        assert!(trial.wait_with_output().unwrap().status.success());
        drop(input);
        assert!(running.join("checkpoint").exists());
        made
    }

    pub fn run(&self, out: &Path) -> Command {
        let mut command = velodrome();
        command.arg("run").arg(&self.suite).arg("--records-only");
        command.arg("--out").arg(out);
        command
    }

    /// A copy of the interrupted run.
    pub fn copy(&self) -> PathBuf {
        let out = self.dir.path().join("damaged");
        let _ = std::fs::remove_dir_all(&out);
        copy(&self.halfway, &out);
        out
    }
}

/// A change of a file; `None` where it is too short for it.
type Change = Box<dyn Fn(&[u8]) -> Option<Vec<u8>>>;

fn changes(dice: &mut Dice, flips: usize) -> Vec<(String, Change)> {
    let mut all: Vec<(String, Change)> = vec![
        ("emptied".into(), Box::new(|_| Some(Vec::new()))),
        (
            "halved".into(),
            Box::new(|b| Some(b[..b.len() / 2].to_vec())),
        ),
        (
            "without its last byte".into(),
            Box::new(|b| Some(b[..b.len().checked_sub(1)?].to_vec())),
        ),
        // What some file systems leave of a file whose pages were not written before the power went.
        ("zeroed".into(), Box::new(|b| Some(vec![0; b.len()]))),
    ];
    for _ in 0..flips {
        let (place, bit) = (dice.below(u64::MAX), dice.below(8));
        let flip = move |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let place = place.checked_rem(bytes.len() as u64)? as usize;
            bytes[place] ^= 1 << bit;
            Some(bytes)
        };
        all.push((format!("bit {bit} of {place} mod size"), Box::new(flip)));
    }
    all
}

/// Damages every file of an interrupted run in every way, one at a time, and goes on.
fn damage_everything(seed: u64, flips: usize) {
    let made = Halfway::new();
    let mut dice = Dice(seed);
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let pristine = files(&made.halfway);
    let names = pristine
        .keys()
        .map(|p| p.strip_prefix(&made.halfway).unwrap());
    for name in names {
        let file = name.file_name().unwrap().to_str().unwrap();
        let mut all = changes(&mut dice, flips);
        all.push(("removed".into(), Box::new(|_| None)));
        for (what, change) in all {
            let out = made.copy();
            let path = out.join(name);
            match change(&std::fs::read(&path).unwrap()) {
                Some(changed) => std::fs::write(&path, changed).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let damaged = files(&out);
            let (_, err, code) = finish(&mut made.run(&out));
            let outcome = match code {
                0 => {
                    // Without a silent difference.
                    assert_same(&made.straight, &out);
                    "the same records"
                }
                _ => {
                    assert!(matches!(code, 4 | 6 | 7), "{name:?} {what}: {code} {err}");
                    let what_is_named = err.contains(file) || err.contains(RUNNING) || code == 6;
                    assert!(what_is_named, "{name:?} {what}: {err}");
                    // Nothing was raced over what may still be of use.
                    let records = |all: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, Vec<u8>> {
                        let kept = ["run.json", "trial.json", "evals.jsonl", "checkpoint"];
                        let of_use = |p: &Path| kept.iter().any(|k| p.ends_with(k));
                        all.into_iter().filter(|(p, _)| of_use(p)).collect()
                    };
                    assert!(records(damaged) == records(files(&out)), "{name:?} {what}");
                    "an error that names it"
                }
            };
            *counts.entry((file.to_string(), outcome)).or_default() += 1;
        }
    }
    let all: usize = counts.values().sum();
    println!("{all} damaged files: {counts:#?}");
    let named = |file: &str| counts.contains_key(&(file.to_string(), "an error that names it"));
    for file in ["run.json", "trial.json", "evals.jsonl", "checkpoint"] {
        assert!(named(file), "no damage of {file} was named");
    }
}

#[test]
fn every_file_may_be_damaged_and_no_difference_is_silent() {
    damage_everything(1, 1);
}

#[test]
#[ignore = "takes some minutes: some hundred changed bits"]
fn many_bits_may_change_and_no_difference_is_silent() {
    damage_everything(2, 40);
}

/// `run.json` guards a folder against other plans, and where it is lost the records do.
#[test]
fn records_of_another_plan_are_not_taken_for_this_ones() {
    let made = Halfway::new();
    let out = made.copy();
    std::fs::remove_file(out.join("run.json")).unwrap();
    let before = files(&out.join("trials"));
    let (_, err, code) = finish(made.run(&out).args(["--seed", "7"]));
    assert_eq!(code, 6, "{err}");
    assert!(err.contains("seeds") && err.contains(ENDED), "{err}");
    assert!(before == files(&out.join("trials")));
    succeed(&mut made.run(&out));
    assert_same(&made.straight, &out);
}

/// The process of a trial reads its settings from the record, which the runner holds against the plan first.
#[test]
fn changed_settings_of_an_interrupted_trial_are_named() {
    let made = Halfway::new();
    let out = made.copy();
    let path = trial_dir(&out, RUNNING).join("trial.json");
    let mut record = TrialRecord::read(&path).unwrap();
    *record.point.get_mut("learning_rate").unwrap() *= 2.0;
    record.write(&path).unwrap();
    let (_, err, code) = finish(&mut made.run(&out));
    assert_eq!(code, 6, "{err}");
    assert!(err.contains(RUNNING) && err.contains("`point`"), "{err}");
}

/// Weights are large and seldom read: who reads them looks whether they are whole.
#[test]
fn changed_weights_are_named_by_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    let text = SUITE.replace("[limits]", "[limits]\nkeep_weights = true");
    let (suite, out) = (suite(dir.path(), &text), dir.path().join("run"));
    let mut command = velodrome();
    command.arg("run").arg(&suite).args(["-s", "adamw"]);
    succeed(command.arg("--records-only").arg("--out").arg(&out));
    let audit = || {
        let mut command = velodrome();
        finish(command.arg("audit").arg(&out).args(["--studies", "0"]))
    };
    assert_eq!(audit().2, 0);
    let weights = trial_dir(&out, ENDED).join("weights.burnpack");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let (stdout, err, code) = audit();
    assert_eq!(code, 1, "{stdout}\n{err}");
    assert!(stdout.contains("weights.burnpack"), "{stdout}\n{err}");
}

/// What is made from the records is made again.
#[test]
fn a_damaged_board_is_written_again() {
    let made = Halfway::new();
    let out = made.copy();
    let run = || {
        let mut command = velodrome();
        succeed(command.arg("run").arg(&made.suite).arg("--out").arg(&out));
    };
    run();
    let records = ["trials", "run.json", ".lock"].map(|n| out.join(n));
    let made_of_records = |path: &PathBuf| !records.iter().any(|r| path.starts_with(r));
    let before = files(&out);
    let derived: Vec<&PathBuf> = before.keys().filter(|p| made_of_records(p)).collect();
    assert!(derived.len() > 10, "{derived:?}");
    for (n, path) in derived.iter().enumerate() {
        match n % 3 {
            0 => std::fs::remove_file(path).unwrap(),
            1 => std::fs::write(path, "").unwrap(),
            _ => std::fs::write(path, vec![7; before[*path].len()]).unwrap(),
        }
    }
    run();
    let after = files(&out);
    for path in derived {
        assert!(after.get(path) == before.get(path), "{}", path.display());
    }
    assert_same(&made.straight, &out);
}

//! Signals at seeded moments, while trials race and while files are written.

use crate::common::*;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use velodrome::results::Status;
use velodrome::results::run::{Run, trial_dir};

const SUITE: &str = r#"
name = "kills"
workloads = ["digits_mlp"]
submissions = ["adamw", "nesterov", "schedule_free_adamw"]
studies = 2
threads = 1

[limits]
# A checkpoint at every evaluation.
checkpoint_seconds = 0

[overrides.digits_mlp]
budget_work = 7680
eval_every_work = 640
"#;

/// What happens to a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    /// SIGKILL to the runner; its trial's process has to notice.
    Kill,
    /// SIGKILL to the runner and to its trial's process.
    KillBoth,
    /// SIGTERM to the runner.
    Terminate,
    /// SIGTERM to both, as from a service manager.
    TerminateBoth,
    /// SIGSTOP to both, then SIGKILL.
    StopKill,
    /// SIGSTOP to both, then SIGCONT.
    StopContinue,
}

const LAST_BLOWS: [Blow; 5] = [
    Blow::Kill,
    Blow::KillBoth,
    Blow::Terminate,
    Blow::TerminateBoth,
    Blow::StopKill,
];

/// A race in a process group of its own, and its events.
struct Race {
    child: Child,
    events: Receiver<serde_json::Value>,
}

impl Race {
    fn start(suite: &Path, out: &Path) -> Self {
        let mut command = velodrome();
        command.arg("run").arg(suite).arg("--out").arg(out);
        command.args(["--records-only", "--events", "json"]);
        let mut child = command
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let (sender, events) = channel();
        let errors = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                // What is no event is a message about the signal.
                if let Ok(event) = serde_json::from_str(&line) {
                    let _ = sender.send(event);
                }
            }
        });
        Self { child, events }
    }

    /// Waits until a trial is on its way, or the run has ended, and gives the trial's name.
    fn trial(&self) -> Option<String> {
        loop {
            let event = self.events.recv_timeout(Duration::from_secs(60)).ok()?;
            if event["event"] == "trial_started" {
                return event["id"].as_str().map(String::from);
            }
        }
    }

    /// Waits for the next evaluation; `trial` becomes the trial that is on its way. False where the run ends.
    fn evaluation(&self, trial: &mut Option<String>) -> bool {
        while let Ok(event) = self.events.recv_timeout(Duration::from_secs(60)) {
            match event["event"].as_str() {
                Some("trial_started") => *trial = event["id"].as_str().map(String::from),
                Some("evaluated") => return true,
                _ => {}
            }
        }
        false
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn signal_both(&self, signal: Signal) {
        killpg(self.pid(), signal).unwrap();
    }

    fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// What was done and what was met.
#[derive(Debug, Default)]
struct Counts {
    blows: BTreeMap<Blow, usize>,
    /// Blows that left a file half written beside the whole one.
    half_written: BTreeMap<&'static str, usize>,
    races: usize,
    resumes: u32,
    kept: usize,
}

/// Waits until one of the trial's files is being written.
fn wait_for_write(race: &mut Race, trial: &Path) {
    let names = ["checkpoint.tmp", "trial.json.tmp"];
    let end = Instant::now() + Duration::from_millis(400);
    while Instant::now() < end && !names.iter().any(|n| trial.join(n).exists()) {
        if !race.running() {
            return;
        }
    }
}

/// Lets a race go on until the dice say otherwise.
fn strike(race: &mut Race, out: &Path, dice: &mut Dice, counts: &mut Counts) {
    let mut trial = None;
    // By evaluations, not by seconds: so races get as far on a busy machine.
    for _ in 0..dice.below(30) {
        if !race.evaluation(&mut trial) || !race.running() {
            race.child.wait().unwrap();
            return;
        }
        if dice.below(3) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(10)));
            race.signal_both(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(dice.below(10)));
            race.signal_both(Signal::SIGCONT);
            *counts.blows.entry(Blow::StopContinue).or_default() += 1;
        }
    }
    let trial = trial.map(|id| trial_dir(out, &id));
    match &trial {
        Some(trial) if dice.below(2) == 0 => wait_for_write(race, trial),
        // Without a trial, at any moment of the start.
        _ => std::thread::sleep(Duration::from_millis(dice.below(100))),
    }
    let blow = LAST_BLOWS[dice.below(LAST_BLOWS.len() as u64) as usize];
    if !race.running() {
        return;
    }
    match blow {
        Blow::Kill => race.signal(Signal::SIGKILL),
        Blow::KillBoth => race.signal_both(Signal::SIGKILL),
        Blow::Terminate => race.signal(Signal::SIGTERM),
        Blow::TerminateBoth => race.signal_both(Signal::SIGTERM),
        Blow::StopKill => {
            race.signal_both(Signal::SIGSTOP);
            race.signal_both(Signal::SIGKILL);
        }
        Blow::StopContinue => unreachable!("not among the last blows"),
    }
    let status = race.child.wait().unwrap();
    let expected = match blow {
        // At the very end there may be nothing to interrupt.
        Blow::Terminate | Blow::TerminateBoth => {
            matches!(status.code(), Some(130 | 0)) || status.signal() == Some(15)
        }
        _ => status.signal() == Some(9) || status.code() == Some(0),
    };
    assert!(expected, "{blow:?}: {status}");
    *counts.blows.entry(blow).or_default() += 1;
    if let Some(trial) = trial {
        for name in ["checkpoint", "trial.json"] {
            if trial.join(format!("{name}.tmp")).exists() {
                *counts.half_written.entry(name).or_default() += 1;
            }
        }
    }
}

/// The files of all trials that have ended. A run that was struck must read without damage.
fn ended(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if !out.join("run.json").exists() {
        return BTreeMap::new();
    }
    let run = Run::read(out).unwrap();
    assert!(run.damaged.is_empty(), "{:?}", run.damaged);
    let ended = run.trials.iter().filter(|t| t.record.status.is_final());
    let names = ended.flat_map(|t| ["trial.json", "evals.jsonl"].map(|n| t.path.join(n)));
    names
        .map(|p| (p.clone(), std::fs::read(p).unwrap()))
        .collect()
}

/// Strikes races `starts` times; each race that gets through is held against an undisturbed one.
fn strike_races(seed: u64, starts: usize) -> Counts {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let straight = dir.path().join("straight");
    let mut command = velodrome();
    command.arg("run").arg(&suite).arg("--records-only");
    succeed(command.arg("--out").arg(&straight));

    let (mut dice, mut counts) = (Dice(seed), Counts::default());
    let mut left = starts;
    while left > 0 {
        let out = dir.path().join(format!("race-{}", counts.races));
        let mut race;
        loop {
            let before = ended(&out);
            race = Race::start(&suite, &out);
            if left == 0 {
                break;
            }
            left -= 1;
            strike(&mut race, &out, &mut dice, &mut counts);
            let after = ended(&out);
            for (path, content) in &before {
                let now = after.get(path);
                assert!(now == Some(content), "{} was changed", path.display());
            }
            counts.kept += before.len() / 2;
            let done = Run::read(&out).is_ok_and(|run| {
                run.missing.is_empty() && run.trials.iter().all(|t| t.record.status.is_final())
            });
            if done {
                race = Race::start(&suite, &out);
                break;
            }
        }
        let status = race.child.wait().unwrap();
        assert_eq!(status.code(), Some(0));
        assert_same(&straight, &out);
        let litter =
            |p: &PathBuf| p.ends_with("checkpoint") || p.extension().is_some_and(|e| e == "tmp");
        let litter: Vec<PathBuf> = files(&out).into_keys().filter(litter).collect();
        assert!(litter.is_empty(), "{litter:?}");
        counts.races += 1;
        let run = read(&out);
        let resumes = run.trials.iter().map(|t| t.record.outcome.resumes);
        counts.resumes += resumes.sum::<u32>();
        std::fs::remove_dir_all(&out).unwrap();
    }
    let all: usize = counts.blows.values().sum();
    println!("{all} signals: {counts:?}");
    counts
}

fn struck(seed: u64, starts: usize, least: usize) {
    let counts = strike_races(seed, starts);
    let all: usize = counts.blows.values().sum();
    assert!(all >= least, "only {all} signals met a running race");
    assert!(counts.resumes > 0, "no trial continued from a checkpoint");
    assert!(counts.kept > 0, "no trial had ended before a signal");
}

#[test]
fn a_hundred_signals_change_no_number() {
    struck(1, 40, 100);
}

#[test]
fn another_hundred_signals_change_no_number() {
    struck(2, 40, 100);
}

#[test]
#[ignore = "takes some minutes: a thousand signals"]
fn a_thousand_signals_change_no_number() {
    struck(3, 250, 1000);
}

/// A trial whose own process is killed has crashed, since nothing tells a kill by hand from one by the system;
/// the others are raced, and raced again it is as if nothing had been.
#[test]
fn a_killed_trial_is_a_row_and_raced_again_it_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let (straight, out) = (dir.path().join("straight"), dir.path().join("run"));
    let run = |out: &Path, more: &[&str]| {
        let mut command = velodrome();
        command.arg("run").arg(&suite).arg("--records-only");
        succeed(command.arg("--out").arg(out).args(more));
    };
    run(&straight, &[]);
    let mut race = Race::start(&suite, &out);
    let (mut dice, mut killed) = (Dice(4), Vec::new());
    while let Some(id) = race.trial() {
        if killed.len() == 3 {
            continue;
        }
        std::thread::sleep(Duration::from_millis(dice.below(200)));
        // The process of a trial writes its number into its lock.
        let lock = std::fs::read_to_string(trial_dir(&out, &id).join(".lock"));
        if let Some(process) = lock.ok().and_then(|l| l.trim().parse().ok())
            && kill(Pid::from_raw(process), Signal::SIGKILL).is_ok()
        {
            killed.push(id);
        }
    }
    assert_eq!(race.child.wait().unwrap().code(), Some(0));
    let run_then = read(&out);
    let crashed = run_then.trials.iter().map(|t| &t.record);
    let crashed: Vec<_> = crashed.filter(|r| r.status == Status::Crashed).collect();
    println!("{} trials killed, {} crashed", killed.len(), crashed.len());
    // A trial may have written its record before it was killed.
    assert!(!crashed.is_empty() && crashed.iter().all(|r| killed.contains(&r.id)));
    for record in &crashed {
        let reason = record.reason.as_deref().unwrap_or_default();
        assert!(reason.contains("signal 9"), "{reason}");
    }
    run(&out, &["--retry-failed"]);
    assert_same(&straight, &out);
}

/// A runner that was stopped for longer than the stall limit must not take its own standstill for the trial's.
#[test]
fn a_race_that_was_stopped_for_long_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let text = SUITE.replace("[limits]", "[limits]\nstall_seconds = 5");
    let (suite, out) = (suite(dir.path(), &text), dir.path().join("run"));
    let mut race = Race::start(&suite, &out);
    assert!(race.evaluation(&mut None));
    race.signal_both(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(7));
    race.signal_both(Signal::SIGCONT);
    assert_eq!(race.child.wait().unwrap().code(), Some(0));
    let mut told = 0;
    for trial in read(&out).trials {
        let status = trial.record.status;
        assert!(!status.is_failure(), "{}: {status}", trial.record.id);
        let findings = trial.record.findings.iter();
        told += findings.filter(|f| f.code == "standstill").count();
    }
    // The seconds went on, and the record says so.
    assert!(told > 0, "no record tells of the standstill");
}

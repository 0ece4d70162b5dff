//! Several runners, and readers, on one folder.

use crate::common::*;
use crate::damage::{Halfway, RUNNING};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use velodrome::results::run::trial_dir;

/// Starts a runner that tells its events.
fn start(made: &Halfway, out: &Path) -> Child {
    let mut command = made.run(out);
    command.args(["--events", "json"]).stdout(Stdio::null());
    command.spawn().unwrap()
}

/// The trials that a runner started, and how it ended.
fn ended(runner: Child) -> (Vec<String>, Option<i32>, String) {
    let output = runner.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let events = err.lines().filter_map(|l| serde_json::from_str(l).ok());
    let started = events.filter_map(|event: serde_json::Value| {
        (event["event"] == "trial_started").then(|| event["id"].to_string())
    });
    (started.collect(), output.status.code(), err)
}

#[test]
fn of_several_runners_one_races_and_the_others_name_it() {
    let made = Halfway::new();
    let mut counts: BTreeMap<Option<i32>, usize> = BTreeMap::new();
    for round in 0..3 {
        let out = made.dir.path().join(format!("round-{round}"));
        let runners: Vec<Child> = (0..4).map(|_| start(&made, &out)).collect();
        let pids: Vec<u32> = runners.iter().map(Child::id).collect();
        let mut started = Vec::new();
        for runner in runners {
            let own = runner.id();
            let (trials, code, err) = ended(runner);
            started.extend(trials);
            *counts.entry(code).or_default() += 1;
            match code {
                // The first one, or one that came when the first had finished.
                Some(0) => {}
                Some(5) => {
                    let mut others = pids.iter().filter(|p| **p != own);
                    let named = others.any(|p| err.contains(&format!("process {p}")));
                    // The holder may not have written its number yet.
                    assert!(named || err.contains("process ?"), "{err}");
                }
                other => panic!("{other:?}: {err}"),
            }
        }
        started.sort();
        let raced = started.len();
        started.dedup();
        assert_eq!((started.len(), raced), (3, 3), "a trial was raced twice");
        assert_same(&made.straight, &out);
    }
    println!("12 runners in 3 folders, by exit code: {counts:?}");
    assert!(counts.contains_key(&Some(5)), "no runner met another");
}

/// The process of a runner that was killed may take its time to notice, and may even end its trial: the next
/// runner waits for it, and does not race the trial again.
#[test]
fn a_trial_that_ends_behind_the_next_runners_back_is_kept() {
    let made = Halfway::new();
    let out = made.copy();
    let (trial, whole) = (trial_dir(&out, RUNNING), trial_dir(&made.straight, RUNNING));
    let lock = File::options().write(true).open(trial.join(".lock"));
    let lock = lock.unwrap();
    lock.lock().unwrap();
    let mut runner = start(&made, &out);
    let mut events = BufReader::new(runner.stderr.take().unwrap()).lines();
    let began = events.find(|l| l.as_ref().is_ok_and(|l| l.contains("trial_started")));
    assert!(began.unwrap().unwrap().contains(RUNNING));
    // Long enough for the trial's process to come to the lock; it waits for 10 s.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(trial.join("checkpoint").exists(), "it did not wait");
    for name in ["evals.jsonl", "trial.json"] {
        std::fs::copy(whole.join(name), trial.join(name)).unwrap();
    }
    std::fs::remove_file(trial.join("checkpoint")).unwrap();
    drop(lock);
    let rest: Vec<String> = events.map_while(Result::ok).collect();
    assert_eq!(runner.wait().unwrap().code(), Some(0), "{rest:?}");
    for name in ["evals.jsonl", "trial.json"] {
        let [then, now] = [&whole, &trial].map(|d| std::fs::read(d.join(name)).unwrap());
        assert!(then == now, "{name} was written again");
    }
    assert_same(&made.straight, &out);
}

/// Boards and reports of a run that goes on: each is whole, and of the trials that have ended by then.
#[test]
fn readers_do_not_disturb_a_race_and_are_not_disturbed() {
    let made = Halfway::new();
    let out = made.dir.path().join("read");
    let page = made.dir.path().join("page.html");
    let mut runner = start(&made, &out);
    let mut events = runner.stderr.take().unwrap();
    let drain = std::thread::spawn(move || std::io::copy(&mut events, &mut std::io::sink()));
    let mut codes: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    let mut rows = 0;
    let end = Instant::now() + Duration::from_secs(120);
    let mut running = true;
    while running && Instant::now() < end {
        // Once more when the race is over.
        running = runner.try_wait().unwrap().is_none();
        let planned = out.join("run.json").exists();
        let mut score = velodrome();
        score.arg("score").arg(&out).args(["--format", "json"]);
        let mut report = velodrome();
        report.arg("report").arg(&out).arg("--out").arg(&page);
        for (name, command) in [("score", &mut score), ("report", &mut report)] {
            let (text, err, code) = finish(command);
            let allowed = match code {
                // Where nothing has ended there is no board.
                0 | 9 => true,
                2 => !planned,
                _ => false,
            };
            assert!(allowed, "{name}: {code} {err}");
            *codes.entry((name, code)).or_default() += 1;
            if (name, code) == ("score", 0) {
                let board: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert!(board.is_object(), "{text}");
                rows += 1;
            }
            if (name, code) == ("report", 0) {
                let text = std::fs::read_to_string(&page).unwrap();
                assert!(text.trim_end().ends_with("</html>"));
            }
        }
    }
    assert_eq!(runner.wait().unwrap().code(), Some(0));
    drain.join().unwrap().unwrap();
    println!("readings by exit code: {codes:?}");
    assert!(rows > 0);
    assert_same(&made.straight, &out);
}

/// Two commands may write the same report at a time; each leaves a whole one.
#[test]
fn two_reports_at_a_time_are_both_whole() {
    let made = Halfway::new();
    let page = made.straight.join("report.html");
    for _ in 0..8 {
        let reports: Vec<Child> = (0..3)
            .map(|_| {
                let mut command = velodrome();
                command.arg("report").arg(&made.straight);
                command.spawn().unwrap()
            })
            .collect();
        for report in reports {
            let output = report.wait_with_output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{err}");
            let text = std::fs::read_to_string(&page).unwrap();
            assert!(text.trim_end().ends_with("</html>"));
        }
    }
    let left: Vec<_> = files(&made.straight).into_keys().collect();
    let temporary = left
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "tmp"));
    assert_eq!(temporary.count(), 0, "{left:?}");
}

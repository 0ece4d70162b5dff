//! The system's clock may stand anywhere, and jump: seconds come from a clock that only goes forward.

use crate::common::*;
use crate::damage::{ENDED, Halfway, RUNNING};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};
use velodrome::results::TrialRecord;
use velodrome::results::run::trial_dir;

/// As if the clock had stood at another time when the files were written, and jumped since.
fn date(dir: &Path, time: SystemTime) {
    for path in files(dir).into_keys() {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }
}

#[test]
fn a_run_of_another_century_goes_on() {
    let made = Halfway::new();
    let century = Duration::from_secs(100 * 365 * 86_400);
    let times = [SystemTime::UNIX_EPOCH, SystemTime::now() + century];
    for (time, started) in times.into_iter().zip([Some(-4e9), Some(5e9)]) {
        let out = made.copy();
        for id in [ENDED, RUNNING] {
            let path = trial_dir(&out, id).join("trial.json");
            let mut record = TrialRecord::read(&path).unwrap();
            record.started = started;
            record.write(&path).unwrap();
        }
        date(&out, time);
        let ended = std::fs::read(trial_dir(&out, ENDED).join("trial.json")).unwrap();
        succeed(&mut made.run(&out));
        assert_same(&made.straight, &out);
        let after = std::fs::read(trial_dir(&out, ENDED).join("trial.json")).unwrap();
        assert!(ended == after, "an ended trial was changed");
        let run = read(&out);
        let resumed = run.trials.iter().find(|t| t.record.id == RUNNING).unwrap();
        assert_eq!(resumed.record.outcome.resumes, 1);
        // Nothing negative, nothing of a century.
        let clock = resumed.record.outcome.clock;
        for seconds in [
            clock.on_clock(),
            clock.total,
            clock.input_wait,
            clock.checkpoint,
        ] {
            assert!((0.0..3600.0).contains(&seconds), "{clock:?}");
        }
        for command in ["score", "report"] {
            succeed(velodrome().arg(command).arg(&out));
        }
    }
}

/// Three places ask the system's clock: the date of a record, a seed that nobody can know, and the day of an
/// entry of a history. No duration comes from it.
#[test]
fn no_duration_comes_from_the_systems_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in [
        "src",
        "harness/src",
        "results/src",
        "workloads/src",
        "submissions/src",
        "kernels/src",
    ] {
        for (path, content) in files(&root.join(folder)) {
            if path.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let text = String::from_utf8(content).unwrap();
            if text.contains("SystemTime::now") || text.contains("UNIX_EPOCH") {
                let name = path.strip_prefix(root).unwrap();
                found.push(name.to_str().unwrap().to_string());
            }
        }
    }
    found.sort();
    assert_eq!(
        found,
        [
            "harness/src/race/runner.rs",
            "src/commands/audit.rs",
            "src/commands/history.rs"
        ]
    );
}

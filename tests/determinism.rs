//! The same seed gives the same numbers, bit for bit, whatever else the machine does.

mod common;

use common::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const SUITE: &str = r#"
name = "repeat"
workloads = ["digits_mlp", "fashion_resnet", "shakespeare_gpt"]
submissions = ["adamw", "nesterov", "lion", "schedule_free_adamw"]
studies = 1

[overrides.digits_mlp]
budget_work = 6400
eval_every_work = 640
[overrides.fashion_resnet]
budget_work = 640
eval_every_work = 320
[overrides.shakespeare_gpt]
budget_work = 160
eval_every_work = 80
"#;

fn race(suite: &Path, out: &Path, seed: &str) {
    succeed(
        velodrome()
            .arg("run")
            .arg(suite)
            .args(["--seed", seed])
            .arg("--out")
            .arg(out),
    );
}

#[test]
fn a_loaded_machine_changes_seconds_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let suite = suite(dir.path(), SUITE);
    let out = |name: &str| dir.path().join(name);
    race(&suite, &out("quiet"), "5");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box((0..100_000).sum::<u64>());
            }
        });
        race(&suite, &out("loaded"), "5");
        stop.store(true, Ordering::Relaxed);
    });
    let (quiet, loaded) = (
        timeless_evals(&out("quiet")),
        timeless_evals(&out("loaded")),
    );
    assert_eq!(quiet.len(), 12);
    assert_eq!(quiet, loaded);
    let records = |name: &str| -> Vec<_> {
        let run = read(&out(name));
        run.trials.iter().map(|t| t.record.timeless()).collect()
    };
    assert_eq!(records("quiet"), records("loaded"));

    race(&suite, &out("other"), "6");
    for ((id, a), (_, b)) in quiet.iter().zip(timeless_evals(&out("other"))) {
        assert_ne!(a, &b, "{id} does not depend on the seed");
    }
}

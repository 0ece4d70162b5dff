//! The workload that `velodrome new workload` writes, as its author races it: a binary of its own.

mod common;

use common::*;
use velodrome::results::Status;

#[test]
fn a_workload_outside_the_collection_is_verified_and_raced_with_its_variant() {
    let names = ["my_workload", "my_workload_tanh"];
    let out = succeed(example("my_workload").arg("verify").args(names));
    assert!(
        out.contains("ok   my_workload_tanh builds its model"),
        "{out}"
    );

    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let mut command = example("my_workload");
    command.args(["run", "-w", names[0], "-w", names[1], "-s", "adamw"]);
    succeed(command.arg("--out").arg(&folder));
    let run = read(&folder);
    assert_eq!(run.trials.len(), 2);
    for trial in &run.trials {
        let record = &trial.record;
        assert_eq!(record.status, Status::Reached, "{}", record.id);
        assert!(names.contains(&record.workload.as_str()), "{}", record.id);
    }
}

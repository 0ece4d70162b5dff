//! The workloads on fetched data, where the archives are in the cache.

mod common;

use velodrome_harness::contract::Size;
use velodrome_workloads::data::fetched::{FETCHED, cache};

#[test]
#[ignore = "reads hundreds of megabytes that `velodrome data fetch --all` brings"]
fn every_fetched_workload_opens_with_the_stated_splits() {
    for set in FETCHED {
        for package in set.packages {
            set.check(package, &cache()).unwrap();
        }
    }
    let mut opened = 0;
    for workload in common::registry().workloads() {
        let spec = workload.spec();
        if spec.size != Size::Workstation {
            continue;
        }
        let started = std::time::Instant::now();
        let splits = workload.open().unwrap();
        let found = [&splits.train, &splits.validation, &splits.test].map(|s| s.len());
        println!(
            "{}: {found:?} in {:.1} s, left out: {:?}",
            spec.name,
            started.elapsed().as_secs_f64(),
            splits.skipped
        );
        assert_eq!(found, spec.split_sizes, "{}", spec.name);
        assert!(splits.train.batch(&[0, 1]).examples == 2);
        opened += 1;
    }
    assert!(opened > 0);
}

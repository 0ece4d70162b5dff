//! The workloads on fetched data, where the archives are in the cache.

mod common;

use std::collections::HashSet;
use velodrome_harness::contract::{Dataset, HostValues, Size};
use velodrome_workloads::data::fetched::{FETCHED, cache};

#[test]
#[ignore = "reads hundreds of megabytes that `velodrome data fetch --all` brings"]
fn every_fetched_workload_opens_with_the_stated_splits() {
    for set in FETCHED {
        for package in set.packages {
            set.check(package, &cache()).unwrap();
        }
    }
    let mut opened = Vec::new();
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
        opened.push(spec.name);
    }
    for base in ["cifar10_vit", "reviews_gpt", "catalogues_transformer"] {
        assert!(opened.iter().any(|name| name == base), "{base}: {opened:?}");
    }
}

/// No window of a held-out split occurs in training: a review is in one split.
#[test]
#[ignore = "reads the archive that `velodrome data fetch movie_reviews` brings"]
fn film_reviews_open_with_disjoint_splits() {
    let workload = common::registry().workload("reviews_gpt").unwrap();
    let splits = workload.open().unwrap();
    let found = [&splits.train, &splits.validation, &splits.test].map(|s| s.len());
    assert_eq!(found, workload.spec().split_sizes);
    assert_eq!(splits.skipped.iter().map(|s| s.examples).sum::<u64>(), 96);
    let window = |data: &dyn Dataset, index| match &data.batch(&[index]).fields[0].values {
        HostValues::Int(tokens) => tokens.iter().map(|t| *t as u8).collect::<Vec<_>>(),
        HostValues::Float(_) => panic!("tokens are integers"),
    };
    let mut text = window(&*splits.train, 0);
    for index in 1..splits.train.len() {
        text.extend(&window(&*splits.train, index)[129..]);
    }
    assert!(text.starts_with(b"I rented I AM CURIOUS-YELLOW"));
    let seen: HashSet<&[u8]> = text.windows(257).collect();
    for held_out in [&splits.validation, &splits.test] {
        for index in 0..held_out.len() {
            assert!(!seen.contains(window(&**held_out, index).as_slice()));
        }
    }
    // Nor does a window of validation occur in test.
    let test: HashSet<_> = (0..splits.test.len())
        .map(|i| window(&*splits.test, i))
        .collect();
    for index in 0..splits.validation.len() {
        assert!(!test.contains(&window(&*splits.validation, index)));
    }
}

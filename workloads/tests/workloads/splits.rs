//! Splits are disjoint by content, and batches depend on nothing but the indices.

use std::collections::HashSet;
use velodrome_harness::contract::{Dataset, HostValues};
use velodrome_workloads::data::{Digits, Fashion, ImageSplits, Shakespeare};

fn distinct_and_disjoint(splits: &ImageSplits) {
    let all = [&splits.train, &splits.validation, &splits.test];
    let sets = all.map(|images| {
        (0..images.len())
            .map(|i| images.raw(i).to_vec())
            .collect::<HashSet<_>>()
    });
    for (images, set) in all.iter().zip(&sets) {
        assert_eq!(images.len(), set.len(), "an image occurs twice in a split");
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(sets[a].is_disjoint(&sets[b]), "splits {a} and {b} overlap");
    }
}

#[test]
fn images_are_in_one_split_only() {
    distinct_and_disjoint(&Digits::open("test").unwrap());
    distinct_and_disjoint(&Fashion::open("test").unwrap());
}

#[test]
fn no_window_crosses_a_border() {
    let s = Shakespeare::open("test").unwrap();
    let extent = |w: &velodrome_workloads::data::Windows| {
        let ranges = (0..w.len()).map(|i| w.range(i));
        ranges.fold((usize::MAX, 0), |(from, to), r| {
            (from.min(r.start), to.max(r.end))
        })
    };
    let (train, validation, test) = (extent(&s.train), extent(&s.validation), extent(&s.test));
    assert!(train.1 <= validation.0 && validation.1 <= test.0);
}

#[test]
fn held_out_passages_do_not_occur_in_training() {
    let s = Shakespeare::open("test").unwrap();
    let window = |w: &velodrome_workloads::data::Windows, i| match w.batch(&[i]).fields[0].values {
        HostValues::Int(ref tokens) => tokens.clone(),
        HostValues::Float(_) => panic!("tokens are integers"),
    };
    let (context, stride) = (65, 32);
    // All of the training text, from its windows: the first whole, then what each next one adds.
    let mut text = window(&s.train, 0);
    for i in 1..s.train.len() {
        text.extend(&window(&s.train, i)[context - stride..]);
    }
    let seen: HashSet<&[i32]> = text.windows(context).collect();
    for held_out in [&s.validation, &s.test] {
        for i in 0..held_out.len() {
            assert!(!seen.contains(window(held_out, i).as_slice()), "window {i}");
        }
    }
}

#[test]
fn split_sizes_and_batches_are_as_described_and_pure() {
    for workload in crate::common::workloads() {
        let spec = workload.spec();
        let (once, again) = (workload.open().unwrap(), workload.open().unwrap());
        for ((a, b), expected) in [
            (once.train, again.train),
            (once.validation, again.validation),
            (once.test, again.test),
        ]
        .into_iter()
        .zip(spec.split_sizes)
        {
            assert_eq!(a.len(), expected, "{}", spec.name);
            assert!(!a.is_empty());
            let ids = [5, 0, expected - 1, 5];
            let first = a.batch(&ids);
            assert_eq!(first.examples, 4);
            assert_eq!(first, a.batch(&ids));
            assert_eq!(first, b.batch(&ids));
            assert_ne!(first, a.batch(&[0, 5, expected - 1, 5]));
        }
    }
}

//! The held-out draw over the workloads of this crate.

use std::collections::{BTreeMap, BTreeSet};
use velodrome_harness::contract::{Size, WorkloadSpec};
use velodrome_harness::race::held_out::draw;

fn specs() -> BTreeMap<String, WorkloadSpec> {
    let all = crate::common::registry();
    let specs = all.workloads().map(|w| w.spec());
    specs.map(|s| (s.name.clone(), s)).collect()
}

#[test]
fn one_variant_for_each_data_set_by_the_seed() {
    let registry = crate::common::registry();
    let specs = specs();
    let bases: Vec<_> = registry
        .workloads()
        .filter(|w| w.spec().change.is_none() && w.spec().size == Size::Laptop)
        .cloned()
        .collect();
    let with_variants: BTreeSet<String> = specs
        .values()
        .filter(|s| s.drawn && s.size == Size::Laptop)
        .map(|s| s.data.name.clone())
        .collect();
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let drawn = draw(&registry, &bases, seed);
        assert_eq!(drawn, draw(&registry, &bases, seed));
        let sets: Vec<String> = drawn.iter().map(|n| specs[n].data.name.clone()).collect();
        let distinct: BTreeSet<String> = sets.iter().cloned().collect();
        assert_eq!(sets.len(), distinct.len(), "{drawn:?}");
        assert_eq!(distinct, with_variants);
        for name in drawn {
            assert!(specs[&name].change.is_some() && specs[&name].drawn);
            seen.insert(name);
        }
    }
    // Forty draws among a handful of variants meet each of them.
    let all: BTreeSet<String> = specs
        .values()
        .filter(|s| s.drawn && s.size == Size::Laptop)
        .map(|s| s.name.clone())
        .collect();
    assert_eq!(seen, all);
}

#[test]
fn variants_that_are_kept_out_are_never_drawn_and_other_bases_not_touched() {
    let registry = crate::common::registry();
    let specs = specs();
    let one = vec![registry.workload("digits_mlp").unwrap()];
    for seed in 0..20 {
        let drawn = draw(&registry, &one, seed);
        assert_eq!(drawn.len(), 1);
        assert_eq!(specs[&drawn[0]].base, "digits_mlp");
    }
    // A variant alone is no base: nothing is drawn beside it.
    let variant = vec![registry.workload("digits_mlp_tanh").unwrap()];
    assert!(draw(&registry, &variant, 1).is_empty());
}

//! The held-out draw: one variant for each data set, chosen by a seed that nobody knew before.
//!
//! A submission must also solve the drawn variants for its times on their bases to count
//! (AlgoPerf, arXiv 2306.07179, section 4.2), so that what is fitted to the published workloads
//! gains nothing.

use crate::contract::{Workload, WorkloadSpec};
use crate::registry::Registry;
use crate::seed::{derive, mix};
use std::sync::Arc;

/// One variant for each data set of `workloads`, in the order of the data sets: among the variants of
/// those that are bases, without those that their authors keep out of draws. A data set without such
/// a variant has none. The draw depends on the seed, the name of the data set and the names of its
/// variants alone.
pub fn draw(registry: &Registry, workloads: &[Arc<dyn Workload>], seed: u64) -> Vec<String> {
    let bases: Vec<WorkloadSpec> = workloads
        .iter()
        .map(|w| w.spec())
        .filter(|spec| spec.change.is_none())
        .collect();
    let mut sets: Vec<&str> = Vec::new();
    for base in &bases {
        if !sets.contains(&base.data.name.as_str()) {
            sets.push(&base.data.name);
        }
    }
    let variants: Vec<WorkloadSpec> = registry
        .workloads()
        .map(|w| w.spec())
        .filter(|spec| spec.drawn && bases.iter().any(|b| b.name == spec.base))
        .collect();
    sets.into_iter()
        .filter_map(|set| {
            let of_set: Vec<&WorkloadSpec> =
                variants.iter().filter(|v| v.data.name == set).collect();
            let number = mix(derive(seed, &["held-out", set]), 0) % (of_set.len().max(1) as u64);
            of_set.get(number as usize).map(|v| v.name.clone())
        })
        .collect()
}

//! The workloads: real data, models, metrics, and targets.
//!
//! [`register`] adds them all to a registry from one explicit table. A base workload and its
//! variants live in one file (`digits_mlp.rs`, `fashion_resnet.rs`, `shakespeare_gpt.rs`); what can
//! be measured rather than designed (targets, budgets, cadence, hints) is data in `targets.toml`.
//! The data sets are embedded in the library, so a workload needs no network and no files.
#![recursion_limit = "256"]

pub mod data;
pub mod digits_mlp;
pub mod fashion_resnet;
pub mod metrics;
pub mod models;
pub mod shakespeare_gpt;
pub mod targets;

use std::sync::Arc;
use targets::{TargetEntry, Targets};
use velodrome_harness::contract::Workload;
use velodrome_harness::registry::{Registry, RegistryError};

type Make = fn(&str, TargetEntry) -> Arc<dyn Workload>;

/// Every workload and variant, in the order of tables and boards.
const TABLE: [(&str, Make); 9] = [
    ("digits_mlp", |n, t| Arc::new(digits_mlp::base(n, t))),
    ("digits_mlp_tanh", |n, t| Arc::new(digits_mlp::tanh(n, t))),
    ("digits_mlp_narrow", |n, t| {
        Arc::new(digits_mlp::narrow(n, t))
    }),
    ("fashion_resnet", |n, t| {
        Arc::new(fashion_resnet::base(n, t))
    }),
    ("fashion_resnet_preact", |n, t| {
        Arc::new(fashion_resnet::preact(n, t))
    }),
    ("fashion_resnet_large_scale", |n, t| {
        Arc::new(fashion_resnet::large_scale(n, t))
    }),
    ("shakespeare_gpt", |n, t| {
        Arc::new(shakespeare_gpt::base(n, t))
    }),
    ("shakespeare_gpt_postnorm", |n, t| {
        Arc::new(shakespeare_gpt::postnorm(n, t))
    }),
    ("shakespeare_gpt_small_init", |n, t| {
        Arc::new(shakespeare_gpt::small_init(n, t))
    }),
];

/// Names of all workloads of this crate, in the table's order.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Adds all workloads of this crate to `registry`. Fails on a duplicate name, and where
/// `targets.toml` does not describe a workload.
pub fn register(registry: &mut Registry) -> Result<(), RegistryError> {
    let invalid = |name: &str, error: targets::TargetsError| RegistryError::Invalid {
        kind: "workload",
        name: name.to_string(),
        message: error.to_string(),
    };
    let targets = Targets::embedded().map_err(|e| invalid(TABLE[0].0, e))?;
    for (name, make) in TABLE {
        let entry = targets.entry(name).map_err(|e| invalid(name, e))?;
        registry.add_workload(make(name, entry))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_register_once_and_every_variant_states_one_change_to_a_base() {
        let mut registry = Registry::new();
        register(&mut registry).unwrap();
        let specs: Vec<_> = registry.workloads().map(|w| w.spec()).collect();
        let found: Vec<&str> = specs.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(found, names().collect::<Vec<_>>());
        for spec in &specs {
            assert_eq!(spec.change.is_none(), spec.name == spec.base);
            assert!(found.contains(&spec.base.as_str()));
            assert!(spec.name.starts_with(&spec.base));
        }
        assert_eq!(specs.iter().filter(|s| s.change.is_none()).count(), 3);
        assert!(matches!(
            register(&mut registry),
            Err(RegistryError::Duplicate { .. })
        ));
    }
}

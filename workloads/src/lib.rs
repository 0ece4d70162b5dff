//! The workloads: real data, models, metrics, and targets.
//!
//! [`register`] adds them all to a registry from one explicit table, [`TABLE`]. A base workload, its
//! variants and its sizes live in one file; what can be measured rather than designed (targets,
//! budgets, cadence, hints) is data in `workloads/targets/`. The data sets of the laptop size are embedded
//! in the library, so that they need no network and no files.
#![recursion_limit = "256"]

pub mod data;
pub mod digits_mlp;
pub mod family;
pub mod fashion_resnet;
pub mod fashion_vit;
pub mod flights_dlrm;
pub mod garments_vit;
pub mod instructions_llama;
pub mod metrics;
pub mod moby_gpt;
pub mod models;
pub mod modular_gpt;
pub mod mri_unet;
pub mod pcba_gnn;
pub mod pretrained;
pub mod published;
pub mod sentiment_encoder;
pub mod sequence_to_sequence;
pub mod shakespeare_gpt;
pub mod speech_conformer;
pub mod speech_lstm;
pub mod targets;

use family::Members;
use velodrome_harness::registry::{Registry, RegistryError};

/// Every base workload with its variants, in the order of tables and boards. A new workload is its
/// file and a line here.
pub const TABLE: &[&dyn Members] = &[
    &digits_mlp::LAPTOP,
    &fashion_resnet::LAPTOP,
    &flights_dlrm::LAPTOP,
    &flights_dlrm::WORKSTATION,
    &flights_dlrm::ALGOPERF,
    &fashion_resnet::WORKSTATION,
    &fashion_resnet::ALGOPERF,
    &fashion_vit::LAPTOP,
    &fashion_vit::WORKSTATION,
    &fashion_vit::ALGOPERF,
    &shakespeare_gpt::LAPTOP,
    &shakespeare_gpt::WORKSTATION,
    &shakespeare_gpt::ALGOPERF,
    &modular_gpt::LAPTOP,
    &moby_gpt::LAPTOP,
    &garments_vit::LAPTOP,
    &mri_unet::LAPTOP,
    &mri_unet::WORKSTATION,
    &mri_unet::ALGOPERF,
    &pcba_gnn::LAPTOP,
    &pcba_gnn::WORKSTATION,
    &pcba_gnn::ALGOPERF,
    &speech_conformer::LAPTOP,
    &speech_conformer::WORKSTATION,
    &speech_conformer::ALGOPERF,
    &speech_lstm::LAPTOP,
    &speech_lstm::WORKSTATION,
    &speech_lstm::ALGOPERF,
    &sequence_to_sequence::LAPTOP,
    &sequence_to_sequence::WORKSTATION,
    &sequence_to_sequence::ALGOPERF,
    &sentiment_encoder::REVIEWS,
    &sentiment_encoder::SENTENCES,
    &instructions_llama::WORKSTATION,
];

/// Names of all workloads of this crate, in the table's order.
pub fn names() -> impl Iterator<Item = String> {
    TABLE.iter().flat_map(|family| family.names())
}

/// Adds all workloads of this crate to `registry`. Fails on a duplicate name, and where
/// a workload's targets are not described.
pub fn register(registry: &mut Registry) -> Result<(), RegistryError> {
    TABLE
        .iter()
        .try_for_each(|family| register_family(registry, *family))
}

/// Adds a base workload and its variants to `registry`. Fails on a duplicate name, and where
/// a workload's targets are not described.
pub fn register_family(
    registry: &mut Registry,
    family: &'static dyn Members,
) -> Result<(), RegistryError> {
    let names = family.names();
    let invalid = |name: &str, error: targets::TargetsError| RegistryError::Invalid {
        kind: "workload",
        name: name.to_string(),
        message: error.to_string(),
    };
    let base = names.first().map_or("", String::as_str);
    let targets = family.targets().map_err(|e| invalid(base, e))?;
    for (index, name) in names.iter().enumerate() {
        let entry = targets.entry(name).map_err(|e| invalid(name, e))?;
        if let Some(workload) = family.workload(index, entry) {
            registry.add_workload(workload)?;
        }
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
        let found: Vec<String> = specs.iter().map(|s| s.name.clone()).collect();
        assert_eq!(found, names().collect::<Vec<_>>());
        for spec in &specs {
            assert_eq!(spec.change.is_none(), spec.name == spec.base);
            assert!(found.contains(&spec.base));
            assert!(spec.name.starts_with(&spec.base));
        }
        assert_eq!(
            specs.iter().filter(|s| s.change.is_none()).count(),
            TABLE.len()
        );
        assert!(matches!(
            register(&mut registry),
            Err(RegistryError::Duplicate { .. })
        ));
    }
}

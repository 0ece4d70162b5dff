//! Workloads that begin from published weights, which `velodrome data fetch` brings.

use crate::family::{Family, Members};
use crate::targets::{TargetEntry, Targets, TargetsError};
use burn::tensor::Device;
use std::sync::Arc;
use velodrome_harness::contract::{Model, Splits, Track, Workload, WorkloadError, WorkloadSpec};

/// A family on the fine-tuning track whose own `build` puts published weights into the model, under a new
/// head.
///
/// Its workloads have no retained examples ([`Workload::retained`]): that takes the loss of the task that
/// the weights were trained for, and weights are published without the head of that task.
pub struct Published<C: 'static>(pub Family<C>);

impl<C: Send + Sync + 'static> Members for Published<C> {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn targets(&self) -> Result<Targets, TargetsError> {
        self.0.targets()
    }

    fn workload(&'static self, index: usize, targets: TargetEntry) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(Tuned(self.0.workload(index, targets)?)))
    }
}

/// One workload of a [`Published`] family.
struct Tuned(Arc<dyn Workload>);

impl Workload for Tuned {
    fn spec(&self) -> WorkloadSpec {
        WorkloadSpec {
            track: Track::Finetune,
            ..self.0.spec()
        }
    }

    fn open(&self) -> Result<Splits, WorkloadError> {
        self.0.open()
    }

    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError> {
        self.0.build(device)
    }

    fn new_head(&self) -> bool {
        true
    }
}

//! Workloads that begin from published weights, which `velodrome data fetch` brings.

use crate::family::{Family, Members};
use crate::targets::{TargetEntry, Targets, TargetsError};
use burn::tensor::Device;
use std::sync::Arc;
use velodrome_harness::contract::{
    Dataset, Model, Splits, Track, Workload, WorkloadError, WorkloadSpec,
};

/// Opens examples on which forgetting is measured. The name is the workload's, for errors.
pub type Retained = fn(&str) -> Result<Arc<dyn Dataset>, WorkloadError>;

/// A family on the fine-tuning track whose own `build` puts published weights into the model.
pub struct Published<C: 'static> {
    /// The family.
    pub family: Family<C>,
    /// Whether the head has outputs to learn that the weights do not know yet.
    pub new_head: bool,
    /// Examples of the task that the weights were trained for ([`Workload::retained`]). `None` where the
    /// weights were published without the head of that task.
    pub retained: Option<Retained>,
}

impl<C: Send + Sync + 'static> Members for Published<C> {
    fn names(&self) -> Vec<String> {
        self.family.names()
    }

    fn targets(&self) -> Result<Targets, TargetsError> {
        self.family.targets()
    }

    fn workload(&'static self, index: usize, targets: TargetEntry) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(Tuned {
            inner: self.family.workload(index, targets)?,
            new_head: self.new_head,
            retained: self.retained,
        }))
    }
}

/// One workload of a [`Published`] family.
struct Tuned {
    inner: Arc<dyn Workload>,
    new_head: bool,
    retained: Option<Retained>,
}

impl Workload for Tuned {
    fn spec(&self) -> WorkloadSpec {
        WorkloadSpec {
            track: Track::Finetune,
            ..self.inner.spec()
        }
    }

    fn open(&self) -> Result<Splits, WorkloadError> {
        self.inner.open()
    }

    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError> {
        self.inner.build(device)
    }

    fn retained(&self) -> Result<Option<Arc<dyn Dataset>>, WorkloadError> {
        let open = self.retained.map(|open| open(&self.inner.spec().name));
        open.transpose()
    }

    fn new_head(&self) -> bool {
        self.new_head
    }
}

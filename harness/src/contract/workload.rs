//! The contract of a workload.

use super::batch::Dataset;
use super::error::WorkloadError;
use super::model::Model;
use super::submission::{Hints, Track};
use burn::tensor::Device;
use serde::Serialize;
use std::sync::Arc;
use velodrome_results::{Budget, Target};

/// Where a workload's data comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSource {
    /// Name of the data set.
    pub name: String,
    /// Where it was taken from.
    pub source: String,
    /// Its licence.
    pub licence: String,
    /// SHA-256 of the file as this build carries it; empty where the program computes the
    /// data, and where it is the user's own.
    pub sha256: String,
}

/// How large a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// Data in the program; a trial takes well under two minutes on two processors.
    Laptop,
    /// Data that `velodrome data fetch` brings; minutes on one GPU.
    Workstation,
    /// The models and batches of AlgoPerf, for a user who has its data in a folder.
    Algoperf,
}

impl Size {
    /// `laptop`, `workstation` or `algoperf`.
    pub fn as_str(self) -> &'static str {
        match self {
            Size::Laptop => "laptop",
            Size::Workstation => "workstation",
            Size::Algoperf => "algoperf",
        }
    }
}

/// A workload in words and numbers. All of it enters the content hash of a trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadSpec {
    /// Name: lower case, digits and underscores.
    pub name: String,
    /// From 1. Raised where anything changes that can change a trial: data, model, loss, the rounding of
    /// an operation. Its targets are set again then.
    pub version: u32,
    /// The workload that a variant belongs to; its own name otherwise.
    pub base: String,
    /// The one stated change of a variant; `None` for a base workload.
    pub change: Option<String>,
    /// Whether a held-out draw may take this variant; `false` for a base workload.
    pub drawn: bool,
    /// The kind of task and model, the same at every size and for all variants ("image_vit").
    pub kind: String,
    /// How large it is.
    pub size: Size,
    /// One sentence.
    pub summary: String,
    /// Track.
    pub track: Track,
    /// Data.
    pub data: DataSource,
    /// The model in one line, with its number of parameters.
    pub model: String,
    /// Trainable elements of the model.
    pub parameters: usize,
    /// The training loss ("softmax cross entropy").
    pub loss: String,
    /// What [`super::HostBatch::units`] counts ("images", "tokens").
    pub unit: String,
    /// Examples in the training, validation and test split.
    pub split_sizes: [usize; 3],
    /// Target.
    pub target: Target,
    /// How the target was set: algorithm, trials, seeds, date, values.
    pub target_provenance: String,
    /// Budget.
    pub budget: Budget,
    /// Work between two evaluations.
    pub eval_every_work: u64,
    /// Suggestions for submissions.
    pub hints: Hints,
    /// Examples per batch in evaluations.
    pub eval_batch_size: usize,
}

/// Opened data: three disjoint splits.
#[derive(Clone)]
pub struct Splits {
    /// Training examples.
    pub train: Arc<dyn Dataset>,
    /// Validation examples: the target's split.
    pub validation: Arc<dyn Dataset>,
    /// Test examples.
    pub test: Arc<dyn Dataset>,
    /// Records of the source that were left out because they cannot be read; the trial's record
    /// shows them.
    pub skipped: Vec<Skipped>,
}

/// Records of a data source that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Why, with the file and the first record that it concerns.
    pub reason: String,
    /// How many.
    pub examples: u64,
}

impl Splits {
    /// Three splits, with nothing left out.
    pub fn new(
        train: impl Dataset + 'static,
        validation: impl Dataset + 'static,
        test: impl Dataset + 'static,
    ) -> Self {
        Self {
            train: Arc::new(train),
            validation: Arc::new(validation),
            test: Arc::new(test),
            skipped: Vec::new(),
        }
    }
}

/// A fixed track: data, model, loss, metric, target, budget.
pub trait Workload: Send + Sync {
    /// What it is. Cheap: opens no data.
    fn spec(&self) -> WorkloadSpec;

    /// Opens the data.
    fn open(&self) -> Result<Splits, WorkloadError>;

    /// Builds the model on `device` (with autodiff). The harness seeds the device before the
    /// call; the model's parameters must depend on nothing else, apart from pretrained weights.
    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError>;

    /// Held-out examples of the data that the weights were pretrained on, in the fields that the model
    /// reads: their `loss` before and after a trial tells what was forgotten. `None` where the
    /// weights are random.
    fn retained(&self) -> Result<Option<Arc<dyn Dataset>>, WorkloadError> {
        Ok(None)
    }

    /// Whether the head has outputs to learn that the weights do not know yet: a submission that
    /// freezes the rest then trains it ([`super::Trainee::new_head`]).
    fn new_head(&self) -> bool {
        true
    }
}

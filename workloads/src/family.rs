//! A base workload and its variants as data: what a workload's file writes.

use crate::data::Official;
use crate::targets::{TargetEntry, Targets, TargetsError, Words};
use burn::tensor::Device;
use std::sync::Arc;
use velodrome_harness::contract::{
    DataSource, Model, ModelError, Size, Splits, Workload, WorkloadError, WorkloadSpec,
};

/// Builds a model from its configuration, on a device whose seed decides the initial values.
pub type Build<C> = fn(&C, &Device) -> Result<Box<dyn Model>, ModelError>;

/// Opens the data of a configuration. The name is the workload's, for errors.
pub type Open<C> = fn(&C, &str) -> Result<Splits, WorkloadError>;

/// A base workload with its variants. `C` is the configuration of its model. A workload's file holds
/// one constant of this type for each size, and [`crate::TABLE`] names it. An author outside this crate
/// writes the same constant and gives it to `velodrome::Command::family`.
pub struct Family<C: 'static> {
    /// Name of the base workload: lower case, digits and underscores.
    pub base: &'static str,
    /// The kind of task and model, the same at every size ("image_vit").
    pub kind: &'static str,
    /// How large it is.
    pub size: Size,
    /// One sentence.
    pub summary: &'static str,
    /// The training loss.
    pub loss: &'static str,
    /// What [`velodrome_harness::contract::HostBatch::units`] counts.
    pub unit: &'static str,
    /// Examples in the training, validation and test split.
    pub split_sizes: [usize; 3],
    /// Where the data comes from.
    pub data: fn() -> DataSource,
    /// Configuration of the base's model.
    pub config: fn() -> C,
    /// The variants.
    pub variants: &'static [Variant<C>],
    /// The model in one line, without its number of parameters.
    pub model: fn(&C) -> String,
    /// Number of trainable elements.
    pub parameters: fn(&C) -> usize,
    /// Text of the file of targets, `targets/BASE.toml` beside the sources.
    pub targets: &'static str,
    /// Opens the data that the configuration reads; the name is the workload's, for errors.
    pub open: Open<C>,
    /// Builds the model on the device, whose seed decides the initial values.
    pub build: Build<C>,
}

/// One stated change of a base workload.
pub struct Variant<C> {
    /// What is added to the base's name, behind an underscore.
    pub suffix: &'static str,
    /// The change in words: "attribute: new value instead of old value".
    pub change: &'static str,
    /// The change itself.
    pub edit: fn(&mut C),
    /// Whether a held-out draw may take it.
    pub drawn: bool,
}

impl<C> Variant<C> {
    /// A variant that a held-out draw may take.
    pub const fn new(suffix: &'static str, change: &'static str, edit: fn(&mut C)) -> Self {
        Self {
            suffix,
            change,
            edit,
            drawn: true,
        }
    }
}

/// A [`Family`], whatever its model.
pub trait Members: Sync {
    /// Names of the base and of its variants, the base first.
    fn names(&self) -> Vec<String>;

    /// Targets, budgets, cadence and hints of all of them.
    fn targets(&self) -> Result<Targets, TargetsError>;

    /// The workload at `index` of [`Self::names`], with its targets. `None` behind the last.
    fn workload(&'static self, index: usize, targets: TargetEntry) -> Option<Arc<dyn Workload>>;
}

impl<C: Send + Sync + 'static> Members for Family<C> {
    fn names(&self) -> Vec<String> {
        let variants = self.variants.iter();
        std::iter::once(self.base.to_string())
            .chain(variants.map(|v| format!("{}_{}", self.base, v.suffix)))
            .collect()
    }

    fn targets(&self) -> Result<Targets, TargetsError> {
        Targets::parse(self.base, self.targets)
    }

    fn workload(&'static self, index: usize, targets: TargetEntry) -> Option<Arc<dyn Workload>> {
        let name = self.names().into_iter().nth(index)?;
        let variant = index.checked_sub(1).and_then(|i| self.variants.get(i));
        let mut config = (self.config)();
        if let Some(variant) = variant {
            (variant.edit)(&mut config);
        }
        let parameters = (self.parameters)(&config);
        let spec = targets.describe(Words {
            name: &name,
            base: self.base,
            change: variant.map(|v| v.change),
            drawn: variant.is_some_and(|v| v.drawn),
            kind: self.kind,
            size: self.size,
            summary: self.summary,
            data: (self.data)(),
            model: format!("{}, {parameters} parameters", (self.model)(&config)),
            parameters,
            loss: self.loss,
            unit: self.unit,
            split_sizes: self.split_sizes,
        });
        Some(Arc::new(Member {
            spec,
            config,
            family: self,
        }))
    }
}

/// One workload of a family.
struct Member<C: 'static> {
    spec: WorkloadSpec,
    config: C,
    family: &'static Family<C>,
}

impl<C: Send + Sync> Workload for Member<C> {
    fn spec(&self) -> WorkloadSpec {
        self.spec.clone()
    }

    fn open(&self) -> Result<Splits, WorkloadError> {
        if let Some(official) = Official::of(&self.spec.base) {
            official.check(&self.spec.name)?;
        }
        (self.family.open)(&self.config, &self.spec.name)
    }

    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError> {
        (self.family.build)(&self.config, device).map_err(|e| WorkloadError::Model {
            workload: self.spec.name.clone(),
            message: e.to_string(),
        })
    }
}

//! Workloads that begin from pretrained weights: a family as any other, and the weights.

use crate::data::Embedded;
use crate::family::{Family, Members};
use crate::targets::{TargetEntry, Targets, TargetsError};
use burn::tensor::{Device, Tensor, TensorData};
use std::sync::Arc;
use velodrome_harness::contract::{
    Dataset, Model, ModelError, ParamInfo, Splits, Track, Workload, WorkloadError, WorkloadSpec,
};

/// Weights, and what they were trained on.
pub struct Pretrained {
    /// The weights, in the form of [`encode`], compressed.
    pub file: Embedded,
    /// Whether the head has outputs to learn that the weights do not know yet.
    pub new_head: bool,
    /// Held-out examples of the pretraining data, which tell what a trial forgets. The name is the
    /// workload's, for errors.
    pub retained: fn(&str) -> Result<Arc<dyn Dataset>, WorkloadError>,
}

impl Pretrained {
    /// Puts the weights into `model`, which must have as many elements. `workload` is named in errors.
    pub fn load(&self, workload: &str, model: &mut dyn Model) -> Result<(), WorkloadError> {
        let bytes = self.file.unpack(workload)?;
        let wanted: usize = model.params().iter().map(ParamInfo::len).sum();
        if bytes.len() != 2 * wanted {
            return Err(self.file.fault(
                workload,
                &format!(
                    "{} bytes are weights of another model: this one has {wanted} elements of 2 bytes",
                    bytes.len()
                ),
            ));
        }
        let (pairs, _) = bytes.as_chunks::<2>();
        let mut values = pairs.iter().map(|b| widened(*b));
        model.map(&mut |info, flat| {
            let part: Vec<f32> = values.by_ref().take(info.len()).collect();
            Tensor::from_data(TensorData::new(part, [info.len()]), &flat.device())
        });
        Ok(())
    }
}

/// The parameters of `model` in its order, each element as a bfloat16 with the lower byte first.
pub fn encode(model: &dyn Model) -> Vec<u8> {
    let mut bytes = Vec::new();
    model.visit(&mut |_, flat| {
        let data = flat.into_data().convert::<f32>();
        let values: Vec<f32> = data.try_into_vec().unwrap_or_default();
        bytes.extend(values.into_iter().flat_map(narrowed));
    });
    bytes
}

/// The upper half of a number in 32 bits, to nearest, ties to even.
fn narrowed(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    ((rounded >> 16) as u16).to_le_bytes()
}

fn widened(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// How weights are made: the fine-tuned workload's own model, from scratch on other data. `examples/pretrain.rs`
/// follows it.
pub struct Recipe {
    /// The family whose model is trained, before anything is loaded.
    pub workload: &'static dyn Untrained,
    /// Opens the pretraining data; the name is for errors.
    pub open: fn(&str) -> Result<Splits, WorkloadError>,
    /// Examples per batch.
    pub batch_size: usize,
    /// Steps.
    pub steps: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
}

/// A family's model with random weights.
pub trait Untrained: Sync {
    /// Builds it on the device, whose seed decides the values.
    fn untrained(&self, device: &Device) -> Result<Box<dyn Model>, ModelError>;
}

impl<C: Send + Sync + 'static> Untrained for FineTuned<C> {
    fn untrained(&self, device: &Device) -> Result<Box<dyn Model>, ModelError> {
        (self.family.build)(&(self.family.config)(), device)
    }
}

/// A family whose models begin from pretrained weights, on the fine-tuning track.
pub struct FineTuned<C: 'static> {
    /// The family.
    pub family: Family<C>,
    /// The weights.
    pub pretrained: Pretrained,
}

impl<C: Send + Sync + 'static> Members for FineTuned<C> {
    fn names(&self) -> Vec<String> {
        self.family.names()
    }

    fn targets(&self) -> Result<Targets, TargetsError> {
        self.family.targets()
    }

    fn workload(&'static self, index: usize, targets: TargetEntry) -> Option<Arc<dyn Workload>> {
        let inner = self.family.workload(index, targets)?;
        let pretrained = &self.pretrained;
        Some(Arc::new(Tuned { inner, pretrained }))
    }
}

/// One workload of a [`FineTuned`] family.
struct Tuned {
    inner: Arc<dyn Workload>,
    pretrained: &'static Pretrained,
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
        let mut model = self.inner.build(device)?;
        self.pretrained.load(&self.inner.spec().name, &mut *model)?;
        Ok(model)
    }

    fn retained(&self) -> Result<Option<Arc<dyn Dataset>>, WorkloadError> {
        (self.pretrained.retained)(&self.inner.spec().name).map(Some)
    }

    fn new_head(&self) -> bool {
        self.pretrained.new_head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_nearest() {
        for value in [0.0, 1.0, -2.5, 3.140_625, f32::MIN_POSITIVE] {
            assert_eq!(widened(narrowed(value)), value);
        }
        // Between 1 and 1 + 2^-7: ties to even, the rest to the nearer one.
        let step = 2f32.powi(-7);
        assert_eq!(widened(narrowed(1.0 + 0.5 * step)), 1.0);
        assert_eq!(widened(narrowed(1.0 + 0.51 * step)), 1.0 + step);
        assert_eq!(widened(narrowed(1.0 + 1.5 * step)), 1.0 + 2.0 * step);
        assert_eq!(widened(narrowed(-1.0 - 0.49 * step)), -1.0);
    }
}

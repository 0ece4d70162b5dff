//! Speech recognisers with CTC.

mod augment;
mod conformer;
mod ctc;
mod deepspeech;
mod lstm;
mod norm;
mod subsample;

pub use augment::SpecAugment;
pub use conformer::{Conformer, ConformerConfig};
pub use ctc::{Spelling, ctc_losses, greedy};
pub use deepspeech::{DeepSpeech, DeepSpeechConfig};
pub use lstm::BiLstm;
pub use norm::MaskedBatchNorm;

use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{Batch, ModelError};

/// A linear map with Glorot's uniform initialisation (Glorot and Bengio 2010) and a bias of 0.
fn linear(from: usize, to: usize, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(from, to)
        .with_initializer(glorot(from, to))
        .init(device);
    linear.bias = Some(Initializer::Zeros.init([to], device));
    linear
}

/// Uniform between plus and minus `sqrt(6 / (fan_in + fan_out))`.
fn glorot(fan_in: usize, fan_out: usize) -> Initializer {
    let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
    Initializer::Uniform {
        min: -bound,
        max: bound,
    }
}

/// 1 where a position is below the example's length and 0 where it is padding, shape
/// `[examples, positions]`.
fn mask(lengths: Tensor<1, Int>, positions: usize) -> Tensor<2> {
    let [examples] = lengths.dims();
    let places = Tensor::<1, Int>::arange(0..positions as i64, &lengths.device());
    let places = places.reshape([1, positions]).expand([examples, positions]);
    let lengths = lengths.reshape([examples, 1]).expand([examples, positions]);
    places.lower(lengths).float()
}

/// What a batch of speech holds.
struct Speech {
    features: Tensor<3>,
    frames: Tensor<1, Int>,
    tokens: Tensor<2, Int>,
    lengths: Tensor<1, Int>,
}

impl Speech {
    /// The fields of a batch; fails where its frames do not have `mels` features.
    fn of(batch: &Batch, mels: usize) -> Result<Self, ModelError> {
        let features = batch.float::<3>("features")?;
        let [examples, frames, found] = features.dims();
        if found != mels || frames == 0 || examples == 0 {
            return Err(ModelError::Compute(format!(
                "field `features` has shape [{examples}, {frames}, {found}]; this model was built for \
                 [examples, frames, {mels}]"
            )));
        }
        Ok(Self {
            features,
            frames: batch.int("frames")?,
            tokens: batch.int("tokens")?,
            lengths: batch.int("lengths")?,
        })
    }
}

//! A [`Transformer`] as a [`Stepper`]: one token at a time, with the keys and values of all earlier
//! ones kept.

use super::layers::{DecoderMasks, LayerState};
use super::search::{Candidate, Stepper};
use super::{END, START, Search, Transformer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use velodrome_harness::contract::ModelError;

/// Far below any log probability.
const TAKEN: f32 = -1e30;

/// Decoding of some examples, one in each row.
pub(super) struct Decoding<'a> {
    model: &'a Transformer,
    layers: Vec<LayerState>,
    source_mask: Tensor<4>,
    position: usize,
}

impl Transformer {
    /// The tokens that the model gives for encoded sources (`memory` and the mask of their padding,
    /// `[examples, 1, 1, positions]`), without their ends. Call it without autodiff.
    pub(super) fn decode(
        &self,
        memory: Tensor<3>,
        source_mask: Tensor<4>,
        search: &Search,
    ) -> Result<Vec<Vec<i32>>, ModelError> {
        let examples = memory.dims()[0];
        let mut decoding = Decoding {
            model: self,
            layers: self
                .decoder
                .iter()
                .map(|layer| layer.start(memory.clone()))
                .collect(),
            source_mask,
            position: 0,
        };
        search.run(&mut decoding, examples, START, END)
    }
}

impl Stepper for Decoding<'_> {
    fn step(&mut self, last: &[i32], top: usize) -> Result<Vec<Vec<Candidate>>, ModelError> {
        let rows = last.len();
        let device = self.source_mask.device();
        let tokens =
            Tensor::<2, Int>::from_data(TensorData::new(last.to_vec(), [rows, 1]), &device);
        let mut x = self.model.embed_target(tokens, self.position)?;
        let masks = DecoderMasks {
            // All that is kept came earlier.
            target: None,
            source: self.source_mask.clone(),
        };
        for (layer, state) in self.model.decoder.iter().zip(&mut self.layers) {
            x = layer.forward(x, state, &masks, 0.0);
        }
        self.position += 1;
        let mut scores = log_softmax(self.model.logits(x), 1);
        let [_, classes] = scores.dims();
        let mut candidates = vec![Vec::with_capacity(top); rows];
        for nth in 0..top.min(classes) {
            let (values, indices) = scores.clone().max_dim_with_indices(1);
            if nth + 1 < top.min(classes) {
                let taken = values.full_like(TAKEN);
                let add = burn::tensor::IndexingUpdateOp::Add;
                scores = scores.scatter(1, indices.clone(), taken, add);
            }
            let fault = |e: &dyn std::fmt::Display| ModelError::Compute(format!("decoding: {e}"));
            let values = values.into_data().convert::<f32>();
            let values = values.try_to_vec::<f32>().map_err(|e| fault(&e))?;
            let indices = indices.into_data().convert::<i32>();
            let indices = indices.try_to_vec::<i32>().map_err(|e| fault(&e))?;
            for ((row, value), token) in candidates.iter_mut().zip(values).zip(indices) {
                row.push((token, value));
            }
        }
        Ok(candidates)
    }

    fn select(&mut self, rows: &[usize]) -> Result<(), ModelError> {
        let index: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        let device = self.source_mask.device();
        let index = Tensor::<1, Int>::from_data(TensorData::new(index, [rows.len()]), &device);
        self.source_mask = self.source_mask.clone().select(0, index.clone());
        let layers = std::mem::take(&mut self.layers);
        self.layers = layers.into_iter().map(|l| l.select(&index)).collect();
        Ok(())
    }
}

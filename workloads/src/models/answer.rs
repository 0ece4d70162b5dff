//! A causal transformer that is asked for the last token of its text alone.

use super::gpt::{Gpt, GptConfig};
use super::parts::evaluate_classes;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{Batch, ModelError, Network, ParamKind, Pass, Predictions};
use velodrome_results::measures::Measures;

/// Sizes and choices of an [`Answer`].
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerConfig {
    /// The transformer.
    pub gpt: GptConfig,
    /// What the logits are multiplied by. A large factor lets small changes of the weights fit the
    /// training data, so that the features stay near their initial values ("lazy" training: Chizat et
    /// al. 2019, arXiv 1812.07956; Kumar et al. 2023, arXiv 2310.06110).
    pub output_scale: f64,
}

impl AnswerConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        self.gpt.parameters()
    }
}

/// A [`Gpt`] whose loss and measures are those of the last token. Reads the field `tokens` (integer,
/// `[examples, n + 1]`): the first `n` are read, the last one is predicted.
#[derive(Module, Debug)]
pub struct Answer {
    gpt: Gpt,
    output_scale: f64,
}

impl Answer {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the
    /// transformer cannot be built.
    pub fn new(config: &AnswerConfig, device: &Device) -> Result<Self, ModelError> {
        Ok(Self {
            gpt: Gpt::new(&config.gpt, device)?,
            output_scale: config.output_scale,
        })
    }

    /// Logits of shape `[examples, vocabulary]` and last tokens of shape `[examples]`.
    fn predict(
        &self,
        batch: &Batch,
        pass: &Pass,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let (logits, next) = self.gpt.predict(batch, pass)?;
        let [rows, classes] = logits.dims();
        let examples = batch.len().max(1);
        let n = rows / examples;
        let last = logits
            .reshape([examples, n, classes])
            .slice([0..examples, n - 1..n, 0..classes])
            .reshape([examples, classes])
            .mul_scalar(self.output_scale);
        let answer = next
            .reshape([examples, n])
            .slice([0..examples, n - 1..n])
            .reshape([examples]);
        Ok((last, answer))
    }
}

impl Network for Answer {
    fn predictions(&self, batch: &Batch, pass: &mut Pass) -> Result<Predictions, ModelError> {
        let (logits, labels) = self.predict(batch, pass)?;
        Ok(Predictions {
            logits,
            labels,
            units_per_example: 1,
            label_smoothing: pass.label_smoothing(),
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        evaluate_classes(batches, |batch| self.predict(batch, &Pass::evaluation()))
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        path.strip_prefix("gpt.").and_then(Gpt::kind_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Activation, NormPlace};
    use velodrome_harness::contract::{HostBatch, HostField, HostValues};

    fn config(output_scale: f64) -> AnswerConfig {
        AnswerConfig {
            gpt: GptConfig {
                vocabulary: 7,
                context: 3,
                width: 8,
                heads: 2,
                layers: 1,
                feed_forward: 16,
                activation: Activation::Gelu,
                norm: NormPlace::Pre,
                initial_std: 0.3,
                ..crate::shakespeare_gpt::config()
            },
            output_scale,
        }
    }

    fn tokens(values: Vec<i32>, device: &Device) -> Batch {
        let examples = values.len() / 4;
        let host = HostBatch {
            fields: vec![HostField {
                name: "tokens",
                shape: vec![examples, 4],
                values: HostValues::Int(values),
            }],
            examples,
            units: examples,
        };
        Batch::from_host(host, (0..examples).collect(), device)
    }

    #[test]
    fn the_last_token_is_predicted_and_the_scale_multiplies() {
        let _lock = crate::models::test_lock();
        let device = Device::flex();
        let batch = tokens(vec![1, 4, 6, 2, 0, 3, 6, 5], &device);
        let logits = |scale: f64| {
            device.seed(3);
            let model = Answer::new(&config(scale), &device).unwrap();
            let (logits, answer) = model.predict(&batch, &Pass::evaluation()).unwrap();
            let answer: Vec<i32> = answer.into_data().convert::<i32>().try_to_vec().unwrap();
            assert_eq!(answer, [2, 5]);
            let (all, _) = model.gpt.predict(&batch, &Pass::evaluation()).unwrap();
            let all: Vec<f32> = all.into_data().try_to_vec().unwrap();
            let found: Vec<f32> = logits.into_data().try_to_vec().unwrap();
            // Rows 2 and 5 of the transformer's six: the last that each example reads.
            let expected: Vec<f32> = [&all[14..21], &all[35..42]]
                .concat()
                .iter()
                .map(|x| x * scale as f32)
                .collect();
            assert_eq!(found, expected);
        };
        logits(1.0);
        logits(4.0);
    }
}

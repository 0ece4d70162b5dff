//! The model and the task of the checks.

use crate::contract::{
    Batch, HostBatch, HostField, HostValues, ModelError, Network, ParamKind, Pass, Predictions,
    Queue, SubmissionError, Tokens, apply_linear, lengthen,
};
use burn::module::{Module, Param};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use velodrome_results::measures::Measures;

const CLASSES: usize = 3;
const WORDS: usize = 12;

/// The model of the checks: parameters of one entry (burn has no tensors without axes), and of one,
/// two and four axes.
#[derive(Module, Debug)]
pub(super) struct Probe {
    embedding: Embedding,
    hidden: Linear,
    norm: LayerNorm,
    /// `[8, 2, 2, 2]`: a map of 8 to 8 features.
    kernel: Param<Tensor<4>>,
    head: Linear,
    /// One entry.
    gain: Param<Tensor<1>>,
}

impl Probe {
    pub(super) fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(WORDS, 8).init(device),
            hidden: LinearConfig::new(8, 8).init(device),
            norm: LayerNormConfig::new(8).init(device),
            kernel: Initializer::KaimingUniform {
                gain: 1.0,
                fan_out_only: false,
            }
            .init_with([8, 2, 2, 2], Some(8), Some(8), device),
            head: LinearConfig::new(8, CLASSES).init(device),
            gain: Initializer::Ones.init([1], device),
        }
    }
}

impl Network for Probe {
    fn predictions(&self, batch: &Batch, _pass: &mut Pass) -> Result<Predictions, ModelError> {
        let n = batch.len();
        let words = batch.int::<1>("word")?.reshape([n, 1]);
        let x = lengthen(&self.embedding.weight, self.embedding.forward(words));
        let x = lengthen(&self.hidden.weight, apply_linear(&self.hidden, x));
        let x = match x.dims() {
            [_, 1, _] => x.reshape([n, 8]),
            _ => x.mean_dim(1).reshape([n, 8]),
        };
        let x = self.norm.forward(relu(x));
        let kernel = self.kernel.val().reshape([8, 8]);
        let x = x.clone() + x.matmul(kernel);
        let factor = batch.float::<1>("factor")?.reshape([n, 1]);
        let gain = self.gain.val();
        let factor = if gain.device().is_autodiff() {
            Tensor::from_inner(factor)
        } else {
            factor
        };
        let logits = self.head.forward(x) * gain.reshape([1, 1]) * factor;
        Ok(Predictions {
            logits,
            labels: batch.int::<1>("label")?,
            units_per_example: 1,
            label_smoothing: 0.0,
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let (mut sum, mut n) = (0.0, 0);
        for batch in batches {
            let losses = self.losses(&batch, &mut Pass::evaluation())?;
            sum += f64::from(losses.sum().into_scalar::<f32>());
            n += batch.len();
        }
        Ok([("loss".to_string(), sum / n.max(1) as f64)].into())
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        match path {
            "head.weight" => Some(ParamKind::Head),
            "kernel" => Some(ParamKind::Convolution),
            _ => None,
        }
    }

    fn tokens_of(path: &str) -> Option<Tokens> {
        match path {
            "embedding.weight" => Some(Tokens::Input),
            "hidden.weight" => Some(Tokens::Values),
            _ => None,
        }
    }
}

/// Batch number `step` of the task: words whose class is a fixed function of the word. The class
/// scores are multiplied by `factor`: at 0 all gradients are zero, at NaN none is a number.
pub(super) fn batch(step: u64, examples: usize, factor: f32, device: &Device) -> Batch {
    let words: Vec<i32> = (0..examples as u64)
        .map(|i| ((step * 5 + i * 7) % WORDS as u64) as i32)
        .collect();
    let labels = words.iter().map(|w| (w * w) % CLASSES as i32).collect();
    let field = |name, values| HostField {
        name,
        shape: vec![examples],
        values: HostValues::Int(values),
    };
    let ids = words.iter().map(|&w| w as usize).collect();
    let host = HostBatch {
        fields: vec![
            field("word", words),
            field("label", labels),
            HostField {
                name: "factor",
                shape: vec![examples],
                values: HostValues::Float(vec![factor; examples]),
            },
        ],
        examples,
        units: examples,
    };
    Batch::from_host(host, ids, device)
}

/// A queue over [`batch`].
pub(super) struct Line<'a> {
    pub(super) next: u64,
    pub(super) examples: usize,
    /// Factor of the class scores.
    pub(super) factor: f32,
    pub(super) device: &'a Device,
}

impl Queue for Line<'_> {
    fn next(&mut self) -> Result<Batch, SubmissionError> {
        self.next += 1;
        let factor = self.factor;
        Ok(batch(self.next - 1, self.examples, factor, self.device))
    }

    fn batch_size(&self) -> usize {
        self.examples
    }

    fn set_batch_size(&mut self, examples: usize) {
        self.examples = examples.max(1);
    }
}

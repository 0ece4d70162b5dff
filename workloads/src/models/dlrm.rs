//! DLRM: a network on real features and embedded categories (Naumov et al. 2019, arXiv 1906.00091), in
//! the shape of AlgoPerf's DLRM-small (Dahl et al. 2023, arXiv 2306.07179).

use super::parts::{Activation, LayerNorm, check_shape, dropout};
use crate::metrics::Binary;
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use velodrome_harness::contract::{
    Batch, ModelError, Network, ParamKind, Pass, Predictions, apply_linear,
};
use velodrome_results::measures::Measures;

/// How a [`Dlrm`] joins real features and categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DlrmNetwork {
    /// The dot products of all pairs of feature vectors, each with itself too, behind the bottom
    /// network's output.
    Dots,
    /// The feature vectors side by side; residual sums around all layers of equal widths in and out.
    Residual,
}

/// Sizes and choices of a [`Dlrm`].
#[derive(Debug, Clone, PartialEq)]
pub struct DlrmConfig {
    /// Real features.
    pub dense: usize,
    /// Categorical features.
    pub columns: usize,
    /// Rows of the one embedding table that all categorical features share.
    pub rows: usize,
    /// Width of an embedding.
    pub width: usize,
    /// Widths of the layers of the network on the real features. With [`DlrmNetwork::Dots`] the
    /// last must be [`Self::width`].
    pub bottom: Vec<usize>,
    /// Widths of the hidden layers of the network on all features; one output follows.
    pub top: Vec<usize>,
    /// How the features are joined.
    pub network: DlrmNetwork,
    /// Whether layer norms stand behind each hidden layer's ReLU and behind the embeddings.
    pub layer_norm: bool,
    /// Embeddings start uniform between 0 and this number; `None`: `1 / sqrt(rows)`.
    pub embedding_scale: Option<f64>,
    /// Dropout rate behind the last hidden layer, unless the submission chooses one.
    pub dropout: f64,
}

impl DlrmConfig {
    fn bottom_output(&self) -> usize {
        self.bottom.last().copied().unwrap_or(self.dense)
    }

    /// Width of the top network's input: the bottom network's output and the dot products of
    /// `columns + 1` vectors, or the embeddings.
    fn top_input(&self) -> usize {
        let joined = match self.network {
            DlrmNetwork::Dots => (self.columns + 1) * (self.columns + 2) / 2,
            DlrmNetwork::Residual => self.columns * self.width,
        };
        self.bottom_output() + joined
    }

    fn top_output(&self) -> usize {
        self.top.last().copied().unwrap_or(self.top_input())
    }

    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let layers = |input: usize, widths: &[usize]| -> usize {
            let inputs = std::iter::once(&input).chain(widths);
            let linear: usize = inputs.zip(widths).map(|(i, o)| (i + 1) * o).sum();
            let norms: usize = widths.iter().map(|o| 2 * o).sum();
            linear + if self.layer_norm { norms } else { 0 }
        };
        self.rows * self.width
            + if self.layer_norm { 2 * self.width } else { 0 }
            + layers(self.dense, &self.bottom)
            + layers(self.top_input(), &self.top)
            + self.top_output()
            + 1
    }

    fn check(&self) -> Result<(), ModelError> {
        let last = self.bottom_output();
        if self.network == DlrmNetwork::Dots && last != self.width {
            return Err(ModelError::Compute(format!(
                "dot products need a bottom network that ends in the embeddings' width of {}, not \
                 in {last}",
                self.width
            )));
        }
        if self.rows == 0 || self.columns == 0 {
            return Err(ModelError::Compute(
                "the model has no categorical features".into(),
            ));
        }
        Ok(())
    }
}

/// A linear map, ReLU, and a norm where the configuration has one.
#[derive(Module, Debug)]
struct Layer {
    linear: Linear,
    norm: Option<LayerNorm>,
    residual: bool,
}

impl Layer {
    fn forward(&self, x: Tensor<2>, rate: f64) -> Tensor<2> {
        let mut y = Activation::Relu.apply(apply_linear(&self.linear, x.clone()));
        if let Some(norm) = &self.norm {
            y = norm.forward(y);
        }
        let y = dropout(y, rate);
        if self.residual { x + y } else { y }
    }
}

/// A linear map with biases of standard deviation `1 / sqrt(to)`.
fn linear(from: usize, to: usize, weights: Initializer, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(from, to)
        .with_initializer(weights)
        .init(device);
    let biases = Initializer::Normal {
        mean: 0.0,
        std: (1.0 / to.max(1) as f64).sqrt(),
    };
    linear.bias = Some(biases.init([to], device));
    linear
}

/// Uniform with the variance `2 / (from + to)` (Glorot and Bengio 2010).
fn glorot_uniform(from: usize, to: usize) -> Initializer {
    let limit = (6.0 / (from + to).max(1) as f64).sqrt();
    Initializer::Uniform {
        min: -limit,
        max: limit,
    }
}

/// Normal with the variance `2 / (from + to)`.
fn glorot_normal(from: usize, to: usize) -> Initializer {
    Initializer::Normal {
        mean: 0.0,
        std: (2.0 / (from + to).max(1) as f64).sqrt(),
    }
}

/// A bottom network on the real features, one embedding table for all categorical ones, their
/// interaction, and a top network with one output. Reads the fields `dense` (real, `[examples,
/// dense]`), `category` (integer, `[examples, columns]`: rows of the table, all below
/// [`DlrmConfig::rows`]) and `label` (0 or 1, `[examples]`).
///
/// Initial weights are uniform in the bottom network and normal in the top one, both with the
/// variance `2 / (in + out)`; biases are normal with the variance `1 / out`, as AlgoPerf's.
///
/// The output is a logit; [`Predictions`] show it as the scores 0 and logit of two classes, whose
/// softmax is the sigmoid, so that their cross entropy is the sigmoid's.
#[derive(Module, Debug)]
pub struct Dlrm {
    bottom: Vec<Layer>,
    embedding: Embedding,
    embedding_norm: Option<LayerNorm>,
    top: Vec<Layer>,
    head: Linear,
    dense: usize,
    columns: usize,
    dropout: f64,
    #[module(skip)]
    network: DlrmNetwork,
}

impl Dlrm {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where the widths do
    /// not fit each other.
    pub fn new(config: &DlrmConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let residual = config.network == DlrmNetwork::Residual;
        let layers = |input: usize, widths: &[usize], initial: fn(usize, usize) -> Initializer| {
            let inputs = std::iter::once(&input).chain(widths);
            let pairs = inputs.zip(widths).enumerate();
            pairs
                .map(|(at, (&from, &to))| Layer {
                    linear: linear(from, to, initial(from, to), device),
                    norm: config.layer_norm.then(|| LayerNorm::new(to, device)),
                    residual: residual && at > 0 && from == to,
                })
                .collect::<Vec<_>>()
        };
        let scale = config
            .embedding_scale
            .unwrap_or(1.0 / (config.rows as f64).sqrt());
        let last = config.top_output();
        Ok(Self {
            bottom: layers(config.dense, &config.bottom, glorot_uniform),
            embedding: EmbeddingConfig::new(config.rows, config.width)
                .with_initializer(Initializer::Uniform {
                    min: 0.0,
                    max: scale,
                })
                .init(device),
            embedding_norm: config
                .layer_norm
                .then(|| LayerNorm::new(config.width, device)),
            top: layers(config.top_input(), &config.top, glorot_normal),
            head: linear(last, 1, glorot_normal(last, 1), device),
            dense: config.dense,
            columns: config.columns,
            dropout: config.dropout,
            network: config.network,
        })
    }

    /// Logits of shape `[examples, 1]` and labels of shape `[examples]`.
    fn predict(
        &self,
        batch: &Batch,
        pass: &Pass,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let mut x = batch.float::<2>("dense")?;
        let categories = batch.int::<2>("category")?;
        check_shape("dense", &x.dims(), &[self.dense])?;
        check_shape("category", &categories.dims(), &[self.columns])?;
        for layer in &self.bottom {
            x = layer.forward(x, 0.0);
        }
        let mut embedded = self.embedding.forward(categories);
        if let Some(norm) = &self.embedding_norm {
            embedded = norm.forward(embedded);
        }
        let joined = match self.network {
            DlrmNetwork::Dots => pairwise_dots(x.clone(), embedded),
            DlrmNetwork::Residual => embedded.flatten(1, 2),
        };
        let mut x = Tensor::cat(vec![x, joined], 1);
        let rate = pass.dropout(self.dropout);
        for (at, layer) in self.top.iter().enumerate() {
            let last = at + 1 == self.top.len();
            x = layer.forward(x, if last { rate } else { 0.0 });
        }
        Ok((apply_linear(&self.head, x), batch.int("label")?))
    }
}

/// Dot products of all pairs among `first` (shape `[examples, width]`) and `others` (shape
/// `[examples, columns, width]`), each vector with itself too: the upper triangle, row by row.
fn pairwise_dots(first: Tensor<2>, others: Tensor<3>) -> Tensor<2> {
    let [examples, columns, width] = others.dims();
    let device = others.device();
    let first = first.reshape([examples, 1, width]);
    let all = Tensor::cat(vec![first, others], 1);
    let n = columns + 1;
    let upper: Vec<i32> = (0..n)
        .flat_map(|row| (row..n).map(move |column| (row * n + column) as i32))
        .collect();
    let pairs = upper.len();
    let upper = Tensor::<1, Int>::from_data(TensorData::new(upper, [pairs]), &device);
    all.clone()
        .matmul(all.transpose())
        .reshape([examples, n * n])
        .select(1, upper)
}

impl Network for Dlrm {
    fn predictions(&self, batch: &Batch, pass: &mut Pass) -> Result<Predictions, ModelError> {
        let (logits, labels) = self.predict(batch, pass)?;
        Ok(Predictions {
            logits: Tensor::cat(vec![logits.zeros_like(), logits], 1),
            labels,
            units_per_example: 1,
            // The metric is this very loss: smoothing would train for another one, so it is
            // ignored, as in AlgoPerf.
            label_smoothing: 0.0,
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let mut binary = Binary::new();
        for batch in batches {
            let (logits, labels) = self.predict(&batch, &Pass::evaluation())?;
            binary.add(logits, labels)?;
        }
        Ok(binary.measures())
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "head.weight").then_some(ParamKind::Head)
    }
}

//! Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) in the form that Beyer, Zhai and
//! Kolesnikov (2022, arXiv 2205.01580) simplified them to, which is AlgoPerf's: fixed sine and cosine
//! positions, no class token, a mean over the patches or attention pooling.

use super::gpt::NormPlace;
use super::parts::{
    Activation, LayerNorm, check_shape, dropout, evaluate_classes, own_tokens, tokens_of,
};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Arc;
use velodrome_harness::contract::{
    Batch, ModelError, Network, ParamKind, Pass, Predictions, Tokens, apply_linear, lengthen,
};
use velodrome_kernels::{Heads, attention};
use velodrome_results::measures::Measures;

/// How the patches of a [`Vit`] become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Their mean.
    Mean,
    /// Attention of one learned query to all of them, with a feed-forward part behind it (Zhai et
    /// al. 2022, arXiv 2106.04560).
    Attention,
}

/// Sizes and choices of a [`Vit`].
#[derive(Debug, Clone, PartialEq)]
pub struct VitConfig {
    /// Height and width of the images.
    pub side: usize,
    /// Channels of the images.
    pub channels: usize,
    /// Height and width of a patch; must divide the side.
    pub patch: usize,
    /// Width of the residual stream; a multiple of 4, at least 8.
    pub width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Blocks.
    pub layers: usize,
    /// Hidden width of the feed-forward parts.
    pub feed_forward: usize,
    /// Classes of a task.
    pub classes: usize,
    /// Tasks, each with outputs of its own. With more than one the field `task` says which one an example
    /// belongs to.
    pub tasks: usize,
    /// Activation of the feed-forward parts.
    pub activation: Activation,
    /// Where the norms of the blocks stand.
    pub norm: NormPlace,
    /// Whether the hidden values of the blocks are multiplied by a linear map of themselves.
    pub gated: bool,
    /// How the patches become one vector.
    pub pool: Pool,
    /// Dropout rate of embedded patches, hidden values and residual branches, unless the submission
    /// chooses one.
    pub dropout: f64,
}

impl VitConfig {
    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (d, f) = (self.width, self.feed_forward);
        let norm = 2 * d;
        let attention = 4 * (d + 1) * d;
        let feed_forward = (d + 1) * f + (f + 1) * d;
        let gate = if self.gated { (f + 1) * f } else { 0 };
        let block = attention + feed_forward + gate + 2 * norm;
        let pool = match self.pool {
            Pool::Mean => 0,
            Pool::Attention => d + attention + norm + feed_forward,
        };
        let final_norm = if self.norm == NormPlace::Pre { norm } else { 0 };
        (self.channels * self.patch.pow(2) + 1) * d
            + self.layers * block
            + final_norm
            + pool
            + (d + 1) * d
            + (d + 1) * self.tasks * self.classes
    }

    /// The fixed positions of the patches, `[patches, width]`: sines and cosines of the column, then
    /// of the row, at `width / 4` wavelengths from 2 pi to 20,000 pi (Chen, Xie and He 2021, arXiv
    /// 2104.02057).
    fn positions(&self) -> Arc<[f32]> {
        let (each, quarter) = (self.side / self.patch, self.width / 4);
        let frequency = |k: usize| 10_000f64.powf(-(k as f64) / (quarter as f64 - 1.0));
        let waves = |at: usize| {
            let angles = (0..quarter).map(move |k| at as f64 * frequency(k));
            let cosines = angles.clone().map(f64::cos);
            angles.map(f64::sin).chain(cosines)
        };
        (0..each * each)
            .flat_map(|patch| waves(patch % each).chain(waves(patch / each)))
            .map(|value| value as f32)
            .collect()
    }

    fn check(&self) -> Result<(), ModelError> {
        let fault = |message: String| Err(ModelError::Compute(message));
        let (side, patch, width, heads) = (self.side, self.patch, self.width, self.heads);
        if patch == 0 || side == 0 || !side.is_multiple_of(patch) {
            return fault(format!(
                "a side of {side} cannot be cut in patches of {patch}"
            ));
        }
        if width < 8 || !width.is_multiple_of(4) {
            return fault(format!(
                "a width of {width} has no sine and cosine positions; it must be a multiple of 4, \
                 at least 8"
            ));
        }
        if heads == 0 || !width.is_multiple_of(heads) {
            return fault(format!(
                "a width of {width} cannot be split among {heads} heads"
            ));
        }
        Ok(())
    }
}

/// Xavier's uniform distribution (Glorot and Bengio 2010).
const XAVIER: Initializer = Initializer::XavierUniform { gain: 1.0 };

/// A linear map with weights from [`XAVIER`].
fn linear(from: usize, to: usize, bias: Initializer, device: &Device) -> Linear {
    let config = LinearConfig::new(from, to).with_initializer(XAVIER);
    let mut linear = config.init(device);
    linear.bias = Some(bias.init([to], device));
    linear
}

#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl Attention {
    fn new(config: &VitConfig, device: &Device) -> Self {
        let square = || linear(config.width, config.width, Initializer::Zeros, device);
        Self {
            query: square(),
            key: square(),
            value: square(),
            output: square(),
            heads: config.heads,
        }
    }

    /// Attention of `x` to `memory`, both of shape `[examples, tokens, width]`.
    fn forward(&self, x: Tensor<3>, memory: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let scale = ((width / self.heads) as f64).powf(-0.5);
        let query = apply_linear(&self.query, x);
        let key = lengthen(&self.key.weight, apply_linear(&self.key, memory.clone()));
        let value = lengthen(&self.value.weight, apply_linear(&self.value, memory));
        let [_, keys, _] = key.dims();
        let open = Tensor::zeros([1, 1, 1, keys], &key.device());
        let heads = Heads::each(self.heads, scale);
        apply_linear(&self.output, attention(heads, query, key, value, open))
    }
}

#[derive(Module, Debug)]
struct FeedForward {
    up: Linear,
    gate: Option<Linear>,
    down: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    fn new(config: &VitConfig, gated: bool, device: &Device) -> Self {
        let (d, f) = (config.width, config.feed_forward);
        let bias = Initializer::Normal {
            mean: 0.0,
            std: 1e-6,
        };
        let linear = |from, to| linear(from, to, bias.clone(), device);
        Self {
            up: linear(d, f),
            gate: gated.then(|| linear(f, f)),
            down: linear(f, d),
            activation: config.activation,
        }
    }

    fn forward(&self, x: Tensor<3>, rate: f64) -> Tensor<3> {
        let mut hidden = self.activation.apply(apply_linear(&self.up, x));
        if let Some(gate) = &self.gate {
            hidden = apply_linear(gate, hidden.clone()) * hidden;
        }
        apply_linear(&self.down, dropout(hidden, rate))
    }
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    feed_forward: FeedForward,
    #[module(skip)]
    norm: NormPlace,
}

impl Block {
    fn new(config: &VitConfig, device: &Device) -> Self {
        Self {
            norm1: LayerNorm::new(config.width, device),
            attention: Attention::new(config, device),
            norm2: LayerNorm::new(config.width, device),
            feed_forward: FeedForward::new(config, config.gated, device),
            norm: config.norm,
        }
    }

    fn forward(&self, x: Tensor<3>, rate: f64) -> Tensor<3> {
        match self.norm {
            NormPlace::Pre => {
                let h = self.norm1.forward(x.clone());
                let x = x + dropout(self.attention.forward(h.clone(), h), rate);
                let branch = self
                    .feed_forward
                    .forward(self.norm2.forward(x.clone()), rate);
                x + dropout(branch, rate)
            }
            NormPlace::Post => {
                let branch = self.attention.forward(x.clone(), x.clone());
                let x = self.norm1.forward(x + dropout(branch, rate));
                let branch = self.feed_forward.forward(x.clone(), rate);
                self.norm2.forward(x + dropout(branch, rate))
            }
        }
    }
}

/// A learned query that looks at all patches.
#[derive(Module, Debug)]
struct Probe {
    probe: Param<Tensor<2>>,
    attention: Attention,
    norm: LayerNorm,
    feed_forward: FeedForward,
}

impl Probe {
    fn new(config: &VitConfig, device: &Device) -> Self {
        let d = config.width;
        Self {
            probe: XAVIER.init_with([1, d], Some(1), Some(d), device),
            attention: Attention::new(config, device),
            norm: LayerNorm::new(d, device),
            feed_forward: FeedForward::new(config, false, device),
        }
    }

    fn forward(&self, x: Tensor<3>, rate: f64) -> Tensor<2> {
        let [examples, _, width] = x.dims();
        let query = self.probe.val().reshape([1, 1, width]);
        let x = self.attention.forward(query.repeat_dim(0, examples), x);
        let branch = self
            .feed_forward
            .forward(self.norm.forward(x.clone()), rate);
        (x + branch).reshape([examples, width])
    }
}

/// A vision transformer. Reads the fields `image` (real, `[examples, channels, side, side]`) and
/// `label`. The last linear map starts at zero.
#[derive(Module, Debug)]
pub struct Vit {
    patches: Conv2d,
    blocks: Vec<Block>,
    final_norm: Option<LayerNorm>,
    pool: Option<Probe>,
    representation: Linear,
    head: Linear,
    #[module(skip)]
    positions: Arc<[f32]>,
    #[module(skip)]
    shape: [usize; 3],
    tasks: usize,
    dropout: f64,
}

impl Vit {
    /// Builds the model on `device`, whose seed decides the initial values. Fails where patches,
    /// width and heads do not go together.
    pub fn new(config: &VitConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let (d, p) = (config.width, config.patch);
        // Variance 1 / fan in (LeCun et al. 1998), with zero biases.
        let lecun = |fan_in: usize| Initializer::Normal {
            mean: 0.0,
            std: (1.0 / fan_in as f64).sqrt(),
        };
        let zero_bias = |width: usize| Some(Initializer::Zeros.init([width], device));
        let mut patches = Conv2dConfig::new([config.channels, d], [p, p])
            .with_stride([p, p])
            .with_initializer(lecun(config.channels * p * p))
            .init(device);
        patches.bias = zero_bias(d);
        let mut representation = LinearConfig::new(d, d)
            .with_initializer(lecun(d))
            .init(device);
        representation.bias = zero_bias(d);
        Ok(Self {
            patches,
            blocks: (0..config.layers)
                .map(|_| Block::new(config, device))
                .collect(),
            final_norm: (config.norm == NormPlace::Pre).then(|| LayerNorm::new(d, device)),
            pool: (config.pool == Pool::Attention).then(|| Probe::new(config, device)),
            representation,
            head: LinearConfig::new(d, config.tasks * config.classes)
                .with_initializer(Initializer::Zeros)
                .init(device),
            positions: config.positions(),
            shape: [config.channels, config.side, config.side],
            tasks: config.tasks,
            dropout: config.dropout,
        })
    }

    /// The patches of `images` as tokens, `[examples, patches, width]`: the convolution as one matrix
    /// product, since its windows do not overlap.
    fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let kernel = self.patches.weight.val();
        let [width, channels, p, _] = kernel.dims();
        let [examples, _, side, _] = images.dims();
        let each = side / p;
        let size = channels * p * p;
        let x = images
            .reshape([examples, channels, each, p, each, p])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([examples * each * each, size])
            .matmul(kernel.reshape([width, size]).transpose())
            .reshape([examples, each * each, width]);
        let positions = TensorData::new(self.positions.to_vec(), [1, each * each, width]);
        let positions = Tensor::from_data(positions, &x.device());
        match &self.patches.bias {
            Some(bias) => x + (positions + bias.val().reshape([1, 1, width])),
            None => x + positions,
        }
    }

    fn predict(
        &self,
        batch: &Batch,
        pass: &Pass,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let images = batch.float::<4>("image")?;
        check_shape("image", &images.dims(), &self.shape)?;
        let rate = pass.dropout(self.dropout);
        let x = self.embed(images);
        let [_, patches, _] = x.dims();
        let mut x = dropout(lengthen(&self.patches.weight, x), rate);
        for block in &self.blocks {
            x = block.forward(x, rate);
        }
        if let Some(norm) = &self.final_norm {
            x = norm.forward(x);
        }
        let x = own_tokens(x, patches);
        let [examples, _, width] = x.dims();
        let x = match &self.pool {
            Some(probe) => probe.forward(x, rate),
            None => x.mean_dim(1).reshape([examples, width]),
        };
        let x = Activation::Tanh.apply(apply_linear(&self.representation, x));
        let logits = self.of_task(apply_linear(&self.head, x), batch)?;
        Ok((logits, batch.int("label")?))
    }

    /// The outputs of each example's task.
    fn of_task(&self, logits: Tensor<2>, batch: &Batch) -> Result<Tensor<2>, ModelError> {
        if self.tasks < 2 {
            return Ok(logits);
        }
        let [examples, all] = logits.dims();
        let classes = all / self.tasks;
        let task = batch.int::<1>("task")?.reshape([examples, 1, 1]);
        let chosen = logits
            .reshape([examples, self.tasks, classes])
            .gather(1, task.repeat_dim(2, classes));
        Ok(chosen.reshape([examples, classes]))
    }
}

impl Network for Vit {
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
        (path == "head.weight").then_some(ParamKind::Head)
    }

    fn tokens_of(path: &str) -> Option<Tokens> {
        tokens_of(path, "patches.weight")
    }
}

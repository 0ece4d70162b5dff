//! A small residual network with batch normalisation.

use super::batch_norm::{self, BatchNorm};
use super::parts::{Activation, check_shape, dropout, evaluate_classes};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{
    Batch, ModelError, Network, NormStatistics, ParamKind, Pass, Predictions,
};
use velodrome_results::measures::Measures;

/// Sizes and choices of a [`ResNet`].
#[derive(Debug, Clone, PartialEq)]
pub struct ResNetConfig {
    /// Height and width of the (grey) images.
    pub side: usize,
    /// Channels of each stage. Each stage but the first halves height and width.
    pub widths: Vec<usize>,
    /// Residual blocks in each stage.
    pub blocks: usize,
    /// Classes.
    pub classes: usize,
    /// Activation.
    pub activation: Activation,
    /// Norm and activation before each convolution (He et al. 2016b, arXiv 1603.05027) in place
    /// of behind it (He et al. 2016a, arXiv 1512.03385).
    pub preactivation: bool,
    /// Initial scale of all batch norms.
    pub norm_scale: f64,
    /// Dropout rate before the last linear map, unless the submission chooses one.
    pub dropout: f64,
}

/// Kernel width of the first convolution, which halves height and width.
const STEM: usize = 5;

impl ResNetConfig {
    /// (channels in, channels out, stride) of each block.
    fn layout(&self) -> Vec<(usize, usize, usize)> {
        let mut layout = Vec::new();
        let mut channels = self.widths.first().copied().unwrap_or(1);
        for (stage, &width) in self.widths.iter().enumerate() {
            for block in 0..self.blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                layout.push((channels, width, stride));
                channels = width;
            }
        }
        layout
    }

    fn ends(&self) -> (usize, usize) {
        let first = self.widths.first().copied().unwrap_or(1);
        (first, self.widths.last().copied().unwrap_or(first))
    }

    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (first, last) = self.ends();
        let blocks = self.layout().into_iter().map(|(i, o, stride)| {
            let norms = batch_norm::parameters(if self.preactivation { i } else { o })
                + batch_norm::parameters(o);
            let shortcut = match (i, stride) == (o, 1) {
                true => 0,
                false if self.preactivation => i * o,
                false => i * o + batch_norm::parameters(o),
            };
            9 * o * (i + o) + norms + shortcut
        });
        let norm = batch_norm::parameters(if self.preactivation { last } else { first });
        STEM * STEM * first + norm + blocks.sum::<usize>() + (last + 1) * self.classes
    }
}

/// A convolution without bias that keeps height and width (at stride 1), with He's normal
/// initialisation (He et al. 2015, arXiv 1502.01852).
fn convolution(from: usize, to: usize, kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(false)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: (2.0 / (from * kernel * kernel) as f64).sqrt(),
        })
        .init(device)
}

/// What joins a block's input to its output where their shapes differ.
#[derive(Module, Debug)]
struct Shortcut {
    conv: Conv2d,
    norm: Option<BatchNorm>,
}

#[derive(Module, Debug)]
struct Block {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
    shortcut: Option<Shortcut>,
    preactivation: bool,
    #[module(skip)]
    activation: Activation,
}

impl Block {
    fn new(
        config: &ResNetConfig,
        (from, to, stride): (usize, usize, usize),
        device: &Device,
    ) -> Self {
        let norm = |channels| BatchNorm::new(channels, config.norm_scale, device);
        let pre = config.preactivation;
        let shortcut = ((from, stride) != (to, 1)).then(|| Shortcut {
            conv: convolution(from, to, 1, stride, device),
            norm: (!pre).then(|| norm(to)),
        });
        Self {
            norm1: norm(if pre { from } else { to }),
            conv1: convolution(from, to, 3, stride, device),
            norm2: norm(to),
            conv2: convolution(to, to, 3, 1, device),
            shortcut,
            preactivation: pre,
            activation: config.activation,
        }
    }

    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let act = self.activation;
        if self.preactivation {
            let h = act.apply(self.norm1.forward(x.clone(), pass));
            let joined = match &self.shortcut {
                Some(shortcut) => shortcut.conv.forward(h.clone()),
                None => x,
            };
            let h = self.norm2.forward(self.conv1.forward(h), pass);
            return self.conv2.forward(act.apply(h)) + joined;
        }
        let h = self.norm1.forward(self.conv1.forward(x.clone()), pass);
        let h = self.norm2.forward(self.conv2.forward(act.apply(h)), pass);
        let joined = match &self.shortcut {
            Some(shortcut) => {
                let x = shortcut.conv.forward(x);
                match &shortcut.norm {
                    Some(norm) => norm.forward(x, pass),
                    None => x,
                }
            }
            None => x,
        };
        act.apply(h + joined)
    }

    /// In the order in which `forward` records.
    fn update(self, statistics: &mut impl Iterator<Item = NormStatistics>) -> Self {
        let norm1 = self.norm1.update(statistics);
        let norm2 = self.norm2.update(statistics);
        let shortcut = self.shortcut.map(|s| Shortcut {
            norm: s.norm.map(|n| n.update(statistics)),
            ..s
        });
        Self {
            norm1,
            norm2,
            shortcut,
            ..self
        }
    }
}

/// A residual network: a strided first convolution, stages of two-convolution blocks, the mean
/// over height and width, and a linear map. Reads the fields `image` (real,
/// `[examples, 1, side, side]`) and `label`.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: Conv2d,
    stem_norm: Option<BatchNorm>,
    blocks: Vec<Block>,
    final_norm: Option<BatchNorm>,
    head: Linear,
    side: usize,
    dropout: f64,
    #[module(skip)]
    activation: Activation,
}

impl ResNet {
    /// Builds the model on `device`, whose seed decides the initial values.
    pub fn new(config: &ResNetConfig, device: &Device) -> Self {
        let (first, last) = config.ends();
        let norm = |channels| BatchNorm::new(channels, config.norm_scale, device);
        Self {
            stem: convolution(1, first, STEM, 2, device),
            stem_norm: (!config.preactivation).then(|| norm(first)),
            blocks: config
                .layout()
                .into_iter()
                .map(|shape| Block::new(config, shape, device))
                .collect(),
            final_norm: config.preactivation.then(|| norm(last)),
            head: LinearConfig::new(last, config.classes).init(device),
            side: config.side,
            dropout: config.dropout,
            activation: config.activation,
        }
    }

    fn predict(
        &self,
        batch: &Batch,
        pass: &mut Pass,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let x = batch.float::<4>("image")?;
        check_shape("image", &x.dims(), &[1, self.side, self.side])?;
        let norm_and_activate = |norm: &Option<BatchNorm>, x, pass: &mut Pass| match norm {
            Some(norm) => self.activation.apply(norm.forward(x, pass)),
            None => x,
        };
        let mut x = norm_and_activate(&self.stem_norm, self.stem.forward(x), pass);
        for block in &self.blocks {
            x = block.forward(x, pass);
        }
        let x = norm_and_activate(&self.final_norm, x, pass);
        let [examples, channels, height, width] = x.dims();
        let x = x
            .reshape([examples, channels, height * width])
            .mean_dim(2)
            .reshape([examples, channels]);
        let x = dropout(x, pass.dropout(self.dropout));
        Ok((self.head.forward(x), batch.int("label")?))
    }
}

impl Network for ResNet {
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
        evaluate_classes(batches, |batch| {
            self.predict(batch, &mut Pass::evaluation())
        })
    }

    fn update_norm(self, statistics: Vec<NormStatistics>) -> Self {
        let mut statistics = statistics.into_iter();
        let stem_norm = self.stem_norm.map(|n| n.update(&mut statistics));
        let blocks = self
            .blocks
            .into_iter()
            .map(|b| b.update(&mut statistics))
            .collect();
        let final_norm = self.final_norm.map(|n| n.update(&mut statistics));
        Self {
            stem_norm,
            blocks,
            final_norm,
            ..self
        }
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "head.weight").then_some(ParamKind::Head)
    }
}

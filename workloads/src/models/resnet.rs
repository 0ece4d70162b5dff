//! Residual networks with batch normalisation.

use super::batch_norm::{self, BatchNorm};
use super::parts::{Activation, check_shape, convolve, dropout, evaluate_classes};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Int, Tensor};
use velodrome_harness::contract::{
    Batch, ModelError, Network, NormStatistics, ParamKind, Pass, Predictions, apply_linear,
};
use velodrome_results::measures::Measures;

/// Sizes and choices of a [`ResNet`].
#[derive(Debug, Clone, PartialEq)]
pub struct ResNetConfig {
    /// Height and width of the images.
    pub side: usize,
    /// Channels of the images.
    pub channels: usize,
    /// What reads the images.
    pub stem: Stem,
    /// Channels and residual blocks of each stage. Each stage but the first halves height and
    /// width.
    pub stages: Vec<(usize, usize)>,
    /// Blocks of a 1x1, a 3x3 and a 1x1 convolution, the last with [`EXPANSION`] times the stage's
    /// channels, in place of two 3x3 convolutions. The stride is in the 3x3 convolution ("version
    /// 1.5").
    pub bottleneck: bool,
    /// Classes.
    pub classes: usize,
    /// Activation.
    pub activation: Activation,
    /// Norm and activation before each convolution (He et al. 2016b, arXiv 1603.05027) in place
    /// of behind it (He et al. 2016a, arXiv 1512.03385).
    pub preactivation: bool,
    /// Initial scale of all batch norms.
    pub norm_scale: f64,
    /// Initial scale of the last norm in each residual branch, where it differs from the others:
    /// with 0 every block starts as its shortcut (Goyal et al. 2017, arXiv 1706.02677). Networks
    /// with [`Self::preactivation`] have no such norm and ignore it.
    pub branch_scale: Option<f64>,
    /// Dropout rate before the last linear map, unless the submission chooses one.
    pub dropout: f64,
}

/// The first convolution of a [`ResNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stem {
    /// Kernel width, odd.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Whether a 3x3 maximum of stride 2 stands behind its norm and activation.
    pub pool: bool,
}

/// Channels out of a bottleneck block, as a multiple of its stage's channels.
pub const EXPANSION: usize = 4;

/// One block's place in the network.
#[derive(Debug, Clone, Copy)]
struct Shape {
    from: usize,
    /// Channels inside.
    inner: usize,
    to: usize,
    stride: usize,
}

impl Shape {
    /// (channels in, channels out, kernel width, stride) of each convolution.
    fn convolutions(&self, bottleneck: bool) -> Vec<(usize, usize, usize, usize)> {
        let Shape {
            from,
            inner,
            to,
            stride,
        } = *self;
        match bottleneck {
            true => vec![
                (from, inner, 1, 1),
                (inner, inner, 3, stride),
                (inner, to, 1, 1),
            ],
            false => vec![(from, inner, 3, stride), (inner, to, 3, 1)],
        }
    }

    /// Whether input and output differ in shape, so that the shortcut needs a convolution.
    fn changes(&self) -> bool {
        (self.from, self.stride) != (self.to, 1)
    }
}

impl ResNetConfig {
    fn layout(&self) -> Vec<Shape> {
        let mut layout = Vec::new();
        let mut from = self.first();
        for (stage, &(inner, blocks)) in self.stages.iter().enumerate() {
            let to = inner * if self.bottleneck { EXPANSION } else { 1 };
            for block in 0..blocks {
                layout.push(Shape {
                    from,
                    inner,
                    to,
                    stride: if stage > 0 && block == 0 { 2 } else { 1 },
                });
                from = to;
            }
        }
        layout
    }

    /// Channels out of the stem.
    fn first(&self) -> usize {
        self.stages.first().map_or(1, |(channels, _)| *channels)
    }

    /// Channels into the head.
    fn last(&self) -> usize {
        self.layout().last().map_or(self.first(), |shape| shape.to)
    }

    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let (first, last) = (self.first(), self.last());
        let blocks = self.layout().into_iter().map(|shape| {
            let convolutions = shape.convolutions(self.bottleneck).into_iter();
            let branch: usize = convolutions
                .map(|(i, o, kernel, _)| {
                    let normed = if self.preactivation { i } else { o };
                    kernel * kernel * i * o + batch_norm::parameters(normed)
                })
                .sum();
            let (i, o) = (shape.from, shape.to);
            branch
                + match shape.changes() {
                    false => 0,
                    true if self.preactivation => i * o,
                    true => i * o + batch_norm::parameters(o),
                }
        });
        let norm = batch_norm::parameters(if self.preactivation { last } else { first });
        let stem = self.stem.kernel.pow(2) * self.channels * first;
        stem + norm + blocks.sum::<usize>() + (last + 1) * self.classes
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
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    shortcut: Option<Shortcut>,
    preactivation: bool,
    #[module(skip)]
    activation: Activation,
}

impl Block {
    fn new(config: &ResNetConfig, shape: Shape, device: &Device) -> Self {
        let pre = config.preactivation;
        let norm = |channels, scale| BatchNorm::new(channels, scale, device);
        let layers = shape.convolutions(config.bottleneck);
        let scale = |layer: usize| match config.branch_scale {
            Some(scale) if !pre && layer + 1 == layers.len() => scale,
            _ => config.norm_scale,
        };
        let shortcut = shape.changes().then(|| Shortcut {
            conv: convolution(shape.from, shape.to, 1, shape.stride, device),
            norm: (!pre).then(|| norm(shape.to, config.norm_scale)),
        });
        Self {
            convs: layers
                .iter()
                .map(|(i, o, kernel, stride)| convolution(*i, *o, *kernel, *stride, device))
                .collect(),
            norms: layers
                .iter()
                .enumerate()
                .map(|(layer, (i, o, ..))| norm(if pre { *i } else { *o }, scale(layer)))
                .collect(),
            shortcut,
            preactivation: pre,
            activation: config.activation,
        }
    }

    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let act = self.activation;
        let layers = self.convs.iter().zip(&self.norms).enumerate();
        let mut h = x.clone();
        if self.preactivation {
            let mut joined = x;
            for (layer, (conv, norm)) in layers {
                h = act.apply(norm.forward(h, pass));
                if let (0, Some(shortcut)) = (layer, &self.shortcut) {
                    joined = convolve(&shortcut.conv, h.clone());
                }
                h = convolve(conv, h);
            }
            return h + joined;
        }
        for (layer, (conv, norm)) in layers {
            if layer > 0 {
                h = act.apply(h);
            }
            h = norm.forward(convolve(conv, h), pass);
        }
        let joined = match &self.shortcut {
            Some(shortcut) => {
                let x = convolve(&shortcut.conv, x);
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
        let norms = self.norms.into_iter();
        let norms = norms.map(|n| n.update(statistics)).collect();
        let shortcut = self.shortcut.map(|s| Shortcut {
            norm: s.norm.map(|n| n.update(statistics)),
            ..s
        });
        Self {
            norms,
            shortcut,
            ..self
        }
    }
}

/// A residual network: a first convolution, stages of residual blocks, the mean over height and
/// width, and a linear map. Reads the fields `image` (real, `[examples, channels, side, side]`) and
/// `label`.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: Conv2d,
    stem_norm: Option<BatchNorm>,
    pool: Option<MaxPool2d>,
    blocks: Vec<Block>,
    final_norm: Option<BatchNorm>,
    head: Linear,
    channels: usize,
    side: usize,
    dropout: f64,
    #[module(skip)]
    activation: Activation,
}

impl ResNet {
    /// Builds the model on `device`, whose seed decides the initial values.
    pub fn new(config: &ResNetConfig, device: &Device) -> Self {
        let (first, last) = (config.first(), config.last());
        let norm = |channels| BatchNorm::new(channels, config.norm_scale, device);
        let stem = config.stem;
        Self {
            stem: convolution(config.channels, first, stem.kernel, stem.stride, device),
            stem_norm: (!config.preactivation).then(|| norm(first)),
            pool: stem.pool.then(|| {
                MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init()
            }),
            blocks: config
                .layout()
                .into_iter()
                .map(|shape| Block::new(config, shape, device))
                .collect(),
            final_norm: config.preactivation.then(|| norm(last)),
            head: LinearConfig::new(last, config.classes).init(device),
            channels: config.channels,
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
        check_shape("image", &x.dims(), &[self.channels, self.side, self.side])?;
        let norm_and_activate = |norm: &Option<BatchNorm>, x, pass: &mut Pass| match norm {
            Some(norm) => self.activation.apply(norm.forward(x, pass)),
            None => x,
        };
        let mut x = norm_and_activate(&self.stem_norm, convolve(&self.stem, x), pass);
        if let Some(pool) = &self.pool {
            x = pool.forward(x);
        }
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
        Ok((apply_linear(&self.head, x), batch.int("label")?))
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

//! The U-Net of fastMRI (Ronneberger et al. 2015, arXiv 1505.04597; Zbontar et al. 2018, arXiv
//! 1811.08839), as AlgoPerf has it.

use super::parts::{Activation, check_shape, convolve, dropout};
use crate::metrics::{Intensities, Reconstructions};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::module::{avg_pool2d, conv_transpose2d};
use burn::tensor::ops::{AvgPoolOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor};
use velodrome_harness::contract::{Batch, ModelError, Network, ParamKind, Pass, UnitLosses};
use velodrome_kernels::{Function, batch_norm, function};
use velodrome_results::measures::Measures;

/// Sizes and choices of a [`UNet`].
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Height and width of the images: a multiple of 2 to the power of `pools`.
    pub side: usize,
    /// Channels of the first block; every pooling doubles them.
    pub channels: usize,
    /// Poolings, and as many steps back up.
    pub pools: usize,
    /// Hyperbolic tangent in place of a leaky ReLU with slope 0.2.
    pub tanh: bool,
    /// Layer norm over channels, height and width, with scale and shift of each channel, behind the
    /// convolutions, in place of an instance norm without parameters. The transposed convolutions
    /// keep their instance norm, as in AlgoPerf.
    pub layer_norm: bool,
    /// Rate at which whole channels are dropped behind each activation of the convolutions, unless
    /// the submission chooses one.
    pub dropout: f64,
}

impl UNetConfig {
    /// (channels in, channels out) of the blocks on the way down, at the bottom, and on the way up.
    fn blocks(&self) -> [Vec<(usize, usize)>; 3] {
        let width = |level: usize| self.channels << level;
        let down = (0..self.pools).map(|l| (if l == 0 { 1 } else { width(l - 1) }, width(l)));
        let from = if self.pools == 0 {
            1
        } else {
            width(self.pools - 1)
        };
        let up = (0..self.pools).rev().map(|l| (2 * width(l), width(l)));
        [
            down.collect(),
            vec![(from, width(self.pools))],
            up.collect(),
        ]
    }

    /// Number of trainable elements.
    pub fn parameters(&self) -> usize {
        let norms = |to: usize| if self.layer_norm { 4 * to } else { 0 };
        let block = |(from, to): &(usize, usize)| 9 * to * (from + to) + norms(*to);
        let [down, bottom, up] = self.blocks();
        let blocks: usize = [&down, &bottom, &up].into_iter().flatten().map(block).sum();
        let rises: usize = up.iter().map(|(from, to)| 4 * from * to).sum();
        blocks + rises + self.channels + 1
    }

    /// Whether these sizes make a network.
    fn check(&self) -> Result<(), ModelError> {
        let whole = self.pools < 16 && self.side.is_multiple_of(1 << self.pools);
        if whole && self.side >> self.pools > 0 && self.channels > 0 {
            return Ok(());
        }
        Err(ModelError::Compute(format!(
            "a U-Net with {} poolings and {} channels does not fit images of {} pixels: their side \
             must be a multiple of two to the number of poolings",
            self.pools, self.channels, self.side
        )))
    }
}

/// The initial values of a kernel: normal with variance `1 / fan_in` (LeCun et al. 1998). AlgoPerf
/// cuts the same distribution off at two deviations and widens it accordingly.
fn lecun(fan_in: usize) -> Initializer {
    Initializer::Normal {
        mean: 0.0,
        std: (1.0 / fan_in as f64).sqrt(),
    }
}

/// A convolution with a 3x3 kernel and without bias that keeps height and width.
fn convolution(from: usize, to: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .with_initializer(lecun(9 * from))
        .init(device)
}

/// `x` of shape `[examples, channels, height, width]`, each channel of each example with mean 0 and
/// variance 1 (Ulyanov et al. 2016, arXiv 1607.08022; epsilon 1e-5).
fn instance_norm(x: Tensor<4>) -> Tensor<4> {
    let [examples, channels, height, width] = x.dims();
    let flat = x.reshape([1, examples * channels, height, width]);
    standardise(flat, 1e-5).reshape([examples, channels, height, width])
}

/// Mean 0 and variance 1 along all but the second axis: a batch norm that keeps no statistics.
fn standardise(x: Tensor<4>, epsilon: f64) -> Tensor<4> {
    let (device, groups) = (x.device(), x.dims()[1]);
    let (one, zero) = (
        Tensor::ones([groups], &device),
        Tensor::zeros([groups], &device),
    );
    let (normal, _) = batch_norm(x, one, zero, epsilon);
    normal
}

/// Layer norm over channels, height and width (Ba et al. 2016, arXiv 1607.06450; epsilon 1e-6), with
/// a scale and a shift for each channel.
#[derive(Module, Debug)]
struct LayerNorm2d {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
}

impl LayerNorm2d {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [examples, channels, height, width] = x.dims();
        let flat = x.reshape([1, examples, channels * height, width]);
        let x = standardise(flat, 1e-6).reshape([examples, channels, height, width]);
        let each = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
        x * each(self.gamma.val()) + each(self.beta.val())
    }
}

fn activate(x: Tensor<4>, hyperbolic: bool) -> Tensor<4> {
    if hyperbolic {
        return Activation::Tanh.apply(x);
    }
    function(Function::LeakyRelu, x)
}

/// Sets whole channels to zero with probability `rate` (Tompson et al. 2015, arXiv 1411.4280).
fn drop_channels(x: Tensor<4>, rate: f64) -> Tensor<4> {
    if rate <= 0.0 {
        return x;
    }
    let [examples, channels, ..] = x.dims();
    let ones = Tensor::<4>::ones([examples, channels, 1, 1], &x.device());
    x * dropout(ones, rate)
}

/// Two convolutions, each with norm, activation and dropout behind it.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    norm1: Option<LayerNorm2d>,
    conv2: Conv2d,
    norm2: Option<LayerNorm2d>,
    tanh: bool,
}

impl Block {
    fn new(config: &UNetConfig, (from, to): (usize, usize), device: &Device) -> Self {
        let norm = || config.layer_norm.then(|| LayerNorm2d::new(to, device));
        Self {
            conv1: convolution(from, to, device),
            norm1: norm(),
            conv2: convolution(to, to, device),
            norm2: norm(),
            tanh: config.tanh,
        }
    }

    fn forward(&self, mut x: Tensor<4>, rate: f64) -> Tensor<4> {
        for (conv, norm) in [(&self.conv1, &self.norm1), (&self.conv2, &self.norm2)] {
            x = convolve(conv, x);
            x = match norm {
                Some(norm) => norm.forward(x),
                None => instance_norm(x),
            };
            x = drop_channels(activate(x, self.tanh), rate);
        }
        x
    }
}

/// A transposed convolution with a 2x2 kernel, stride 2 and no bias, which doubles height and width.
/// The kernel has the shape `[channels out, channels in, 2, 2]`, as those of convolutions.
#[derive(Module, Debug)]
struct RisingConv2d {
    weight: Param<Tensor<4>>,
}

impl RisingConv2d {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        Self {
            weight: lecun(4 * from).init([to, from, 2, 2], device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
        conv_transpose2d(x, self.weight.val().swap_dims(0, 1), None, options)
    }
}

/// The linear map of each pixel's channels to its value.
#[derive(Module, Debug)]
struct Output {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Output {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: lecun(channels).init([channels, 1], device),
            bias: Initializer::Zeros.init([1], device),
        }
    }

    /// `[examples, channels, height, width]` to `[examples, height, width]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let [examples, channels, height, width] = x.dims();
        let pixels = x.reshape([examples, channels, height * width]);
        let weight = self.weight.val().transpose().reshape([1, 1, channels]);
        let values = weight.matmul(pixels) + self.bias.val().reshape([1, 1, 1]);
        values.reshape([examples, height, width])
    }
}

/// A U-Net that turns an undersampled image into a whole one. Reads the fields of
/// [`Slices`](crate::data::mri::Slices); the loss is the mean absolute error of each normalised
/// pixel.
#[derive(Module, Debug)]
pub struct UNet {
    down: Vec<Block>,
    bottom: Block,
    rises: Vec<RisingConv2d>,
    up: Vec<Block>,
    head: Output,
    side: usize,
    dropout: f64,
}

impl UNet {
    /// Builds the model on `device`, whose seed decides the initial values.
    pub fn new(config: &UNetConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let [down, bottom, up] = config.blocks();
        let block = |shape: &(usize, usize)| Block::new(config, *shape, device);
        Ok(Self {
            down: down.iter().map(block).collect(),
            bottom: Block::new(config, bottom[0], device),
            rises: up
                .iter()
                .map(|(from, to)| RisingConv2d::new(*from, *to, device))
                .collect(),
            up: up.iter().map(block).collect(),
            head: Output::new(config.channels, device),
            side: config.side,
            dropout: config.dropout,
        })
    }

    /// Reconstructions of shape `[examples, side, side]`, normalised as the inputs are.
    fn reconstruct(&self, batch: &Batch, pass: &Pass) -> Result<Tensor<3>, ModelError> {
        let x = batch.float::<3>("input")?;
        check_shape("input", &x.dims(), &[self.side, self.side])?;
        let rate = pass.dropout(self.dropout);
        let mut x = x.unsqueeze_dim::<4>(1);
        let mut skipped = Vec::with_capacity(self.down.len());
        for block in &self.down {
            x = block.forward(x, rate);
            skipped.push(x.clone());
            x = avg_pool2d(x, AvgPoolOptions::new([2, 2]));
        }
        x = self.bottom.forward(x, rate);
        let levels = self
            .rises
            .iter()
            .zip(&self.up)
            .zip(skipped.into_iter().rev());
        for ((rise, block), skipped) in levels {
            let risen = activate(instance_norm(rise.forward(x)), block.tanh);
            x = block.forward(Tensor::cat(vec![risen, skipped], 1), rate);
        }
        Ok(self.head.forward(x))
    }
}

/// The values of a field or of a result in main memory.
fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    tensor
        .into_data()
        .convert::<f32>()
        .try_to_vec::<f32>()
        .map_err(|e| ModelError::Compute(e.to_string()))
}

impl Network for UNet {
    fn unit_losses(&self, batch: &Batch, pass: &mut Pass) -> Result<UnitLosses, ModelError> {
        let found = self.reconstruct(batch, pass)?;
        let target = batch.float::<3>("target")?;
        let [examples, rows, columns] = found.dims();
        check_shape("target", &target.dims(), &[rows, columns])?;
        Ok(UnitLosses {
            losses: (found - target).abs().reshape([examples * rows * columns]),
            units_per_example: rows * columns,
        })
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let mut sums = Reconstructions::new();
        for batch in batches {
            let found = self.reconstruct(&batch, &Pass::evaluation())?;
            let [_, rows, columns] = found.dims();
            let (found, target) = (host(found)?, host(batch.float::<3>("target")?)?);
            let [mean, deviation, max] = ["mean", "deviation", "max"].map(|name| {
                let values = batch.float::<1>(name).map_err(ModelError::from);
                values.and_then(host)
            });
            let (mean, deviation, max) = (mean?, deviation?, max?);
            let images = found
                .chunks_exact(rows * columns)
                .zip(target.chunks_exact(rows * columns));
            let scales = mean.iter().zip(&deviation).zip(&max);
            for ((found, target), ((mean, deviation), max)) in images.zip(scales) {
                let scale = Intensities {
                    mean: *mean,
                    deviation: *deviation,
                    max: *max,
                };
                sums.add(found, target, columns, scale)?;
            }
        }
        Ok(sums.measures())
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        (path == "head.weight").then_some(ParamKind::Head)
    }
}

//! C³A: a change made of circulant blocks.
//!
//! `W' = W + D / d_in`: block `(n, m)` of `D`, of `b` inputs by `b` outputs, is circulant with the
//! trained kernel `k`: at input `j` and output `i` of the block stands `k[(j - i) mod b]`.
//!
//! Start: PEFT's default is Xavier's uniform distribution (`±sqrt(6 / (d_in + d_out))`), so that the
//! adapted weight is not the weight; `init_weights` = true starts at zero, `gaussian` with deviation 1,
//! `kaiming_uniform` on `±1/sqrt(d_in)`.
//!
//! Options: `block_size` 256, which divides both sides, and `block_size_pattern`. Trained:
//! `d_in d_out / b`; 1152 for 384 by 384 in blocks of 128. The product is a gather of the kernel and one
//! dense multiplication, not a Fourier transform: burn's knows powers of two only.
//!
//! Sources: Chen et al., "Parameter-Efficient Fine-Tuning via Circular Convolution", arXiv 2407.19342;
//! Hugging Face PEFT 0.21.2, `tuners/c3a`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::{Int, Tensor, TensorData};
use serde_json::{Value, json};

/// How the kernel starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// At zero.
    Zero,
    /// Normal with deviation 1.
    Normal,
    /// Uniform on plus and minus this.
    Uniform(f64),
}

/// C³A.
#[derive(Debug, Clone)]
pub struct C3a {
    /// The weight's shape.
    pub shape: Shape,
    /// The block's side `b`.
    pub size: usize,
    /// How the kernel starts.
    pub start: Start,
}

impl C3a {
    /// Blocks along the outputs and along the inputs.
    fn blocks(&self) -> (usize, usize) {
        (self.shape.d_out / self.size, self.shape.d_in / self.size)
    }
}

impl Parts for C3a {
    fn trained(&self) -> Vec<Factor> {
        let (m, n) = self.blocks();
        vec![Factor::flat("c3a_kernel", &[m, n, self.size])]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (shape, device) = (self.trained()[0].shape(), base.device());
        Ok(vec![match self.start {
            Start::Zero => Tensor::zeros(shape, &device),
            Start::Normal => draw.normal(shape, 1.0, &device),
            Start::Uniform(bound) => draw.uniform(shape, bound, &device),
        }])
    }
}

impl Method for C3a {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let ((m, n), b) = (self.blocks(), self.size);
        let places = (0..b).flat_map(|j| (0..b).map(move |i| ((j + b - i) % b) as i64));
        let places = TensorData::new(places.collect::<Vec<i64>>(), [b * b]);
        let places = Tensor::<1, Int>::from_data(places, &frozen.device());
        let circulant = factors[0].clone().select(1, places);
        let change = circulant.reshape([m, n, b, b]).permute([1, 2, 0, 3]);
        let change = change.reshape([self.shape.d_in, self.shape.d_out]);
        frozen + change.div_scalar(self.shape.d_in as f64)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let size = options.count_by_module("block_size", "block_size_pattern", 256)?;
    shape.blocks_in("block_size", size)?;
    shape.blocks_out("block_size", size)?;
    let xavier = (6.0 / (shape.d_in + shape.d_out) as f64).sqrt();
    let start = match options.value("init_weights") {
        Some(Value::Bool(true)) => Start::Zero,
        _ => match options.word("init_weights", "") {
            "gaussian" => Start::Normal,
            "kaiming_uniform" => Start::Uniform(1.0 / (shape.d_in as f64).sqrt()),
            _ => Start::Uniform(xavier),
        },
    };
    Ok(Box::new(C3a { shape, size, start }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "A change made of circulant blocks",
    paper: "arXiv 2407.19342",
    size: ("block", &[32.0, 16.0, 64.0]),
    options: |s| json!({"block_size": s.block(), "init_weights": true}),
    learning_rate: [1e-2, 1.0, 1e-1],
};

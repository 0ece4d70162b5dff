//! LoRA: a low-rank matrix beside the frozen weight.
//!
//! `W' = W + s A B`, `A` of `[d_in, r]`, `B` of `[r, d_out]`, `s = alpha / r`, or `alpha / sqrt(r)` for
//! rsLoRA (`use_rslora`), which keeps the update's size as the rank grows. With `lora_bias`, `B` has a
//! bias: `b' = b + s c`.
//!
//! Start: `A` uniform on `±1/sqrt(d_in)` (or normal with deviation `1/r`, `init_lora_weights` =
//! `gaussian`), `B` and `c` zero: the weight itself, bit for bit. `orthogonal` splits one random
//! orthogonal matrix between the two, so that `A B` is zero up to rounding; PiSSA and OLoRA, which
//! take a part of the weight, are [`super::spectral`].
//!
//! Options: `r` 8, `lora_alpha` 8, `rank_pattern`, `alpha_pattern`, `use_rslora`, `lora_bias`.
//! Trained: `r (d_in + d_out)`, and `d_out` with a bias. 6144 for 384 by 384 at rank 8.
//!
//! Sources: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685;
//! Kalajdzievski, "A Rank Stabilization Scaling Factor", arXiv 2312.03732; Hugging Face PEFT 0.21.2,
//! `tuners/lora`.

use super::{Added, Draw, Factor, Method, MethodError, Options, Pair, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// How `A` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Uniform on `±1/sqrt(d_in)`.
    Uniform,
    /// Normal with deviation `1/r`.
    Normal,
}

/// The low-rank pair of LoRA.
#[derive(Debug, Clone)]
pub struct Lora {
    /// The weight's shape.
    pub shape: Shape,
    /// The rank `r`.
    pub rank: usize,
    /// The scale `s`.
    pub scale: f64,
    /// How `A` starts.
    pub start: Start,
    /// Whether `B` has a bias.
    pub bias: bool,
}

/// Options that change what LoRA computes and that nothing here does.
const REFUSED: [&str; 10] = [
    "use_qalora",
    "use_bdlora",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "arrow_config",
    "alora_invocation_tokens",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
];

impl Lora {
    /// LoRA that starts uniform and has no bias, of at most as many ranks as the shorter side has entries.
    pub fn plain(shape: Shape, rank: usize, scale: f64) -> Self {
        Self {
            shape,
            rank: rank.clamp(1, shape.short().max(1)),
            scale,
            start: Start::Uniform,
            bias: false,
        }
    }

    /// LoRA from its options.
    pub fn from_options(options: &Options, shape: Shape) -> Result<Self, MethodError> {
        options.refuse(&REFUSED)?;
        let rank = options.count_by_module("r", "rank_pattern", 8)?;
        let alpha = options.number_by_module("lora_alpha", "alpha_pattern", 8.0)?;
        let divisor = match options.flag("use_rslora", false)? {
            true => (rank as f64).sqrt(),
            false => rank as f64,
        };
        let bias = options.flag("lora_bias", false)?;
        if bias && !options.has_bias {
            return Err(options.wrong("lora_bias", "false where the layer has no bias"));
        }
        let start = match options.word("init_lora_weights", "") {
            "gaussian" => Start::Normal,
            _ => Start::Uniform,
        };
        Ok(Self {
            shape,
            rank,
            scale: alpha / divisor,
            start,
            bias,
        })
    }

    /// Initial `A`.
    pub(super) fn first(&self, base: &Tensor<2>, draw: &mut Draw) -> Tensor<2> {
        let (shape, device) = ([self.shape.d_in, self.rank], base.device());
        match self.start {
            Start::Uniform => draw.kaiming(shape, self.shape.d_in, &device),
            Start::Normal => draw.normal(shape, 1.0 / self.rank as f64, &device),
        }
    }
}

impl Parts for Lora {
    fn trained(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        let mut factors = vec![
            Factor::turned("lora_A.weight", self.rank, d_in),
            Factor::turned("lora_B.weight", d_out, self.rank),
        ];
        if self.bias {
            factors.push(Factor::flat("lora_B.bias", &[d_out]));
        }
        factors
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let zeros = |rows| Tensor::zeros([rows, self.shape.d_out], &base.device());
        let mut values = vec![self.first(base, draw), zeros(self.rank)];
        if self.bias {
            values.push(zeros(1));
        }
        Ok(values)
    }

    fn bias(&self, bias: Tensor<1>, factors: &[Tensor<2>]) -> Tensor<1> {
        match factors.get(2).filter(|_| self.bias) {
            Some(c) => bias + c.clone().reshape([self.shape.d_out]).mul_scalar(self.scale),
            None => bias,
        }
    }
}

impl Pair for Lora {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let (a, b) = (factors[0].clone(), factors[1].clone());
        (a, b.mul_scalar(self.scale))
    }
}

/// The pair that the options name.
pub(super) fn pair(options: &Options, shape: Shape) -> Result<Box<dyn Pair>, MethodError> {
    let lora = Lora::from_options(options, shape)?;
    super::spectral::start(options, lora)
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    Ok(Box::new(Added(pair(options, shape)?)))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Low-rank matrices beside the frozen weights",
    paper: "arXiv 2106.09685",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": 2 * s.rank()}),
    learning_rate: Race::MATRICES,
};

/// How it races.
pub(super) const RACE_RS: Race = Race {
    summary: "LoRA whose scale falls with the root of the rank",
    paper: "arXiv 2312.03732",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": 16, "use_rslora": true}),
    learning_rate: Race::MATRICES,
};

//! RoAd: pairs of outputs turned and stretched.
//!
//! In each group of `group_size` outputs, the first half `y1` and the second half `y2` become
//! `y1 p - y2 q` and `y2 p' + y1 q'`, with `p = alpha cos(theta)` and `q = alpha sin(theta)`. The bias
//! goes the same way. `road_1` has one angle and one scale for a pair; `road_2` one for each output;
//! `road_4` separate ones for `p` and `q` as well.
//!
//! Start: angles 0, scales 1: the weight itself, bit for bit.
//!
//! Options: `variant` `road_1`, `group_size` 64 (even, divides `d_out`). Trained: `d_out`, `2 d_out` or
//! `4 d_out`; 384, 768 or 1536 for 384 outputs.
//!
//! Sources: Liao et al., "3-in-1: 2D Rotary Adaptation for Efficient Finetuning, Efficient Batching and
//! Composability", arXiv 2409.00119; Hugging Face PEFT 0.21.2, `tuners/road`.

use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape};
use burn::tensor::Tensor;
use serde_json::json;

/// How many angles and scales there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// One for each pair.
    One,
    /// One for each output.
    Two,
    /// Two for each output.
    Four,
}

/// RoAd.
#[derive(Debug, Clone)]
pub struct Road {
    /// The weight's shape.
    pub shape: Shape,
    /// Outputs in a group.
    pub group: usize,
    /// How many angles there are.
    pub variant: Variant,
}

impl Road {
    fn length(&self) -> usize {
        match self.variant {
            Variant::One => self.shape.d_out / 2,
            Variant::Two => self.shape.d_out,
            Variant::Four => self.shape.d_out * 2,
        }
    }

    /// `p` and `q`, both `[groups, 2, group / 2]`.
    fn coefficients(&self, factors: &[Tensor<2>]) -> (Tensor<3>, Tensor<3>) {
        let (alpha, theta) = (factors[0].clone(), factors[1].clone());
        let (p, q) = (alpha.clone() * theta.clone().cos(), alpha * theta.sin());
        let (groups, half) = (self.shape.d_out / self.group, self.group / 2);
        let whole = [groups, 2, half];
        match self.variant {
            Variant::One => {
                let both = |x: Tensor<2>| x.reshape([groups, 1, half]).expand(whole);
                (both(p), both(q))
            }
            Variant::Two => (p.reshape(whole), q.reshape(whole)),
            Variant::Four => {
                let part = |x: Tensor<2>, at: usize| {
                    let parts = x.reshape([groups, 2, self.group]).narrow(1, at, 1);
                    parts.reshape(whole)
                };
                (part(p, 0), part(q, 1))
            }
        }
    }

    /// `[rows, d_out]`, turned.
    fn turn(&self, y: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (p, q) = self.coefficients(factors);
        let ([rows, d_out], [groups, _, half]) = (y.dims(), p.dims());
        let y = y.reshape([rows, groups, 2, half]);
        let (first, second) = (y.clone().narrow(2, 0, 1), y.clone().narrow(2, 1, 1));
        let crossed = Tensor::cat(vec![second.neg(), first], 2);
        let turned = y * p.unsqueeze_dim::<4>(0) + crossed * q.unsqueeze_dim::<4>(0);
        turned.reshape([rows, d_out])
    }
}

impl Parts for Road {
    fn trained(&self) -> Vec<Factor> {
        vec![
            Factor::flat("road_alpha", &[self.length()]),
            Factor::flat("road_theta", &[self.length()]),
        ]
    }

    fn initial(&self, base: &Tensor<2>, _draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (shape, device) = ([1, self.length()], base.device());
        Ok(vec![
            Tensor::ones(shape, &device),
            Tensor::zeros(shape, &device),
        ])
    }

    fn bias(&self, bias: Tensor<1>, factors: &[Tensor<2>]) -> Tensor<1> {
        let d_out = self.shape.d_out;
        let turned = self.turn(bias.reshape([1, d_out]), factors);
        turned.reshape([d_out])
    }
}

impl Method for Road {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        self.turn(frozen, factors)
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        self.turn(x.matmul(frozen), factors)
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let group = options.count("group_size", 1, 64)?;
    if !group.is_multiple_of(2) {
        return Err(options.wrong("group_size", "even"));
    }
    shape.blocks_out("group_size", group)?;
    let variant = match options.word("variant", "road_1") {
        "road_1" => Variant::One,
        "road_2" => Variant::Two,
        "road_4" => Variant::Four,
        _ => return Err(options.wrong("variant", "`road_1`, `road_2` or `road_4`")),
    };
    Ok(Box::new(Road {
        shape,
        group,
        variant,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "Pairs of outputs turned and stretched",
    paper: "arXiv 2409.00119",
    size: Race::SIZELESS,
    options: |s| json!({"variant": "road_1", "group_size": s.shared_block(64)}),
    learning_rate: Race::NUMBERS,
};

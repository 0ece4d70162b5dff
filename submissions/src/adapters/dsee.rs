//! DSEE: LoRA and a few free entries, beside a weight that may be pruned.
//!
//! `W' = M * W + s (A B + S)`, `s = alpha / r`, `S` zero but for `n` entries at fixed places, `M` a mask
//! of zeros and ones ([`magnitude_masks`]; none at first).
//!
//! Start: `A` normal with deviation 0.02, `B` and `S` zero: the weight itself, bit for bit.
//!
//! The places come from the weight (`places`): `largest` takes its largest entries, `random` any, and
//! `residual` the largest entries of what a greedy split into a low-rank and a sparse part leaves
//! (GreBsmo: a hundred rounds of two QR decompositions each, seconds for 384 by 384, and the authors'
//! choice).
//!
//! Options: `r` 16, `lora_alpha` 32, `n` 16, `places` `largest`, `seed` 0. Trained:
//! `r (d_in + d_out) + n`; 12304 for 384 by 384.
//!
//! Sources: Chen et al., "DSEE: Dually Sparsity-embedded Efficient Tuning of Pre-trained Language
//! Models", arXiv 2111.00160; VITA-Group/DSEE `non-GPT-2`.

use super::layout::values;
use super::shira::scattered;
use super::{Draw, Factor, Method, MethodError, Options, Parts, Race, Shape, beside};
use crate::linalg::to_host;
use burn::tensor::{Tensor, TensorData};
use nalgebra::DMatrix;
use serde_json::json;

/// Rounds of the greedy split, and by how much its rank grows in each.
const ROUNDS: usize = 100;
const GROWTH: usize = 5;
/// Entries below this are no part of the sparse matrix.
const THRESHOLD: f64 = 0.01;

/// Where the free entries stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// At the weight's largest entries.
    Largest,
    /// Anywhere.
    Random,
    /// At the largest entries of the sparse part of a low-rank and sparse split.
    Residual,
}

/// DSEE.
#[derive(Debug, Clone)]
pub struct Dsee {
    /// The weight's shape.
    pub shape: Shape,
    /// The rank `r`.
    pub rank: usize,
    /// Number of free entries.
    pub count: usize,
    /// The scale `s`.
    pub scale: f64,
    /// Where the free entries stand.
    pub places: Places,
    /// The seed of random places.
    pub seed: u64,
    /// The weight's mask, shape `[d_in, d_out]`.
    pub mask: Option<Tensor<2>>,
}

impl Dsee {
    /// Indices of the free entries, inputs first (`input * d_out + output`), ascending.
    fn chosen(&self, base: &Tensor<2>) -> Result<Vec<usize>, MethodError> {
        let missing = || MethodError::Decomposition("largest entries");
        let host = match self.places {
            Places::Random => {
                let mut draw = Draw::seeded(self.seed);
                return Ok(draw.positions(self.count, self.shape.entries()));
            }
            Places::Largest => to_host(base.clone()).ok_or_else(missing)?,
            Places::Residual => {
                let host = to_host(base.clone()).ok_or_else(missing)?;
                sparse_part(&host, self.rank, &mut Draw::seeded(self.seed))
            }
        };
        let entry = |i: &usize| host[(i / self.shape.d_out, i % self.shape.d_out)].abs();
        let mut order: Vec<usize> = (0..self.shape.entries()).collect();
        // The sort is stable: of equal entries the first counts.
        order.sort_by(|a, b| entry(b).total_cmp(&entry(a)));
        order.truncate(self.count);
        order.sort_unstable();
        Ok(order)
    }

    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        (
            factors[0].clone(),
            factors[1].clone().mul_scalar(self.scale),
        )
    }

    fn masked(&self, frozen: Tensor<2>) -> Tensor<2> {
        match &self.mask {
            Some(mask) => frozen.clone() * beside(mask, &frozen),
            None => frozen,
        }
    }
}

/// The sparse part of GreBsmo's split: `U <- orth((W - S) V^T)`, `V <- U^T (W - S)`, `S <- W - U V`
/// without small entries, and after each round `V` gets a few more rows from what is left.
fn sparse_part(weight: &DMatrix<f64>, rank: usize, draw: &mut Draw) -> DMatrix<f64> {
    let (rows, columns) = weight.shape();
    let limit = rows.min(columns);
    let mut sparse = DMatrix::zeros(rows, columns);
    let mut v = DMatrix::from_fn(rank.min(limit), columns, |_, _| 2.0 * draw.unit() - 1.0);
    for _ in 0..ROUNDS {
        for _ in 0..2 {
            let left = weight - &sparse;
            let u = (&left * v.transpose()).qr().q();
            v = u.transpose() * &left;
            let rest = weight - u * &v;
            sparse = rest.map(|x| if x.abs() < THRESHOLD { 0.0 } else { x });
        }
        let more = GROWTH.min(limit.saturating_sub(v.nrows()));
        if more == 0 {
            break;
        }
        let error = (weight - &sparse).transpose();
        let next = error
            .columns(0, more.min(error.ncols()))
            .into_owned()
            .qr()
            .q();
        let mut grown = v.clone().insert_rows(v.nrows(), next.ncols(), 0.0);
        grown
            .rows_mut(v.nrows(), next.ncols())
            .copy_from(&next.transpose());
        v = grown;
    }
    sparse
}

/// Masks that keep all entries but the smallest share `ratio` of all weights together.
pub fn magnitude_masks(weights: &[Tensor<2>], ratio: f64) -> Vec<Tensor<2>> {
    let hosts: Vec<Vec<f32>> = weights.iter().map(|w| values(w.clone())).collect();
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (i, host) in hosts.iter().enumerate() {
        order.extend((0..host.len()).map(|j| (i, j)));
    }
    order.sort_by(|a, b| hosts[a.0][a.1].abs().total_cmp(&hosts[b.0][b.1].abs()));
    order.truncate((ratio.clamp(0.0, 1.0) * order.len() as f64).round() as usize);
    let mut masks: Vec<Vec<f32>> = hosts.iter().map(|h| vec![1.0; h.len()]).collect();
    for (i, j) in order {
        masks[i][j] = 0.0;
    }
    let tensor = |(mask, weight): (Vec<f32>, &Tensor<2>)| {
        Tensor::from_data(TensorData::new(mask, weight.dims()), &weight.device())
    };
    masks.into_iter().zip(weights).map(tensor).collect()
}

impl Parts for Dsee {
    fn trained(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![
            Factor::turned("lora_A", self.rank, d_in),
            Factor::turned("lora_B", d_out, self.rank),
            Factor::flat("sparse_values", &[self.count]),
        ]
    }

    fn constants(&self) -> Vec<Factor> {
        let Shape { d_in, d_out } = self.shape;
        vec![Factor::places("sparse_indices", &[d_out, d_in], self.count)]
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let (Shape { d_in, d_out }, device) = (self.shape, base.device());
        Ok(vec![
            draw.normal([d_in, self.rank], 0.02, &device),
            Tensor::zeros([self.rank, d_out], &device),
            Tensor::zeros([1, self.count], &device),
        ])
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        let chosen = self.chosen(base)?;
        let d_out = self.shape.d_out;
        let outputs = chosen.iter().map(|i| (i % d_out) as f32);
        let inputs = chosen.iter().map(|i| (i / d_out) as f32);
        let both: Vec<f32> = outputs.chain(inputs).collect();
        let data = TensorData::new(both, [2, self.count]);
        Ok(vec![Tensor::from_data(data, &base.device())])
    }
}

impl Method for Dsee {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (a, b) = self.pair(factors);
        let free = factors[2].clone().mul_scalar(self.scale);
        scattered(self.masked(frozen) + a.matmul(b), free, factors[3].clone())
    }
}

pub(super) fn build(options: &Options, shape: Shape) -> Result<Box<dyn Method>, MethodError> {
    let rank = options.count("r", 1, 16)?;
    let count = options.count("n", 1, 16)?;
    shape.at_most("n", count, shape.entries())?;
    let places = match options.word("places", "largest") {
        "largest" => Places::Largest,
        "random" => Places::Random,
        "residual" => Places::Residual,
        _ => return Err(options.wrong("places", "`largest`, `random` or `residual`")),
    };
    Ok(Box::new(Dsee {
        shape,
        rank,
        count,
        scale: options.number("lora_alpha", 32.0)? / rank as f64,
        places,
        seed: options.count("seed", 0, 0)? as u64,
        mask: None,
    }))
}

/// How it races.
pub(super) const RACE: Race = Race {
    summary: "LoRA and a few free entries",
    paper: "arXiv 2111.00160",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": 2 * s.rank(), "n": s.shape.entries().min(64), "seed": s.seed}),
    learning_rate: Race::MATRICES,
};

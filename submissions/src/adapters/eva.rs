//! EVA: LoRA that starts from the directions in which a layer's inputs vary most, with ranks by how
//! much they explain.
//!
//! `A` holds the leading principal directions of the layer's inputs on the task's own data (columns of
//! length 1, orthogonal), `B` is zero: the weight itself at the start, bit for bit. Both train on as
//! [`super::lora`].
//!
//! The directions come from an incremental principal component analysis ([`Directions`]): the mean is
//! taken off, and after each batch of `tokens` inputs the leading `rho r` directions and their weights
//! are kept. They have settled when each has a cosine of at least `tau` (0.99) with the one before. Of
//! all layers' shares of variance the largest `layers * r` win, and a layer gets as many ranks as it
//! has winners ([`allocate`]); its `alpha` goes with its rank, so that the scale stays.
//!
//! Sources: Paischer et al., "One Initialization to Rule them All: Fine-tuning via Explained Variance
//! Adaptation", arXiv 2410.07170; Hugging Face PEFT 0.21.2, `tuners/lora/eva.py` and
//! `utils/incremental_pca.py` (after scikit-learn's; Ross et al. 2008).

use super::MethodError;
use crate::linalg::{to_device, to_host};
use burn::tensor::{Device, Tensor};
use nalgebra::{DMatrix, RowDVector};

/// Principal directions, updated batch by batch.
#[derive(Debug, Clone)]
pub struct Directions {
    count: usize,
    seen: f64,
    mean: RowDVector<f64>,
    /// Sum of squared distances from the mean, by input.
    squares: RowDVector<f64>,
    /// Leading directions as rows, times their singular values.
    weighted: DMatrix<f64>,
    /// The same directions with length 1.
    rows: DMatrix<f64>,
    values: Vec<f64>,
}

impl Directions {
    /// At most `count` directions of inputs of this width.
    pub fn new(count: usize, width: usize) -> Self {
        Self {
            count: count.min(width),
            seen: 0.0,
            mean: RowDVector::zeros(width),
            squares: RowDVector::zeros(width),
            weighted: DMatrix::zeros(0, width),
            rows: DMatrix::zeros(0, width),
            values: Vec::new(),
        }
    }

    /// Takes in a batch of inputs, shape `[tokens, width]`, and gives the smallest cosine between a
    /// direction and the one before it (0 where there was none). A batch with fewer tokens than
    /// directions is left out: `Ok(None)`.
    pub fn update(&mut self, inputs: Tensor<2>) -> Result<Option<f64>, MethodError> {
        let missing = || MethodError::Decomposition("principal directions");
        let [tokens, width] = inputs.dims();
        if tokens < self.count || width != self.mean.len() {
            return Ok(None);
        }
        let batch = to_host(inputs).ok_or_else(missing)?;
        let n = tokens as f64;
        let mean = batch.row_mean();
        let total = self.seen + n;
        let gap = &self.mean - &mean;
        let mut centred = batch;
        for mut row in centred.row_iter_mut() {
            row -= &mean;
        }
        let within: RowDVector<f64> = centred.map(|x| x * x).row_sum();
        // The shift of the mean counts as one more observation (Ross et al., equation 6).
        let shift = &gap * (self.seen / total * n).sqrt();
        let held = self.weighted.nrows();
        let mut stack = DMatrix::zeros(held + tokens + 1, width);
        stack.rows_mut(0, held).copy_from(&self.weighted);
        stack.rows_mut(held, tokens).copy_from(&centred);
        stack.row_mut(held + tokens).copy_from(&shift);
        let found = stack.svd(false, true);
        let vt = found.v_t.ok_or_else(missing)?;
        let mut order: Vec<usize> = (0..found.singular_values.len()).collect();
        let size = |i: &usize| found.singular_values[*i];
        order.sort_by(|a, b| size(b).total_cmp(&size(a)));
        order.truncate(self.count);
        let rows = vt.select_rows(&order);
        let cosine = match self.rows.nrows() == rows.nrows() {
            true => rows
                .row_iter()
                .zip(self.rows.row_iter())
                .map(|(a, b)| a.dot(&b).abs())
                .fold(1.0, f64::min),
            false => 0.0,
        };
        self.values = order.iter().map(size).collect();
        self.weighted = rows.clone();
        for (mut row, value) in self.weighted.row_iter_mut().zip(&self.values) {
            row *= *value;
        }
        self.rows = rows;
        self.squares = &self.squares + within + gap.map(|x| x * x) * (self.seen / total * n);
        self.mean = &self.mean * (self.seen / total) + mean * (n / total);
        self.seen = total;
        Ok(Some(cosine))
    }

    /// The share of the variance that each direction explains, descending.
    pub fn shares(&self) -> Vec<f64> {
        let all = self.squares.sum();
        self.values.iter().map(|v| v * v / all).collect()
    }

    /// The `rank` leading directions as columns, `[width, rank]`: LoRA's first factor.
    pub fn leading(&self, rank: usize, device: &Device) -> Tensor<2> {
        let rank = rank.min(self.rows.nrows());
        let columns = self.rows.rows(0, rank).transpose();
        to_device(&columns, device)
    }
}

/// The ranks of layers with these shares of variance, when all layers together have `layers * rank`:
/// the largest shares win. Of equal ones the earlier layer's counts first.
pub fn allocate(shares: &[Vec<f64>], rank: usize) -> Vec<usize> {
    let mut all: Vec<(f64, usize)> = Vec::new();
    for (layer, shares) in shares.iter().enumerate() {
        all.extend(shares.iter().map(|s| (*s, layer)));
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut ranks = vec![0; shares.len()];
    for (_, layer) in all.into_iter().take(shares.len() * rank) {
        ranks[layer] += 1;
    }
    ranks
}

//! Attention, head by head, without a tensor of all scores.

use crate::product::{Matrix, product};
use crate::rows::{softmax_row, softmax_row_backward};
use crate::wide::vectorized;
use rayon::prelude::*;

/// Sizes and factor of an attention. Tensors are `[examples, tokens, heads * each]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values, a divisor of `heads`: so many heads of queries in a row look at the same
    /// ones (Ainslie et al. 2023, arXiv 2305.13245).
    pub shared: usize,
    /// What scores are multiplied by.
    pub scale: f64,
}

impl Heads {
    /// As many heads of keys and values as of queries.
    pub fn each(heads: usize, scale: f64) -> Self {
        Self {
            heads,
            shared: heads,
            scale,
        }
    }
}

/// All sizes of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) heads: Heads,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Width of a head.
    pub(crate) each: usize,
}

impl Sizes {
    fn query_width(&self) -> usize {
        self.heads.heads * self.each
    }

    fn key_width(&self) -> usize {
        self.heads.shared * self.each
    }

    /// Elements of an example: of queries, and of keys.
    fn elements(&self) -> (usize, usize) {
        (
            (self.queries * self.query_width()).max(1),
            (self.keys * self.key_width()).max(1),
        )
    }
}

/// What is added to the scores, the same in every head; its last axis are the keys.
#[derive(Clone, Copy)]
pub(crate) struct Mask<'a> {
    pub(crate) values: &'a [f32],
    /// From one example, and from one query, to the next; 0 where all have the same.
    pub(crate) example: usize,
    pub(crate) query: usize,
}

/// The tensors of one example.
struct Example<'a> {
    sizes: Sizes,
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    mask: Mask<'a>,
    /// Place of the mask's first element.
    start: usize,
}

impl<'a> Example<'a> {
    /// Queries, keys and values of a head, and the place of its first element in a key.
    fn head(&self, head: usize) -> ([Matrix<'a>; 3], usize) {
        let Sizes {
            heads,
            queries,
            keys,
            each,
        } = self.sizes;
        let group = (heads.heads / heads.shared.max(1)).max(1);
        let (own, shared) = (head * each, head / group * each);
        let of_keys = |values: &'a [f32]| {
            let values = values.get(shared..).unwrap_or_default();
            Matrix::new(values, keys, each, self.sizes.key_width())
        };
        let query = self.query.get(own..).unwrap_or_default();
        let query = Matrix::new(query, queries, each, self.sizes.query_width());
        ([query, of_keys(self.key), of_keys(self.value)], shared)
    }

    /// What each query of a head looks at, `[queries, keys]`, into `weights`.
    fn weigh(&self, query: Matrix<'_>, key: Matrix<'_>, weights: &mut [f32]) {
        let keys = self.sizes.keys;
        let scale = self.sizes.heads.scale as f32;
        product(weights, keys, false, scale, query, key.turned());
        vectorized(
            #[inline(always)]
            || {
                for (nth, row) in weights.chunks_exact_mut(keys.max(1)).enumerate() {
                    let from = self.start + nth * self.mask.query;
                    let mask = self.mask.values.get(from..).unwrap_or_default();
                    for (score, mask) in row.iter_mut().zip(mask) {
                        *score += *mask;
                    }
                    softmax_row(row);
                }
            },
        );
    }

    /// `weights value` in every head.
    fn forward(&self, out: &mut [f32]) {
        let Sizes {
            heads,
            queries,
            keys,
            each,
        } = self.sizes;
        let mut weights = vec![0.0; queries * keys];
        for head in 0..heads.heads {
            let ([query, key, value], _) = self.head(head);
            self.weigh(query, key, &mut weights);
            let out = out.get_mut(head * each..).unwrap_or_default();
            let weights = Matrix::new(&weights, queries, keys, keys);
            product(out, self.sizes.query_width(), false, 1.0, weights, value);
        }
    }

    /// Adds to the gradients of queries, keys and values, which are zeros, from that of the output.
    fn backward(&self, gradient: &[f32], [of_query, of_key, of_value]: [&mut [f32]; 3]) {
        let Sizes {
            heads,
            queries,
            keys,
            each,
        } = self.sizes;
        let (width, key_width) = (self.sizes.query_width(), self.sizes.key_width());
        let scale = heads.scale as f32;
        let mut weights = vec![0.0; queries * keys];
        let mut slope = vec![0.0; queries * keys];
        for head in 0..heads.heads {
            let ([query, key, value], shared) = self.head(head);
            self.weigh(query, key, &mut weights);
            let own = head * each;
            let gradient = gradient.get(own..).unwrap_or_default();
            let gradient = Matrix::new(gradient, queries, each, width);
            product(&mut slope, keys, false, 1.0, gradient, value.turned());
            vectorized(
                #[inline(always)]
                || {
                    let rows = slope.chunks_exact_mut(keys.max(1));
                    for (slope, weights) in rows.zip(weights.chunks_exact(keys.max(1))) {
                        softmax_row_backward(slope, weights);
                    }
                },
            );
            let weights = Matrix::new(&weights, queries, keys, keys).turned();
            let slope = Matrix::new(&slope, queries, keys, keys);
            let of_value = of_value.get_mut(shared..).unwrap_or_default();
            product(of_value, key_width, true, 1.0, weights, gradient);
            let of_query = of_query.get_mut(own..).unwrap_or_default();
            product(of_query, width, false, scale, slope, key);
            let of_key = of_key.get_mut(shared..).unwrap_or_default();
            product(of_key, key_width, true, scale, slope.turned(), query);
        }
    }
}

/// The tensors of a call: queries, keys, values.
type Inputs<'a> = [&'a [f32]; 3];

/// The examples of a call in order.
fn examples<'a>(
    sizes: Sizes,
    [query, key, value]: Inputs<'a>,
    mask: Mask<'a>,
) -> impl IndexedParallelIterator<Item = Example<'a>> {
    let (of_query, of_key) = sizes.elements();
    let keys = key.par_chunks(of_key).zip(value.par_chunks(of_key));
    let each = query.par_chunks(of_query).zip(keys).enumerate();
    each.map(move |(nth, (query, (key, value)))| Example {
        sizes,
        query,
        key,
        value,
        mask,
        start: nth * mask.example,
    })
}

/// `softmax(scale Q K^T + mask) V` in every head.
pub(crate) fn attention(sizes: Sizes, inputs: Inputs<'_>, mask: Mask<'_>) -> Vec<f32> {
    let mut out = vec![0.0; inputs[0].len()];
    let each = out.par_chunks_mut(sizes.elements().0);
    each.zip(examples(sizes, inputs, mask))
        .for_each(|(out, example)| example.forward(out));
    out
}

/// The gradients of queries, keys and values from that of the output.
pub(crate) fn attention_backward(
    sizes: Sizes,
    inputs: Inputs<'_>,
    mask: Mask<'_>,
    gradient: &[f32],
) -> [Vec<f32>; 3] {
    let mut out = inputs.map(|input| vec![0.0; input.len()]);
    let [of_query, of_key, of_value] = &mut out;
    let (query_step, key_step) = sizes.elements();
    let keys = of_key.par_chunks_mut(key_step);
    let gradients = of_query
        .par_chunks_mut(query_step)
        .zip(keys.zip(of_value.par_chunks_mut(key_step)))
        .zip(gradient.par_chunks(query_step));
    gradients.zip(examples(sizes, inputs, mask)).for_each(
        |(((of_query, (of_key, of_value)), gradient), example)| {
            example.backward(gradient, [of_query, of_key, of_value]);
        },
    );
    out
}

//! A tensor cut into blocks of bounded sides, each with matrices of its own.

use burn::tensor::Tensor;
use std::ops::Range;

/// How a tensor is cut: a shape with the same row-major order, and the cuts along each axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    shape: Vec<usize>,
    cuts: Vec<Vec<Range<usize>>>,
}

impl Blocks {
    /// Cuts each axis of `shape` into pieces of `limit` (at least 1) and a rest.
    pub fn new(shape: &[usize], limit: usize) -> Self {
        let limit = limit.max(1);
        let cut = |&side: &usize| {
            let starts = (0..side).step_by(limit);
            starts.map(|s| s..(s + limit).min(side)).collect()
        };
        Self {
            shape: shape.to_vec(),
            cuts: shape.iter().map(cut).collect(),
        }
    }

    /// Neighbouring axes merged as long as their product stays within `merge`, from the last on (axes
    /// of side 1 vanish); then cut at `limit`.
    pub fn merged(shape: &[usize], merge: usize, limit: usize) -> Self {
        let mut merged = Vec::new();
        let mut product = 1;
        for &side in shape.iter().rev() {
            if product * side <= merge {
                product *= side;
            } else {
                if product > 1 {
                    merged.push(product);
                }
                product = side;
            }
        }
        if product > 1 || merged.is_empty() {
            merged.push(product);
        }
        merged.reverse();
        Self::new(&merged, limit)
    }

    /// Number of axes.
    pub fn order(&self) -> usize {
        self.shape.len()
    }

    /// Shapes of the blocks, in order.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        let mut shapes = vec![Vec::new()];
        for cuts in &self.cuts {
            let longer = |shape: &Vec<usize>| {
                let shape = shape.clone();
                cuts.iter().map(move |c| {
                    let mut shape = shape.clone();
                    shape.push(c.len());
                    shape
                })
            };
            shapes = shapes.iter().flat_map(longer).collect();
        }
        shapes
    }

    /// The blocks of a tensor's row-major values, each flat, in the order of [`Self::shapes`].
    pub fn split(&self, flat: Tensor<1>) -> Vec<Tensor<1>> {
        let mut pieces = vec![(flat, Vec::new())];
        for (k, cuts) in self.cuts.iter().enumerate() {
            if cuts.len() == 1 {
                pieces
                    .iter_mut()
                    .for_each(|(_, done)| done.push(self.shape[k]));
                continue;
            }
            let mut next = Vec::with_capacity(pieces.len() * cuts.len());
            for (piece, done) in pieces {
                let before: usize = done.iter().product();
                let after: usize = self.shape[k + 1..].iter().product();
                let whole = piece.reshape([before, self.shape[k], after]);
                for cut in cuts {
                    let part = whole.clone().narrow(1, cut.start, cut.len());
                    let mut done: Vec<usize> = done.clone();
                    done.push(cut.len());
                    next.push((part.reshape([before * cut.len() * after]), done));
                }
            }
            pieces = next;
        }
        pieces.into_iter().map(|(piece, _)| piece).collect()
    }

    /// The inverse of [`Self::split`].
    pub fn join(&self, blocks: Vec<Tensor<1>>) -> Tensor<1> {
        let mut shapes = self.shapes();
        let mut pieces = blocks;
        for (k, cuts) in self.cuts.iter().enumerate().rev() {
            if cuts.len() > 1 {
                let after: usize = self.shape[k + 1..].iter().product();
                let group = |(pieces, shapes): (&[Tensor<1>], &[Vec<usize>])| {
                    let before: usize = shapes[0][..k].iter().product();
                    let parts = pieces
                        .iter()
                        .zip(cuts)
                        .map(|(piece, cut)| piece.clone().reshape([before, cut.len(), after]));
                    let whole = Tensor::cat(parts.collect(), 1);
                    whole.reshape([before * self.shape[k] * after])
                };
                let groups = pieces.chunks(cuts.len()).zip(shapes.chunks(cuts.len()));
                pieces = groups.map(group).collect();
            }
            let kept = shapes.chunks(cuts.len().max(1)).map(|s| s[0].clone());
            shapes = kept.collect();
        }
        match pieces.pop() {
            Some(only) if pieces.is_empty() => only,
            Some(last) => {
                pieces.push(last);
                Tensor::cat(pieces, 0)
            }
            None => Tensor::empty([0], &burn::tensor::Device::flex()),
        }
    }
}

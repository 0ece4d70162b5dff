//! Pairs of token sequences.

use crate::models::{END, PADDING};
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// Token sequences, one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequences {
    tokens: Vec<u16>,
    ends: Vec<usize>,
}

impl Sequences {
    /// Appends a sequence.
    pub fn push(&mut self, tokens: impl IntoIterator<Item = u16>) {
        self.tokens.extend(tokens);
        self.ends.push(self.tokens.len());
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The sequence at `index`; empty behind the last.
    pub fn get(&self, index: usize) -> &[u16] {
        let Some(&end) = self.ends.get(index) else {
            return &[];
        };
        let start = index.checked_sub(1).and_then(|i| self.ends.get(i));
        let start = start.copied().unwrap_or(0);
        self.tokens.get(start..end).unwrap_or_default()
    }
}

/// The end of a sequence, as data sets store it.
pub(crate) const END_TOKEN: u16 = END as u16;

/// Pairs of sequences. Gives the integer fields `source` and `target`, `[examples, tokens]`: each
/// sequence with its end, filled up with padding to the longest of the batch. Where an example
/// has several right answers, `references`, `[examples, references, tokens]`, holds them all, and
/// `target` the first.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    source: Sequences,
    target: Sequences,
    /// The right answers of each example; empty where the target is the only one.
    references: Vec<Sequences>,
}

impl Pairs {
    /// No pairs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a pair; the ends are added here.
    pub fn push(&mut self, source: &[u16], target: &[u16]) {
        self.source.push(source.iter().copied().chain([END_TOKEN]));
        self.target.push(target.iter().copied().chain([END_TOKEN]));
    }

    /// Appends an example with all its right answers, of which the first is trained on. Without one,
    /// nothing is appended. A split has either such examples or plain pairs.
    pub fn push_with_references(&mut self, source: &[u16], targets: &[Vec<u16>]) {
        let Some(first) = targets.first() else {
            return;
        };
        self.push(source, first);
        let mut references = Sequences::default();
        for target in targets {
            references.push(target.iter().copied().chain([END_TOKEN]));
        }
        self.references.push(references);
    }

    /// The same examples, from the shortest source to the longest (equally long ones in their order), so
    /// that evaluations, which take them one behind the other, meet little padding.
    pub fn sorted(self) -> Self {
        let mut order: Vec<usize> = (0..self.source.len()).collect();
        order.sort_by_key(|&i| self.source.get(i).len());
        let by_order = |all: &Sequences| {
            let mut sorted = Sequences::default();
            for &i in &order {
                sorted.push(all.get(i).iter().copied());
            }
            sorted
        };
        Self {
            source: by_order(&self.source),
            target: by_order(&self.target),
            references: order
                .iter()
                .filter_map(|&i| self.references.get(i).cloned())
                .collect(),
        }
    }

    /// The source of an example with its end.
    pub fn source(&self, index: usize) -> &[u16] {
        self.source.get(index)
    }

    /// The target of an example with its end.
    pub fn target(&self, index: usize) -> &[u16] {
        self.target.get(index)
    }
}

/// An integer field of rows, filled up with padding; the first axes are `outer`.
pub(crate) fn padded(name: &'static str, outer: &[usize], rows: &[&[u16]]) -> HostField {
    let longest = rows.iter().map(|r| r.len()).max().unwrap_or(0);
    let mut values = Vec::with_capacity(rows.len() * longest);
    for row in rows {
        values.extend(row.iter().map(|t| i32::from(*t)));
        values.resize(values.len() + longest - row.len(), PADDING);
    }
    let mut shape = outer.to_vec();
    shape.push(longest);
    HostField {
        name,
        shape,
        values: HostValues::Int(values),
    }
}

impl Dataset for Pairs {
    fn len(&self) -> usize {
        self.source.len()
    }

    /// Indices that are not below the length are left out. The units are target tokens.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let indices: Vec<usize> = indices
            .iter()
            .copied()
            .filter(|i| *i < self.len())
            .collect();
        let examples = indices.len();
        let rows = |all: &'static str, of: &dyn Fn(usize) -> Vec<u16>| {
            let rows: Vec<Vec<u16>> = indices.iter().map(|&i| of(i)).collect();
            let rows: Vec<&[u16]> = rows.iter().map(Vec::as_slice).collect();
            padded(all, &[examples], &rows)
        };
        let mut fields = vec![
            rows("source", &|i| self.source(i).to_vec()),
            rows("target", &|i| self.target(i).to_vec()),
        ];
        if !self.references.is_empty() {
            let none = Sequences::default();
            let all: Vec<&Sequences> = indices
                .iter()
                .map(|&i| self.references.get(i).unwrap_or(&none))
                .collect();
            let most = all.iter().map(|r| r.len()).max().unwrap_or(0);
            let rows: Vec<&[u16]> = all
                .iter()
                .flat_map(|r| (0..most).map(|nth| r.get(nth)))
                .collect();
            fields.push(padded("references", &[examples, most], &rows));
        }
        HostBatch {
            fields,
            examples,
            units: indices.iter().map(|&i| self.target(i).len()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(batch: &HostBatch, name: &str) -> (Vec<usize>, Vec<i32>) {
        let field = batch.fields.iter().find(|f| f.name == name).unwrap();
        let HostValues::Int(values) = &field.values else {
            panic!("tokens are integers");
        };
        (field.shape.clone(), values.clone())
    }

    #[test]
    fn batches_are_padded_to_their_longest_and_follow_the_indices() {
        let mut pairs = Pairs::new();
        pairs.push(&[5], &[7, 8, 9]);
        pairs.push(&[4, 6], &[3]);
        let batch = pairs.batch(&[1, 9, 0]);
        assert_eq!((batch.examples, batch.units), (2, 6));
        assert_eq!(
            field(&batch, "source"),
            (vec![2, 3], vec![4, 6, 2, 5, 2, 0])
        );
        assert_eq!(
            field(&batch, "target"),
            (vec![2, 4], vec![3, 2, 0, 0, 7, 8, 9, 2])
        );
        assert_eq!(batch.fields.len(), 2);
        let one = pairs.batch(&[1]);
        assert_eq!(field(&one, "target"), (vec![1, 2], vec![3, 2]));
        assert!(pairs.source(2).is_empty());
    }

    #[test]
    fn all_references_go_along() {
        let mut pairs = Pairs::new();
        pairs.push_with_references(&[5], &[vec![7], vec![8, 9]]);
        pairs.push_with_references(&[5], &[]);
        pairs.push_with_references(&[6], &[vec![4]]);
        assert_eq!(pairs.len(), 2);
        let batch = pairs.batch(&[0, 1]);
        assert_eq!(
            field(&batch, "references"),
            (vec![2, 2, 3], vec![7, 2, 0, 8, 9, 2, 4, 2, 0, 0, 0, 0])
        );
        assert_eq!(field(&batch, "target"), (vec![2, 2], vec![7, 2, 4, 2]));
    }

    #[test]
    fn sorted_examples_stay_together() {
        let mut pairs = Pairs::new();
        pairs.push_with_references(&[5, 6], &[vec![7], vec![8, 9]]);
        pairs.push_with_references(&[4], &[vec![3]]);
        pairs.push_with_references(&[6, 5], &[vec![4]]);
        let sorted = pairs.clone().sorted();
        assert_eq!(sorted.batch(&[0, 1, 2]), pairs.batch(&[1, 0, 2]));
    }
}

//! Error rates by edit distance.

/// Edits and reference tokens over the sequences seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditRate {
    edits: u64,
    tokens: u64,
    wrong: u64,
    sequences: u64,
}

impl EditRate {
    /// No sequences yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sequence with its references. The reference at the smallest edit distance counts, with
    /// its length; the first of equally near ones. Without references, the reference is empty.
    pub fn add<T: PartialEq>(&mut self, hypothesis: &[T], references: &[impl AsRef<[T]>]) {
        let near = references
            .iter()
            .map(|r| (edit_distance(hypothesis, r.as_ref()), r.as_ref().len()))
            .min_by_key(|(edits, _)| *edits);
        let (edits, tokens) = near.unwrap_or((hypothesis.len(), 0));
        self.edits += edits as u64;
        self.tokens += tokens as u64;
        self.wrong += u64::from(edits > 0);
        self.sequences += 1;
    }

    /// Edits over reference tokens; above 1 where outputs are too long. NaN where there are no
    /// reference tokens.
    pub fn rate(&self) -> f64 {
        self.edits as f64 / self.tokens as f64
    }

    /// Share of the sequences with an edit; NaN where nothing was added.
    pub fn wrong_share(&self) -> f64 {
        self.wrong as f64 / self.sequences as f64
    }
}

/// The fewest insertions, deletions and substitutions that turn `a` into `b` (Levenshtein 1966).
pub fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    // Distances of all beginnings of `b` from the beginning of `a` so far.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let change = diagonal + usize::from(x != y);
            diagonal = *above;
            left = change.min(diagonal + 1).min(left + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    /// (hypothesis, reference, distance of words, distance of characters) by RapidFuzz 3.14.6,
    /// `Levenshtein.distance`.
    const DISTANCES: [(&str, &str, usize, usize); 7] = [
        ("kitten", "sitting", 1, 3),
        ("the cat sat on the mat", "the cat sat on a red mat", 2, 4),
        ("", "a b c", 3, 5),
        ("a b c", "", 3, 5),
        ("AH B AW T", "AH B AW T", 0, 0),
        ("one two three four", "four three two one", 4, 13),
        ("x y z z y", "y z z y x w", 3, 6),
    ];

    #[test]
    fn distances_are_those_of_rapidfuzz() {
        for (hypothesis, reference, by_words, by_characters) in DISTANCES {
            let (a, b) = (words(hypothesis), words(reference));
            assert_eq!(edit_distance(&a, &b), by_words, "{hypothesis}");
            assert_eq!(edit_distance(&b, &a), by_words, "{hypothesis}");
            let a: Vec<char> = hypothesis.chars().collect();
            let b: Vec<char> = reference.chars().collect();
            assert_eq!(edit_distance(&a, &b), by_characters, "{hypothesis}");
        }
    }

    /// The rate over all of them is that of jiwer 4.0.0: `wer(references, hypotheses)` and
    /// `cer(references, hypotheses)`, without the pair whose reference is empty, which it refuses.
    #[test]
    fn rates_are_those_of_jiwer() {
        let (mut by_words, mut by_characters) = (EditRate::new(), EditRate::new());
        for (hypothesis, reference, ..) in DISTANCES.iter().filter(|d| !d.1.is_empty()) {
            by_words.add(&words(hypothesis), &[words(reference)]);
            let characters = |text: &str| text.chars().collect::<Vec<char>>();
            by_characters.add(&characters(hypothesis), &[characters(reference)]);
        }
        assert!((by_words.rate() - 0.52).abs() < 1e-12);
        assert!((by_characters.rate() - 0.4189189189189189).abs() < 1e-12);
    }

    #[test]
    fn the_nearest_reference_counts_with_its_length() {
        let mut rate = EditRate::new();
        // Two edits from the first, one from the second and from the third.
        rate.add(&[1, 2, 3], &[vec![1], vec![1, 2, 3, 4], vec![1, 2]]);
        assert_eq!((rate.rate(), rate.wrong_share()), (0.25, 1.0));
        rate.add(&[5], &[vec![5]]);
        assert_eq!((rate.rate(), rate.wrong_share()), (0.2, 0.5));
        rate.add(&[7, 7, 7], &[] as &[Vec<i32>]);
        assert_eq!(rate.rate(), 0.8);
        assert!(EditRate::new().rate().is_nan());
    }
}

//! Character and word error rates.

use velodrome_results::measures::Measures;

/// Levenshtein's distance: the fewest insertions, deletions and substitutions that turn one sequence
/// into the other.
pub fn edit_distance<T: PartialEq>(from: &[T], to: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, above) in to.iter().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(a != b)).min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Errors over the transcripts seen so far. Rates are of the whole corpus: all errors through all
/// characters (or words) of the references; they can exceed 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcripts {
    characters: usize,
    character_errors: usize,
    words: usize,
    word_errors: usize,
    examples: usize,
    loss: f64,
}

impl Transcripts {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one transcript and its loss. Spaces at the ends do not count as characters; words are what
    /// lies between spaces.
    pub fn add(&mut self, reference: &str, hypothesis: &str, loss: f64) {
        let characters = |text: &str| text.trim().chars().collect::<Vec<char>>();
        let (own, found) = (characters(reference), characters(hypothesis));
        self.characters += own.len();
        self.character_errors += edit_distance(&own, &found);
        let words = |text: &'_ str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let (own, found) = (words(reference), words(hypothesis));
        self.words += own.len();
        self.word_errors += edit_distance(&own, &found);
        self.examples += 1;
        self.loss += loss;
    }

    /// `cer`, `wer` and `loss` (mean over the examples); NaN where nothing was added.
    pub fn measures(&self) -> Measures {
        let rate = |errors: usize, all: usize| errors as f64 / all as f64;
        Measures::from([
            ("cer".to_string(), rate(self.character_errors, self.characters)),
            ("wer".to_string(), rate(self.word_errors, self.words)),
            ("loss".to_string(), self.loss / self.examples as f64),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_by_hand() {
        let distance = |a: &str, b: &str| edit_distance(a.as_bytes(), b.as_bytes());
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("flaw", "lawn"), 2);
        assert_eq!(distance("same", "same"), 0);
    }

    /// jiwer 4.0.0: `jiwer.cer(references, hypotheses)` and `jiwer.wer(references, hypotheses)`.
    #[test]
    fn rates_of_jiwer() {
        let pairs = [
            ("the number is not valid", "the numbers not valid"),
            ("please try again", "please  try a game "),
            ("zulu", ""),
            ("one two three", "won too three four"),
            ("o'clock", "oh clock"),
        ];
        let mut all = Transcripts::new();
        for (reference, hypothesis) in pairs {
            all.add(reference, hypothesis, 0.5);
        }
        let measures = all.measures();
        assert!((measures["cer"] - 0.31746031746031744).abs() < 1e-12, "{measures:?}");
        assert!((measures["wer"] - 0.7692307692307693).abs() < 1e-12, "{measures:?}");
        assert_eq!(measures["loss"], 0.5);
        assert!(Transcripts::new().measures()["cer"].is_nan());
    }
}

//! Character and word error rates.

use super::EditRate;
use velodrome_results::measures::Measures;

/// Errors over the transcripts seen so far. Rates are of the whole corpus: all errors through all
/// characters (or words) of the references; they can exceed 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcripts {
    characters: EditRate,
    words: EditRate,
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
        self.characters
            .add(&characters(hypothesis), &[characters(reference)]);
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_string)
                .collect::<Vec<_>>()
        };
        self.words.add(&words(hypothesis), &[words(reference)]);
        self.examples += 1;
        self.loss += loss;
    }

    /// `cer`, `wer` and `loss` (mean over the examples); NaN where nothing was added.
    pub fn measures(&self) -> Measures {
        Measures::from([
            ("cer".to_string(), self.characters.rate()),
            ("wer".to_string(), self.words.rate()),
            ("loss".to_string(), self.loss / self.examples as f64),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(
            (measures["cer"] - 0.31746031746031744).abs() < 1e-12,
            "{measures:?}"
        );
        assert!(
            (measures["wer"] - 0.7692307692307693).abs() < 1e-12,
            "{measures:?}"
        );
        assert_eq!(measures["loss"], 0.5);
        assert!(Transcripts::new().measures()["cer"].is_nan());
    }
}

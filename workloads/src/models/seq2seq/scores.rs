//! How a model's outputs are scored.

use super::END;
use crate::data::TokenText;
use crate::metrics::{Bleu, EditRate};
use std::sync::Arc;
use velodrome_harness::contract::{Batch, ModelError};
use velodrome_results::measures::Measures;

/// The metric of decoded outputs.
#[derive(Debug, Clone, Copy)]
pub enum Scoring {
    /// Edit distance over reference length, over all tokens of a split, under this name; beside it
    /// `word_error_rate`, the share of examples that are not wholly right. The field `references`
    /// (`[examples, references, tokens]`), where a batch has it, holds the right answers, of which the
    /// nearest counts; otherwise the target is the only one.
    EditRate(&'static str),
    /// Corpus BLEU of the texts that the tokens spell. The texts come from what this function gives:
    /// the vocabulary of the opened data.
    Bleu(fn() -> Result<Arc<dyn TokenText>, ModelError>),
}

/// Sums over the outputs seen so far.
pub(super) enum Scores {
    EditRate(&'static str, EditRate),
    Bleu(Arc<dyn TokenText>, Box<Bleu>),
}

impl Scores {
    pub(super) fn new(scoring: Scoring) -> Result<Self, ModelError> {
        Ok(match scoring {
            Scoring::EditRate(name) => Self::EditRate(name, EditRate::new()),
            Scoring::Bleu(text) => Self::Bleu(text()?, Box::default()),
        })
    }

    /// Adds the outputs of a batch.
    pub(super) fn add(&mut self, batch: &Batch, outputs: &[Vec<i32>]) -> Result<(), ModelError> {
        let references = references(batch)?;
        for (output, references) in outputs.iter().zip(&references) {
            match self {
                Self::EditRate(_, rate) => rate.add(output, references),
                Self::Bleu(text, bleu) => {
                    let texts: Vec<String> = references.iter().map(|r| text.text(r)).collect();
                    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                    bleu.add(&text.text(output), &texts);
                }
            }
        }
        Ok(())
    }

    pub(super) fn measures(&self) -> Measures {
        match self {
            Self::EditRate(name, rate) => Measures::from([
                ((*name).to_string(), rate.rate()),
                ("word_error_rate".to_string(), rate.wrong_share()),
            ]),
            Self::Bleu(_, bleu) => Measures::from([("bleu".to_string(), bleu.score())]),
        }
    }
}

/// The right answers of each example, without ends and padding.
fn references(batch: &Batch) -> Result<Vec<Vec<Vec<i32>>>, ModelError> {
    let (each, tokens, length) = match batch.int::<3>("references") {
        Ok(references) => {
            let [_, each, length] = references.dims();
            (each, references.into_data(), length)
        }
        Err(_) => {
            let target = batch.int::<2>("target")?;
            let length = target.dims()[1];
            (1, target.into_data(), length)
        }
    };
    let tokens = tokens
        .convert::<i32>()
        .try_to_vec::<i32>()
        .map_err(|e| ModelError::Compute(format!("references: {e}")))?;
    let until_end = |row: &[i32]| -> Vec<i32> {
        row.iter()
            .copied()
            .take_while(|t| *t != END && *t != 0)
            .collect()
    };
    let size = (each * length).max(1);
    Ok(tokens
        .chunks(size)
        .map(|example| {
            let rows = example.chunks(length.max(1));
            // A row without a single token is padding, but for the first.
            rows.enumerate()
                .filter(|(nth, row)| *nth == 0 || row.first().is_some_and(|t| *t != 0))
                .map(|(_, row)| until_end(row))
                .collect()
        })
        .collect())
}

//! Byte pairs as GPT-2 has them, with a published vocabulary.

use super::{Gguf, GgufError};
use std::collections::HashMap;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel as Bytes;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{Decoder, Tokenizer};

/// Types of a token in the file: text, and special.
const NORMAL: i64 = 1;
const CONTROL: i64 = 3;

/// Cuts text into the tokens of a fixed vocabulary: a byte pair encoding over bytes (Sennrich et al. 2016,
/// arXiv 1508.07909; Radford et al. 2019), read from a GGUF file of the kind `gpt2` with the cutting of
/// `smollm`: each digit is a piece of its own. Hugging Face's tokenizers does the work.
///
/// Special tokens are never found in a text, whatever it spells out; [`Self::special`] gives them. A byte
/// that the vocabulary lacks is the unknown token.
#[derive(Debug, Clone)]
pub struct ByteLevel {
    /// Knows no special token as such.
    tokenizer: Tokenizer,
    special: HashMap<String, i32>,
}

fn fault<T>(field: &str, message: String) -> Result<T, GgufError> {
    let field = field.to_string();
    Err(GgufError { field, message })
}

impl ByteLevel {
    /// Reads the tokens and merges of a file. Fails where one is missing or says what the other does not
    /// know, and where the file asks for another way than this one.
    pub fn read(file: &Gguf<'_>) -> Result<Self, GgufError> {
        for (field, wanted) in [
            ("tokenizer.ggml.model", "gpt2"),
            ("tokenizer.ggml.pre", "smollm"),
        ] {
            let found = file.text(field)?;
            if found != wanted {
                return fault(field, format!("is `{found}`, expected `{wanted}`"));
            }
        }
        let field = "tokenizer.ggml.tokens";
        let texts = file.texts(field)?;
        let kinds = file.integers("tokenizer.ggml.token_type")?;
        if kinds.len() != texts.len() || i32::try_from(texts.len()).is_err() {
            let message = format!("{} types of {} tokens", kinds.len(), texts.len());
            return fault("tokenizer.ggml.token_type", message);
        }
        let characters = Bytes::alphabet();
        let mut known = Vocab::default();
        let mut special = HashMap::new();
        for ((text, kind), id) in texts.iter().zip(kinds).zip(0..) {
            let name = || format!("{field}, element {id}");
            match *kind {
                CONTROL => {
                    special.insert(text.to_string(), id);
                }
                NORMAL if text.chars().all(|c| characters.contains(&c)) => {}
                NORMAL => return fault(&name(), format!("`{text}` spells no bytes")),
                other => return fault(&name(), format!("is of type {other}, which is not read")),
            }
            if known.insert(text.to_string(), id as u32).is_some() {
                return fault(&name(), format!("`{text}` occurs twice"));
            }
        }
        let field = "tokenizer.ggml.unknown_token_id";
        let unknown = usize::try_from(file.integer(field)?).ok();
        let Some(unknown) = unknown.and_then(|id| texts.get(id)) else {
            return fault(field, format!("is none of {} tokens", texts.len()));
        };
        let merges = merges(file, &known)?;
        let model = BPE::builder()
            .vocab_and_merges(known, merges)
            .unk_token(unknown.to_string())
            .build()
            .or_else(|e| fault("tokenizer.ggml.merges", e.to_string()))?;
        let bytes = Bytes::default().add_prefix_space(false);
        let cut = Sequence::new(vec![Digits::new(true).into(), bytes.into()]);
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(cut));
        Ok(Self { tokenizer, special })
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(false)
    }

    /// The special token of this name. Fails where there is none.
    pub fn special(&self, name: &str) -> Result<i32, GgufError> {
        match self.special.get(name) {
            Some(id) => Ok(*id),
            None => fault(
                "tokenizer.ggml.tokens",
                format!("there is no special token {name}"),
            ),
        }
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str) -> Vec<i32> {
        // Only a missing unknown token would be an error, and that is refused above.
        let found = self.tokenizer.encode_fast(text, false).unwrap_or_default();
        found.get_ids().iter().map(|id| *id as i32).collect()
    }

    /// The text that tokens spell. Bytes that are no text, and numbers that are no tokens, show as
    /// replacement characters.
    pub fn text(&self, tokens: &[i32]) -> String {
        let spelling = |id: &i32| {
            let known = u32::try_from(*id).ok();
            let known = known.and_then(|id| self.tokenizer.id_to_token(id));
            known.unwrap_or_else(|| char::REPLACEMENT_CHARACTER.to_string())
        };
        // This decoder takes all texts.
        let text = Bytes::default().decode(tokens.iter().map(spelling).collect());
        text.unwrap_or_default()
    }
}

/// The merges of a file.
fn merges(file: &Gguf<'_>, known: &Vocab) -> Result<Merges, GgufError> {
    let field = "tokenizer.ggml.merges";
    let pairs = file.texts(field)?.iter().enumerate().map(|(rank, text)| {
        let name = || format!("{field}, element {rank}");
        let Some((first, second)) = text.split_once(' ') else {
            return fault(&name(), format!("`{text}` is no pair"));
        };
        let whole = [first, second].concat();
        if ![first, second, &whole]
            .iter()
            .all(|t| known.contains_key(*t))
        {
            return fault(
                &name(),
                format!("`{text}`: not all of it is in the vocabulary"),
            );
        }
        Ok((first.to_string(), second.to_string()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;

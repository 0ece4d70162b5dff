//! WordPiece as BERT's uncased models have it, read from the `tokenizer.json` of Hugging Face's
//! tokenizers.

use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::template::{Piece, Sequence};
use tokenizers::{Model, Tokenizer};

/// Cuts text into the pieces of a fixed vocabulary (Schuster and Nakajima 2012; Devlin et al. 2019,
/// arXiv 1810.04805), with Hugging Face's tokenizers.
///
/// Control characters go, accents go, letters become small, white space and punctuation end a word, and
/// each mark of punctuation and each Chinese character is one. A word is cut from the left into the
/// longest pieces that the vocabulary has (behind the first with a prefix, `##` in BERT); where that
/// fails, and where it is too long (in BERT, of more than 100 characters), the word is the unknown token.
/// Special tokens that the text spells out are themselves.
#[derive(Debug, Clone)]
pub struct WordPiece {
    tokenizer: Tokenizer,
    vocabulary: usize,
    start: i32,
    end: i32,
}

/// An error where a file asks for something else than [`WordPiece`] does.
fn check(tokenizer: &Tokenizer) -> Result<(), String> {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let mut added = added.values();
    for (there, wanted) in [
        (
            matches!(tokenizer.get_model(), ModelWrapper::WordPiece(m)
                if !m.continuing_subword_prefix.is_empty()),
            "a WordPiece model with a prefix of pieces inside a word",
        ),
        (
            matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(n))
                if n.clean_text
                    && n.handle_chinese_chars
                    && n.lowercase
                    && n.strip_accents != Some(false)),
            "a BertNormalizer that cleans, strips accents and lowers",
        ),
        (
            matches!(
                tokenizer.get_pre_tokenizer(),
                Some(PreTokenizerWrapper::BertPreTokenizer(_))
            ),
            "a BertPreTokenizer",
        ),
        (
            added.all(|t| {
                !(t.single_word || t.lstrip || t.rstrip || t.normalized || t.content.contains(' '))
            }),
            "added tokens without spaces, found in the raw text",
        ),
    ] {
        if !there {
            return Err(format!("expected {wanted}"));
        }
    }
    Ok(())
}

/// The names of the tokens around one text.
fn frame(tokenizer: &Tokenizer) -> Result<[String; 2], String> {
    let Some(PostProcessorWrapper::Template(template)) = tokenizer.get_post_processor() else {
        return Err("expected a TemplateProcessing behind the model".into());
    };
    // The library shows the pieces of a template in JSON alone.
    let single = serde_json::to_value(&template.single).and_then(serde_json::from_value);
    let single: Vec<Piece> = single.map_err(|e| e.to_string())?;
    match single.as_slice() {
        [
            Piece::SpecialToken { id: start, .. },
            Piece::Sequence {
                id: Sequence::A, ..
            },
            Piece::SpecialToken { id: end, .. },
        ] => Ok([start.clone(), end.clone()]),
        _ => Err("expected one special token before the text and one behind it".into()),
    }
}

impl WordPiece {
    /// Reads a `tokenizer.json`. Fails where it is none, and where it asks for another way than this
    /// one; what it says of truncation and padding is left out.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(|e| e.to_string())?;
        check(&tokenizer)?;
        let [start, end] = frame(&tokenizer)?;
        let missing = |token: &str| format!("`{token}` is not in the vocabulary");
        let id = |token: &str| tokenizer.token_to_id(token).ok_or_else(|| missing(token));
        let (start, end) = (id(&start)? as i32, id(&end)? as i32);
        if let ModelWrapper::WordPiece(model) = tokenizer.get_model()
            && model.token_to_id(&model.unk_token).is_none()
        {
            return Err(missing(&model.unk_token));
        }
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if i32::try_from(largest).is_err() {
            return Err(format!("token {largest} is too large a number"));
        }
        Ok(Self {
            vocabulary: largest as usize + 1,
            tokenizer,
            start,
            end,
        })
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The tokens of `text` between the start and the end token.
    pub fn encode(&self, text: &str) -> Vec<i32> {
        self.encode_within(text, usize::MAX)
    }

    /// The same in at most `length` tokens (2 at least): the last ones of the text are cut away.
    pub fn encode_within(&self, text: &str, length: usize) -> Vec<i32> {
        let most = length.max(2) - 1;
        let mut tokens = vec![self.start];
        // No word goes over a space, so that of a long text no more is read than need be.
        let mut rest = text;
        while tokens.len() < most && !rest.is_empty() {
            let space = rest.match_indices(' ').nth(most);
            let (part, behind) = rest.split_at(space.map_or(rest.len(), |(at, _)| at));
            // Only a missing unknown token would be an error, and that is refused above.
            if let Ok(found) = self.tokenizer.encode_fast(part, false) {
                tokens.extend(found.get_ids().iter().map(|id| *id as i32));
            }
            rest = behind;
        }
        tokens.truncate(most);
        tokens.push(self.end);
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A small vocabulary, and tokens by Hugging Face's tokenizers 0.23.3 (`make_wordpiece_tiny.py`).
    const REFERENCE: &str = include_str!("../../tests/data/wordpiece_tiny.json");

    fn reference() -> Value {
        serde_json::from_str(REFERENCE).unwrap()
    }

    fn reader(tokenizer: &Value) -> Result<WordPiece, String> {
        WordPiece::read(tokenizer.to_string().as_bytes())
    }

    #[test]
    fn tokens_are_those_of_the_reference() {
        let reference = reference();
        let pieces = reader(&reference["tokenizer"]).unwrap();
        let cases = reference["cases"].as_array().unwrap();
        assert!(cases.len() >= 15);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<i32> = serde_json::from_value(case["ids"].clone()).unwrap();
            assert_eq!(pieces.encode(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_the_end_token() {
        let reference = reference();
        let pieces = reader(&reference["tokenizer"]).unwrap();
        let cases = reference["cases"].as_array().unwrap().iter();
        let texts: Vec<&str> = cases.map(|case| case["text"].as_str().unwrap()).collect();
        for text in [texts.join("").as_str(), "the film, the film", ""] {
            let whole = pieces.encode(text);
            let (end, before) = whole.split_last().unwrap();
            for length in 0..whole.len() + 2 {
                let kept = &before[..before.len().min(length.max(2) - 1)];
                let cut = pieces.encode_within(text, length);
                assert_eq!(cut, [kept, &[*end]].concat(), "{text:?} {length}");
            }
        }
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_left_out() {
        let mut tokenizer = reference()["tokenizer"].clone();
        let whole = reader(&tokenizer).unwrap().encode("the film");
        for (length, fixed) in [(3, 2), (9, 9)] {
            tokenizer["truncation"] = json!({
                "direction": "Right", "max_length": length, "strategy": "LongestFirst", "stride": 0
            });
            tokenizer["padding"] = json!({
                "strategy": {"Fixed": fixed}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
            });
            assert_eq!(reader(&tokenizer).unwrap().encode("the film"), whole);
        }
    }

    #[test]
    fn another_way_is_refused() {
        for (path, value, word) in [
            (
                "/model",
                json!({"type": "BPE", "vocab": {}, "merges": []}),
                "WordPiece model",
            ),
            ("/normalizer/lowercase", json!(false), "lowers"),
            ("/normalizer/strip_accents", json!(false), "accents"),
            ("/normalizer", Value::Null, "BertNormalizer"),
            (
                "/pre_tokenizer",
                json!({"type": "WhitespaceSplit"}),
                "BertPreTokenizer",
            ),
            ("/post_processor", Value::Null, "TemplateProcessing"),
            ("/post_processor/single", json!([]), "before the text"),
            ("/added_tokens/0/lstrip", json!(true), "raw text"),
            ("/added_tokens/0/content", json!("[A B]"), "spaces"),
            ("/model/continuing_subword_prefix", json!(""), "prefix"),
            ("/model/unk_token", json!("[NONE]"), "[NONE]"),
        ] {
            let mut tokenizer = reference()["tokenizer"].clone();
            *tokenizer.pointer_mut(path).unwrap() = value;
            let error = reader(&tokenizer).unwrap_err();
            assert!(error.contains(word), "{path}: {error}");
        }
        assert!(WordPiece::read(b"{").is_err());
    }
}

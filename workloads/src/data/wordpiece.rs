//! WordPiece as BERT's uncased models have it, read from the `tokenizer.json` of Hugging Face's
//! tokenizers.

use regex::Regex;
use serde::Deserialize;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// Cuts text into the pieces of a fixed vocabulary (Schuster and Nakajima 2012; Devlin et al. 2019,
/// arXiv 1810.04805).
///
/// Control characters go, accents go, letters become small, white space and punctuation end a word, and
/// each mark of punctuation and each Chinese character is one. A word is cut from the left into the
/// longest pieces that the vocabulary has (behind the first with `##` before them); where that fails, and
/// where it has more than 100 characters, the word is the unknown token. Special tokens that the text
/// spells out are themselves.
///
/// The tokens are those of Hugging Face's tokenizers 0.23. That library knows the characters of an old
/// Unicode, this one those of a newer one: marks, punctuation and format characters that came since may
/// differ.
#[derive(Debug, Clone)]
pub struct WordPiece {
    /// Pieces that begin a word.
    first: HashMap<String, i32>,
    /// Pieces behind the first, without their prefix.
    rest: HashMap<String, i32>,
    /// Special tokens and their texts.
    special: Vec<(String, i32)>,
    unknown: i32,
    start: i32,
    end: i32,
    longest_word: usize,
    controls: Regex,
    marks: Regex,
    punctuation: Regex,
}

/// What is read of `tokenizer.json`.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Kind>,
    post_processor: Option<Kind>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: i32,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
    /// Of a template: what stands around one text.
    #[serde(default)]
    single: serde_json::Value,
}

#[derive(Deserialize)]
struct Normalizer {
    r#type: String,
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct Model {
    r#type: String,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    vocab: HashMap<String, i32>,
}

impl File {
    /// An error where the file asks for something else than is done here.
    fn check(&self) -> Result<(), String> {
        let kind = |part: &Option<Kind>| part.as_ref().map_or("none", |k| &k.r#type).to_string();
        let plain = |n: &Normalizer| {
            n.r#type == "BertNormalizer"
                && n.clean_text
                && n.handle_chinese_chars
                && n.lowercase
                && n.strip_accents != Some(false)
        };
        for (there, wanted) in [
            (self.model.r#type == "WordPiece", "a WordPiece model"),
            (
                self.normalizer.as_ref().is_some_and(plain),
                "a BertNormalizer that cleans, strips accents and lowers",
            ),
            (
                kind(&self.pre_tokenizer) == "BertPreTokenizer",
                "a BertPreTokenizer",
            ),
            (
                kind(&self.post_processor) == "TemplateProcessing",
                "a TemplateProcessing behind the model",
            ),
            (
                self.added_tokens
                    .iter()
                    .all(|t| !(t.single_word || t.lstrip || t.rstrip || t.normalized)),
                "added tokens that are found in the raw text",
            ),
            (
                !self.model.continuing_subword_prefix.is_empty(),
                "a prefix of pieces inside a word",
            ),
        ] {
            if !there {
                return Err(format!("expected {wanted}"));
            }
        }
        Ok(())
    }

    /// The tokens around one text.
    fn frame(&self) -> Option<[&str; 2]> {
        let single = self.post_processor.as_ref()?.single.as_array()?;
        let [start, text, end] = <&[_; 3]>::try_from(single.as_slice()).ok()?;
        text.get("Sequence")?;
        let name = |part: &'_ serde_json::Value| -> Option<String> {
            Some(part.get("SpecialToken")?.get("id")?.as_str()?.to_string())
        };
        let known = |name: String| self.added_tokens.iter().find(|t| t.content == name);
        Some([&known(name(start)?)?.content, &known(name(end)?)?.content])
    }
}

fn class(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|e| format!("{pattern}: {e}"))
}

impl WordPiece {
    /// Reads a `tokenizer.json`. Fails where it is none, and where it asks for another way than this
    /// one.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        file.check()?;
        let [start, end] = file
            .frame()
            .ok_or("expected one special token before the text and one behind it")?;
        let id = |token: &str| {
            let added = file.added_tokens.iter().find(|t| t.content == token);
            added
                .map(|t| t.id)
                .or_else(|| file.model.vocab.get(token).copied())
                .ok_or_else(|| format!("`{token}` is not in the vocabulary"))
        };
        let (start, end, unknown) = (id(start)?, id(end)?, id(&file.model.unk_token)?);
        let prefix = &file.model.continuing_subword_prefix;
        let rest = file.model.vocab.iter().filter_map(|(piece, id)| {
            let inside = piece.strip_prefix(prefix.as_str())?;
            Some((inside.to_string(), *id))
        });
        Ok(Self {
            rest: rest.collect(),
            special: file
                .added_tokens
                .iter()
                .map(|t| (t.content.clone(), t.id))
                .collect(),
            unknown,
            start,
            end,
            longest_word: file.model.max_input_chars_per_word,
            first: file.model.vocab,
            controls: class(r"[\p{Cc}\p{Cf}\p{Co}\x{FFFD}--[\t\n\r]]")?,
            marks: class(r"\p{Mn}")?,
            punctuation: class(r"[\p{P}[:punct:]]")?,
        })
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        let added = self.special.iter().map(|(_, id)| *id);
        let all = self.first.values().copied().chain(added);
        all.max().map_or(0, |largest| largest as usize + 1)
    }

    /// The tokens of `text` between the start and the end token.
    pub fn encode(&self, text: &str) -> Vec<i32> {
        self.encode_within(text, usize::MAX)
    }

    /// The same in at most `length` tokens (2 at least): the last ones of the text are cut away.
    pub fn encode_within(&self, text: &str, length: usize) -> Vec<i32> {
        let most = length.max(2) - 1;
        let mut tokens = vec![self.start];
        let mut rest = text;
        while let Some((at, length, id)) = self.next_special(rest) {
            self.plain(&rest[..at], most, &mut tokens);
            tokens.push(id);
            rest = &rest[at + length..];
        }
        self.plain(rest, most, &mut tokens);
        tokens.truncate(most);
        tokens.push(self.end);
        tokens
    }

    /// Place, length and token of the first special token that the text spells out.
    fn next_special(&self, text: &str) -> Option<(usize, usize, i32)> {
        let found = self.special.iter().filter_map(|(content, id)| {
            let at = text.find(content.as_str())?;
            Some((at, content.len(), *id))
        });
        found.min_by_key(|(at, length, _)| (*at, usize::MAX - length))
    }

    /// Text without special tokens, until there are `most` tokens.
    fn plain(&self, text: &str, most: usize, tokens: &mut Vec<i32>) {
        for run in text.split(is_space) {
            if tokens.len() >= most {
                return;
            }
            for run in self.normal(run).split_whitespace() {
                let mut from = 0;
                for mark in self.punctuation.find_iter(run) {
                    self.word(&run[from..mark.start()], tokens);
                    self.word(mark.as_str(), tokens);
                    from = mark.end();
                }
                self.word(&run[from..], tokens);
            }
        }
    }

    /// Without controls and accents, in small letters, with spaces around Chinese characters.
    fn normal(&self, text: &str) -> String {
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            return text.to_ascii_lowercase();
        }
        let clean = self.controls.replace_all(text, "");
        let mut spaced = String::with_capacity(clean.len());
        for c in clean.chars() {
            if is_chinese(c) {
                spaced.extend([' ', c, ' ']);
            } else {
                spaced.push(c);
            }
        }
        let decomposed: String = spaced.nfd().collect();
        let bare = self.marks.replace_all(&decomposed, "");
        // Letter by letter: of a whole word, a sigma at its end would become another one.
        bare.chars().flat_map(char::to_lowercase).collect()
    }

    fn word(&self, word: &str, tokens: &mut Vec<i32>) {
        if word.is_empty() {
            return;
        }
        if word.chars().count() > self.longest_word {
            return tokens.push(self.unknown);
        }
        let before = tokens.len();
        let (mut known, mut rest) = (&self.first, word);
        while !rest.is_empty() {
            let ends = rest.char_indices().rev().map(|(at, c)| at + c.len_utf8());
            let found = ends
                .map(|end| rest.split_at(end))
                .find_map(|(piece, behind)| Some((*known.get(piece)?, behind)));
            let Some((id, behind)) = found else {
                tokens.truncate(before);
                return tokens.push(self.unknown);
            };
            tokens.push(id);
            (known, rest) = (&self.rest, behind);
        }
    }
}

/// White space that is not a control character; those are dropped, and what they part is one word.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || c.is_whitespace() && !c.is_control()
}

/// The ideographs of the CJK blocks, as BERT lists them.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF
        | 0x3400..=0x4DBF
        | 0x20000..=0x2A6DF
        | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF
        | 0xF900..=0xFAFF
        | 0x2F800..=0x2FA1F)
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
        let pieces = reader(&reference()["tokenizer"]).unwrap();
        let whole = pieces.encode("the film, the film");
        assert_eq!(whole.len(), 7);
        assert_eq!(pieces.encode_within("the film, the film", 7), whole);
        let cut = pieces.encode_within("the film, the film", 4);
        assert_eq!(cut, [whole[0], whole[1], whole[2], whole[6]]);
    }

    #[test]
    fn another_way_is_refused() {
        for (path, value, word) in [
            ("/model/type", json!("BPE"), "WordPiece model"),
            ("/normalizer/lowercase", json!(false), "lowers"),
            ("/normalizer/strip_accents", json!(false), "accents"),
            ("/normalizer", Value::Null, "BertNormalizer"),
            (
                "/pre_tokenizer/type",
                json!("Metaspace"),
                "BertPreTokenizer",
            ),
            ("/post_processor", Value::Null, "TemplateProcessing"),
            ("/post_processor/single", json!([]), "before the text"),
            ("/added_tokens/0/lstrip", json!(true), "raw text"),
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

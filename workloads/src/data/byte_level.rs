//! Byte pairs as GPT-2 has them, with a published vocabulary.

use super::translation::replace;
use super::{Gguf, GgufError};
use regex::Regex;
use std::collections::HashMap;

/// What ends and begins pieces: runs of letters, of numbers and of other characters, each with one space
/// before it, and white space. GPT-2's own pattern also looks ahead, which is done in [`pieces`].
const PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
/// Types of a token in the file: text, and special.
const NORMAL: i64 = 1;
const CONTROL: i64 = 3;

/// Cuts text into the tokens of a fixed vocabulary: a byte pair encoding over bytes (Sennrich et al. 2016,
/// arXiv 1508.07909; Radford et al. 2019), read from a GGUF file of the kind `gpt2` with the cutting of
/// `smollm`: each digit is a piece of its own.
///
/// Special tokens are never found in a text, whatever it spells out; [`Self::special`] gives them. A byte
/// that the vocabulary lacks is the unknown token. The tokens are those of Hugging Face's tokenizers
/// 0.23, whose lists of characters are of another Unicode: ones that came since may differ.
#[derive(Debug, Clone)]
pub struct ByteLevel {
    /// The token of each byte.
    bytes: Vec<i32>,
    /// Rank and result of each pair that is merged; the lowest rank comes first.
    merges: Merges,
    /// The bytes of each token; of a special one, its name.
    spellings: Vec<Vec<u8>>,
    special: HashMap<String, i32>,
    pattern: Regex,
}

/// The character that stands for a byte in the vocabulary: itself where it is printable and no space,
/// otherwise one of those from 256 on, in order.
fn characters() -> impl Iterator<Item = (char, u8)> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut others = '\u{100}'..;
    (0..=u8::MAX).filter_map(move |b| {
        let own = printable(b).then(|| char::from(b));
        Some((own.or_else(|| others.next())?, b))
    })
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
        let byte_of: HashMap<char, u8> = characters().collect();
        let field = "tokenizer.ggml.tokens";
        let texts = file.texts(field)?;
        let kinds = file.integers("tokenizer.ggml.token_type")?;
        if kinds.len() != texts.len() || i32::try_from(texts.len()).is_err() {
            let message = format!("{} types of {} tokens", kinds.len(), texts.len());
            return fault("tokenizer.ggml.token_type", message);
        }
        let mut spellings = Vec::new();
        let mut known: HashMap<&str, i32> = HashMap::new();
        let mut special = HashMap::new();
        for ((text, kind), id) in texts.iter().zip(kinds).zip(0..) {
            let name = || format!("{field}, element {id}");
            let spelling = match *kind {
                CONTROL => {
                    special.insert(text.to_string(), id);
                    Some(text.as_bytes().to_vec())
                }
                NORMAL => text.chars().map(|c| byte_of.get(&c).copied()).collect(),
                other => return fault(&name(), format!("is of type {other}, which is not read")),
            };
            let Some(spelling) = spelling else {
                return fault(&name(), format!("`{text}` spells no bytes"));
            };
            if known.insert(text, id).is_some() {
                return fault(&name(), format!("`{text}` occurs twice"));
            }
            spellings.push(spelling);
        }
        let field = "tokenizer.ggml.unknown_token_id";
        let unknown = file.integer(field)?;
        let unknown = i32::try_from(unknown)
            .ok()
            .filter(|id| usize::try_from(*id).is_ok_and(|id| id < spellings.len()));
        let Some(unknown) = unknown else {
            return fault(field, format!("is none of {} tokens", spellings.len()));
        };
        let bytes = characters().map(|(c, _)| {
            let token = known.get(c.encode_utf8(&mut [0; 4]) as &str);
            token.copied().unwrap_or(unknown)
        });
        Ok(Self {
            bytes: bytes.collect(),
            merges: merges(file, &known)?,
            spellings,
            special,
            pattern: Regex::new(PATTERN).or_else(|e| fault("pattern", e.to_string()))?,
        })
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.spellings.len()
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
        let mut tokens = Vec::new();
        for piece in pieces(text, &self.pattern) {
            let mut symbols: Vec<i32> = piece
                .bytes()
                .filter_map(|b| self.bytes.get(usize::from(b)).copied())
                .collect();
            while let Some((pair, token)) = self.next(&symbols) {
                symbols = replace(&symbols, pair, token);
            }
            tokens.append(&mut symbols);
        }
        tokens
    }

    /// The pair of the lowest rank, and what it becomes.
    fn next(&self, symbols: &[i32]) -> Option<((i32, i32), i32)> {
        let pairs = symbols.iter().copied().zip(symbols.iter().copied().skip(1));
        let known = pairs.filter_map(|pair| self.merges.get(&pair).map(|m| (*m, pair)));
        known.min().map(|((_, token), pair)| (pair, token))
    }

    /// The text that tokens spell. Bytes that are no text, and numbers that are no tokens, show as
    /// replacement characters.
    pub fn text(&self, tokens: &[i32]) -> String {
        let unknown = "\u{fffd}".as_bytes();
        let spelling = |id: &i32| {
            let known = usize::try_from(*id)
                .ok()
                .and_then(|id| self.spellings.get(id));
            known.map_or(unknown, Vec::as_slice)
        };
        let bytes: Vec<u8> = tokens.iter().flat_map(spelling).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// For two neighbours the rank of their merge, and the token that it makes.
type Merges = HashMap<(i32, i32), (usize, i32)>;

/// The merges of a file, the first one of rank 0.
fn merges(file: &Gguf<'_>, known: &HashMap<&str, i32>) -> Result<Merges, GgufError> {
    let field = "tokenizer.ggml.merges";
    let mut merges = HashMap::new();
    for (rank, text) in file.texts(field)?.iter().enumerate() {
        let name = || format!("{field}, element {rank}");
        let Some((first, second)) = text.split_once(' ') else {
            return fault(&name(), format!("`{text}` is no pair"));
        };
        let whole = [first, second].concat();
        let id = |text: &str| known.get(text).copied();
        let (Some(first), Some(second), Some(whole)) = (id(first), id(second), id(&whole)) else {
            return fault(
                &name(),
                format!("`{text}`: not all of it is in the vocabulary"),
            );
        };
        // As in the reference, the later of two equal pairs counts.
        merges.insert((first, second), (rank, whole));
    }
    Ok(merges)
}

/// Parts of `text` that are merged by themselves: digits one by one, and the runs between them cut by
/// `pattern`, where white space leaves its last character to what follows it.
fn pieces<'a>(text: &'a str, pattern: &Regex) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digit = rest.char_indices().find(|(_, c)| c.is_numeric());
        let (at, length) = digit.map_or((rest.len(), 0), |(at, c)| (at, c.len_utf8()));
        let (mut run, behind) = rest.split_at(at);
        while let Some(found) = pattern.find(run) {
            let piece = found.as_str();
            let last = piece.chars().next_back().map_or(0, char::len_utf8);
            let blank = piece.trim().is_empty();
            let kept = if blank && found.end() < run.len() && last < piece.len() {
                piece.len() - last
            } else {
                piece.len()
            };
            pieces.push(&run[found.start()..found.start() + kept]);
            run = &run[found.start() + kept..];
        }
        let (digit, behind) = behind.split_at(length);
        if !digit.is_empty() {
            pieces.push(digit);
        }
        rest = behind;
    }
    pieces
}

#[cfg(test)]
mod tests;

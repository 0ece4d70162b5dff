//! SentencePiece models (Kudo and Richardson 2018, arXiv 1808.06226) of the unigram kind.
//!
//! Reads what AlgoPerf's tokeniser file holds: pieces with their scores and types. A text becomes the
//! pieces with the largest sum of scores (Viterbi), behind one space at its start. Only what LibriSpeech
//! needs of the normalisation is done: spaces at the ends and double spaces go.

use std::collections::HashMap;

/// How a space is written in a piece.
const SPACE: char = '\u{2581}';
/// What an unknown character costs below the worst piece.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Types of pieces in the file.
const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// A vocabulary of word pieces. A piece's token is its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    /// Text, score and type.
    list: Vec<(String, f32, u64)>,
    by_text: HashMap<String, usize>,
    longest: usize,
    worst: f32,
    unknown: usize,
    end: usize,
}

impl Pieces {
    /// Reads a model file (a protocol buffer). Fails where it is cut short, has no pieces for unknown
    /// characters and for the end of a text, or is not of the unigram kind.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut list = Vec::new();
        let mut kind = 1;
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => list.push(Self::piece(piece)?),
                (2, Value::Bytes(trainer)) => {
                    for field in Fields(trainer) {
                        if let (3, Value::Number(n)) = field? {
                            kind = n;
                        }
                    }
                }
                _ => {}
            }
        }
        if kind != 1 {
            return Err(format!("is a model of type {kind}, not 1 (unigram)"));
        }
        let of_type = |wanted| list.iter().position(|(_, _, t)| *t == wanted);
        let unknown = of_type(UNKNOWN).ok_or("has no piece for unknown characters")?;
        let end = list.iter().position(|(text, ..)| text == "</s>");
        let usable = |(_, (text, _, kind)): &(usize, &(String, f32, u64))| {
            !text.is_empty() && (*kind == NORMAL || *kind == USER_DEFINED)
        };
        let normal = || list.iter().enumerate().filter(usable);
        Ok(Self {
            by_text: normal()
                .map(|(at, (text, ..))| (text.clone(), at))
                .collect(),
            longest: normal()
                .map(|(_, p)| p.0.chars().count())
                .max()
                .unwrap_or(0),
            worst: normal().map(|(_, p)| p.1).fold(0.0, f32::min),
            unknown,
            end: end.ok_or("has no piece `</s>`")?,
            list,
        })
    }

    fn piece(bytes: &[u8]) -> Result<(String, f32, u64), String> {
        let (mut text, mut score, mut kind) = (String::new(), 0.0, NORMAL);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(b)) => {
                    text = String::from_utf8(b.to_vec()).map_err(|e| e.to_string())?;
                }
                (2, Value::Four(b)) => score = f32::from_le_bytes(b),
                (3, Value::Number(n)) => kind = n,
                _ => {}
            }
        }
        Ok((text, score, kind))
    }

    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Tokens of a text, and the token for its end.
    pub fn tokens(&self, text: &str) -> Vec<i32> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let symbols: Vec<char> = words
            .iter()
            .flat_map(|word| std::iter::once(SPACE).chain(word.chars()))
            .collect();
        // Best score of the first n symbols, and the last piece and its length.
        let mut best = vec![(f32::NEG_INFINITY, self.unknown, 1); symbols.len() + 1];
        best[0].0 = 0.0;
        for start in 0..symbols.len() {
            let so_far = best[start].0;
            let mut offer = |piece: usize, length: usize, score: f32| {
                if let Some(slot) = best.get_mut(start + length)
                    && so_far + score > slot.0
                {
                    *slot = (so_far + score, piece, length);
                }
            };
            let mut text = String::new();
            let rest = symbols.iter().skip(start).take(self.longest);
            for (index, symbol) in rest.enumerate() {
                text.push(*symbol);
                if let Some(&piece) = self.by_text.get(&text) {
                    offer(piece, index + 1, self.list[piece].1);
                }
            }
            offer(self.unknown, 1, self.worst - UNKNOWN_PENALTY);
        }
        let mut tokens = vec![self.end as i32];
        let mut at = symbols.len();
        while at > 0 {
            let (_, piece, length) = best[at];
            // Unknown characters side by side are one piece.
            let again = piece == self.unknown && tokens.last() == Some(&(self.unknown as i32));
            if !again {
                tokens.push(piece as i32);
            }
            at -= length;
        }
        tokens.reverse();
        tokens
    }

    /// The text of tokens; control pieces and unknown tokens are left out.
    pub fn text(&self, tokens: &[i32]) -> String {
        let piece = |token: &i32| {
            let (text, _, kind) = self.list.get(usize::try_from(*token).ok()?)?;
            (*kind != CONTROL && *kind != UNKNOWN).then_some(text.as_str())
        };
        let joined: String = tokens.iter().filter_map(piece).collect();
        joined.replace(SPACE, " ").trim().to_string()
    }
}

/// A value of a protocol buffer's field.
enum Value<'a> {
    Number(u64),
    Four([u8; 4]),
    Eight,
    Bytes(&'a [u8]),
}

/// The fields of a protocol buffer, with their numbers. Ends behind the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or("is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or(0);
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("holds a number of more than 64 bits".into())
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => {
                self.take(8)?;
                Value::Eight
            }
            2 => {
                let length = usize::try_from(self.number()?).map_err(|e| e.to_string())?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Four(self.take(4)?.try_into().unwrap_or_default()),
            other => return Err(format!("holds a field of the unknown type {other}")),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

//! SentencePiece vocabularies of the unigram kind.

use super::TokenText;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// Stands for a space inside pieces.
const SPACE: char = '\u{2581}';
/// How much less probable than the least probable piece an unknown character is, in nats.
const UNKNOWN_PENALTY: f32 = 10.0;

/// A unigram vocabulary (Kudo 2018, arXiv 1804.10959) as SentencePiece writes it beside its model: the
/// text file `NAME.vocab`, one piece with its log probability on each line, `<unk>`, `<s>` and `</s>`
/// first. Text is normalised to NFKC; SentencePiece's own rule (`nmt_nfkc`) differs from that in some
/// control characters alone.
#[derive(Debug, Clone)]
pub struct Pieces {
    pieces: Vec<String>,
    /// Token and score by spelling, without the three marks.
    known: HashMap<String, (u16, f32)>,
    /// Characters of the longest piece.
    longest: usize,
    unknown: f32,
}

impl Pieces {
    /// Token of what no piece spells.
    pub const UNKNOWN: u16 = 0;

    /// Reads a vocabulary file. An error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut known) = (Vec::new(), HashMap::new());
        let (mut longest, mut least) = (0, 0f32);
        for (index, line) in text.lines().enumerate() {
            let fault = |message: &str| format!("line {}: {message}", index + 1);
            let (piece, score) = line
                .split_once('\t')
                .ok_or_else(|| fault("no piece and score with a tab between them"))?;
            let score: f32 = score
                .trim()
                .parse()
                .map_err(|_| fault("the score is no number"))?;
            let token = u16::try_from(index).map_err(|_| fault("more than 65536 pieces"))?;
            match ["<unk>", "<s>", "</s>"].get(index) {
                Some(mark) if *mark == piece => {}
                Some(mark) => return Err(fault(&format!("expected the mark {mark}"))),
                None if piece.is_empty() || !score.is_finite() => {
                    return Err(fault("an empty piece or a score that is not finite"));
                }
                None => {
                    longest = longest.max(piece.chars().count());
                    least = least.min(score);
                    if known.insert(piece.to_string(), (token, score)).is_some() {
                        return Err(fault("the piece occurs twice"));
                    }
                }
            }
            pieces.push(piece.to_string());
        }
        if pieces.len() <= 3 {
            return Err("holds no pieces".into());
        }
        Ok(Self {
            pieces,
            known,
            longest,
            unknown: least - UNKNOWN_PENALTY,
        })
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The most probable tokens of `text`. Neighbouring unknown characters are one token.
    pub fn encode(&self, text: &str) -> Vec<u16> {
        let normal: String = text.nfkc().collect();
        let mut spelt = String::new();
        for word in normal.split_whitespace() {
            spelt.push(SPACE);
            spelt.push_str(word);
        }
        // Where each character starts, and the end.
        let mut starts: Vec<usize> = spelt.char_indices().map(|(at, _)| at).collect();
        starts.push(spelt.len());
        // The best way to each start: its score, the start before and the token between.
        let mut best: Vec<(f32, usize, u16)> = vec![(f32::NEG_INFINITY, 0, 0); starts.len()];
        if let Some(first) = best.first_mut() {
            first.0 = 0.0;
        }
        for (from, &start) in starts.iter().enumerate() {
            let Some(&(so_far, ..)) = best.get(from) else {
                continue;
            };
            let ends = starts
                .iter()
                .enumerate()
                .skip(from + 1)
                .take(self.longest.max(1));
            for (to, &end) in ends {
                let piece = spelt
                    .get(start..end)
                    .and_then(|piece| self.known.get(piece));
                let (token, score) = match piece {
                    Some(&found) => found,
                    None if to == from + 1 => (Self::UNKNOWN, self.unknown),
                    None => continue,
                };
                if let Some(slot) = best.get_mut(to).filter(|slot| so_far + score > slot.0) {
                    *slot = (so_far + score, from, token);
                }
            }
        }
        let mut tokens = Vec::new();
        let mut at = starts.len() - 1;
        while at > 0 {
            let Some(&(_, before, token)) = best.get(at) else {
                break;
            };
            let repeated = token == Self::UNKNOWN && tokens.last() == Some(&Self::UNKNOWN);
            if !repeated {
                tokens.push(token);
            }
            at = before;
        }
        tokens.reverse();
        tokens
    }
}

impl TokenText for Pieces {
    /// An unknown token is ` ⁇ `, as in SentencePiece.
    fn text(&self, tokens: &[i32]) -> String {
        let mut text = String::new();
        for token in tokens {
            match usize::try_from(*token) {
                Ok(0) => text.push_str(" \u{2047} "),
                Ok(index) if index > 2 => {
                    text.push_str(self.pieces.get(index).map_or("", String::as_str));
                }
                _ => {}
            }
        }
        let text = text.replace(SPACE, " ");
        text.strip_prefix(' ').unwrap_or(&text).to_string()
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
pub(super) mod tests;

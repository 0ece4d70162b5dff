//! Byte pair encoding, trained on the text itself.

use super::TokenText;
use crate::models::FIRST;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

/// The first 256 tokens behind the marks are the bytes.
const BYTES: usize = 256;

/// A byte-level byte pair encoding (Sennrich et al. 2016, arXiv 1508.07909; over bytes as in Radford
/// et al. 2019). Text is split into runs of letters, of digits and of other characters, each with
/// the space before it; no token crosses such a border. White space counts as one space, and at the
/// ends as none; all other text comes back as it was.
#[derive(Debug, Clone)]
pub struct BytePairs {
    /// The token that a pair becomes.
    merges: HashMap<(u16, u16), u16>,
    /// The bytes of each token, from [`FIRST`] on.
    spellings: Vec<Vec<u8>>,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Class {
    Letter,
    Digit,
    Other,
}

fn class(c: char) -> Class {
    if c.is_alphabetic() {
        Class::Letter
    } else if c.is_numeric() {
        Class::Digit
    } else {
        Class::Other
    }
}

/// The runs of `text`, with a space before each but the first that had one.
fn runs(text: &str) -> Vec<String> {
    let mut runs = Vec::new();
    for (nth, word) in text.split_whitespace().enumerate() {
        let mut run = if nth == 0 { "" } else { " " }.to_string();
        let mut last = None;
        for c in word.chars() {
            let this = class(c);
            if last.is_some_and(|l| l != this) {
                runs.push(std::mem::take(&mut run));
            }
            run.push(c);
            last = Some(this);
        }
        runs.push(run);
    }
    runs
}

fn byte_tokens(run: &str) -> Vec<u16> {
    run.bytes().map(|b| u16::from(b) + FIRST as u16).collect()
}

/// Replaces each `pair` by `token`, from the left.
fn replace(symbols: &[u16], pair: (u16, u16), token: u16) -> Vec<u16> {
    let mut out = Vec::with_capacity(symbols.len());
    let mut rest = symbols;
    while let [first, behind @ ..] = rest {
        match behind {
            [second, after @ ..] if (*first, *second) == pair => {
                out.push(token);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

fn pairs(symbols: &[u16]) -> impl Iterator<Item = (u16, u16)> + '_ {
    symbols.iter().copied().zip(symbols.iter().copied().skip(1))
}

impl BytePairs {
    /// Learns up to `vocabulary` tokens (marks and bytes included, at most 65,536) from `texts`. The
    /// most frequent pair is merged first; of equally frequent ones, the one of smaller tokens. Ends
    /// early when no pair occurs twice. The same texts give the same encoding.
    pub fn train<'a>(texts: impl IntoIterator<Item = &'a str>, vocabulary: usize) -> Self {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for run in texts.into_iter().flat_map(runs) {
            *counts.entry(run).or_default() += 1;
        }
        let mut words: Vec<(Vec<u16>, i64)> = counts
            .into_iter()
            .map(|(run, count)| (byte_tokens(&run), count))
            .collect();
        let mut frequency: HashMap<(u16, u16), i64> = HashMap::new();
        let mut places: HashMap<(u16, u16), HashSet<usize>> = HashMap::new();
        for (place, (symbols, count)) in words.iter().enumerate() {
            for pair in pairs(symbols) {
                *frequency.entry(pair).or_default() += count;
                places.entry(pair).or_default().insert(place);
            }
        }
        let mut queue: BinaryHeap<_> = frequency.iter().map(|(p, n)| (*n, Reverse(*p))).collect();
        let mut encoding = Self::bytes();
        let limit = vocabulary.min(usize::from(u16::MAX) + 1);
        while encoding.len() < limit {
            let Some((count, Reverse(pair))) = queue.pop() else {
                break;
            };
            let now = frequency.get(&pair).copied().unwrap_or(0);
            if now != count {
                // An old entry; the present count has one of its own.
                continue;
            }
            if count < 2 {
                break;
            }
            let token = encoding.merge(pair);
            let mut changed: HashSet<(u16, u16)> = HashSet::new();
            for place in places.remove(&pair).unwrap_or_default() {
                let Some((symbols, times)) = words.get_mut(place) else {
                    continue;
                };
                for old in pairs(symbols) {
                    *frequency.entry(old).or_default() -= *times;
                    changed.insert(old);
                }
                *symbols = replace(symbols, pair, token);
                for new in pairs(symbols) {
                    *frequency.entry(new).or_default() += *times;
                    places.entry(new).or_default().insert(place);
                    changed.insert(new);
                }
            }
            for pair in changed {
                if let Some(count) = frequency.get(&pair).filter(|count| **count > 0) {
                    queue.push((*count, Reverse(pair)));
                }
            }
            frequency.remove(&pair);
        }
        encoding
    }

    /// The bytes alone.
    fn bytes() -> Self {
        Self {
            merges: HashMap::new(),
            spellings: (0..=u8::MAX).map(|byte| vec![byte]).collect(),
        }
    }

    fn spelling(&self, token: u16) -> &[u8] {
        let index = usize::from(token).checked_sub(FIRST as usize);
        let spelling = index.and_then(|i| self.spellings.get(i));
        spelling.map_or(&[], Vec::as_slice)
    }

    fn merge(&mut self, pair: (u16, u16)) -> u16 {
        let token = self.len() as u16;
        let joined = [self.spelling(pair.0), self.spelling(pair.1)].concat();
        self.spellings.push(joined);
        self.merges.insert(pair, token);
        token
    }

    /// Number of tokens, marks included.
    pub fn len(&self) -> usize {
        FIRST as usize + self.spellings.len()
    }

    /// Whether there is nothing beyond bytes.
    pub fn is_empty(&self) -> bool {
        self.spellings.len() <= BYTES
    }

    /// The tokens of `text`. `known` keeps the tokens of runs that were met before.
    pub fn encode(&self, text: &str, known: &mut HashMap<String, Vec<u16>>) -> Vec<u16> {
        let mut tokens = Vec::new();
        for run in runs(text) {
            match known.get(&run) {
                Some(done) => tokens.extend(done),
                None => {
                    let done = self.encode_run(&run);
                    tokens.extend(&done);
                    known.insert(run, done);
                }
            }
        }
        tokens
    }

    /// Merges in the order of training: the earliest merge that fits, until none does.
    fn encode_run(&self, run: &str) -> Vec<u16> {
        let mut symbols = byte_tokens(run);
        loop {
            let merges = pairs(&symbols).filter_map(|p| self.merges.get(&p).map(|t| (*t, p)));
            let Some((token, pair)) = merges.min() else {
                return symbols;
            };
            symbols = replace(&symbols, pair, token);
        }
    }
}

impl TokenText for BytePairs {
    fn text(&self, tokens: &[i32]) -> String {
        let tokens = tokens.iter().filter_map(|t| u16::try_from(*t).ok());
        let bytes: Vec<u8> = tokens.flat_map(|t| self.spelling(t)).copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelt(encoding: &BytePairs, text: &str) -> Vec<String> {
        let tokens = encoding.encode(text, &mut HashMap::new());
        let spelling = |t: &u16| String::from_utf8_lossy(encoding.spelling(*t)).into_owned();
        tokens.iter().map(spelling).collect()
    }

    /// By hand, on the example of Sennrich et al.: low x5, lower x2, newest x6, widest x3.
    #[test]
    fn merges_by_hand() {
        let mut texts = vec!["low"; 5];
        texts.extend(["lower"; 2]);
        texts.extend(["newest"; 6]);
        texts.extend(["widest"; 3]);
        let encoding = BytePairs::train(texts.iter().copied(), 259 + 4);
        // `es` and `st` occur nine times each; (e, s) is of smaller tokens. Then (es, t) with nine,
        // then (l, o) and (o, w) with seven, of which (l, o) is of smaller tokens, then (lo, w).
        let new: Vec<String> = (259..263)
            .map(|t| String::from_utf8_lossy(encoding.spelling(t)).into_owned())
            .collect();
        assert_eq!(new, ["es", "est", "lo", "low"]);
        assert_eq!(spelt(&encoding, "lowest"), ["low", "est"]);
        assert_eq!(spelt(&encoding, "newest"), ["n", "e", "w", "est"]);
        assert!(!encoding.is_empty());
    }

    #[test]
    fn text_comes_back_and_training_repeats_itself() {
        let texts = [
            "Fichier « %s » introuvable : aucun élément de ce type",
            "Open file %s for reading, 3.14 times",
            "日本語 and emoji 🚲 don't matter",
        ];
        let encoding = BytePairs::train(texts, 300);
        let again = BytePairs::train(texts, 300);
        assert_eq!(encoding.spellings, again.spellings);
        for text in texts.iter().chain(&["never seen: Ærø\u{1F6B4}"]) {
            let tokens = encoding.encode(text, &mut HashMap::new());
            let tokens: Vec<i32> = tokens.into_iter().map(i32::from).collect();
            assert_eq!(encoding.text(&tokens), *text);
        }
        let wide = encoding.encode("  a \t b\n", &mut HashMap::new());
        let wide: Vec<i32> = wide.into_iter().map(i32::from).collect();
        assert_eq!(encoding.text(&wide), "a b");
        assert_eq!(encoding.text(&[0, 2, -1, 70_000, 65_000]), "");
        // Half a character is not text.
        assert_eq!(encoding.text(&[3 + 0xc3]), "\u{fffd}");
    }

    #[test]
    fn no_token_crosses_a_border_between_classes() {
        let encoding = BytePairs::train(["ab1, ab1, ab1, ab1,"; 50], 400);
        assert_eq!(
            spelt(&encoding, "ab1, ab1,"),
            ["ab", "1", ",", " ab", "1", ","]
        );
    }

    #[test]
    fn training_stops_where_nothing_repeats() {
        let encoding = BytePairs::train(["abcdef"], 1000);
        assert_eq!(encoding.len(), 259);
        assert!(encoding.is_empty());
        assert!(BytePairs::train([], 1000).is_empty());
    }
}

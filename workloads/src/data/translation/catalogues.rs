//! English-French pairs from the message catalogues of free programs.

use super::cmudict::share;
use super::{BytePairs, Pairs, read_mo};
use std::collections::{HashMap, HashSet};
use velodrome_harness::contract::{Skipped, Splits, WorkloadError};

/// The Debian 12 packages, in the order in which they are read: name, version, archive, SHA-256,
/// bytes.
pub const PACKAGES: [(&str, &str, &str, &str, u64); 10] = [
    (
        "gcc-12-locales",
        "12.2.0-14+deb12u1",
        "gcc-12-locales_12.2.0-14+deb12u1_all.deb",
        "a701516b5e34086f478b0a329dfd9dd8e1695e8bac5917a6b162a87719abe28f",
        1_759_384,
    ),
    (
        "vlc-l10n",
        "3.0.23-0+deb12u1",
        "vlc-l10n_3.0.23-0+deb12u1_all.deb",
        "69ab8c034e2097e1050ff62e8048e0ad5e1f72991456a34d02bcecc8a8083136",
        6_371_560,
    ),
    (
        "krita-l10n",
        "1:5.1.5+dfsg-2+deb12u1",
        "krita-l10n_1%3a5.1.5+dfsg-2+deb12u1_all.deb",
        "ad2b1d244e1021b4f56637b9e9109d5d512c8b457d13945cfae8296e294da1ac",
        3_013_204,
    ),
    (
        "util-linux-locales",
        "2.38.1-5+deb12u3",
        "util-linux-locales_2.38.1-5+deb12u3_all.deb",
        "2cb091d6fdc2f38d3ce414102877dcc7434e4d42f18b58e73708219c2b9ec18e",
        1_211_952,
    ),
    (
        "binutils-common",
        "2.40-2",
        "binutils-common_2.40-2_amd64.deb",
        "ab314134f43a0891a48f69a9bc33d825da748fa5e0ba2bebb7a5c491b026f1a0",
        2_486_664,
    ),
    (
        "gnucash-common",
        "1:4.13-1",
        "gnucash-common_1%3a4.13-1_all.deb",
        "8477b415856eb671125ee63ac6a4ee1d23efeca3de6e55e5a14c6ebb32642b31",
        5_194_912,
    ),
    (
        "aptitude-common",
        "0.8.13-5",
        "aptitude-common_0.8.13-5_all.deb",
        "3310ec70a514fbebd7082059d5cebf97e82485abfcb13c9ad21858e09abadc36",
        1_777_280,
    ),
    (
        "gettext",
        "0.21-12",
        "gettext_0.21-12_amd64.deb",
        "8c1f9d43575373ce311f51d00a13afbb4888d63aa559a93a3472f5d77513b60c",
        1_300_056,
    ),
    (
        "coreutils",
        "9.1-1",
        "coreutils_9.1-1_amd64.deb",
        "61038f857e346e8500adf53a2a0a20859f4d3a3b51570cc876b153a2d51a3091",
        2_896_560,
    ),
    (
        "kdevelop-l10n",
        "4:22.12.2-1",
        "kdevelop-l10n_4%3a22.12.2-1_all.deb",
        "7cffb16efed112c7114ad6111e7282bb67872e787754d0fdb88a80ac66a6b956",
        1_205_184,
    ),
];

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
/// counted and left out.
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
    /// Training, validation and test pairs of [`PACKAGES`].
    pub const SPLIT_SIZES: [usize; 3] = [0, 0, 0];

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
                let message = format!("no pair for the {split} split in {} catalogues", files.len());
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
                    too_long.count(&english, 1);
                }
            }
            pairs
        });
        let skips = [plurals, same, lengths, repeated, too_long];
        Ok(Self {
            train,
            validation,
            test,
            encoding,
            skipped: skips.into_iter().filter_map(Skip::into_skipped).collect(),
        })
    }
}

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
        Self {
            skipped: catalogues.skipped,
            ..Self::new(catalogues.train, catalogues.validation, catalogues.test)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TokenText;
    use super::super::mo::tests::write_mo;
    use super::*;
    use velodrome_harness::contract::Dataset;

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
            let pairs: Vec<(&str, &str)> =
                texts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
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
        assert!(text.starts_with("impossible d’ouvrir le fichier "), "{text}");
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
        assert!(!is_catalogue("./usr/share/locale/fr_CA/LC_MESSAGES/gcc-12.mo"));
    }
}

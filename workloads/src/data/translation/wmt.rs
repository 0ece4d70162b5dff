//! The German-English data of WMT as line-aligned text in a folder of the user's.

use super::super::fetched::folder;
use super::pairs::{END_TOKEN, Pairs, Sequences, padded};
use super::{Pieces, TokenText};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use velodrome_harness::contract::{
    DataSource, Dataset, HostBatch, HostField, HostValues, Skipped, Splits, WorkloadError,
};

/// Translation from German to English.
///
/// The folder holds `train.de` and `train.en` (WMT 2017), `validation.de`, `validation.en`, `test.de`
/// and `test.en` (newstest 2013 and 2014): UTF-8, one sentence on a line, line by line the
/// translations of each other; and `sentencepiece.vocab`, which SentencePiece writes beside the model
/// of 32,000 pieces that it trained on the training text (kind `unigram`, all other settings as they
/// are).
///
/// As in AlgoPerf, pairs of more than 256 tokens on a side (ends included) are left out, and training
/// examples are rows of up to 256 tokens into which consecutive pairs are packed. Where either line is
/// empty, the pair is counted and left out. In validation and test, short sentences come first.
pub struct Wmt {
    /// Packed training rows.
    pub train: Packed,
    /// Validation pairs.
    pub validation: Pairs,
    /// Test pairs.
    pub test: Pairs,
    /// The vocabulary of both languages.
    pub pieces: Arc<Pieces>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

impl Wmt {
    /// Tokens of the official vocabulary.
    pub const VOCABULARY: usize = 32_000;
    /// The most tokens of a sentence, its end included, and of a packed row.
    pub const MAX_LENGTH: usize = 256;
    /// Sentence pairs of the official splits (before packing).
    pub const SPLIT_SIZES: [usize; 3] = [5_906_184, 3000, 3003];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "WMT German-English, 2017 (training), newstest 2013 and 2014".into(),
            source: format!("a folder of your own, {}", folder(FOLDER).display()),
            licence: "of its parts; see https://www.statmt.org/wmt17".into(),
            sha256: String::new(),
        }
    }

    /// Opens the user's folder `wmt_transformer`.
    pub fn open_folder(workload: &str) -> Result<Self, WorkloadError> {
        let wmt = Self::open(workload, &folder(FOLDER))?;
        // The first folder of a process is its only one.
        let _ = PIECES.set(wmt.pieces.clone());
        Ok(wmt)
    }

    /// The vocabulary of the user's folder, for texts of decoded tokens.
    pub fn text(workload: &str) -> Result<Arc<dyn TokenText>, WorkloadError> {
        if let Some(pieces) = PIECES.get() {
            return Ok(pieces.clone());
        }
        let pieces = read_pieces(&folder(FOLDER)).map_err(|message| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        })?;
        Ok(PIECES.get_or_init(|| Arc::new(pieces)).clone())
    }

    /// Reads the folder. Errors name the file and the line.
    pub fn open(workload: &str, folder: &Path) -> Result<Self, WorkloadError> {
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        let pieces = Arc::new(read_pieces(folder).map_err(fault)?);
        if pieces.len() > Self::VOCABULARY {
            return Err(fault(format!(
                "{}: {} pieces, the model takes {}",
                folder.join(VOCABULARY_FILE).display(),
                pieces.len(),
                Self::VOCABULARY
            )));
        }
        let mut skipped = BTreeMap::new();
        let mut read =
            |split: &str| read_split(folder, split, &pieces, &mut skipped).map_err(fault);
        let train = Packed::new(&read("train")?, Self::MAX_LENGTH);
        let [validation, test] = [read("validation")?.sorted(), read("test")?.sorted()];
        Ok(Self {
            train,
            validation,
            test,
            pieces,
            skipped: skipped
                .into_iter()
                .map(|(reason, (examples, first))| Skipped {
                    reason: format!("{reason}; the first in {first}"),
                    examples,
                })
                .collect(),
        })
    }
}

/// Name of the user's folder.
const FOLDER: &str = "wmt_transformer";

static PIECES: OnceLock<Arc<Pieces>> = OnceLock::new();

const VOCABULARY_FILE: &str = "sentencepiece.vocab";

/// The vocabulary of a folder.
fn read_pieces(folder: &Path) -> Result<Pieces, String> {
    let path = folder.join(VOCABULARY_FILE);
    Pieces::parse(&read_text(&path)?).map_err(|m| format!("{}: {m}", path.display()))
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().iter().take(e.utf8_error().valid_up_to());
        let line = good.filter(|b| **b == b'\n').count() + 1;
        format!("{}: line {line} is not UTF-8", path.display())
    })
}

/// Reason, number and first place of what is left out.
type Skips = BTreeMap<&'static str, (u64, String)>;

fn read_split(
    folder: &Path,
    split: &str,
    pieces: &Pieces,
    skips: &mut Skips,
) -> Result<Pairs, String> {
    let paths = ["de", "en"].map(|language| folder.join(format!("{split}.{language}")));
    let [german, english] = [read_text(&paths[0])?, read_text(&paths[1])?];
    // Line feeds alone end lines: other separators occur inside sentences.
    let lines = |text: &str| -> usize { text.split_terminator('\n').count() };
    let counts = [lines(&german), lines(&english)];
    if counts[0] != counts[1] {
        let longer = usize::from(counts[1] > counts[0]);
        return Err(format!(
            "{}: line {} has no partner in {}, which ends before it",
            paths[longer].display(),
            counts[1 - longer] + 1,
            paths[1 - longer].display()
        ));
    }
    let all: Vec<(&str, &str)> = german
        .split_terminator('\n')
        .zip(english.split_terminator('\n'))
        .collect();
    let mut pairs = Pairs::new();
    for (index, (source, target)) in encode_all(&all, pieces).into_iter().enumerate() {
        let reason = if source.is_empty() || target.is_empty() {
            "pairs with an empty line"
        } else if source.len().max(target.len()) >= Wmt::MAX_LENGTH {
            "pairs of more tokens than the model reads"
        } else {
            pairs.push(&source, &target);
            continue;
        };
        let place = || format!("{} at line {}", paths[0].display(), index + 1);
        skips.entry(reason).or_insert_with(|| (0, place())).0 += 1;
    }
    if pairs.is_empty() {
        return Err(format!("{}: no sentence pairs", paths[0].display()));
    }
    Ok(pairs)
}

/// Tokens of both sides of each pair, on all processors.
fn encode_all(all: &[(&str, &str)], pieces: &Pieces) -> Vec<(Vec<u16>, Vec<u16>)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let size = all.len().div_ceil(threads).max(1);
    let encode = |part: &[(&str, &str)]| -> Vec<_> {
        let both = |(a, b): &(&str, &str)| (pieces.encode(a), pieces.encode(b));
        part.iter().map(both).collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = all
            .chunks(size)
            .map(|part| (part, scope.spawn(move || encode(part))))
            .collect();
        parts
            .into_iter()
            // A thread that could not finish: its part is done here.
            .flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| encode(part)))
            .collect()
    })
}

impl From<Wmt> for Splits {
    fn from(wmt: Wmt) -> Self {
        Self {
            skipped: wmt.skipped,
            ..Self::new(wmt.train, wmt.validation, wmt.test)
        }
    }
}

/// Rows into which consecutive pairs are packed: an example is a row. Gives the integer fields
/// `source`, `target`, `source_segment`, `target_segment` (1 for the row's first pair, 2 for its
/// second…, 0 for padding), `source_position` and `target_position` (within the pair), each
/// `[examples, tokens]`, filled up with 0 to the longest row of the batch.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    source: Sequences,
    target: Sequences,
}

impl Packed {
    /// Packs pairs in their order: each goes to the present row where both sides have room, and
    /// otherwise begins the next one.
    pub fn new(pairs: &Pairs, length: usize) -> Self {
        let mut packed = Self::default();
        let (mut source, mut target) = (Vec::new(), Vec::new());
        for index in 0..pairs.len() {
            let (from, to) = (pairs.source(index), pairs.target(index));
            let full = source.len() + from.len() > length || target.len() + to.len() > length;
            if full && !source.is_empty() {
                packed.source.push(source.drain(..));
                packed.target.push(target.drain(..));
            }
            source.extend(from);
            target.extend(to);
        }
        if !source.is_empty() {
            packed.source.push(source);
            packed.target.push(target);
        }
        packed
    }
}

/// Segments and positions of a row, whose pairs end with [`END_TOKEN`].
fn layout(row: &[u16]) -> (Vec<i32>, Vec<i32>) {
    let (mut segment, mut position) = (1, 0);
    row.iter()
        .map(|token| {
            let here = (segment, position);
            position += 1;
            if *token == END_TOKEN {
                (segment, position) = (segment + 1, 0);
            }
            here
        })
        .unzip()
}

impl Dataset for Packed {
    fn len(&self) -> usize {
        self.source.len()
    }

    /// Indices that are not below the length are left out. The units are target tokens.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let indices: Vec<usize> = indices
            .iter()
            .copied()
            .filter(|i| *i < self.len())
            .collect();
        let examples = indices.len();
        let mut fields = Vec::new();
        for (tokens, segments, positions, rows) in [
            ("source", "source_segment", "source_position", &self.source),
            ("target", "target_segment", "target_position", &self.target),
        ] {
            let rows: Vec<&[u16]> = indices.iter().map(|&i| rows.get(i)).collect();
            let field = padded(tokens, &[examples], &rows);
            let longest = field.shape.last().copied().unwrap_or(0);
            let (mut of_segments, mut of_positions) = (Vec::new(), Vec::new());
            for row in &rows {
                let (segment, position) = layout(row);
                for (all, row) in [(&mut of_segments, segment), (&mut of_positions, position)] {
                    let end = all.len() + longest;
                    all.extend(row);
                    all.resize(end, 0);
                }
            }
            fields.push(field);
            for (name, values) in [(segments, of_segments), (positions, of_positions)] {
                fields.push(HostField {
                    name,
                    shape: vec![examples, longest],
                    values: HostValues::Int(values),
                });
            }
        }
        HostBatch {
            fields,
            examples,
            units: indices.iter().map(|&i| self.target.get(i).len()).sum(),
        }
    }
}

#[cfg(test)]
#[path = "wmt_tests.rs"]
mod tests;

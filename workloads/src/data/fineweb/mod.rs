//! FineWeb-Edu as tokens of GPT-2: AlgoPerf's data for its language model, from a folder of the user's.

mod arrow;

use super::official::folder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use velodrome_harness::contract::{
    DataSource, Dataset, HostBatch, HostField, HostValues, Splits, WorkloadError,
};

/// Name of the user's folder, as AlgoPerf's set-up names it.
const FOLDER: &str = "fineweb_edu_10B";
/// The column with the tokens.
const COLUMN: &str = "input_ids";

/// FineWeb-Edu, the sample of ten billion tokens (Penedo et al. 2024, arXiv 2406.17557), tokenised.
///
/// The folder holds `train` and `val` as AlgoPerf's set-up leaves them, a tenth of the texts in the
/// latter: data sets that the library `datasets` saved to disk. Each has a `state.json`, whose
/// `_data_files` name the files in their order, and these files, Arrow streams with a column
/// `input_ids`: for each text the list of its tokens, by GPT-2's encoding, with the token 50256 at the
/// end.
///
/// As in AlgoPerf, the texts of a split stand one behind the other, and an example is the next 1025
/// tokens; what is left at the end is dropped. Validation takes the first 100,000 examples of `val`,
/// again as in AlgoPerf. It has no test split: here the next 10,000 examples are one. Examples are read
/// from the files when they are asked for.
#[derive(Debug, Clone)]
pub struct FineWeb {
    /// Training examples.
    pub train: TokenWindows,
    /// Validation examples.
    pub validation: TokenWindows,
    /// Test examples.
    pub test: TokenWindows,
}

impl FineWeb {
    /// Tokens of the encoding.
    pub const VOCABULARY: usize = 50_257;
    /// Tokens that an example predicts.
    pub const CONTEXT: usize = 1024;
    /// Training, validation and test examples.
    pub const SPLIT_SIZES: [usize; 3] = [8_749_870, 100_000, 10_000];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "FineWeb-Edu, sample of ten billion tokens".into(),
            source: "a folder of the user's: train and val, as AlgoPerf's set-up leaves them"
                .into(),
            licence: "ODC-By 1.0, and the terms of Common Crawl; not part of this program".into(),
            sha256: "not pinned".into(),
        }
    }

    /// Opens the user's folder. A training split of less than 99 % of the official number of examples is
    /// an error: how many there are to the last depends on the drawing of the split.
    pub fn open_whole(workload: &str) -> Result<Self, WorkloadError> {
        let [expected, validation, test] = Self::SPLIT_SIZES;
        let folder = folder(FOLDER);
        let data = Self::open(&folder, [validation, test], workload)?;
        let found = data.train.len();
        if found < expected / 100 * 99 {
            return Err(WorkloadError::Data {
                workload: workload.to_string(),
                message: format!(
                    "{}: {found} training examples, expected some {expected}: the set is not whole",
                    folder.display()
                ),
            });
        }
        Ok(data)
    }

    /// Opens `folder`, with so many validation and test examples. Errors name the file.
    pub fn open(
        folder: &Path,
        held_out: [usize; 2],
        workload: &str,
    ) -> Result<Self, WorkloadError> {
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        let stream = |part: &str| {
            let folder = folder.join(part);
            let stream = Stream::open(&folder).map_err(fault)?;
            Ok::<_, WorkloadError>((folder, Arc::new(stream)))
        };
        let (path, stream_of_train) = stream("train")?;
        let train = TokenWindows::new(stream_of_train, 0, usize::MAX);
        if train.is_empty() {
            let message = "the training split is empty: its tokens do not fill an example of";
            let path = path.display();
            return Err(fault(format!("{path}: {message} {}", Self::CONTEXT + 1)));
        }
        let (path, held) = stream("val")?;
        let [first, second] = held_out;
        let validation = TokenWindows::new(held.clone(), 0, first);
        let test = TokenWindows::new(held.clone(), first, second);
        if (validation.len(), test.len()) != (first, second) {
            return Err(fault(format!(
                "{}: {} tokens are {} examples, expected at least {first} for validation and {second} \
                 behind them for test",
                path.display(),
                held.len,
                TokenWindows::new(held.clone(), 0, usize::MAX).len()
            )));
        }
        Ok(Self {
            train,
            validation,
            test,
        })
    }
}

impl From<FineWeb> for Splits {
    fn from(data: FineWeb) -> Self {
        Self::new(data.train, data.validation, data.test)
    }
}

/// Tokens in a file, and where they stand in the stream.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Number of the file.
    file: usize,
    /// Byte of the first token.
    offset: u64,
    /// Place of the first token in the stream.
    start: u64,
    /// Tokens.
    len: u64,
}

/// All tokens of a split, one behind the other.
#[derive(Debug)]
struct Stream {
    /// Files with the bytes of a token.
    files: Vec<(PathBuf, u64)>,
    pieces: Vec<Piece>,
    len: u64,
}

impl Stream {
    fn open(folder: &Path) -> Result<Self, String> {
        let mut stream = Self {
            files: Vec::new(),
            pieces: Vec::new(),
            len: 0,
        };
        for name in data_files(&folder.join("state.json"))? {
            let path = folder.join(name);
            let column = arrow::find(&path, COLUMN)?;
            for run in column.runs {
                stream.pieces.push(Piece {
                    file: stream.files.len(),
                    offset: run.offset,
                    start: stream.len,
                    len: run.len,
                });
                stream.len += run.len;
            }
            stream.files.push((path, column.width));
        }
        Ok(stream)
    }

    /// The `count` tokens from the place `start` on. `open` keeps the files of a batch.
    fn read(
        &self,
        start: u64,
        count: u64,
        open: &mut BTreeMap<usize, File>,
    ) -> Result<Vec<i32>, String> {
        let mut tokens = Vec::new();
        let (mut at, end) = (start, start + count);
        let first = self.pieces.partition_point(|p| p.start + p.len <= start);
        for piece in self.pieces.iter().skip(first) {
            if at >= end {
                break;
            }
            let here = end.min(piece.start + piece.len) - at;
            let (path, width) = self.files.get(piece.file).ok_or("no such file")?;
            let fault = |message: String| {
                format!(
                    "{}: {message}; the file is no longer what it was when it was opened",
                    path.display()
                )
            };
            let file = match open.entry(piece.file) {
                std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(File::open(path).map_err(|e| fault(e.to_string()))?)
                }
            };
            let offset = piece.offset + (at - piece.start) * width;
            let mut bytes = vec![0; (here * width) as usize];
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|e| fault(format!("byte {offset}: {e}")))?;
            for (number, value) in bytes.chunks_exact(*width as usize).enumerate() {
                // Of 8 bytes the last 4 are zero in any token.
                let (low, high) = value.split_at(4);
                let token = low.iter().rev().fold(0, |all, b| all << 8 | u32::from(*b));
                let known = (token as usize) < FineWeb::VOCABULARY && high.iter().all(|b| *b == 0);
                if !known {
                    return Err(format!(
                        "{}: the value at byte {} is no token from 0 to {}",
                        path.display(),
                        offset + number as u64 * width,
                        FineWeb::VOCABULARY - 1
                    ));
                }
                tokens.push(token as i32);
            }
            at += here;
        }
        if at < end {
            return Err(format!("there are no tokens behind the place {at}"));
        }
        Ok(tokens)
    }
}

/// Names of the data files that a `state.json` lists.
fn data_files(path: &Path) -> Result<Vec<String>, String> {
    let fault = |message: String| format!("{}: {message}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| {
        fault(format!(
            "{e}; the folder should hold a data set as `datasets` saves it to disk"
        ))
    })?;
    let state: serde_json::Value = serde_json::from_str(&text).map_err(|e| fault(e.to_string()))?;
    let files = state.get("_data_files").and_then(|files| files.as_array());
    let files = files.ok_or_else(|| fault("has no list `_data_files`".into()))?;
    let name = |file: &serde_json::Value| {
        let name = file.get("filename").and_then(|name| name.as_str());
        let plain = name.filter(|name| !name.contains(['/', '\\']) && *name != "..");
        plain.map(String::from)
    };
    files
        .iter()
        .map(|file| name(file).ok_or_else(|| fault(format!("names no file of the folder: {file}"))))
        .collect()
}

/// Examples of 1025 tokens: one split. Gives the field `tokens` (integer, `[examples, 1025]`): the
/// model reads the first 1024 and predicts the last 1024.
#[derive(Debug, Clone)]
pub struct TokenWindows {
    stream: Arc<Stream>,
    /// Number of the first example in the stream.
    first: usize,
    len: usize,
}

/// Tokens of an example.
const WINDOW: u64 = FineWeb::CONTEXT as u64 + 1;

impl TokenWindows {
    /// At most `most` examples from the example `first` on.
    fn new(stream: Arc<Stream>, first: usize, most: usize) -> Self {
        let all = usize::try_from(stream.len / WINDOW).unwrap_or(usize::MAX);
        Self {
            len: all.saturating_sub(first).min(most),
            stream,
            first,
        }
    }

    /// Tokens of the examples at `indices`; an error for each that cannot be read.
    fn examples(&self, indices: &[usize]) -> Vec<Result<Vec<i32>, String>> {
        let mut open = BTreeMap::new();
        let example = |index: &usize| {
            if *index >= self.len {
                return Err(format!("there is no example {index}"));
            }
            let start = (self.first + index) as u64 * WINDOW;
            self.stream.read(start, WINDOW, &mut open)
        };
        indices.iter().map(example).collect()
    }
}

impl Dataset for TokenWindows {
    fn len(&self) -> usize {
        self.len
    }

    /// Examples that cannot be read are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        host_batch(self.examples(indices).into_iter().flatten())
    }

    /// As [`Self::batch`]; an example that cannot be read is an error that names the file.
    fn load(&self, indices: &[usize], _draws: Option<&[u64]>) -> Result<HostBatch, String> {
        let examples: Result<Vec<_>, _> = self.examples(indices).into_iter().collect();
        Ok(host_batch(examples?.into_iter()))
    }
}

fn host_batch(rows: impl Iterator<Item = Vec<i32>>) -> HostBatch {
    let (mut examples, mut values) = (0, Vec::new());
    for row in rows {
        values.extend(row);
        examples += 1;
    }
    HostBatch {
        fields: vec![HostField {
            name: "tokens",
            shape: vec![examples, FineWeb::CONTEXT + 1],
            values: HostValues::Int(values),
        }],
        examples,
        units: examples * FineWeb::CONTEXT,
    }
}

#[cfg(test)]
mod tests;

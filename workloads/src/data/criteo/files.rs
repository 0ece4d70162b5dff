//! Lines of large text files by number, without holding the text.

use super::record::{COLUMNS, DENSE, LONGEST, Record, parse};
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// A file whose lines were all read once.
#[derive(Debug, Clone)]
pub(super) struct DayFile {
    path: PathBuf,
    /// Lines.
    lines: usize,
    /// Where each block of lines starts, and the end of the file.
    starts: Vec<u64>,
}

impl DayFile {
    /// Reads and checks all lines of all files. The error names the first file and line at fault.
    pub(super) fn scan_all(paths: &[PathBuf], rows: usize) -> Result<Vec<Self>, String> {
        let scanned: Vec<Result<Self, String>> = paths
            .par_iter()
            .map(|path| Self::scan(path, rows))
            .collect();
        scanned.into_iter().collect()
    }

    fn scan(path: &Path, rows: usize) -> Result<Self, String> {
        let at = |message: String| format!("{}: {message}", path.display());
        let file = File::open(path).map_err(|e| at(e.to_string()))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut lines, mut end, mut line) = (0usize, 0u64, Vec::new());
        let mut starts = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader)
                .take(LONGEST as u64 + 1)
                .read_until(b'\n', &mut line)
                .map_err(|e| at(format!("line {}: {e}", lines + 1)))?;
            if read == 0 {
                break;
            }
            if read > LONGEST {
                return Err(at(format!(
                    "line {}: longer than {LONGEST} bytes",
                    lines + 1
                )));
            }
            parse(without_end(&line), rows).map_err(|m| at(format!("line {}: {m}", lines + 1)))?;
            if lines.is_multiple_of(Lines::BLOCK) {
                starts.push(end);
            }
            lines += 1;
            end += read as u64;
        }
        if lines == 0 {
            return Err(at("is empty".into()));
        }
        starts.push(end);
        Ok(Self {
            path: path.to_path_buf(),
            lines,
            starts,
        })
    }

    /// Text of the block with the number `block`. `None` where the file is no longer what it was.
    fn block(&self, file: &mut File, block: usize) -> Option<Vec<u8>> {
        let (from, to) = (*self.starts.get(block)?, *self.starts.get(block + 1)?);
        let mut text = vec![0; usize::try_from(to.checked_sub(from)?).ok()?];
        file.seek(SeekFrom::Start(from)).ok()?;
        file.read_exact(&mut text).ok()?;
        Some(text)
    }
}

/// A line without its line feed (and carriage return).
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// One split: lines of several files, one behind the other. Gives the fields `dense` (real,
/// `[examples, 13]`), `category` (integer, `[examples, 26]`) and `label` (integer, `[examples]`: 1 for
/// a click).
///
/// A line is found by reading the [`Self::BLOCK`] lines around it, some 15 kB; neighbours in a batch
/// are read together.
#[derive(Debug, Clone)]
pub struct Lines {
    files: Vec<DayFile>,
    /// Number of the first line of each file.
    firsts: Vec<usize>,
    len: usize,
    rows: usize,
}

impl Lines {
    /// Lines between two remembered places of a file.
    pub const BLOCK: usize = 64;

    pub(super) fn new(files: Vec<DayFile>, rows: usize) -> Self {
        let mut len = 0;
        let mut firsts = Vec::with_capacity(files.len());
        for file in &files {
            firsts.push(len);
            len += file.lines;
        }
        Self {
            files,
            firsts,
            len,
            rows,
        }
    }

    /// Number of lines.
    pub fn lines(&self) -> usize {
        self.len
    }

    /// File and line within it.
    fn place(&self, index: usize) -> Option<(usize, usize)> {
        let file = self
            .firsts
            .partition_point(|first| *first <= index)
            .checked_sub(1)?;
        Some((file, index - self.firsts.get(file)?))
    }

    /// Why the line at `index` cannot be read.
    fn fault(&self, index: usize) -> String {
        match self.place(index).filter(|_| index < self.len) {
            Some((file, line)) => format!(
                "{}: line {} cannot be read; the file is no longer what it was when it was opened",
                self.files
                    .get(file)
                    .map_or("".into(), |f| f.path.display().to_string()),
                line + 1
            ),
            None => format!("there is no example {index}"),
        }
    }

    /// The records at `indices`, in their order; `None` for those that cannot be read.
    fn records(&self, indices: &[usize]) -> Vec<Option<Record>> {
        let mut order: Vec<usize> = (0..indices.len()).collect();
        order.sort_unstable_by_key(|at| indices.get(*at));
        let mut records = vec![None; indices.len()];
        let mut open: Option<(usize, File)> = None;
        let mut text: Option<(usize, usize, Vec<u8>)> = None;
        for at in order {
            let index = indices.get(at).copied().filter(|index| *index < self.len);
            let Some((file, line)) = index.and_then(|index| self.place(index)) else {
                continue;
            };
            let block = line / Self::BLOCK;
            if text
                .as_ref()
                .is_none_or(|(f, b, _)| (*f, *b) != (file, block))
            {
                let Some(day) = self.files.get(file) else {
                    continue;
                };
                if open.as_ref().is_none_or(|(f, _)| *f != file) {
                    open = File::open(&day.path).ok().map(|handle| (file, handle));
                }
                let read = open
                    .as_mut()
                    .and_then(|(_, handle)| day.block(handle, block));
                text = read.map(|text| (file, block, text));
            }
            let line = text.as_ref().and_then(|(_, _, text)| {
                text.split_inclusive(|byte| *byte == b'\n')
                    .nth(line % Self::BLOCK)
            });
            if let (Some(line), Some(record)) = (line, records.get_mut(at)) {
                *record = parse(without_end(line), self.rows).ok();
            }
        }
        records
    }
}

impl Dataset for Lines {
    fn len(&self) -> usize {
        self.len
    }

    /// Lines that cannot be read are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        host_batch(self.records(indices).into_iter().flatten())
    }

    /// As [`Self::batch`]; a line that cannot be read, since its file changed after it was opened, is an
    /// error with its file and number.
    fn load(&self, indices: &[usize], _draws: Option<&[u64]>) -> Result<HostBatch, String> {
        let records = self.records(indices).into_iter().zip(indices);
        let records = records.map(|(record, index)| record.ok_or_else(|| self.fault(*index)));
        Ok(host_batch(
            records.collect::<Result<Vec<_>, _>>()?.into_iter(),
        ))
    }
}

fn host_batch(records: impl Iterator<Item = Record>) -> HostBatch {
    let (mut dense, mut category, mut label) = (Vec::new(), Vec::new(), Vec::new());
    for record in records {
        dense.extend(record.dense);
        category.extend(record.category);
        label.push(i32::from(record.clicked));
    }
    let examples = label.len();
    let field = |name, width: Option<usize>, values| HostField {
        name,
        shape: std::iter::once(examples).chain(width).collect(),
        values,
    };
    HostBatch {
        fields: vec![
            field("dense", Some(DENSE), HostValues::Float(dense)),
            field("category", Some(COLUMNS), HostValues::Int(category)),
            field("label", None, HostValues::Int(label)),
        ],
        examples,
        units: examples,
    }
}

//! `evals.jsonl`: one line per evaluation, appended and flushed, each with its own checksum.
//!
//! A line is a JSON object whose last member is `"crc"`, the CRC-32 (IEEE) in hexadecimal of the
//! object's text without that member. So a torn write or a flipped bit is found at the line where
//! it is, and every other line stays readable.

use crate::error::RecordError;
use crate::record::EvalRecord;
use crate::trace::Evaluation;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The text of one line, without the newline.
pub fn encode(record: &EvalRecord) -> Result<String, serde_json::Error> {
    let body = serde_json::to_string(record)?;
    let crc = crc32fast::hash(body.as_bytes());
    let open = body.strip_suffix('}').unwrap_or(&body);
    Ok(format!("{open},\"crc\":\"{crc:08x}\"}}"))
}

/// Reads one line; the error says what is wrong with it.
pub fn decode(line: &str) -> Result<EvalRecord, String> {
    decode_as(line)
}

/// Reads one line, in full or as its trace.
pub(crate) fn decode_as<E: Evaluation>(line: &str) -> Result<E, String> {
    let (open, tail) = line
        .rsplit_once(",\"crc\":\"")
        .ok_or("field `crc` is missing: the line is cut short")?;
    let written = tail
        .strip_suffix("\"}")
        .ok_or("the line is cut short after field `crc`")?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(open.as_bytes());
    crc.update(b"}");
    let crc = format!("{:08x}", crc.finalize());
    if crc != written {
        return Err(format!(
            "field `crc` is {written}, but the line's content gives {crc}: the line was changed"
        ));
    }
    // With `crc`, which is no field of an evaluation and passed over: to cut it off means a copy.
    serde_json::from_str(line).map_err(|e| e.to_string())
}

/// Appends evaluations to a log.
#[derive(Debug)]
pub struct EvalLog {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl EvalLog {
    /// Opens the log at `path` and drops what lies behind its first `keep` bytes (0 for a fresh
    /// start): the lines after the checkpoint from which a trial resumes are written again.
    pub fn open(path: &Path, keep: u64) -> Result<Self, RecordError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|e| RecordError::io(path, "open", e))?;
        let length = file
            .metadata()
            .map_err(|e| RecordError::io(path, "read", e))?
            .len();
        if length < keep {
            return Err(RecordError::damaged(
                path,
                None,
                format!("the checkpoint was taken at {keep} bytes, but the file has only {length}"),
            ));
        }
        file.set_len(keep)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|e| RecordError::io(path, "write", e))?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            bytes: keep,
        })
    }

    /// Appends one line and flushes it to the system.
    pub fn append(&mut self, record: &EvalRecord) -> Result<(), RecordError> {
        let mut line =
            encode(record).map_err(|e| RecordError::damaged(&self.path, None, e.to_string()))?;
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.flush())
            .map_err(|e| RecordError::io(&self.path, "write", e))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Length of the log in bytes, for the checkpoint.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes what was appended durable.
    pub fn sync(&self) -> Result<(), RecordError> {
        self.file
            .sync_data()
            .map_err(|e| RecordError::io(&self.path, "write", e))
    }
}

/// Reads a whole log; the first damaged line is an error that names it.
pub fn read(path: &Path) -> Result<Vec<EvalRecord>, RecordError> {
    let bytes = std::fs::read(path).map_err(|e| RecordError::io(path, "read", e))?;
    parse(path, &bytes)
}

/// Reads the text of a whole log; `path` is where errors say that it stood.
pub(crate) fn parse<E: Evaluation>(path: &Path, bytes: &[u8]) -> Result<Vec<E>, RecordError> {
    lines(path, bytes.strip_suffix(b"\n").unwrap_or(bytes))
}

/// Reads a log whose trial is still running or was interrupted: a last line without its newline
/// is a write in flight and is left out; any other damage is an error.
pub fn read_running(path: &Path) -> Result<Vec<EvalRecord>, RecordError> {
    let bytes = std::fs::read(path).map_err(|e| RecordError::io(path, "read", e))?;
    parse_running(path, &bytes)
}

/// [`read_running`] for text that was read already.
pub(crate) fn parse_running<E: Evaluation>(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<E>, RecordError> {
    let end = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
    lines(path, &bytes[..end])
}

/// Decodes lines without their last newline.
fn lines<E: Evaluation>(path: &Path, bytes: &[u8]) -> Result<Vec<E>, RecordError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let named = |(i, decoded): (usize, Result<E, String>)| {
        decoded.map_err(|m| RecordError::damaged(path, i + 1, m))
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => text
            .split('\n')
            .map(decode_as)
            .enumerate()
            .map(named)
            .collect(),
        // One flipped bit can make a line invalid UTF-8, and that too must be found at its line.
        Err(_) => {
            let decoded = bytes.split(|b| *b == b'\n').map(|line| {
                let text = std::str::from_utf8(line);
                text.map_err(|e| format!("not valid UTF-8: {e}"))
                    .and_then(decode_as)
            });
            decoded.enumerate().map(named).collect()
        }
    }
}

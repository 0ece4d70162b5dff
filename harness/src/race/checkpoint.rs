//! Checkpoints: one file, whole or not at all, with its own checksum.
//!
//! Layout: the line `velodrome-checkpoint/1`, a 64-bit length, the header as JSON, the model's
//! bytes and the submission's entries (each with name and 64-bit length), and a SHA-256 over all
//! that precedes it.

use super::histogram::Histogram;
use crate::contract::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use velodrome_results::record::write_atomic;
use velodrome_results::{ClockParts, Counters, Finding, Outcome, RecordError};

const MAGIC: &[u8] = b"velodrome-checkpoint/1\n";

/// The harness's own part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Content hash of the trial.
    pub hash: String,
    /// Where the wall time went.
    pub clock: ClockParts,
    /// Counts.
    pub counters: Counters,
    /// Step times.
    pub steps: Histogram,
    /// Position in the stream of training examples.
    pub position: u64,
    /// Examples per batch.
    pub batch_size: usize,
    /// Length of the evaluation log in bytes.
    pub log_bytes: u64,
    /// The outcome so far.
    pub outcome: Outcome,
    /// Findings so far.
    pub findings: Vec<Finding>,
    /// Training losses in a row that were not finite.
    pub bad_losses: u32,
    /// Clock at the last evaluation.
    pub last_eval_clock: f64,
}

/// A checkpoint in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The harness's part.
    pub header: Header,
    /// The model.
    pub model: Vec<u8>,
    /// The submission's state.
    pub state: State,
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*head)).ok()?;
    let (bytes, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

impl Checkpoint {
    /// Writes the checkpoint to `path`.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let header = serde_json::to_vec(&self.header)
            .map_err(|e| RecordError::damaged(path, None, e.to_string()))?;
        let mut out = MAGIC.to_vec();
        put(&mut out, &header);
        put(&mut out, &self.model);
        for (name, bytes) in self.state.entries() {
            put(&mut out, name.as_bytes());
            put(&mut out, bytes);
        }
        let sum = Sha256::digest(&out);
        out.extend(sum);
        write_atomic(path, &out)
    }

    /// Reads the checkpoint at `path`. A file that is cut short or changed is an error.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let bytes = std::fs::read(path).map_err(|e| RecordError::io(path, "read", e))?;
        let damaged = |message: &str| RecordError::damaged(path, None, message);
        if !bytes.starts_with(b"velodrome-checkpoint/") {
            return Err(damaged("is not a checkpoint (its first line is missing)"));
        }
        if !bytes.starts_with(MAGIC) {
            let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
            return Err(RecordError::Version {
                path: path.to_path_buf(),
                found: String::from_utf8_lossy(line).into_owned(),
                expected: "velodrome-checkpoint/1",
            });
        }
        let (body, sum) = bytes
            .split_last_chunk::<32>()
            .ok_or_else(|| damaged("the checkpoint is cut short"))?;
        if Sha256::digest(body)[..] != sum[..] {
            return Err(damaged(
                "the checksum does not fit: the checkpoint is cut short or was changed",
            ));
        }
        let mut rest = &body[MAGIC.len()..];
        let header = take(&mut rest).ok_or_else(|| damaged("the header is missing"))?;
        let header = serde_json::from_slice(header)
            .map_err(|e| RecordError::damaged(path, None, format!("header: {e}")))?;
        let model = take(&mut rest)
            .ok_or_else(|| damaged("the model is missing"))?
            .to_vec();
        let mut entries = BTreeMap::new();
        while !rest.is_empty() {
            let name = take(&mut rest).ok_or_else(|| damaged("a name is missing"))?;
            let value = take(&mut rest).ok_or_else(|| damaged("an entry is missing"))?;
            entries.insert(String::from_utf8_lossy(name).into_owned(), value.to_vec());
        }
        Ok(Self {
            header,
            model,
            state: State::from_entries(entries),
        })
    }
}

//! What a race remembers beside the records: `race.json`.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use velodrome_results::compare::Looks;
use velodrome_results::record::{read_versioned, write_json};

/// The `format` field of a `race.json` that this version reads and writes.
const FORMAT: &str = "velodrome-race/1";

/// How far a race has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    format: String,
    /// Pairs that both sides have raced.
    pub pairs: usize,
    /// Seconds that they took.
    pub seconds: f64,
    /// The looks so far.
    pub looks: Looks,
}

fn file(folder: &Path) -> PathBuf {
    folder.join("race.json")
}

impl State {
    /// The state of the race in `folder`, which has at most `most` pairs; a new one where there is
    /// none. A race of another length is refused: its looks have spent other shares.
    pub(super) fn open(folder: &Path, most: usize) -> Result<Self, Failure> {
        let path = file(folder);
        if !path.exists() {
            return Ok(Self {
                format: FORMAT.into(),
                pairs: 0,
                seconds: 0.0,
                looks: Looks::new(most),
            });
        }
        let state: Self = read_versioned(&path, FORMAT)?;
        if state.looks.most != most {
            return Err(Failure::Usage(format!(
                "{} holds a race of at most {} pairs, and this one has {most}; give the same options, \
                 or another folder with --out",
                folder.display(),
                state.looks.most
            )));
        }
        Ok(state)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        Ok(write_json(&file(folder), self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_is_remembered_and_one_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path(), 12).unwrap();
        state.pairs = 3;
        state.looks.book(3);
        state.write(folder.path()).unwrap();
        assert_eq!(State::open(folder.path(), 12).unwrap(), state);
        let error = State::open(folder.path(), 13).unwrap_err().to_string();
        assert!(error.contains("at most 12 pairs"), "{error}");
    }
}

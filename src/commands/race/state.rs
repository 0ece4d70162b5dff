//! What a race remembers beside the records: `race.json`.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use velodrome_harness::race::RaceError;
use velodrome_results::compare::Looks;
use velodrome_results::record::{Versioned, read_versioned, write_versioned};

/// The `format` field of a `race.json` that this version reads and writes.
const FORMAT: &str = "velodrome-race/1";

/// How far a race has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    format: String,
    /// Hashes of base and candidate: of the programs and of what they race.
    programs: [String; 2],
    /// Pairs that both sides have raced.
    pub pairs: usize,
    /// Seconds that they took.
    pub seconds: f64,
    /// The looks so far.
    pub looks: Looks,
}

impl Versioned for State {
    const FORMAT: &'static str = FORMAT;

    fn format(&self) -> &str {
        &self.format
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("race.json")
}

impl State {
    /// The state of the race in `folder` between programs with these hashes, of at most `most` pairs; a
    /// new one where there is none. A race of others is refused: its verdict is not theirs.
    pub(super) fn open(folder: &Path, programs: [String; 2], most: usize) -> Result<Self, Failure> {
        let path = file(folder);
        if !path.exists() {
            return Ok(Self {
                format: FORMAT.into(),
                programs,
                pairs: 0,
                seconds: 0.0,
                looks: Looks::new(most),
            });
        }
        let state: Self = read_versioned(&path)?;
        if state.programs != programs {
            let difference = "it was raced by other programs, or with other options".into();
            return Err(Failure::Race(RaceError::OtherPlan {
                path: folder.to_path_buf(),
                difference,
            }));
        }
        Ok(state)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        Ok(write_versioned(&file(folder), self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_race_is_remembered_and_one_of_other_programs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |candidate: &str| State::open(folder.path(), ["base", candidate].map(String::from), 12);
        let mut state = open("candidate").unwrap();
        state.pairs = 3;
        state.looks.book(3);
        state.write(folder.path()).unwrap();
        assert_eq!(open("candidate").unwrap(), state);
        let error = open("newer").unwrap_err();
        assert_eq!(error.exit(), Exit::OtherPlan);
        assert!(error.to_string().contains("other programs"), "{error}");
    }
}

//! The Criteo click logs ("Criteo 1TB", 24 days of advertising): AlgoPerf's data, from a folder of the
//! user's.

mod files;
mod record;

pub use files::Lines;

use files::DayFile;
use std::path::Path;
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};

/// The click logs, as AlgoPerf's set-up leaves them: text files `day_0_00` to `day_23_35` of five
/// million lines each (the last of a day has fewer).
///
/// Days 0 to 22 are for training; of day 23 the files 00 to 18 are for test and 19 to 35 for
/// validation.
pub struct Criteo;

/// The last day, which is held out.
const LAST_DAY: u32 = 23;
/// Files of the last day.
const LAST_DAY_FILES: u32 = 36;
/// The first of the last day's files that is for validation.
const VALIDATION_FROM: u32 = 19;

impl Criteo {
    /// Real features.
    pub const DENSE: usize = record::DENSE;
    /// Categorical features.
    pub const COLUMNS: usize = record::COLUMNS;
    /// Training, validation and test impressions of the whole set.
    pub const SPLIT_SIZES: [usize; 3] = [4_195_197_692, 83_274_637, 95_000_000];

    /// Where the data comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "Criteo 1TB click logs".into(),
            source:
                "a folder of the user's: day_0_00 to day_23_35, as AlgoPerf's set-up leaves them"
                    .into(),
            licence: "Criteo's terms for the click logs; not part of this program".into(),
            sha256: "not pinned".into(),
        }
    }

    /// Opens the files of `folder`, whatever their number of lines; each split needs at least one.
    /// `rows` is the number of rows of the embedding table.
    ///
    /// Every line is read once and checked: the first bad one is the error, with file and line. The
    /// places of the lines are kept in memory (one number for each [`Lines::BLOCK`] of them), the
    /// lines are not.
    pub fn open(folder: &Path, rows: usize, workload: &str) -> Result<[Lines; 3], WorkloadError> {
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message,
        };
        let listing = std::fs::read_dir(folder).map_err(|e| {
            fault(format!(
                "{}: {e}; it should hold the Criteo click logs as day_0_00 to day_23_35",
                folder.display()
            ))
        })?;
        let mut paths = [(); 3].map(|()| Vec::new());
        for entry in listing {
            let path = entry
                .map_err(|e| fault(format!("{}: {e}", folder.display())))?
                .path();
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default();
            if let Some((day, part)) = day_and_part(name)
                && let Some(split) = split_of(day, part)
            {
                paths[split].push((day, part, path));
            }
        }
        let mut splits = Vec::new();
        for (mut paths, name) in paths
            .into_iter()
            .zip(["day_0_00", "day_23_19", "day_23_00"])
        {
            if paths.is_empty() {
                let folder = folder.display();
                return Err(fault(format!("{folder}: there is no file like {name}")));
            }
            paths.sort_unstable();
            let paths: Vec<_> = paths.into_iter().map(|(_, _, path)| path).collect();
            splits.push(Lines::new(
                DayFile::scan_all(&paths, rows).map_err(fault)?,
                rows,
            ));
        }
        <[Lines; 3]>::try_from(splits).map_err(|_| fault("not three splits".into()))
    }

    /// Opens the whole set: as [`Self::open`], and the number of lines must be right.
    pub fn open_whole(folder: &Path, rows: usize, workload: &str) -> Result<Splits, WorkloadError> {
        let splits = Self::open(folder, rows, workload)?;
        let found = [0, 1, 2].map(|i| splits[i].lines());
        if found != Self::SPLIT_SIZES {
            return Err(WorkloadError::Data {
                workload: workload.to_string(),
                message: format!(
                    "{}: the splits have {found:?} lines, expected {:?}: the set is not whole",
                    folder.display(),
                    Self::SPLIT_SIZES
                ),
            });
        }
        let [train, validation, test] = splits;
        Ok(Splits::new(train, validation, test))
    }
}

/// Day and part of a file's name `day_D_PP`.
fn day_and_part(name: &str) -> Option<(u32, u32)> {
    let (day, part) = name.strip_prefix("day_")?.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (digits(day) && digits(part) && part.len() >= 2)
        .then(|| Some((day.parse().ok()?, part.parse().ok()?)))?
}

/// 0, 1 or 2: training, validation or test; `None` where a file belongs to none.
fn split_of(day: u32, part: u32) -> Option<usize> {
    match (day, part) {
        (LAST_DAY, 0..VALIDATION_FROM) => Some(2),
        (LAST_DAY, VALIDATION_FROM..LAST_DAY_FILES) => Some(1),
        (0..LAST_DAY, _) => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_split_as_in_algoperf() {
        let split = |name| day_and_part(name).and_then(|(day, part)| split_of(day, part));
        for (name, expected) in [
            ("day_0_00", Some(0)),
            ("day_22_39", Some(0)),
            ("day_23_00", Some(2)),
            ("day_23_18", Some(2)),
            ("day_23_19", Some(1)),
            ("day_23_35", Some(1)),
            ("day_23_36", None),
            ("day_24_00", None),
            ("day_0.csv", None),
            ("day_0_x0", None),
            ("day_0", None),
            ("day__00", None),
            ("readme", None),
        ] {
            assert_eq!(split(name), expected, "{name}");
        }
    }
}

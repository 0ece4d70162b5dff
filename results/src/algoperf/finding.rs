//! What is wrong or remarkable in a log tree, by name and path.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of thing was found. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A trial folder that is empty: the run left nothing.
    EmptyTrial,
    /// A trial folder with files, but without `eval_measurements.csv`.
    MissingFile,
    /// An `eval_measurements.csv` of zero bytes.
    EmptyFile,
    /// An `eval_measurements.csv` with a header and no evaluation.
    HeaderOnly,
    /// An `eval_measurements.csv` without a column that scoring needs.
    MissingColumn,
    /// A file that cannot be read.
    Unreadable,
    /// A last row that is cut short; the cells in front of the cut count.
    TruncatedRow,
    /// A last row that is whole, but does not end its line.
    NoFinalNewline,
    /// A row with more or fewer cells than the header, not the last one.
    RaggedRow,
    /// Evaluations whose target metric is empty or NaN.
    NanCell,
    /// A cell that is no number where one is due.
    BadCell,
    /// Evaluations whose clock or step runs backwards.
    ClockBackwards,
    /// A file where only folders belong, or a file that no harness writes.
    StrayFile,
    /// A folder whose name does not fit its place.
    StrayFolder,
    /// A workload that the targets file does not list.
    UnknownWorkload,
    /// A workload that has a target, but neither counts nor is held out.
    UnscoredWorkload,
    /// Logs of both frameworks for one workload of one submission.
    TwoFrameworks,
    /// Two folders that name the same study or trial.
    Duplicate,
    /// A study whose folder has a name instead of a number.
    UnnumberedStudy,
    /// More trials in a study than the ruleset allows.
    ExtraTrial,
    /// Fewer trials in a study, or fewer studies, than the ruleset asks for.
    TooFew,
    /// A study folder or submission folder without anything in it.
    EmptyFolder,
    /// A submission without any log of a workload that is scored.
    AbsentWorkload,
    /// Trials of one comparison that ran on different machines.
    MixedHardware,
    /// Studies of one submission and workload whose step times differ.
    StepTimes,
    /// A target that was reached after the runtime budget was spent.
    OverBudget,
    /// A file beside the evaluations (hyperparameters, metadata) that is damaged.
    DamagedSidecar,
}

impl FindingKind {
    /// The name in files and on the board.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyTrial => "empty_trial",
            Self::MissingFile => "missing_file",
            Self::EmptyFile => "empty_file",
            Self::HeaderOnly => "header_only",
            Self::MissingColumn => "missing_column",
            Self::Unreadable => "unreadable",
            Self::TruncatedRow => "truncated_row",
            Self::NoFinalNewline => "no_final_newline",
            Self::RaggedRow => "ragged_row",
            Self::NanCell => "nan_cell",
            Self::BadCell => "bad_cell",
            Self::ClockBackwards => "clock_backwards",
            Self::StrayFile => "stray_file",
            Self::StrayFolder => "stray_folder",
            Self::UnknownWorkload => "unknown_workload",
            Self::UnscoredWorkload => "unscored_workload",
            Self::TwoFrameworks => "two_frameworks",
            Self::Duplicate => "duplicate",
            Self::UnnumberedStudy => "unnumbered_study",
            Self::ExtraTrial => "extra_trial",
            Self::TooFew => "too_few",
            Self::EmptyFolder => "empty_folder",
            Self::AbsentWorkload => "absent_workload",
            Self::MixedHardware => "mixed_hardware",
            Self::StepTimes => "step_times",
            Self::OverBudget => "over_budget",
            Self::DamagedSidecar => "damaged_sidecar",
        }
    }

    /// Whether `--strict` refuses it. What it lets pass is either an honest result (a loss that
    /// is NaN), or has no part in a score (a stray file), or a warning about the machines.
    pub fn is_refused(self) -> bool {
        !matches!(
            self,
            Self::NanCell
                | Self::NoFinalNewline
                | Self::StrayFile
                | Self::UnscoredWorkload
                | Self::UnnumberedStudy
                | Self::MixedHardware
                | Self::StepTimes
                | Self::DamagedSidecar
        )
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing found in a log tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogFinding {
    /// The file or folder.
    pub path: PathBuf,
    /// What kind of thing.
    pub kind: FindingKind,
    /// One sentence: what it is, and what was done about it.
    pub message: String,
    /// The submission that it concerns, where it concerns one.
    pub submission: Option<String>,
}

impl LogFinding {
    /// A finding at `path`.
    pub fn new(kind: FindingKind, path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self {
            path: path.as_ref().to_path_buf(),
            kind,
            message: message.into(),
            submission: None,
        }
    }

    /// The same, about a submission.
    #[must_use]
    pub fn of(mut self, submission: &str) -> Self {
        self.submission = Some(submission.to_string());
        self
    }
}

impl fmt::Display for LogFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}",
            self.kind,
            self.path.display(),
            self.message
        )
    }
}

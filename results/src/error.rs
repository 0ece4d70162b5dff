//! Errors of reading and writing records. Each names the file and, where there is one, the field.

use std::path::{Path, PathBuf};

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system refused a read or a write (missing file, full disk, read-only folder…).
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "read", "write", "create"…
        action: &'static str,
        /// The system's own error.
        source: std::io::Error,
    },
    /// The file is there but its content is damaged.
    #[error("{path}{}: {message}", line.map(|n| format!(", line {n}")).unwrap_or_default())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, for line-based files.
        line: Option<usize>,
        /// What is wrong, naming the field.
        message: String,
    },
    /// The record was written by a version of Velodrome whose format this one does not know.
    #[error(
        "{path}: field `format` is \"{found}\", but this version of Velodrome reads \"{expected}\"; \
         use the version that wrote it, or race the trial again in another folder"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The format named in the file.
        found: String,
        /// The format that this version reads.
        expected: &'static str,
    },
}

impl RecordError {
    /// An I/O error at `path` while doing `action` ("read", "write"…).
    pub fn io(path: impl AsRef<Path>, action: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_path_buf(),
            action,
            source,
        }
    }

    /// A damaged file; `line` counts from 1.
    pub fn damaged(
        path: impl AsRef<Path>,
        line: impl Into<Option<usize>>,
        message: impl Into<String>,
    ) -> Self {
        Self::Damaged {
            path: path.as_ref().to_path_buf(),
            line: line.into(),
            message: message.into(),
        }
    }
}

//! Why a folder cannot be read, or does not belong to a model.

use crate::adapters::MethodError;
use std::io;
use std::path::{Path, PathBuf};

/// An error of reading, checking or writing an adapter.
#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// A file cannot be read or written.
    #[error("{}: cannot be {action}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not of its format.
    #[error("{}: {what}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// An option, or a size that does not fit the module.
    #[error("{}: module `{module}`: {source}", file.display())]
    Method {
        /// The configuration.
        file: PathBuf,
        /// The module.
        module: String,
        /// What the method said.
        source: Box<MethodError>,
    },
    /// A tensor is missing.
    #[error("{}: tensor `{tensor}` is missing; its shape must be {expected:?}", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// A tensor has another shape.
    #[error("{}: tensor `{tensor}` has shape {found:?}, it must be {expected:?}", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that fits the model and the configuration.
        expected: Vec<usize>,
    },
    /// A tensor that no part of the adapter accounts for.
    #[error("{}: tensor `{tensor}` of shape {found:?} is no part of this adapter", file.display())]
    Unexpected {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// The adapter is for another model.
    #[error("{}: `{name}` names no matrix of the model, which has {known}", file.display())]
    OtherModel {
        /// The adapter's file.
        file: PathBuf,
        /// The module or tensor that the model does not have.
        name: String,
        /// The first modules that it has.
        known: String,
    },
}

impl InterchangeError {
    pub(super) fn read(file: &Path, source: io::Error) -> Self {
        Self::Io {
            file: file.to_path_buf(),
            action: "read",
            source,
        }
    }

    pub(super) fn written(file: &Path, source: io::Error) -> Self {
        Self::Io {
            file: file.to_path_buf(),
            action: "written",
            source,
        }
    }

    pub(super) fn format(file: &Path, what: impl Into<String>) -> Self {
        Self::Format {
            file: file.to_path_buf(),
            what: what.into(),
        }
    }
}

//! The tables of what can race. Explicit: nothing registers itself.

use crate::contract::{Submission, Workload};
use std::sync::Arc;
use velodrome_results::record::is_plain_name;

/// Why a name could not be added or found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryError {
    /// Two entries claim one name.
    #[error("two {kind}s are called `{name}`; rename one of them")]
    Duplicate {
        /// "workload" or "submission".
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The entry's own description is not usable.
    #[error("the {kind} `{name}` cannot be added: {message}")]
    Invalid {
        /// "workload" or "submission".
        kind: &'static str,
        /// The name.
        name: String,
        /// What is wrong, naming the file.
        message: String,
    },
    /// No entry has the name.
    #[error("there is no {kind} `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_else(|| format!(" (see `velodrome list {kind}s`)")))]
    Unknown {
        /// "workload" or "submission".
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The most similar name that exists.
        nearest: Option<String>,
    },
}

/// Workloads and submissions by name, in the order they were added.
#[derive(Default, Clone)]
pub struct Registry {
    workloads: Vec<(String, Arc<dyn Workload>)>,
    submissions: Vec<(String, Arc<dyn Submission>)>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a workload; a duplicate name is an error.
    pub fn add_workload(&mut self, workload: Arc<dyn Workload>) -> Result<(), RegistryError> {
        add(
            "workload",
            &mut self.workloads,
            workload.spec().name,
            workload,
        )
    }

    /// Adds a submission; a duplicate name is an error.
    pub fn add_submission(&mut self, submission: Arc<dyn Submission>) -> Result<(), RegistryError> {
        let name = submission.describe().name.to_string();
        add("submission", &mut self.submissions, name, submission)
    }

    /// All workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<dyn Workload>> {
        self.workloads.iter().map(|(_, w)| w)
    }

    /// All submissions.
    pub fn submissions(&self) -> impl Iterator<Item = &Arc<dyn Submission>> {
        self.submissions.iter().map(|(_, s)| s)
    }

    /// The workload called `name`, or an error that names the nearest.
    pub fn workload(&self, name: &str) -> Result<Arc<dyn Workload>, RegistryError> {
        find("workload", &self.workloads, name)
    }

    /// The submission called `name`, or an error that names the nearest.
    pub fn submission(&self, name: &str) -> Result<Arc<dyn Submission>, RegistryError> {
        find("submission", &self.submissions, name)
    }
}

fn add<T: ?Sized>(
    kind: &'static str,
    table: &mut Vec<(String, Arc<T>)>,
    name: String,
    entry: Arc<T>,
) -> Result<(), RegistryError> {
    if !is_plain_name(&name) {
        let message =
            "a name is a part of folders' names: leave out slashes, colons and such".into();
        return Err(RegistryError::Invalid {
            kind,
            name,
            message,
        });
    }
    if table.iter().any(|(n, _)| *n == name) {
        return Err(RegistryError::Duplicate { kind, name });
    }
    table.push((name, entry));
    Ok(())
}

fn find<T: ?Sized>(
    kind: &'static str,
    table: &[(String, Arc<T>)],
    name: &str,
) -> Result<Arc<T>, RegistryError> {
    table
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, entry)| entry.clone())
        .ok_or_else(|| RegistryError::Unknown {
            kind,
            name: name.to_string(),
            nearest: nearest(name, table.iter().map(|(n, _)| n.as_str())),
        })
}

/// The candidate most similar to `name`, if one is similar enough to be a likely typo.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|c| (strsim::jaro_winkler(name, c), c))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        let mut table: Vec<(String, Arc<u8>)> = Vec::new();
        for name in ["../x", "/x", "a/b", "..", ""] {
            let error = add("workload", &mut table, name.into(), Arc::new(0)).unwrap_err();
            assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
        }
        assert_eq!(
            add("workload", &mut table, "a_b".into(), Arc::new(0)),
            Ok(())
        );
    }
}

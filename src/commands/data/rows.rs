//! The data sets as rows: those of the program, those that can be fetched, and those of the user's own
//! folders.

use serde::Serialize;
use std::path::{Path, PathBuf};
use velodrome_harness::contract::{DataSource, Size};
use velodrome_harness::registry::Registry;
use velodrome_workloads::data::fetched::FETCHED;
use velodrome_workloads::data::{Official, embedded, folder};

/// Where the data of a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// In the program.
    Embedded,
    /// Computed by the program: there is no file.
    Computed,
    /// In the cache, not checked now.
    Cached,
    /// To be fetched.
    NotFetched,
    /// In a folder that the user has filled; its content is not checked now.
    OwnFolder,
    /// The user's folder is not there.
    NoFolder,
}

impl Place {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Place::Embedded => "in the program",
            Place::Computed => "computed",
            Place::Cached => "in the cache",
            Place::NotFetched => "not fetched",
            Place::OwnFolder => "your own folder",
            Place::NoFolder => "your own folder, not there",
        }
    }
}

/// One data set.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// Name on the command line for a set that can be fetched, of the file of an embedded set, of the
    /// folder that a user fills.
    pub name: String,
    pub about: String,
    pub place: Place,
    /// The cached archives, or the folder to fill.
    pub paths: Vec<PathBuf>,
    pub bytes: Option<u64>,
    pub licence: String,
    pub source: String,
    /// Sums of the archives; that of the file for an embedded set.
    pub sha256: Vec<String>,
    pub workloads: Vec<String>,
}

pub(super) fn rows(registry: &Registry, cache: &Path) -> Vec<Row> {
    let mut used: Vec<(DataSource, Size, String, Vec<String>)> = Vec::new();
    for workload in registry.workloads() {
        let spec = workload.spec();
        match used.iter_mut().find(|(data, ..)| *data == spec.data) {
            Some((_, _, _, names)) => names.push(spec.name),
            None => used.push((spec.data, spec.size, spec.base, vec![spec.name])),
        }
    }
    let mut rows = Vec::new();
    for (data, size, base, workloads) in &used {
        let official = Official::of(base).filter(|_| *size == Size::Algoperf);
        let file = embedded().into_iter().find(|f| f.sha256 == data.sha256);
        let (place, paths) = match size {
            Size::Laptop if data.sha256.is_empty() => (Place::Computed, Vec::new()),
            Size::Laptop => (Place::Embedded, Vec::new()),
            Size::Workstation => continue,
            Size::Algoperf => {
                let path = official.map_or_else(|| folder(base), Official::path);
                let there = path.is_dir();
                let place = if there {
                    Place::OwnFolder
                } else {
                    Place::NoFolder
                };
                (place, vec![path])
            }
        };
        // A file is called by its name up to the first dot. Data that an author of a workload brings
        // has its own words alone.
        let stem = file.and_then(|f| f.file.split('.').next());
        let name = official.map(|o| o.folder).or(stem).unwrap_or(&data.name);
        rows.push(Row {
            name: name.into(),
            about: official.map_or(data.name.clone(), |o| format!("{}: {}", data.name, o.files)),
            place,
            paths,
            bytes: file.map(|f| f.bytes()),
            licence: data.licence.clone(),
            source: data.source.clone(),
            sha256: file.iter().map(|f| f.sha256.to_string()).collect(),
            workloads: workloads.clone(),
        });
    }
    for set in FETCHED {
        let paths: Vec<PathBuf> = set.packages.iter().map(|p| cache.join(p.archive)).collect();
        let there = paths.iter().all(|path| path.is_file());
        // A workload names the packages that it reads.
        let reads = |data: &DataSource| set.packages.iter().any(|p| data.source.contains(p.name));
        let workloads = used
            .iter()
            .filter(|(data, size, ..)| *size == Size::Workstation && reads(data));
        rows.push(Row {
            name: set.name.into(),
            about: set.about.into(),
            place: if there {
                Place::Cached
            } else {
                Place::NotFetched
            },
            paths,
            bytes: Some(set.bytes()),
            licence: set.licence.into(),
            source: set.source().source,
            sha256: set.packages.iter().map(|p| p.sha256.into()).collect(),
            workloads: workloads.flat_map(|(.., names)| names.clone()).collect(),
        });
    }
    rows
}

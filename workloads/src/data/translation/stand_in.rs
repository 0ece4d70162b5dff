//! What `data::fetched` gives: replaced by it when the branches meet.

use std::path::PathBuf;
use velodrome_harness::contract::{DataSource, WorkloadError};

pub(super) struct Package {
    pub archive: &'static str,
}

pub(super) struct Fetched {
    pub packages: &'static [Package],
}

pub(super) const CATALOGUES: Fetched = Fetched {
    packages: &[Package {
        archive: "gcc-12-locales_12.2.0-14+deb12u1_all.deb",
    }],
};

impl Fetched {
    pub fn source(&self) -> DataSource {
        DataSource {
            name: "Message catalogues of programs, English and French".into(),
            source: "Debian 12".into(),
            licence: "GPL and LGPL, by program: not for redistribution here".into(),
            sha256: String::new(),
        }
    }

    pub fn members(
        &self,
        workload: &str,
        archive: &str,
        _accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<(String, Vec<u8>)>, WorkloadError> {
        Err(WorkloadError::Data {
            workload: workload.to_string(),
            message: format!("{archive} is not there: run `velodrome data fetch catalogues`"),
        })
    }
}

pub(super) fn folder(base: &str) -> PathBuf {
    let root = std::env::var_os("VELODROME_DATA").unwrap_or_default();
    PathBuf::from(root).join(base)
}

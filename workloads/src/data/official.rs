//! The official data of AlgoPerf's workloads, in folders that a user fills: nobody else may hand them
//! out. One folder for each data set, in the folder `VELODROME_DATA`.

use std::path::PathBuf;
use velodrome_harness::contract::WorkloadError;

/// An official data set in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Official {
    /// Name of the folder.
    pub folder: &'static str,
    /// The base workloads that read it.
    pub bases: &'static [&'static str],
    /// What the folder holds. The loader's page has the details.
    pub files: &'static str,
    /// Where a user gets it.
    pub from: &'static str,
}

/// All official data sets.
pub const OFFICIAL: &[Official] = &[
    Official {
        folder: "criteo1tb_dlrm",
        bases: &["criteo1tb_dlrm"],
        files: "day_D_PP for the days 0 to 23: Criteo's day files in consecutive parts, \
                tab-separated, unpacked",
        from: "https://ailab.criteo.com/ressources/criteo-1tb-click-logs-dataset-for-mlperf/",
    },
    Official {
        folder: "fastmri_unet",
        bases: &["fastmri_unet"],
        files: "knee_singlecoil_train/*.h5, knee_singlecoil_val/*.h5",
        from: "https://fastmri.med.nyu.edu",
    },
    Official {
        folder: "fineweb_edu_10B",
        bases: &["finewebedu_lm"],
        files: "train/ and val/, each with state.json and data-*.arrow: tokens of GPT-2, as AlgoPerf's \
                set-up saves them",
        from: "https://huggingface.co/datasets/HuggingFaceFW/fineweb-edu, sample-10BT",
    },
    Official {
        folder: "imagenet",
        bases: &["imagenet_resnet", "imagenet_vit"],
        files: "train/SYNSET/*.JPEG, val/SYNSET/*.JPEG, v2/CLASS/*.jpeg (ImageNet-v2, matched \
                frequency)",
        from: "https://image-net.org and https://github.com/modestyachts/ImageNetV2",
    },
    Official {
        folder: "librispeech",
        bases: &["librispeech_conformer", "librispeech_deepspeech"],
        files: "train-clean-100/, train-clean-360/, train-other-500/, dev-clean/, dev-other/, \
                test-clean/, spm_model.vocab (AlgoPerf's tokeniser)",
        from: "https://www.openslr.org/12",
    },
    Official {
        folder: "ogbg_gnn",
        bases: &["ogbg_gnn"],
        files: "raw/*.csv.gz, split/scaffold/*.csv.gz of ogbg-molpcba",
        from: "https://ogb.stanford.edu",
    },
    Official {
        folder: "wmt_transformer",
        bases: &["wmt_transformer"],
        files: "train.de, train.en, validation.de, validation.en, test.de, test.en, \
                sentencepiece.vocab",
        from: "https://www.statmt.org/wmt17",
    },
];

impl Official {
    /// The data set of the base workload `base`.
    pub fn of(base: &str) -> Option<&'static Self> {
        OFFICIAL.iter().find(|data| data.bases.contains(&base))
    }

    /// Its folder: see [`folder`].
    pub fn path(&self) -> PathBuf {
        folder(self.folder)
    }

    /// Checks that the folder is there. `workload` is named in the error, which says what to put
    /// where.
    pub fn check(&self, workload: &str) -> Result<(), WorkloadError> {
        let path = self.path();
        if path.is_dir() {
            return Ok(());
        }
        Err(WorkloadError::Data {
            workload: workload.to_string(),
            message: format!(
                "{} is not there: fill it with {} (from {}), or let VELODROME_DATA name the folder \
                 that holds `{}`",
                path.display(),
                self.files,
                self.from,
                self.folder
            ),
        })
    }
}

/// The folder `name` of official data: in `VELODROME_DATA`, or in `velodrome` in the platform's folder
/// of data.
pub fn folder(name: &str) -> PathBuf {
    let root = variable("VELODROME_DATA").unwrap_or_else(|| {
        let home = variable("HOME").unwrap_or_default();
        let data = if cfg!(windows) {
            variable("APPDATA").unwrap_or_default()
        } else if cfg!(target_os = "macos") {
            home.join("Library/Application Support")
        } else {
            variable("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"))
        };
        data.join("velodrome")
    });
    root.join(name)
}

/// The environment variable `name` as a path; `None` where it is unset or empty.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|v| !v.is_empty());
    value.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_official_workload_has_one_folder() {
        let bases: Vec<&str> = OFFICIAL.iter().flat_map(|d| d.bases).copied().collect();
        assert_eq!(bases.iter().collect::<BTreeSet<_>>().len(), bases.len());
        let mut registry = velodrome_harness::registry::Registry::new();
        crate::register(&mut registry).unwrap();
        for workload in registry.workloads() {
            let spec = workload.spec();
            let official = spec.size == velodrome_harness::contract::Size::Algoperf;
            assert_eq!(
                official,
                Official::of(&spec.base).is_some(),
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn an_absent_folder_is_an_error_that_says_what_belongs_there() {
        let data = Official {
            folder: "there is no such folder",
            ..OFFICIAL[0]
        };
        let error = data.check("criteo1tb_dlrm").unwrap_err().to_string();
        for part in ["criteo1tb_dlrm", data.folder, data.files, "VELODROME_DATA"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

//! The cases in the repository, and copies that a test may damage.

use burn::tensor::Device;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use velodrome_submissions::adapters::interchange::{
    CONFIG, Config, InterchangeError, MODEL, Replay, Tensors, replay,
};

/// The folders of `goldens/peft`, by name.
pub fn cases() -> Vec<PathBuf> {
    let all = fs::read_dir(root()).unwrap().map(|e| e.unwrap().path());
    let mut cases: Vec<PathBuf> = all.filter(|p| p.is_dir()).collect();
    cases.sort();
    cases
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/peft")
}

pub fn again(folder: &Path) -> Result<Replay, InterchangeError> {
    replay(folder, &Device::flex(), &mut None)
}

/// A copy of a case.
pub struct Copy(TempDir);

impl Copy {
    pub fn of(case: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(root().join(case)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
        Self(copy)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Changes the adapter's tensors.
    pub fn tensors(&self, change: impl FnOnce(&mut Tensors)) {
        let file = self.path().join(MODEL);
        let mut tensors = Tensors::read(&file).unwrap();
        change(&mut tensors);
        tensors.write(&file).unwrap();
    }

    /// Sets an option.
    pub fn option(&self, name: &str, value: serde_json::Value) {
        let mut config = Config::read(self.path()).unwrap();
        config.values.insert(name.into(), value);
        config.write(self.path()).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.path().join(CONFIG)
    }

    /// The message of the error that the replay ends with.
    pub fn error(&self) -> String {
        again(self.path()).unwrap_err().to_string()
    }
}

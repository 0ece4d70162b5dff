//! The cases in the repository, and copies that a test may damage.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use velodrome_submissions::adapters::interchange::{
    CONFIG, Config, InterchangeError, MODEL, Replay, Tensors, replay,
};
use velodrome_submissions::adapters::layout::values;

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

/// All numbers of nested lists, in order.
pub fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(all) => all.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

pub fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// A matrix from a list of rows.
pub fn matrix(value: &Value) -> Tensor<2> {
    let rows = value.as_array().unwrap();
    let columns = rows[0].as_array().unwrap().len();
    tensor(numbers(value), [rows.len(), columns])
}

/// The largest distance between entries.
pub fn far(a: Tensor<2>, b: Tensor<2>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (values(a), values(b));
    let far = |(a, b): (&f32, &f32)| (a - b).abs();
    a.iter().zip(&b).map(far).fold(0.0, f32::max)
}

//! Official logs for tests: unpacked archives, written trees, and the golden values' encoding.

use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use velodrome_results::algoperf::{Budgets, Logs, Targets};

/// Folder of the test data of the results crate; the command's tests lie elsewhere.
fn data() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let nested = here.join("results/tests");
    if nested.exists() {
        nested
    } else {
        here.join("tests")
    }
}

pub fn golden(name: &str) -> Value {
    let path = data().join(format!("goldens/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn targets_path(name: &str) -> PathBuf {
    data().join(format!("algoperf_logs/{name}"))
}

/// A leaderboard: its golden file, archive, folder in the archive, and targets.
pub const BOARDS: [(&str, &str, &str, &str); 3] = [
    (
        "v05_self_tuning",
        "v05_self_tuning_reduced",
        "algoperf_v05/logs/self_tuning",
        "targets_v05.json",
    ),
    (
        "v06_external_tuning",
        "v06_external_tuning",
        "algoperf_v06/logs/external_tuning",
        "targets_v06_8base.json",
    ),
    (
        "v06_self_tuning",
        "v06_self_tuning",
        "algoperf_v06/logs/self_tuning",
        "targets_v06_8base.json",
    ),
];

/// Unpacks an archive of `algoperf_logs` into `into`.
pub fn unpack(archive: &str, into: &Path) {
    let path = data().join(format!("algoperf_logs/{archive}.tar.gz"));
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_end(&mut tar)
        .unwrap();
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    };
    // The tar format: blocks of 512 bytes, a header in front of each file.
    let mut at = 0;
    let mut long_name = None;
    while at + 512 <= tar.len() && tar[at] != 0 {
        let header = &tar[at..at + 512];
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        let content = &tar[at + 512..at + 512 + size];
        let prefix = if &header[257..263] == b"ustar\0" {
            text(&header[345..500])
        } else {
            String::new()
        };
        let name = long_name.take().unwrap_or_else(|| match prefix.as_str() {
            "" => text(&header[..100]),
            prefix => format!("{prefix}/{}", text(&header[..100])),
        });
        let path = into.join(&name);
        match header[156] {
            b'5' => std::fs::create_dir_all(path).unwrap(),
            b'0' | 0 => {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            b'L' => long_name = Some(text(content)),
            b'x' | b'g' => {}
            other => panic!("{name}: kind {other}"),
        }
        at += 512 + size.div_ceil(512) * 512;
    }
}

/// A leaderboard's logs in a folder of their own.
pub struct Unpacked {
    pub dir: TempDir,
    pub root: PathBuf,
    pub targets: PathBuf,
    pub golden: &'static str,
}

pub fn board(which: usize) -> Unpacked {
    let (golden, archive, folder, targets) = BOARDS[which];
    let dir = tempfile::tempdir().unwrap();
    unpack(archive, dir.path());
    Unpacked {
        root: dir.path().join("previous_leaderboards").join(folder),
        targets: targets_path(targets),
        golden,
        dir,
    }
}

pub fn read(root: &Path, targets: &Path) -> Logs {
    let targets = Targets::read(targets).unwrap();
    Logs::read(root, targets, Budgets::published().unwrap(), None).unwrap()
}

/// Writes one trial of a tree; metric and clock per evaluation, NaN as an empty cell.
pub fn write_trial(folder: &Path, metric: &str, rows: &[(f64, f64)]) {
    std::fs::create_dir_all(folder).unwrap();
    let mut text = format!(
        "accumulated_submission_time,global_step,score,validation/{metric},validation/num_examples\n"
    );
    for (i, (clock, value)) in rows.iter().enumerate() {
        let value = if value.is_nan() {
            String::new()
        } else {
            value.to_string()
        };
        text += &format!("{clock},{},{clock},{value},100\n", 10 * i + 1);
    }
    std::fs::write(folder.join("eval_measurements.csv"), text).unwrap();
}

/// Golden encoding: a number, "inf", or null (absent).
pub fn cell(v: &Value) -> Option<f64> {
    match v {
        Value::Null => None,
        Value::String(s) if s == "inf" => Some(f64::INFINITY),
        number => Some(number.as_f64().unwrap()),
    }
}

pub fn same(found: Option<f64>, expected: Option<f64>, tolerance: f64) -> bool {
    match (found, expected) {
        (Some(a), Some(b)) => a == b || (a - b).abs() <= tolerance * b.abs(),
        (a, b) => a == b,
    }
}

pub fn keys(v: &Value) -> Vec<String> {
    v.as_object().unwrap().keys().cloned().collect()
}

//! The boards in `results/boards` are what their records give.

mod common;

use common::{succeed, velodrome};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use velodrome::results::archive;

/// The records: what everything else in the folder is made from.
const RECORDS: &str = "records.parquet";
/// What was raced.
const SUITE: &str = "suite.toml";

fn folders() -> Vec<PathBuf> {
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/boards");
    let entries = std::fs::read_dir(boards).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

/// All files below `folder`, by their path within it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn each_board_is_what_its_records_give() {
    let folders = folders();
    assert!(!folders.is_empty(), "there is no board");
    for folder in folders {
        let records = folder.join(RECORDS);
        let again = tempfile::tempdir().unwrap();
        let mut command = velodrome();
        command.arg("score").arg(&records);
        succeed(command.arg("--out").arg(again.path()));
        let made = files(again.path());
        let mut kept = files(&folder);
        kept.remove(Path::new(RECORDS)).unwrap();
        kept.remove(Path::new(SUITE)).unwrap();
        for name in ["board.md", "board.csv", "board.json"] {
            assert!(kept.contains_key(Path::new(name)), "{name} is missing");
        }
        for (name, bytes) in kept {
            assert!(
                made.get(&name) == Some(&bytes),
                "{} is not what {} gives; run\n  velodrome score {} --out {}",
                folder.join(&name).display(),
                records.display(),
                records.display(),
                folder.display()
            );
        }
    }
}

#[test]
fn the_records_of_each_board_are_whole() {
    for folder in folders() {
        let run = archive::read(&folder.join(RECORDS)).unwrap();
        let name = folder.display();
        assert!(run.missing.is_empty(), "{name}: {:?}", run.missing);
        let one = &run.trials[0].record.fingerprint;
        for trial in &run.trials {
            let record = &trial.record;
            assert!(record.status.is_final(), "{name}: {}", record.id);
            assert_eq!(&record.fingerprint, one, "{name}: {}", record.id);
            if record.status == velodrome::results::Status::Reached {
                assert!(record.outcome.state_bytes > 0, "{name}: {}", record.id);
            }
        }
    }
}

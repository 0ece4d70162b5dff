//! Changed data from outside: no panic, no memory from a length alone, no file outside of its folder. A
//! bounded run of the fuzz targets in `fuzz/`, with the same seeds and the same functions.
//!
//! `VELODROME_FUZZ=FACTOR` makes so many times the cases, `VELODROME_FUZZ_SEED` others.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use targets::{Mutator, TARGETS, Target, named};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The seeds of a target, by name.
fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("seeds").join(target.name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut seeds: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Memory is counted for the whole program: one target at a time.
static ONE: Mutex<()> = Mutex::new(());

/// The seeds as they are, then changed ones.
fn bounded(name: &str) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = named(name);
    let seeds = seeds(target);
    for (seed, bytes) in seeds.iter().filter(|(seed, _)| seed.starts_with("good-")) {
        assert!(target.accepts(bytes), "seed {seed} is refused");
    }
    let mut most = 0;
    let mut check = |what: &str, bytes: &[u8]| {
        let result = catch_unwind(AssertUnwindSafe(|| target.check(bytes)));
        match result {
            Ok(peak) => most = most.max(peak),
            Err(_) => {
                let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-fault"));
                std::fs::write(&file, bytes).unwrap();
                panic!("{name}: {what} is a fault: see {}", file.display());
            }
        }
    };
    for (seed, bytes) in &seeds {
        check(seed, bytes);
    }
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
    let first = number("VELODROME_FUZZ_SEED").unwrap_or(0);
    let cases = target.cases as u64 * number("VELODROME_FUZZ").unwrap_or(1);
    let start = std::time::Instant::now();
    for case in 0..cases {
        let bytes = Mutator::new(first ^ (case << 8)).input(&seeds);
        check(&format!("case {case} of seed {first}"), &bytes);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{name}: {cases} cases in {seconds:.1} s, {most} bytes at most");
}

macro_rules! bounded {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            bounded(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

bounded! {
    suite space evaluations run log_csv log_targets adapter adapter_config safetensors gguf smiles wav
    nifti dicom catalogue
}

#[test]
fn every_target_is_tested_and_has_a_program() {
    let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    assert_eq!(names, TESTED);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in names {
        let text = std::fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("named(\"{name}\")")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

/// The counting sees a single large request: without that, no cap would ever be met.
#[test]
fn memory_is_counted() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let reader = |bytes: &[u8]| Vec::<u8>::with_capacity(bytes.len() << 20).is_empty();
    let target = Target::new("test", reader, 1 << 20, 64 << 10, 0);
    assert!(target.check(&[0; 4]) >= 4 << 20);
    let target = Target::new("test", reader, 1 << 19, 64 << 10, 0);
    assert!(catch_unwind(|| target.check(&[0; 4])).is_err());
}

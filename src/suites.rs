//! The built-in suites, and the way from a name or path to a suite.

use crate::failure::Failure;
use std::path::Path;
use velodrome_harness::race::Suite;
use velodrome_harness::registry::nearest;

/// The built-in suites: name and text.
pub(crate) const ALL: [(&str, &str); 7] = [
    ("quick", include_str!("suites/quick.toml")),
    ("smoke", include_str!("suites/smoke.toml")),
    ("laptop", include_str!("suites/laptop.toml")),
    ("board", include_str!("suites/board.toml")),
    ("variants", include_str!("suites/variants.toml")),
    ("tuned", include_str!("suites/tuned.toml")),
    ("finetune", include_str!("suites/finetune.toml")),
];

/// The suite that `wanted` names: a built-in one, or a file.
pub(crate) fn load(wanted: &str) -> Result<Suite, Failure> {
    let path = Path::new(wanted);
    let looks_like_a_path = wanted.contains(['/', '\\']) || wanted.ends_with(".toml");
    if looks_like_a_path {
        return Ok(Suite::read(path)?);
    }
    if let Some((name, text)) = ALL.iter().find(|(name, _)| *name == wanted) {
        return builtin(name, text);
    }
    if path.is_file() {
        return Ok(Suite::read(path)?);
    }
    let hint = match nearest(wanted, ALL.iter().map(|(name, _)| *name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "see `velodrome list suites`, or give the path of a suite file".into(),
    };
    Err(Failure::Usage(format!(
        "there is no suite `{wanted}`; {hint}"
    )))
}

/// All built-in suites.
pub(crate) fn all() -> Result<Vec<Suite>, Failure> {
    ALL.iter().map(|(name, text)| builtin(name, text)).collect()
}

fn builtin(name: &str, text: &str) -> Result<Suite, Failure> {
    let label = format!("built-in suite {name}");
    Ok(Suite::parse(text, Path::new(&label))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use velodrome_harness::contract::{Size, Track};
    use velodrome_harness::race;
    use velodrome_harness::registry::Registry;

    #[test]
    fn built_in_suites_parse_and_carry_their_name() {
        for (name, suite) in ALL.iter().map(|(n, _)| n).zip(all().unwrap()) {
            assert_eq!(suite.name, *name);
            assert!(!suite.description.is_empty());
        }
    }

    #[test]
    fn built_in_suites_can_be_planned() {
        let mut registry = Registry::new();
        velodrome_workloads::register(&mut registry).unwrap();
        velodrome_submissions::register(&mut registry).unwrap();
        for suite in all().unwrap() {
            let plan = race::plan(&suite, &registry).unwrap();
            let studies = suite.studies as usize;
            let trials = suite.trials as usize;
            let pairs = suite.workloads.len() * suite.submissions.len();
            assert_eq!(plan.trials.len(), pairs * studies * trials);
        }
    }

    #[test]
    fn the_suites_of_laptop_size_leave_no_kind_out() {
        let mut registry = Registry::new();
        velodrome_workloads::register(&mut registry).unwrap();
        let specs = registry.workloads().map(|w| w.spec());
        // A kind for theory is raced on its own.
        let (specs, tuned): (Vec<_>, Vec<_>) = specs
            .filter(|s| s.size == Size::Laptop && s.kind != "theory")
            .partition(|s| s.track == Track::Pretrain);
        let named = |name| -> BTreeSet<String> {
            let suite = load(name).unwrap();
            suite
                .workloads
                .iter()
                .map(|w| w.get_ref().clone())
                .collect()
        };
        let all: BTreeSet<String> = specs.iter().map(|s| s.name.clone()).collect();
        assert_eq!(named("variants"), all);
        // The digits are for a first minute: images of clothes are the same kind of task.
        let bases = specs.iter().filter(|s| s.change.is_none());
        let bases = bases.filter(|s| s.kind != "digits");
        assert_eq!(named("laptop"), bases.map(|s| s.name.clone()).collect());
        let bases = tuned.iter().filter(|s| s.change.is_none());
        assert_eq!(named("finetune"), bases.map(|s| s.name.clone()).collect());
    }

    #[test]
    fn a_wrong_name_names_the_nearest() {
        let error = load("qiuck").unwrap_err().to_string();
        assert_eq!(error, "there is no suite `qiuck`; did you mean `quick`?");
        let error = load("zzz").unwrap_err().to_string();
        assert!(error.contains("velodrome list suites"), "{error}");
    }

    #[test]
    fn paths_are_read_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let error = load(path.to_str().unwrap()).unwrap_err();
        assert!(error.to_string().contains("mine.toml"), "{error}");
        assert_eq!(error.exit(), crate::Exit::Usage);
        std::fs::write(&path, ALL[1].1.replace("\"smoke\"", "\"mine\"")).unwrap();
        assert_eq!(load(path.to_str().unwrap()).unwrap().name, "mine");
    }
}

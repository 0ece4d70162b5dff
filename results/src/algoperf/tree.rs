//! The folders of a log tree: `RULESET/SUBMISSION/study_N/WORKLOAD_FRAMEWORK/trial_N`.

use super::finding::{FindingKind, LogFinding};
use super::targets::Targets;
use super::{LogError, Ruleset};
use crate::error::RecordError;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Frameworks of the official logs, as the endings of workload folders.
pub const FRAMEWORKS: [&str; 2] = ["jax", "pytorch"];

/// How many folders may lie around the submissions.
const DEPTH: usize = 5;

/// One trial folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialFolder {
    /// Submission.
    pub submission: String,
    /// Number of the study, as its folder says.
    pub study: u32,
    /// Position of the workload in the targets.
    pub workload: usize,
    /// `jax` or `pytorch`.
    pub framework: &'static str,
    /// Number of the trial.
    pub trial: u32,
    /// The folder.
    pub path: PathBuf,
}

/// The folders of a log tree, in order of their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub submissions: Vec<String>,
    pub trials: Vec<TrialFolder>,
    pub findings: Vec<LogFinding>,
}

/// Where the submissions lie, and what was assumed.
pub(super) struct Place {
    pub root: PathBuf,
    /// The submissions' folders.
    pub submissions: Vec<PathBuf>,
    pub ruleset: Option<Ruleset>,
    pub assumed: Vec<String>,
}

/// The entries of a folder by name: folders, and files.
struct Listing {
    folders: Vec<(String, PathBuf)>,
    files: Vec<PathBuf>,
}

fn list(path: &Path) -> Result<Listing, RecordError> {
    let error = |e| RecordError::io(path, "read", e);
    let mut listing = Listing {
        folders: Vec::new(),
        files: Vec::new(),
    };
    for entry in std::fs::read_dir(path).map_err(error)? {
        let entry = entry.map_err(error)?;
        let kind = entry.file_type().map_err(error)?;
        let path = entry.path();
        // A link to a folder counts as that folder.
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            listing.folders.push((name, path));
        } else {
            listing.files.push(path);
        }
    }
    listing.folders.sort();
    listing.files.sort();
    Ok(listing)
}

/// The same, with a finding where the folder cannot be listed: it then counts as empty.
fn listed(path: &Path, findings: &mut Vec<LogFinding>) -> Listing {
    list(path).unwrap_or_else(|error| {
        let message = format!("cannot be listed; what is in it is left out ({error})");
        findings.push(LogFinding::new(FindingKind::Unreadable, path, message));
        Listing {
            folders: Vec::new(),
            files: Vec::new(),
        }
    })
}

fn is_study(name: &str) -> bool {
    name.starts_with("study_")
}

fn has_studies(path: &Path) -> bool {
    list(path).is_ok_and(|l| l.folders.iter().any(|(name, _)| is_study(name)))
}

/// Which ruleset a folder's name speaks of.
fn ruleset_of(path: &Path) -> Option<Ruleset> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    if name.contains("self") {
        Some(Ruleset::SelfTuning)
    } else if name.contains("external") {
        Some(Ruleset::External)
    } else {
        None
    }
}

/// Finds the folder that holds the submissions: `logs` itself, or one below it.
pub(super) fn find(logs: &Path, wanted: Option<Ruleset>) -> Result<Place, LogError> {
    let logs_real = logs
        .canonicalize()
        .map_err(|e| RecordError::io(logs, "read", e))?;
    if has_studies(logs) {
        return Ok(Place {
            root: logs.to_path_buf(),
            submissions: vec![logs.to_path_buf()],
            ruleset: logs_real.parent().and_then(ruleset_of),
            assumed: vec![format!(
                "{} holds studies, so it is one submission.",
                logs.display()
            )],
        });
    }
    let mut found = Vec::new();
    search(logs, DEPTH, &mut found)?;
    let mut assumed = Vec::new();
    if found.len() > 1
        && let Some(wanted) = wanted
    {
        found.retain(|p| ruleset_of(p) == Some(wanted));
    }
    let root = match found.as_slice() {
        [] => {
            return Err(LogError::NoLogs {
                path: logs.to_path_buf(),
                ruleset: wanted,
            });
        }
        [one] => one.clone(),
        several => {
            return Err(LogError::SeveralRulesets {
                path: logs.to_path_buf(),
                found: several.to_vec(),
            });
        }
    };
    if root != logs {
        assumed.push(format!(
            "The submissions are the folders in {}.",
            root.display()
        ));
    }
    let real = root.canonicalize().unwrap_or_else(|_| root.clone());
    Ok(Place {
        submissions: list(&root)?.folders.into_iter().map(|f| f.1).collect(),
        ruleset: ruleset_of(&real),
        root,
        assumed,
    })
}

/// Collects the folders below `path` that hold submissions.
fn search(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), LogError> {
    let folders = list(path)?.folders;
    if folders.iter().any(|(_, p)| has_studies(p)) {
        found.push(path.to_path_buf());
    } else if depth > 0 {
        for (_, folder) in folders {
            search(&folder, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Walks the submissions.
pub(super) fn walk(place: &Place, targets: &Targets) -> Result<Tree, LogError> {
    let parts: Vec<Result<Tree, LogError>> = place
        .submissions
        .par_iter()
        .map(|path| submission(path, targets))
        .collect();
    let mut tree = Tree::default();
    if place.submissions.as_slice() != [place.root.clone()] {
        stray_files(&list(&place.root)?, &mut tree.findings);
    }
    for part in parts {
        let part = part?;
        tree.submissions.extend(part.submissions);
        tree.trials.extend(part.trials);
        tree.findings.extend(part.findings);
    }
    Ok(tree)
}

fn stray_files(listing: &Listing, findings: &mut Vec<LogFinding>) {
    for path in &listing.files {
        let message = "a file where only folders belong; it is ignored";
        findings.push(LogFinding::new(FindingKind::StrayFile, path, message));
    }
}

/// The folders whose names are a prefix and a number, once each, and findings for the others.
fn numbered(
    listing: &Listing,
    prefix: &str,
    findings: &mut Vec<LogFinding>,
) -> Vec<(u32, PathBuf)> {
    let mut numbers = BTreeMap::new();
    for (name, path) in &listing.folders {
        let number = name
            .strip_prefix(prefix)
            .and_then(|n| n.parse::<u32>().ok());
        let Some(number) = number else {
            let message = format!("not named `{prefix}N`; it is ignored with all that is in it");
            findings.push(LogFinding::new(FindingKind::StrayFolder, path, message));
            continue;
        };
        match numbers.get(&number) {
            None => {
                numbers.insert(number, path.clone());
            }
            // `trial_1` is what a harness writes; `trial_01` is not, whatever order they come in.
            Some(other) => {
                let plain = format!("{prefix}{number}");
                let (kept, left) = if *name == plain {
                    (path, other)
                } else {
                    (other, path)
                };
                let message = format!("the same number as {}; it is ignored", kept.display());
                findings.push(LogFinding::new(FindingKind::Duplicate, left, message));
                numbers.insert(number, kept.clone());
            }
        }
    }
    numbers.into_iter().collect()
}

/// The studies: those with a number, then those with a name, which get the numbers that follow.
fn studies(listing: &Listing, findings: &mut Vec<LogFinding>) -> Vec<(u32, PathBuf)> {
    let named = |name: &str| {
        let rest = name.strip_prefix("study_");
        rest.is_some_and(|rest| !rest.is_empty() && rest.parse::<u32>().is_err())
    };
    let (named, others): (Vec<_>, Vec<_>) = listing
        .folders
        .iter()
        .cloned()
        .partition(|(name, _)| named(name));
    let others = Listing {
        folders: others,
        files: Vec::new(),
    };
    let mut studies = numbered(&others, "study_", findings);
    for (_, path) in named {
        let number = studies.last().map_or(0, |(n, _)| n.saturating_add(1));
        let message =
            format!("the study has a name instead of a number; it counts as study {number}");
        findings.push(LogFinding::new(
            FindingKind::UnnumberedStudy,
            &path,
            message,
        ));
        studies.push((number, path));
    }
    studies
}

fn submission(path: &Path, targets: &Targets) -> Result<Tree, LogError> {
    let real = path
        .canonicalize()
        .map_err(|e| RecordError::io(path, "read", e))?;
    let name = if path.file_name().is_some() {
        path
    } else {
        &real
    };
    let name = name
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut tree = Tree::default();
    let findings = &mut tree.findings;
    let listing = listed(path, findings);
    stray_files(&listing, findings);
    let mut trials = Vec::new();
    let studies = studies(&listing, findings);
    if studies.is_empty() {
        let message = "a folder among the submissions without any study; it is ignored";
        findings.push(LogFinding::new(FindingKind::EmptyFolder, path, message));
    }
    for (study, path) in studies {
        let listing = listed(&path, findings);
        stray_files(&listing, findings);
        if listing.folders.is_empty() {
            let message = "a study without any workload";
            findings.push(LogFinding::new(FindingKind::EmptyFolder, &path, message));
        }
        for (folder, path) in &listing.folders {
            let Some((workload, framework)) = workload(folder, path, targets, findings) else {
                continue;
            };
            let listing = listed(path, findings);
            stray_files(&listing, findings);
            let numbers = numbered(&listing, "trial_", findings);
            if numbers.is_empty() {
                let message = "a workload without any trial";
                findings.push(LogFinding::new(FindingKind::EmptyFolder, path, message));
            }
            trials.extend(numbers.into_iter().map(|(trial, path)| TrialFolder {
                submission: name.clone(),
                study,
                workload,
                framework,
                trial,
                path,
            }));
        }
    }
    one_framework(&mut trials, findings, targets);
    if !trials.is_empty() {
        tree.submissions.push(name.clone());
    }
    tree.trials = trials;
    for finding in &mut tree.findings {
        finding.submission = Some(name.clone());
    }
    Ok(tree)
}

/// What a folder at workload level is: a workload that counts and its framework, or a finding.
fn workload(
    folder: &str,
    path: &Path,
    targets: &Targets,
    findings: &mut Vec<LogFinding>,
) -> Option<(usize, &'static str)> {
    let mut find = |kind, message: String| findings.push(LogFinding::new(kind, path, message));
    if folder.starts_with("trial_") {
        let message =
            "a trial folder among the workloads, as the official runner leaves it; it is ignored";
        find(FindingKind::StrayFolder, message.into());
        return None;
    }
    let split = FRAMEWORKS.into_iter().find_map(|f| {
        let name = folder.strip_suffix(f)?.strip_suffix('_')?;
        Some((name, f))
    });
    let Some((name, framework)) = split else {
        let message =
            "not named WORKLOAD_jax or WORKLOAD_pytorch; it is ignored with all that is in it";
        find(FindingKind::UnknownWorkload, message.into());
        return None;
    };
    if let Some(position) = targets.position(name) {
        return Some((position, framework));
    }
    if targets.others.iter().any(|n| n == name) {
        let message = format!(
            "workload `{name}` has a target, but is neither scored nor held out; it is ignored"
        );
        find(FindingKind::UnscoredWorkload, message);
    } else {
        let message = format!("workload `{name}` is not in the targets file; it is ignored");
        find(FindingKind::UnknownWorkload, message);
    }
    None
}

/// Keeps, per workload, the trials of one framework: the one in which it has more studies, then
/// more trials, then the one that the submission uses on more of its other workloads. Merging them
/// would give a submission two tries, and the official code breaks on them.
fn one_framework(trials: &mut Vec<TrialFolder>, findings: &mut Vec<LogFinding>, targets: &Targets) {
    let mut of: BTreeMap<usize, BTreeSet<&'static str>> = BTreeMap::new();
    for t in trials.iter() {
        of.entry(t.workload).or_default().insert(t.framework);
    }
    for (&workload, frameworks) in of.iter().filter(|(_, f)| f.len() > 1) {
        let rank = |framework: &str| {
            let mine = trials.iter().filter(|t| t.framework == framework);
            let here = || mine.clone().filter(|t| t.workload == workload);
            let studies: BTreeSet<u32> = here().map(|t| t.study).collect();
            (studies.len(), here().count(), mine.clone().count())
        };
        // The first among equals.
        let kept = frameworks
            .iter()
            .copied()
            .rev()
            .max_by_key(|f| rank(f))
            .unwrap_or("");
        let left: BTreeSet<PathBuf> = trials
            .iter()
            .filter(|t| t.workload == workload && t.framework != kept)
            .filter_map(|t| t.path.parent().map(Path::to_path_buf))
            .collect();
        let name = &targets.workloads[workload].name;
        for path in left {
            let message = format!(
                "this submission has logs of both frameworks for `{name}`; those of {kept} count, \
                 which are more, and these are left out"
            );
            findings.push(LogFinding::new(FindingKind::TwoFrameworks, path, message));
        }
        trials.retain(|t| t.workload != workload || t.framework == kept);
    }
}

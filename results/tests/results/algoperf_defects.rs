//! A log tree with every defect: each is listed with its path, and costs nothing but itself.

use crate::logtree::*;
use std::fs;
use std::path::PathBuf;
use velodrome_results::algoperf::{FindingKind, LogScoreOptions};

/// Plants every defect into the external-tuning logs; gives the findings that are due.
fn plant(root: &std::path::Path) -> Vec<(FindingKind, PathBuf)> {
    use FindingKind::*;
    let file = "eval_measurements.csv";
    let study = root.join("baseline/study_0");
    let ogbg = study.join("ogbg_jax");
    let whole = fs::read_to_string(ogbg.join("trial_1").join(file)).unwrap();
    let (header, _) = whole.split_once('\n').unwrap();
    let mut due = Vec::new();
    let trial = |n: usize, text: Option<&str>| {
        let path = ogbg.join(format!("trial_{n}"));
        fs::create_dir_all(&path).unwrap();
        if let Some(text) = text {
            fs::write(path.join(file), text).unwrap();
        }
        path
    };
    due.push((EmptyTrial, trial(6, None)));
    let missing = trial(7, None);
    fs::write(missing.join("hparams.json"), "{}").unwrap();
    due.push((MissingFile, missing));
    due.push((EmptyFile, trial(8, Some("")).join(file)));
    due.push((
        HeaderOnly,
        trial(9, Some(&format!("{header}\n"))).join(file),
    ));
    // A metric that meets any target, but cut off before it is whole.
    let row = |n: usize| -> Vec<String> {
        whole
            .lines()
            .nth(n)
            .unwrap()
            .split(',')
            .map(String::from)
            .collect()
    };
    let at = header
        .split(',')
        .position(|c| c == "validation/mean_average_precision")
        .unwrap();
    let mut cut = row(1);
    cut[at] = "0.9".into();
    let cut = format!("{header}\n{}\n{}", row(1).join(","), cut[..=at].join(","));
    due.push((TruncatedRow, trial(10, Some(&cut)).join(file)));
    let mut nan = row(1);
    nan[at] = String::new();
    due.push((
        NanCell,
        trial(11, Some(&format!("{header}\n{}\n", nan.join(",")))).join(file),
    ));
    due.push((
        MissingColumn,
        trial(12, Some("global_step,score\n1,2\n")).join(file),
    ));
    let mut bad = row(1);
    bad[at] = "0.9e".into();
    due.push((
        BadCell,
        trial(13, Some(&format!("{header}\n{}\n", bad.join(",")))).join(file),
    ));
    let mut long = row(1);
    long[at] = "0.9".into();
    long.insert(0, "7".into());
    due.push((
        RaggedRow,
        trial(14, Some(&format!("{header}\n{}\n", long.join(",")))).join(file),
    ));
    let garbage = trial(15, None);
    fs::write(garbage.join(file), [0u8, 159, 146, 150, 255, 10, 1]).unwrap();
    due.push((MissingColumn, garbage.join(file)));
    fs::create_dir_all(ogbg.join("trial_16").join(file)).unwrap();
    due.push((Unreadable, ogbg.join("trial_16").join(file)));

    let copy = |from: PathBuf, to: PathBuf| {
        fs::create_dir_all(&to).unwrap();
        // Faster than anybody: if it counted, every ratio would change.
        let mut lines: Vec<String> = Vec::new();
        for (i, line) in fs::read_to_string(from.join(file))
            .unwrap()
            .lines()
            .enumerate()
        {
            let mut cells: Vec<&str> = line.split(',').collect();
            if i > 0 {
                cells[2] = "1.0";
                cells[5] = "1.0";
            }
            lines.push(cells.join(","));
        }
        fs::write(to.join(file), lines.join("\n") + "\n").unwrap();
    };
    copy(
        study.join("wmt_jax/trial_1"),
        study.join("wmt_pytorch/trial_1"),
    );
    due.push((TwoFrameworks, study.join("wmt_pytorch")));
    copy(
        ogbg.join("trial_1"),
        study.join("finewebedu_lm_jax/trial_1"),
    );
    due.push((UnknownWorkload, study.join("finewebedu_lm_jax")));
    copy(ogbg.join("trial_1"), study.join("ogbg/trial_1"));
    due.push((UnknownWorkload, study.join("ogbg")));
    copy(ogbg.join("trial_1"), study.join("trial_1"));
    due.push((StrayFolder, study.join("trial_1")));
    copy(ogbg.join("trial_1"), ogbg.join("trial_01"));
    due.push((Duplicate, ogbg.join("trial_01")));
    copy(ogbg.join("trial_1"), ogbg.join("old"));
    due.push((StrayFolder, ogbg.join("old")));
    copy(
        ogbg.join("trial_1"),
        root.join("baseline/notes/ogbg_jax/trial_1"),
    );
    due.push((StrayFolder, root.join("baseline/notes")));
    fs::create_dir_all(root.join("nobody")).unwrap();
    due.push((EmptyFolder, root.join("nobody")));
    fs::create_dir_all(study.join("fastmri_jax/trial_5/meta_data_0.json")).unwrap();
    due.push((
        DamagedSidecar,
        study.join("fastmri_jax/trial_5/meta_data_0.json"),
    ));
    for stray in [
        root.join("README.md"),
        root.join("baseline/.DS_Store"),
        study.join("notes.txt"),
        ogbg.join("notes.txt"),
        ogbg.join("trial_1/notes.txt"),
    ] {
        fs::write(&stray, "x").unwrap();
        due.push((StrayFile, stray));
    }
    due.push((ExtraTrial, ogbg.clone()));
    due
}

#[test]
fn each_defect_is_listed_and_nothing_else_changes() {
    let unpacked = board(1);
    let clean = read(&unpacked.root, &unpacked.targets);
    let due = plant(&unpacked.root);
    let logs = read(&unpacked.root, &unpacked.targets);
    for (kind, path) in &due {
        let found = logs
            .findings
            .iter()
            .find(|f| f.kind == *kind && f.path == *path);
        let found = found.unwrap_or_else(|| panic!("no {kind} at {}", path.display()));
        assert!(
            clean
                .findings
                .iter()
                .all(|f| f.path != *path || f.kind != *kind)
        );
        assert!(found.to_string().contains(&path.display().to_string()));
    }
    assert!(logs.refused().count() > clean.refused().count());

    // Nothing is found twice, and nothing that was not planted, except what follows from it: a
    // NaN where a cell cannot be read.
    let mut extra: Vec<String> = logs
        .findings
        .iter()
        .filter(|f| !clean.findings.contains(f))
        .filter(|f| {
            !due.iter()
                .any(|(kind, path)| *kind == f.kind && *path == f.path)
        })
        .map(|f| f.kind.to_string())
        .collect();
    extra.sort();
    extra.dedup();
    assert!(
        extra
            .iter()
            .all(|k| ["nan_cell", "header_only", "no_final_newline"].contains(&k.as_str())),
        "{extra:?}"
    );

    let options = LogScoreOptions::default();
    let (a, b) = (
        clean.score(&options).unwrap(),
        logs.score(&options).unwrap(),
    );
    assert_eq!(a.logs.submissions, b.logs.submissions);
    assert_eq!(a.times, b.times);
    assert_eq!(a.scored, b.scored);
    assert_eq!(a.exact, b.exact);
    assert_eq!(a.speed_ups, b.speed_ups);
    assert_eq!(a.intervals, b.intervals);
    let (text, json) = (b.text(None), b.json().unwrap());
    for (kind, path) in &due {
        assert!(
            text.contains(&format!("{kind}: {}", path.display())),
            "{kind}"
        );
        assert!(json.contains(&format!("\"{}\"", path.display())), "{kind}");
    }
}

#[test]
fn machines_and_step_times_that_differ_are_told() {
    let unpacked = board(1);
    unpack("v06_metadata", unpacked.dir.path());
    let trial = unpacked.root.join("shampoo/study_1/wmt_pytorch/trial_2");
    let metadata = trial.join("meta_data_0.json");
    let before = read(&unpacked.root, &unpacked.targets);
    assert!(
        before
            .findings
            .iter()
            .all(|f| f.kind != FindingKind::MixedHardware)
    );
    // A step time that differs is in the logs as they are.
    let slow = before
        .findings
        .iter()
        .find(|f| f.kind == FindingKind::StepTimes)
        .unwrap();
    assert!(
        slow.path.ends_with("baseline/study_0/fastmri_jax"),
        "{slow}"
    );
    let text = fs::read_to_string(&metadata).unwrap();
    fs::write(
        &metadata,
        text.replace("Tesla V100-SXM2-16GB", "NVIDIA A100"),
    )
    .unwrap();
    let after = read(&unpacked.root, &unpacked.targets);
    let found: Vec<_> = after
        .findings
        .iter()
        .filter(|f| f.kind == FindingKind::MixedHardware)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, metadata);
    assert!(found[0].message.contains("gpu_model_name") && found[0].message.contains("A100"));
}

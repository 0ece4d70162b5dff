//! From runs to a board.

use crate::common::{TrialBuilder, example_run, finding, run, write_run};
use velodrome_results::assemble::{AssembleError, AssembleOptions, assemble};
use velodrome_results::board::{Board, BoardCell};
use velodrome_results::run::{Run, Trial, trial_dir};
use velodrome_results::score::{Integration, Policy};
use velodrome_results::{Status, TrialRecord, render};

fn board(runs: &[Run]) -> Board {
    assemble(runs, &AssembleOptions::default()).unwrap()
}

fn cell<'b>(board: &'b Board, submission: &str, workload: &str) -> &'b BoardCell {
    let row = board
        .rows
        .iter()
        .find(|r| r.submission == submission)
        .unwrap();
    let at = board
        .workloads
        .iter()
        .position(|w| w.name == workload)
        .unwrap();
    &row.cells[at]
}

fn note<'b>(board: &'b Board, part: &str) -> &'b str {
    let found = board.notes.iter().find(|n| n.contains(part));
    found.unwrap_or_else(|| panic!("no note with \"{part}\" in {:#?}", board.notes))
}

/// Two trials on one workload, the second one changed.
fn pair(change: impl FnOnce(&mut TrialRecord)) -> Vec<Run> {
    let a = TrialBuilder::new("digits", "adamw", 1, 1)
        .reached(10.0, 100)
        .build();
    let b = TrialBuilder::new("digits", "lion", 1, 1)
        .reached(20.0, 90)
        .edit(change)
        .build();
    vec![run("one", vec![a]), run("two", vec![b])]
}

#[test]
fn the_example_worked_out_by_hand() {
    let board = board(&[example_run()]);
    assert_eq!(
        (board.title.as_str(), board.ruleset.as_str()),
        ("example", "external")
    );
    let names: Vec<&str> = board.workloads.iter().map(|w| w.name.as_str()).collect();
    assert_eq!(names, ["digits", "text"]);

    // Study times are those of trial 1: 12 and 13 s; the median is their mean.
    let adamw = cell(&board, "adamw", "digits");
    assert_eq!(
        (adamw.time, adamw.ratio, adamw.steps),
        (Some(12.5), Some(1.0), Some(100.0))
    );
    let studies: Vec<_> = adamw
        .studies
        .iter()
        .map(|s| (s.study, s.trial, s.time))
        .collect();
    assert_eq!(studies, [(1, 1, Some(12.0)), (2, 1, Some(13.0))]);
    assert_eq!(adamw.statuses, [(Status::Reached, 4)]);

    // Of a crash and a miss, the better metric stands for the study; both are counted.
    let nesterov = cell(&board, "nesterov", "digits");
    assert_eq!(
        (nesterov.time, nesterov.ratio, nesterov.steps),
        (None, None, None)
    );
    assert_eq!(
        (nesterov.studies[0].trial, nesterov.studies[0].status),
        (2, Status::Missed)
    );
    assert_eq!(
        nesterov.statuses,
        [(Status::Missed, 2), (Status::Crashed, 2)]
    );
    assert_eq!(
        cell(&board, "lion", "text").studies[0].status,
        Status::OutOfMemory
    );

    // text: nesterov 91 and 181, median 136; adamw 101 and 201, median 151.
    // digits: adamw 12.5; lion 23 and 25, median 24.
    assert_eq!(board.workloads[1].best_time, Some(136.0));
    let expect = |name: &str, rank: usize, score: f64| {
        let row = board.rows.iter().find(|r| r.submission == name).unwrap();
        assert_eq!(row.rank, rank, "{name}");
        assert!((row.score - score).abs() < 1e-12, "{name}: {}", row.score);
        assert!(row.score_interval.is_some() && row.rank_interval.is_some());
        assert!(row.rank_leave_one_out.is_some());
    };
    expect("adamw", 1, (3.0 + (4.0 - 151.0 / 136.0)) / 6.0);
    expect("nesterov", 2, 0.5);
    expect("lion", 3, (4.0 - 24.0 / 12.5) / 6.0);
    let order: Vec<&str> = board.rows.iter().map(|r| r.submission.as_str()).collect();
    assert_eq!(order, ["adamw", "nesterov", "lion"]);
    note(
        &board,
        "digits.nesterov.study-1.trial-1: crashed (panic at step 7)",
    );
    for part in [
        "3 submissions (adamw, lion, nesterov)",
        "2 workloads",
        "2 studies",
        "2 trials",
        "min_time",
        "exact",
        "2000 resamples",
        "4 times",
        "counted in work",
    ] {
        assert!(board.method.contains(part), "{part}: {}", board.method);
    }
}

#[test]
fn options_reach_the_scorer_and_the_text() {
    let fast = TrialBuilder::new("digits", "adamw", 1, 1)
        .reached_at(10.0, 100, 5)
        .build();
    let early = TrialBuilder::new("digits", "adamw", 1, 2)
        .reached_at(15.0, 60, 3)
        .build();
    let runs = [run("one", vec![fast, early])];
    assert_eq!(cell(&board(&runs), "adamw", "digits").time, Some(10.0));
    let options = AssembleOptions {
        policy: Policy::EvalIndexTieMinTime,
        integration: Integration::Trapezoid(50),
        limit: None,
        ..AssembleOptions::default()
    };
    let board = assemble(&runs, &options).unwrap();
    let cell = cell(&board, "adamw", "digits");
    assert_eq!(
        (cell.time, cell.steps, cell.studies[0].trial),
        (Some(15.0), Some(60.0), 2)
    );
    for part in [
        "eval_index_tie_min_time",
        "trapezoid rule on 50 points",
        "No intervals",
    ] {
        assert!(board.method.contains(part), "{}", board.method);
    }
    assert!(!board.method.contains("counts as not reached"));
    let row = &board.rows[0];
    assert_eq!(
        (
            row.score_interval,
            row.rank_interval,
            row.rank_leave_one_out
        ),
        (None, None, None)
    );
}

#[test]
fn held_out_variants_guard_their_base() {
    let variant = |submission: &str| {
        TrialBuilder::new("digits_wide", submission, 1, 1).edit(|r| r.base = "digits".into())
    };
    let base = |submission: &str| TrialBuilder::new("digits", submission, 1, 1);
    let runs = [run(
        "one",
        vec![
            base("adamw").reached(10.0, 100).build(),
            base("lion").reached(5.0, 100).build(),
            variant("adamw")
                .reached(10.0, 100)
                .edit(|r| r.base = "digits".into())
                .build(),
            variant("lion").missed(0.9).build(),
        ],
    )];
    assert_eq!(board(&runs).workloads.len(), 2);
    let options = AssembleOptions {
        held_out: vec!["digits_wide".into()],
        ..AssembleOptions::default()
    };
    let board = assemble(&runs, &options).unwrap();
    assert_eq!(board.workloads.len(), 1);
    assert_eq!(board.rows[0].submission, "adamw");
    let lion = cell(&board, "lion", "digits");
    assert_eq!((lion.time, lion.ratio), (Some(5.0), None));
    assert!(render::terminal(&board, None).contains("0.50 out"));
    for wrong in ["digits", "digits_deep"] {
        let options = AssembleOptions {
            held_out: vec![wrong.into()],
            ..AssembleOptions::default()
        };
        assert!(
            assemble(&runs, &options)
                .unwrap_err()
                .to_string()
                .contains(wrong)
        );
    }
}

#[test]
fn machines_builds_and_settings_that_differ_are_refused() {
    type Change = fn(&mut TrialRecord);
    let changes: [(&str, Change); 16] = [
        ("fingerprint.cpu", |r| {
            r.fingerprint.cpu = "Other CPU".into()
        }),
        ("fingerprint.cores", |r| r.fingerprint.cores = 4),
        ("fingerprint.memory_bytes", |r| {
            r.fingerprint.memory_bytes = 9_000_000_000
        }),
        ("fingerprint.device", |r| {
            r.fingerprint.device = "ndarray".into()
        }),
        ("fingerprint.threads", |r| r.fingerprint.threads = 1),
        ("fingerprint.accelerator", |r| {
            r.fingerprint.accelerator = Some("GPU".into())
        }),
        ("fingerprint.features", |r| {
            r.fingerprint.features = vec!["simd".into()]
        }),
        ("versions.velodrome", |r| {
            r.fingerprint
                .versions
                .insert("velodrome".into(), "0.2.0".into());
        }),
        ("versions.burn", |r| {
            r.fingerprint.versions.remove("burn");
        }),
        ("target.validation", |r| r.target.validation = 0.51),
        ("target.test", |r| r.target.test = 0.56),
        ("budget.work", |r| r.budget.work += 1),
        ("budget.seconds", |r| r.budget.seconds += 1.0),
        ("step_hint", |r| r.step_hint = Some(7)),
        ("eval_every_work", |r| r.eval_every_work = 500),
        ("eval_every_seconds", |r| r.eval_every_seconds = 5.0),
    ];
    for (field, change) in changes {
        let runs = pair(change);
        let error = assemble(&runs, &AssembleOptions::default()).unwrap_err();
        let AssembleError::Mixed { differences } = &error else {
            panic!("{field}: {error}");
        };
        assert_eq!(differences.len(), 1, "{differences:?}");
        for part in [field, "one-run", "two-run", "--allow-mixed"] {
            assert!(error.to_string().contains(part), "{field}: {error}");
        }
        let options = AssembleOptions {
            allow_mixed: true,
            ..AssembleOptions::default()
        };
        let board = assemble(&runs, &options).unwrap();
        assert!(note(&board, field).starts_with("Mixed: "));
        assert_eq!(board.rows.len(), 2);
    }
}

#[test]
fn what_does_not_matter_is_not_refused() {
    let board = board(&pair(|r| {
        r.fingerprint.memory_bytes = 8_700_000_000;
        r.fingerprint.features.reverse();
        r.fingerprint.commit = "fedcba9".into();
        r.fingerprint.executable = "cd".repeat(32);
        r.fingerprint.os = "Linux 6.2".into();
    }));
    note(&board, "builds of different commits: 0123abc, fedcba9");
    assert_eq!(board.rows.len(), 2);
    assert_eq!(board.title, "one + two");
    // A trial that never ran has no machine.
    let skipped = pair(|r| {
        r.status = Status::Skipped;
        r.reason = Some("self-tuning only".into());
        r.fingerprint = Default::default();
    });
    let board = assemble(&skipped, &AssembleOptions::default()).unwrap();
    assert_eq!(
        cell(&board, "lion", "digits").studies[0].status,
        Status::Skipped
    );
    note(
        &board,
        "digits.lion.study-1.trial-1: skipped (self-tuning only)",
    );
}

#[test]
fn other_rules_are_an_error_whatever_the_options() {
    let options = AssembleOptions {
        allow_mixed: true,
        ..AssembleOptions::default()
    };
    let mut runs = pair(|_| ());
    runs[1].record.cadence = "clock".into();
    let error = assemble(&runs, &options).unwrap_err().to_string();
    assert!(
        error.contains("`cadence`") && error.contains("two-run"),
        "{error}"
    );
    let mut runs = pair(|r| r.ruleset = "self-tuning".into());
    runs[1].record.ruleset = "self-tuning".into();
    assert!(matches!(
        assemble(&runs, &options),
        Err(AssembleError::Rules {
            field: "ruleset",
            ..
        })
    ));
    // Also where only a trial says so.
    let runs = pair(|r| r.ruleset = "self-tuning".into());
    assert!(matches!(
        assemble(&runs, &options),
        Err(AssembleError::Rules {
            field: "ruleset",
            ..
        })
    ));
}

#[test]
fn missing_running_and_damaged_trials_are_notes_and_cells() {
    let dir = tempfile::tempdir().unwrap();
    let at = |submission: &str| TrialBuilder::new("digits", submission, 1, 1);
    let trials = vec![
        at("missing").reached(1.0, 1).build(),
        at("damaged").reached(2.0, 2).build(),
        at("running").running().build(),
        at("fine")
            .reached(4.0, 4)
            .edit(|r| {
                r.findings = vec![finding("input_starved", "the queue was empty for 3 s")];
            })
            .build(),
        TrialBuilder::new("text", "fine", 1, 1)
            .reached(4.0, 4)
            .build(),
    ];
    let written = run("gaps", trials);
    write_run(&written, dir.path());
    let of = |i: usize| trial_dir(dir.path(), &written.trials[i].record.id);
    std::fs::remove_dir_all(of(0)).unwrap();
    std::fs::remove_dir_all(of(4)).unwrap();
    let log = of(1).join("evals.jsonl");
    let text = std::fs::read_to_string(&log)
        .unwrap()
        .replacen("\"loss\":1.", "\"loss\":0.", 1);
    std::fs::write(&log, text).unwrap();

    let board = board(&[Run::read(dir.path()).unwrap()]);
    assert_eq!(board.rows.len(), 4, "every planned submission has a row");
    assert_eq!(
        (board.rows[0].submission.as_str(), board.rows[0].score),
        ("fine", 1.0)
    );
    for name in ["missing", "damaged", "running"] {
        let cell = cell(&board, name, "digits");
        assert!(cell.studies.is_empty() && cell.time.is_none() && cell.ratio.is_none());
    }
    assert_eq!(
        cell(&board, "running", "digits").statuses,
        [(Status::Running, 1)]
    );
    note(
        &board,
        "without a record yet: digits.missing.study-1.trial-1",
    );
    assert!(note(&board, "damaged, not counted").contains("evals.jsonl, line "));
    note(
        &board,
        "still running or interrupted, not counted: digits.running.study-1.trial-1",
    );
    note(&board, "Workload text: no trial has a record yet");
    note(&board, "Warning input_starved in 1 trial");
    note(
        &board,
        "fewer studies than the others: missing on digits: 0 of 1",
    );
    let text = render::terminal(&board, None);
    for part in ["running", "no record"] {
        assert!(text.contains(part), "{text}");
    }

    let nothing = run("nothing", Vec::new());
    assert!(matches!(
        assemble(&[nothing], &AssembleOptions::default()),
        Err(AssembleError::Empty { .. })
    ));
}

/// A time that the evaluations do not bear out does not reach the board.
#[test]
fn a_forged_time_is_damage() {
    type Forge = fn(&mut Trial);
    let forgeries: [(Forge, &str); 4] = [
        (
            |t| t.record.outcome.time_to_target = Some(1.0),
            "no evaluation at step 90",
        ),
        (
            |t| t.record.outcome.time_to_target = None,
            "`outcome.time_to_target` is empty",
        ),
        (
            |t| t.record.outcome.steps_to_target = Some(7),
            "no evaluation at step 7",
        ),
        (
            |t| {
                let last = t.evals.last_mut().unwrap();
                last.validation.insert("loss".into(), 0.6);
            },
            "does not meet the target of at most 0.5",
        ),
    ];
    for (forge, why) in forgeries {
        let mut runs = pair(|_| ());
        forge(&mut runs[1].trials[0]);
        let board = board(&runs);
        assert!(
            note(&board, "damaged, not counted").contains(why),
            "{:?}",
            board.notes
        );
        assert!(cell(&board, "lion", "digits").studies.is_empty());
    }
}

#[test]
fn shards_join_and_repeats_are_refused() {
    let all = example_run();
    let planned = all.record.trials.clone();
    let mut shards = [Vec::new(), Vec::new()];
    for (i, trial) in all.trials.iter().enumerate() {
        shards[i % 2].push(trial.clone());
    }
    let shards = shards.map(|trials| {
        let mut shard = run("example", trials);
        shard.record.trials = planned.clone();
        let have: Vec<&String> = shard.trials.iter().map(|t| &t.record.id).collect();
        shard.missing = planned
            .iter()
            .map(|p| p.0.clone())
            .filter(|id| !have.contains(&id))
            .collect();
        shard
    });
    let joined = board(&shards);
    assert_eq!(joined, board(&[example_run()]));
    assert_eq!(joined.title, "example");

    let twice = [example_run(), example_run()];
    let error = assemble(&twice, &AssembleOptions::default()).unwrap_err();
    assert!(matches!(error, AssembleError::Twice { .. }), "{error}");
    // A finished repeat replaces an interrupted one.
    let early = run(
        "example",
        vec![TrialBuilder::new("digits", "adamw", 1, 1).running().build()],
    );
    assert_eq!(board(&[early, example_run()]).rows, joined.rows);
}

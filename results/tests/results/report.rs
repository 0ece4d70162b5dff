//! The report: complete, escaped, self-contained.

use crate::synthetic::*;
use std::path::PathBuf;
use velodrome_results::board::Board;
use velodrome_results::report::{Report, render};
use velodrome_results::run::Run;
use velodrome_results::{RecordError, Status};

fn page(board: &Board, runs: &[Run]) -> String {
    let command = "velodrome run quick --seed 20260".to_string();
    render(&Report {
        board,
        runs,
        command,
    })
    .unwrap()
}

fn sample() -> String {
    let run = run();
    page(&board(&suite(), &run.trials), &[run])
}

/// Every tag that is opened is closed, in order (HTML's void elements aside).
fn well_formed(html: &str) {
    let mut open: Vec<String> = Vec::new();
    let body = html.split_once("</style>").unwrap().1;
    for part in body.split('<').skip(1) {
        let tag = part.split_once('>').expect("a tag ends").0;
        let name = tag.split_whitespace().next().unwrap().to_string();
        if let Some(name) = name.strip_prefix('/') {
            if name != "head" && name != "html" {
                assert_eq!(open.pop().as_deref(), Some(name), "near {part:.200}");
            }
        } else if !tag.ends_with('/') && !["br", "meta"].contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Nothing in the page makes a browser load anything.
fn self_contained(html: &str) {
    let lower = html.to_lowercase();
    for load in [
        "src=",
        "<link",
        "@import",
        "url(",
        "<script",
        "<iframe",
        "<object",
        "http-equiv",
    ] {
        assert!(!lower.contains(load), "{load}");
    }
    for (at, _) in lower.match_indices("href=") {
        assert!(
            lower[at..].starts_with("href=\"#"),
            "{}",
            &lower[at..at + 60]
        );
    }
    assert!(!lower.contains("http://") && !lower.contains("https://"));
}

#[test]
fn the_page_is_whole_and_loads_nothing() {
    let html = sample();
    self_contained(&html);
    well_formed(&html);
    assert!(html.starts_with("<!DOCTYPE html>"));
    // Two charts for the board, one per workload, each with words for those who cannot see it.
    assert_eq!(html.matches("<svg ").count(), 5);
    assert_eq!(html.matches("role=\"img\" aria-label=\"").count(), 5);
}

#[test]
fn the_page_has_what_a_reader_needs() {
    let html = sample();
    for part in [
        "Example CPU 9000",
        "burn 0.22.1, velodrome 0.1.0",
        "0123456789abcdef0123456789abcdef01234567",
        "20260",
        "velodrome run quick --seed 20260",
        "How to read a score",
        "Fastest trial of each study",
        "Comparison set: the six submissions",
        "240\u{202F}000 examples, 150 s",
        "learning_rate = 0.0031",
        "background_work",
        "other threads worked while the clock stood",
        "loss (lower is better)",
        "accuracy (higher is better)",
        "steps, 2 crashed",
        "1.18 MiB",
        "150 MiB",
    ] {
        assert!(html.contains(part), "{part}");
    }
    for (name, _) in SPEEDS {
        assert!(
            html.contains(&format!("<th scope=\"row\">{name}</th>")),
            "{name}"
        );
    }
    // A trial row per trial: 3 workloads x 6 submissions x 3 studies x 2 trials.
    assert_eq!(html.matches("class=\"l wrap\">learning_rate").count(), 108);
    // Raw times come before ratios, and both before scores and charts.
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("aria-label=\"Times to target\"") < at("aria-label=\"Ratios to the fastest\""));
    assert!(at("aria-label=\"Ratios to the fastest\"") < at("aria-label=\"Scores\""));
    assert!(at("aria-label=\"Scores\"") < at("<svg "));
}

#[test]
fn every_failure_has_its_reason() {
    let mut run = run();
    let board = board(&suite(), &run.trials);
    run.trials[0].record.status = Status::OutOfMemory;
    run.trials[0].record.reason = Some("used 2.1 GiB of 2.0 GiB & was stopped".into());
    run.trials[1].record.status = Status::Diverged;
    run.trials[1].record.reason = None;
    run.trials[1].record.ended_by = None;
    run.trials[2].record.status = Status::Skipped;
    run.trials[2].record.reason = Some("not allowed under this ruleset".into());
    run.missing.push("digits_mlp.adamw.study-9.trial-9".into());
    let path = PathBuf::from("runs/quick/trials/x/evals.jsonl");
    run.damaged.push((
        "x".into(),
        RecordError::damaged(&path, 7, "the checksum is wrong"),
    ));
    let html = page(&board, &[run]);
    for reason in [
        "the submission panicked at step 487: index out of bounds",
        "used 2.1 GiB of 2.0 GiB &amp; was stopped",
        "no reason was recorded",
        "not allowed under this ruleset",
        "digits_mlp.adamw.study-9.trial-9",
        "not raced yet",
        "line 7: the checksum is wrong",
    ] {
        assert!(html.contains(reason), "{reason}");
    }
    assert!(!html.contains("No trial failed."));
}

#[test]
fn texts_from_records_are_escaped() {
    let attack = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>";
    let mut run = run();
    for t in &mut run.trials {
        if t.record.submission == "lion" {
            t.record.submission = attack.into();
            t.record.reason = Some(attack.into());
            t.record.id = attack.into();
            t.record.workload = format!("{}{attack}", t.record.workload);
        }
    }
    run.record.suite = attack.into();
    let mut board = board(&suite(), &run.trials);
    board.title = attack.into();
    board.notes.push(attack.into());
    board.method = attack.into();
    board.workloads[0].name = attack.into();
    board.workloads[0].metric = attack.into();
    let runs = [run];
    let html = render(&Report {
        board: &board,
        runs: &runs,
        command: attack.into(),
    })
    .unwrap();
    assert!(html.contains("&lt;script&gt;"));
    assert!(!html.contains("<script") && !html.contains("<img"));
    well_formed(&html);
}

#[test]
fn empty_and_broken_boards_give_a_page() {
    let html = page(&Board::default(), &[]);
    self_contained(&html);
    well_formed(&html);
    assert!(html.contains("There are no results yet."));
    assert!(html.contains("No trial failed."));

    // A run without a trial, and a board whose rows lack cells.
    let mut run = run();
    let mut board = board(&suite(), &run.trials);
    board.rows.iter_mut().for_each(|r| r.cells.truncate(1));
    run.trials.clear();
    let html = page(&board, &[run]);
    well_formed(&html);
    assert!(html.contains("not raced"));
    assert!(html.contains("No trial has a record yet."));
}

#[test]
fn a_clock_that_does_not_add_up_is_shown() {
    let mut run = run();
    let board = board(&suite(), &run.trials);
    let html = page(&board, std::slice::from_ref(&run));
    assert!(!html.contains("class=\"failed\">10.00 %"));
    let clock = &mut run.trials[3].record.outcome.clock;
    clock.total = clock.accounted() / 0.9;
    let html = page(&board, &[run]);
    assert!(html.contains("class=\"failed\">10.00 %"));
}

/// Writes a page to look at into `$CHART_SAMPLES`.
#[test]
#[ignore = "writes a page for people to look at"]
fn sample_page() {
    let dir = std::env::var("CHART_SAMPLES").expect("CHART_SAMPLES names a folder");
    std::fs::write(PathBuf::from(dir).join("report.html"), sample()).unwrap();
}

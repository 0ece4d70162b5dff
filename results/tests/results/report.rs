//! The report: complete, escaped, self-contained.

use crate::synthetic::*;
use std::collections::BTreeSet;
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

/// Names that would be code, were they not text: in an element, an attribute, a style, a comment, a
/// script with JSON, a template, and with characters that no text should have.
const ATTACKS: [&str; 12] = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "x onfocus=alert(1) autofocus=",
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "</title></text></svg><iframe srcdoc='<script>alert(1)</script>'>",
    "{{ 7 * 7 }}{% include 'x' %}{# x #}",
    "javascript:alert(1)//&lt;&#60;script&#62;",
    "a\u{0}b\u{202e}<\u{feff}script\r\n>alert(1)",
];

/// The names of all tags of a page and of their attributes.
fn markup(html: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut tags, mut attributes) = (BTreeSet::new(), BTreeSet::new());
    let (head, rest) = html.split_once("<style>").unwrap();
    let (style, body) = rest.split_once("</style>").unwrap();
    assert!(!style.contains('<'), "{style}");
    for part in format!("{head}{body}").split('<').skip(1) {
        let mut rest = part.trim_start_matches('/');
        let end = rest
            .find(|c: char| c.is_whitespace() || ">/".contains(c))
            .unwrap();
        tags.insert(rest[..end].to_lowercase());
        rest = &rest[end..];
        // An attribute is a name, or a name and a value in double quotes; the tag ends behind the last.
        loop {
            rest = rest.trim_start();
            if rest.starts_with('>') || rest.starts_with("/>") {
                break;
            }
            let end = rest
                .find(|c: char| c.is_whitespace() || "=>".contains(c))
                .unwrap();
            attributes.insert(rest[..end].to_lowercase());
            rest = &rest[end..];
            if let Some(value) = rest.strip_prefix("=\"") {
                rest = value.split_once('"').unwrap().1;
            }
            assert!(!rest.starts_with('='), "a value without quotes: {part:.80}");
        }
    }
    (tags, attributes)
}

/// The sample with `attack` as a part of every name that a record may hold.
fn attacked(attack: &str) -> String {
    let mut run = run();
    let mut board = board(&suite(), &run.trials);
    let changed = |text: &mut String| *text = format!("{text}{attack}");
    for t in &mut run.trials {
        let r = &mut t.record;
        let target = &mut r.target.metric;
        for text in [
            &mut r.submission,
            &mut r.workload,
            &mut r.base,
            &mut r.id,
            target,
        ] {
            changed(text);
        }
        r.reason = Some(attack.into());
        r.point.insert(attack.into(), 0.5);
        let print = &mut r.fingerprint;
        for text in [
            &mut print.cpu,
            &mut print.os,
            &mut print.rustc,
            &mut print.commit,
        ] {
            changed(text);
        }
        print.versions.insert(attack.into(), attack.into());
        print.features.push(attack.into());
        print.accelerator = Some(attack.into());
        let (code, message) = (attack.to_string(), attack.to_string());
        r.findings
            .push(velodrome_results::Finding { code, message });
    }
    for text in [
        &mut run.record.suite,
        &mut run.record.ruleset,
        &mut run.record.cadence,
    ] {
        changed(text);
    }
    run.path = PathBuf::from(attack);
    run.missing.push(attack.into());
    let error = RecordError::damaged(PathBuf::from(attack), 7, attack);
    run.damaged.push((attack.into(), error));
    let workloads = board.workloads.iter_mut();
    workloads.for_each(|w| [&mut w.name, &mut w.metric].into_iter().for_each(changed));
    board
        .rows
        .iter_mut()
        .for_each(|r| changed(&mut r.submission));
    let (title, method) = (&mut board.title, &mut board.method);
    [title, method, &mut board.ruleset]
        .into_iter()
        .for_each(changed);
    board.notes.push(attack.into());
    let runs = [run];
    let command = format!("velodrome run '{attack}'");
    let report = Report {
        board: &board,
        runs: &runs,
        command,
    };
    render(&report).unwrap()
}

#[test]
fn no_name_becomes_markup_of_the_page() {
    // A harmless name shows which tags and attributes the page has of itself.
    let own = markup(&attacked("plain"));
    assert!(
        own.0.contains("svg") && own.1.contains("aria-label"),
        "{own:?}"
    );
    for attack in ATTACKS {
        let html = attacked(attack);
        assert_eq!(markup(&html), own, "{attack}");
        well_formed(&html);
        assert!(!html.contains('\0'), "{attack:?}");
        // A name is no template.
        assert!(!attack.starts_with("{{") || html.contains("{{ 7 * 7 }}"));
    }
}

#[test]
fn no_name_becomes_markup_of_the_board_in_markdown() {
    for attack in ATTACKS {
        let mut run = run();
        run.record.suite = attack.into();
        let mut board = board(&suite(), &run.trials);
        board.rows[0].submission = attack.into();
        board.workloads[0].name = attack.into();
        (board.title, board.method) = (attack.into(), attack.into());
        board.notes.push(attack.into());
        let text = velodrome_results::render::markdown(&board);
        let opens = |c: char| c.is_ascii_alphabetic() || "/!?".contains(c);
        let tags = text.split('<').skip(1).filter(|p| p.starts_with(opens));
        assert_eq!(tags.count(), 0, "{text}");
        assert!(text.contains("loss <= 1.95"), "{text}");
    }
}

/// Writes the attacked pages into `$CHART_SAMPLES`, for a browser to show that nothing in them runs.
#[test]
#[ignore = "writes pages for a browser to open"]
fn attacked_pages() {
    let dir = PathBuf::from(std::env::var("CHART_SAMPLES").expect("CHART_SAMPLES names a folder"));
    for (n, attack) in ATTACKS.iter().enumerate() {
        std::fs::write(dir.join(format!("attack-{n}.html")), attacked(attack)).unwrap();
    }
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

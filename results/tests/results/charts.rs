//! The charts: files, words, and what is degenerate.

use crate::synthetic::*;
use std::path::Path;
use velodrome_results::board::{Board, BoardRow};
use velodrome_results::charts::{
    curves_svg, profile_svg, share_within, times_svg, workloads, write_all,
};
use velodrome_results::run::Trial;
use velodrome_results::{Outcome, Status};

fn refs(trials: &[Trial]) -> Vec<&Trial> {
    trials.iter().collect()
}

/// Width, height of a PNG, from its first chunk; checks the signature and the end chunk.
fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(&bytes[12..16], b"IHDR");
    assert_eq!(&bytes[bytes.len() - 8..bytes.len() - 4], b"IEND");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// Width and height of an SVG, from its head.
fn svg_size(svg: &str) -> (u32, u32) {
    let head = svg.split('>').next().unwrap();
    let number = |name: &str| {
        let value = head.split(&format!(" {name}=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().parse::<u32>().unwrap()
    };
    (number("width"), number("height"))
}

/// All texts of an SVG, one to a line.
fn texts(svg: &str) -> String {
    let mut out = String::new();
    for part in svg.split("<text").skip(1) {
        let inner = part
            .split_once('>')
            .unwrap()
            .1
            .split_once("</text>")
            .unwrap()
            .0;
        out.push_str(inner.trim());
        out.push('\n');
    }
    out
}

/// Every tag that is opened is closed, and every corner and text starts within the picture.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let tag = part.split_once('>').expect("a tag ends").0;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closing tags match");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let (width, height) = svg_size(svg);
    let inside = |x: &str, y: &str| {
        let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
        // The drawing is in quarters of a pixel.
        let fits = |v: f64, most: u32| (0.0..=f64::from(most) * 4.0).contains(&v);
        assert!(fits(x, width) && fits(y, height), "({x}, {y}) is outside");
    };
    for points in svg.split("points=\"").skip(1) {
        for point in points.split('"').next().unwrap().split_whitespace() {
            let (x, y) = point.split_once(',').unwrap();
            inside(x, y);
        }
    }
    for text in svg.split("<text x=\"").skip(1) {
        let mut parts = text.split('"');
        let x = parts.next().unwrap();
        inside(x, parts.nth(1).unwrap());
    }
}

#[test]
fn every_chart_is_written_as_png_and_svg_of_one_size() {
    let run = run();
    let board = board(&suite(), &run.trials);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new/charts");
    let files = write_all(&board, &refs(&run.trials), &target).unwrap();
    let names: Vec<String> = files
        .iter()
        .map(|f| {
            f.strip_prefix(&target)
                .unwrap()
                .to_str()
                .unwrap()
                .to_string()
        })
        .collect();
    assert_eq!(
        names,
        [
            "performance_profile.png",
            "performance_profile.svg",
            "time_to_target.png",
            "time_to_target.svg",
            "curves.digits_mlp.png",
            "curves.digits_mlp.svg",
            "curves.fashion_resnet.png",
            "curves.fashion_resnet.svg",
            "curves.shakespeare_gpt.png",
            "curves.shakespeare_gpt.svg",
        ]
    );
    // Nothing temporary is left.
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), files.len());
    for pair in files.chunks(2) {
        let png = std::fs::read(&pair[0]).unwrap();
        let svg = std::fs::read_to_string(&pair[1]).unwrap();
        well_formed(&svg);
        let (width, height) = svg_size(&svg);
        assert_eq!(png_size(&png), (width * 2, height * 2), "{:?}", pair[0]);
        // A blank picture of this size packs into some kilobytes.
        assert!(png.len() > 25_000, "{:?}: {} bytes", pair[0], png.len());
    }
    let first = std::fs::read(&files[0]).unwrap();
    write_all(&board, &refs(&run.trials), &target).unwrap();
    assert_eq!(
        std::fs::read(&files[0]).unwrap(),
        first,
        "the same board, the same bytes"
    );
}

#[test]
fn axes_have_titles_with_units_and_every_submission_is_named() {
    let run = run();
    let board = board(&suite(), &run.trials);
    let profile = texts(&profile_svg(&board).unwrap());
    let times = texts(&times_svg(&board).unwrap());
    let curves = texts(&curves_svg(&board, &refs(&run.trials), "shakespeare_gpt").unwrap());
    assert!(
        profile.contains("time to target / fastest time (tau, a ratio)"),
        "{profile}"
    );
    assert!(profile.contains("share of workloads (0 to 1)"));
    assert!(
        times.contains("time to target (seconds on the submission clock)"),
        "{times}"
    );
    assert!(
        curves.contains("seconds on the submission clock"),
        "{curves}"
    );
    assert!(curves.contains("validation loss (lower is better)"));
    assert!(curves.contains("target ≤ 1.95"));
    for (name, _) in SPEEDS {
        for text in [&profile, &times, &curves] {
            assert!(text.lines().any(|l| l == name), "{name} in\n{text}");
        }
    }
    for row in &board.rows {
        assert!(profile.contains(&format!("{:.3}", row.score)));
    }
    // The miss, and the study that crashed beside two that did not.
    assert!(times.contains("3 missed"), "{times}");
    assert!(times.lines().any(|l| l.ends_with(" s, crashed")), "{times}");
}

#[test]
fn a_submission_has_one_colour_on_all_charts() {
    let run = run();
    let full = board(&suite(), &run.trials);
    let colour_of_last_name = |svg: &str, name: &str| {
        // The mark before a name in a legend or a row.
        let before = svg.split(&format!("\n{name}\n")).next().unwrap();
        let start = before
            .rfind("<polygon")
            .map(|at| &before[at..])
            .unwrap_or("");
        start.split("fill=\"").nth(1).map(|f| f[..7].to_string())
    };
    let profile = profile_svg(&full).unwrap();
    for (name, _) in SPEEDS {
        let mut seen = vec![colour_of_last_name(&profile, name)];
        for w in suite() {
            let svg = curves_svg(&full, &refs(&run.trials), w.name).unwrap();
            seen.push(colour_of_last_name(&svg, name));
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{name}: {seen:?}");
        assert!(seen[0].is_some());
    }
}

#[test]
fn the_profile_counts_workloads_that_nobody_solved() {
    let run = run();
    let mut board = board(&suite(), &run.trials);
    for row in &mut board.rows {
        row.cells[2].ratio = None;
        row.cells[0].ratio = Some(1.0);
        row.cells[1].ratio = Some(2.5);
    }
    let row = board.rows[0].clone();
    assert_eq!(share_within(&board, &row, 1.0), 1.0 / 3.0);
    assert_eq!(share_within(&board, &row, 2.4999), 1.0 / 3.0);
    assert_eq!(share_within(&board, &row, 2.5), 2.0 / 3.0);
    assert_eq!(share_within(&board, &row, 4.0), 2.0 / 3.0);
    assert_eq!(share_within(&Board::default(), &row, 4.0), 0.0);
}

#[test]
fn an_empty_board_gives_pictures_that_say_so() {
    let board = Board::default();
    for svg in [
        profile_svg(&board).unwrap(),
        times_svg(&board).unwrap(),
        curves_svg(&board, &[], "nowhere").unwrap(),
    ] {
        well_formed(&svg);
        assert!(texts(&svg).contains("Nothing to draw"), "{svg}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(write_all(&board, &[], dir.path()).unwrap().len(), 4);
}

/// Draws everything, in both formats, and returns the SVGs.
fn draw(board: &Board, trials: &[Trial]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let files = write_all(board, &refs(trials), dir.path()).unwrap();
    let svgs: Vec<String> = files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "svg"))
        .map(|f| std::fs::read_to_string(f).unwrap())
        .collect();
    svgs.iter().for_each(|s| well_formed(s));
    svgs
}

#[test]
fn degenerate_boards_are_drawn() {
    let works = suite();
    // One submission, one study, one evaluation.
    let mut only = trial(&works[0], 0, 0, 1, 1);
    only.evals.truncate(1);
    only.record.outcome = Outcome::default();
    only.record.status = Status::Running;
    let svgs = draw(&board(&works[..1], std::slice::from_ref(&only)), &[only]);
    assert!(texts(&svgs[1]).contains("nobody reached the target"));
    assert!(texts(&svgs[1]).contains("running"));

    // Nobody has a cell, or an evaluation.
    let nothing = bare_trial(&works[1], "adamw", 1, 1);
    let mut bare = board(&works[1..2], std::slice::from_ref(&nothing));
    let svgs = draw(&bare, std::slice::from_ref(&nothing));
    assert!(texts(&svgs[2]).contains("no trial was evaluated"));
    bare.rows[0].cells.clear();
    let svgs = draw(&bare, &[nothing]);
    assert!(texts(&svgs[1]).contains("not raced"));

    // Numbers that are none, and ranges that are points.
    for value in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -3.0,
        1e300,
        1e-300,
    ] {
        let mut t = bare_trial(&works[2], "adamw", 1, 1);
        t.record.status = Status::Diverged;
        t.evals = (0..4).map(|n| eval(n, n as f64, "loss", value)).collect();
        t.evals.push(eval(4, 5.0, "loss", 2.0));
        t.evals.push(eval(5, f64::NAN, "loss", 2.0));
        let mut b = board(&works[2..], std::slice::from_ref(&t));
        draw(&b, std::slice::from_ref(&t));
        b.workloads[0].target = value;
        b.workloads[0].best_time = Some(value);
        b.rows[0].score = value;
        let cell = &mut b.rows[0].cells[0];
        (cell.time, cell.ratio) = (Some(value), Some(value));
        cell.studies[0].time = Some(value);
        draw(&b, &[t]);
    }

    // The target's metric was never measured.
    let mut t = trial(&works[2], 2, 0, 1, 1);
    t.evals.iter_mut().for_each(|e| e.validation.clear());
    let svgs = draw(&board(&works[2..], std::slice::from_ref(&t)), &[t]);
    assert!(texts(&svgs[2]).contains("no trial was evaluated"));
}

#[test]
fn long_and_strange_names_are_kept_in_bounds_and_escaped() {
    let works = suite();
    let long = format!("very_long_{}_name", "x".repeat(400));
    let strange = "<script>alert(\"1\" & '2')</script>\u{0}\n";
    let trials: Vec<Trial> = [long.as_str(), strange, "", "日本語"]
        .iter()
        .map(|name| {
            let mut t = trial(&works[0], 0, 0, 1, 1);
            t.record.submission = name.to_string();
            t
        })
        .collect();
    for svg in draw(&board(&works[..1], &trials), &trials) {
        assert!(!svg.contains("<script"));
        assert!(!svg.contains('\u{0}'));
        assert!(
            svg_size(&svg).0 < 1200,
            "long names do not widen the picture without end"
        );
        assert!(texts(&svg).contains("very_long"), "{}", texts(&svg));
        assert!(texts(&svg).contains("&lt;script&gt;"), "{}", texts(&svg));
    }
}

#[test]
fn a_run_that_blows_up_does_not_flatten_the_others() {
    let works = suite();
    let mut trials: Vec<Trial> = (0..2).map(|s| trial(&works[2], 2, s, 1, 1)).collect();
    trials[1].evals[5].validation.insert("loss".into(), 1e30);
    let svg = curves_svg(
        &board(&works[2..], &trials),
        &refs(&trials),
        "shakespeare_gpt",
    )
    .unwrap();
    let texts = texts(&svg);
    assert!(
        texts.contains("Values beyond the axis are cut off."),
        "{texts}"
    );
    let labels = texts.lines().filter_map(|l| l.parse::<f64>().ok());
    // Seconds go to 60, losses start at 5.6.
    assert!(labels.fold(0.0, f64::max) <= 60.0, "{texts}");
    assert!(
        texts.lines().any(|l| l == "2.0"),
        "the useful range has its labels: {texts}"
    );
}

#[test]
fn workloads_outside_the_board_have_curves_too() {
    let run = run();
    let board = board(&suite()[..1], &run.trials);
    let names = workloads(&board, &refs(&run.trials));
    assert_eq!(names, ["digits_mlp", "fashion_resnet", "shakespeare_gpt"]);
    let svg = curves_svg(&board, &refs(&run.trials), "fashion_resnet").unwrap();
    assert!(texts(&svg).contains("target ≥ 0.86"));
}

#[test]
fn many_rows_make_a_tall_picture_and_too_many_an_error() {
    let run = run();
    let mut board = board(&suite(), &run.trials);
    let row: BoardRow = board.rows[0].clone();
    board.rows = (0..400)
        .map(|i| BoardRow {
            submission: format!("s{i}"),
            ..row.clone()
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    write_all(&board, &[], dir.path()).unwrap();
    let w = board.workloads[0].clone();
    board.workloads = vec![w; 60];
    board
        .rows
        .iter_mut()
        .for_each(|r| r.cells = vec![row.cells[0].clone(); 60]);
    let error = write_all(&board, &[], dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("pixels") && error.contains("fewer"),
        "{error}"
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("taken");
    std::fs::write(&file, "x").unwrap();
    let error = write_all(&Board::default(), &[], &file.join("charts")).unwrap_err();
    assert!(error.to_string().contains("taken"), "{error}");
}

#[test]
fn the_axis_leaves_out_a_short_steep_start() {
    let works = suite();
    let mut trials: Vec<Trial> = (0..2).map(|s| trial(&works[1], 1, s, 1, 1)).collect();
    // 40 evaluations from 0.7 upwards after one at 0.1.
    for t in &mut trials {
        t.evals = (0..40)
            .map(|n| eval(n, n as f64, "accuracy", 0.7 + 0.003 * n as f64))
            .collect();
        t.evals[0].validation.insert("accuracy".into(), 0.1);
    }
    let svg = curves_svg(
        &board(&works[1..2], &trials),
        &refs(&trials),
        "fashion_resnet",
    )
    .unwrap();
    let texts = texts(&svg);
    assert!(
        texts.contains("Values beyond the axis are cut off."),
        "{texts}"
    );
    assert!(!texts.lines().any(|l| l == "0.2" || l == "0.4"), "{texts}");
    assert!(texts.lines().any(|l| l == "0.74"), "{texts}");
}

/// Writes pictures to look at: `cargo test ... -- --ignored sample`, into `$CHART_SAMPLES`.
#[test]
#[ignore = "writes pictures for people to look at"]
fn sample_pictures() {
    let dir = std::env::var("CHART_SAMPLES").expect("CHART_SAMPLES names a folder");
    let run = run();
    let full = board(&suite(), &run.trials);
    write_all(&full, &refs(&run.trials), Path::new(&dir)).unwrap();
    // 14 submissions, long names, a wide range of times, and curves that blow up.
    let mut trials = Vec::new();
    for i in 0..14u32 {
        for study in 1..=3 {
            let mut t = trial(&suite()[2], 2, i as usize % 3, study, 1 + i % 2);
            t.record.submission = match i {
                3 => "a_submission_whose_name_is_much_longer_than_any_legend_is_wide".into(),
                i => format!("optimizer_{i}"),
            };
            let slow = 1.6f64.powi(i as i32);
            t.evals.iter_mut().for_each(|e| e.clock *= slow);
            if let Some(time) = &mut t.record.outcome.time_to_target {
                *time *= slow;
            }
            if i == 5 {
                let last = t.evals.len() as u64;
                let end = t.evals[t.evals.len() - 1].clock;
                t.evals.push(eval(last, end * 1.02, "loss", 1e12));
                t.evals.push(eval(last + 1, end * 1.04, "loss", f64::NAN));
                t.record.status = Status::Diverged;
                t.record.outcome.time_to_target = None;
            }
            trials.push(t);
        }
    }
    let many = Path::new(&dir).join("many");
    write_all(&board(&suite()[2..], &trials), &refs(&trials), &many).unwrap();
    write_all(&Board::default(), &[], &Path::new(&dir).join("empty")).unwrap();
    let one = [trial(&suite()[0], 0, 0, 1, 1)];
    let one_dir = Path::new(&dir).join("one");
    write_all(&board(&suite()[..1], &one), &refs(&one), &one_dir).unwrap();
}

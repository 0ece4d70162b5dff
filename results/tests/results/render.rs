//! The board as text.

use crate::common::{TrialBuilder, example_run, run};
use velodrome_results::assemble::{AssembleOptions, assemble};
use velodrome_results::board::Board;
use velodrome_results::run::{Run, Trial};
use velodrome_results::{Status, render};

fn board(runs: &[Run]) -> Board {
    assemble(runs, &AssembleOptions::default()).unwrap()
}

#[test]
fn text_shows_times_first_and_words_for_failures() {
    let board = board(&[example_run()]);
    for text in [render::terminal(&board, None), render::markdown(&board)] {
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("no {part} in\n{text}"))
        };
        assert!(at("Time to target") < at("Ratio to the best time"));
        assert!(at("Ratio to the best time") < at("Score"));
        for part in [
            "digits [s] to loss <= 0.5",
            "12.5 (12.0 to 13.0)",
            "missed",
            "out of memory",
            "digits [best = 1]",
            "1.92",
            "score [0 to 1]",
            "0.9816",
        ] {
            at(part);
        }
        assert!(text.contains(&board.method));
    }
    let narrow = render::terminal(&board, Some(60));
    let widest = narrow.lines().map(|l| l.chars().count()).max().unwrap();
    assert!(widest <= 60, "{widest}\n{narrow}");
    let markdown = render::markdown(&board);
    let tables: Vec<&str> = markdown.lines().filter(|l| l.starts_with('|')).collect();
    assert_eq!(tables.len(), 3 * 5);
    for table in tables.chunks(5) {
        assert!(
            table
                .iter()
                .all(|l| l.matches('|').count() == table[0].matches('|').count())
        );
        assert!(
            table[2..]
                .iter()
                .all(|l| !l.contains("| - |") && !l.contains("|  |"))
        );
    }
    let back: Board = serde_json::from_str(&render::json(&board).unwrap()).unwrap();
    assert_eq!(back, board);
}

#[test]
fn a_cell_with_some_studies_lost_says_which_way() {
    let at = |study| TrialBuilder::new("digits", "adamw", study, 1);
    let text = |trials: Vec<Trial>| {
        let board = board(&[run("one", trials)]);
        render::markdown(&board)
            .lines()
            .find(|l| l.starts_with("| adamw"))
            .unwrap()
            .to_string()
    };
    let three = vec![
        at(1).reached(10.0, 1).build(),
        at(2).reached(12.0, 1).build(),
        at(3).missed(0.9).build(),
    ];
    assert_eq!(text(three), "| adamw | 12.0 (10.0 to 12.0; 1 missed) |");
    let two = vec![
        at(1).reached(10.0, 1).build(),
        at(2).failed(Status::TimedOut, "hung").build(),
    ];
    assert_eq!(text(two), "| adamw | 1 timed out (others: 10.0) |");
    let mixed = vec![
        at(1).missed(0.9).build(),
        at(2).failed(Status::Diverged, "NaN").build(),
    ];
    assert_eq!(text(mixed), "| adamw | 1 missed, 1 diverged |");
}

#[test]
fn three_significant_digits() {
    for (x, text) in [
        (0.0, "0.00"),
        (0.012345, "0.0123"),
        (1.0, "1.00"),
        (9.996, "10.0"),
        (12.35, "12.3"),
        (999.6, "1000"),
        (12345.0, "12300"),
        (0.0009999, "0.00100"),
    ] {
        assert_eq!(render::digits3(x), text);
    }
}

use super::*;
use crate::record::Direction;

fn target() -> WorkloadTarget {
    WorkloadTarget {
        name: "w".into(),
        metric: "loss".into(),
        direction: Direction::Minimize,
        target: 0.5,
        step_hint: None,
    }
}

const HEADER: &str = "accumulated_submission_time,global_step,score,validation/loss,x\n";

fn read(rows: &str) -> Evals {
    parse(format!("{HEADER}{rows}").as_bytes(), &target()).unwrap()
}

fn kinds(evals: &Evals) -> Vec<FindingKind> {
    evals.findings.iter().map(|f| f.0).collect()
}

#[test]
fn the_first_row_that_meets_the_target_counts() {
    let e = read("1,1,1,0.9,0\n3.5,11,3.5,0.5,0\n4,21,4,0.7,0\n");
    assert_eq!(
        e.reached,
        Some(Reach {
            time: 3.5,
            index: 1,
            steps: Some(11)
        })
    );
    assert_eq!(e.best, Some((0.5, 3.5)));
    assert_eq!(e.step_times, [1.0, 0.25, 0.05]);
    assert_eq!(
        (e.rows, e.last_clock, e.last_step),
        (3, Some(4.0), Some(21))
    );
    assert!(e.findings.is_empty());
}

#[test]
fn windows_line_ends_quotes_and_marks_change_nothing() {
    let plain = read("1,1,1,0.9,0\n3.5,11,3.5,0.5,0\n");
    let text = format!("\u{feff}{HEADER}1,1,1,0.9,0\n3.5,11,3.5,0.5,0\n\n");
    let windows = text.replace('\n', "\r\n");
    assert_eq!(parse(windows.as_bytes(), &target()).unwrap(), plain);
    let quoted = HEADER.replace("validation/loss", "\"validation/loss\"")
        + "1,1,1,0.9,\"a,\nb\"\n\"3.5\",11,3.5,\"0.5\",0\n";
    assert_eq!(parse(quoted.as_bytes(), &target()).unwrap(), plain);
}

#[test]
fn nan_is_told_and_never_meets() {
    let e = read("1,1,1,,0\n2,2,2,nan,0\n3,3,3,0.4,0\n4,4,4,NaN,0\n");
    assert_eq!(e.reached.map(|r| r.index), Some(2));
    assert_eq!(kinds(&e), [FindingKind::NanCell]);
    assert!(
        e.findings[0].1.contains("3 of 4 rows, first in line 2"),
        "{:?}",
        e.findings
    );
    assert!(e.ends_in_nan);
}

#[test]
fn a_cut_cell_is_no_number() {
    // 0.4 may be the start of anything; the complete row above it does not reach the target.
    for (rows, reached) in [
        ("1,1,1,0.9,0\n2,2,2,0.4", None),
        ("1,1,1,0.9,0\n2,2,2,0.4\n", None),
        // The metric is whole here: its separator is there.
        ("1,1,1,0.9,0\n2,2,2,0.4,", Some(1)),
    ] {
        let e = read(rows);
        assert_eq!(e.reached.map(|r| r.index), reached, "{rows}");
        assert_eq!(
            e.findings.len() - usize::from(reached.is_none()),
            1,
            "{:?}",
            e.findings
        );
        assert_eq!(e.findings[0].0, FindingKind::TruncatedRow);
    }
}

#[test]
fn a_last_row_without_line_end() {
    let header = "global_step,score,validation/loss\n";
    let read = |rows: &str| parse(format!("{header}{rows}").as_bytes(), &target()).unwrap();
    let whole = read("1,1,0.9123\n2,2,0.4567");
    assert_eq!(whole.reached.map(|r| r.index), Some(1));
    assert_eq!(kinds(&whole), [FindingKind::NoFinalNewline]);
    let cut = read("1,1,0.9123\n2,2,0.4");
    assert_eq!(cut.reached, None);
    assert_eq!(
        kinds(&cut),
        [FindingKind::TruncatedRow, FindingKind::NanCell]
    );
}

#[test]
fn rows_of_the_wrong_length_and_words() {
    let e = read("1,1,1,0.9,0\n2,2,2,0.4,0,7\n3,3\n4,4,4,fast,0\n5,5,soon,0.3,0\n6,6,6,0.4,0\n");
    assert_eq!(e.reached.map(|r| (r.time, r.index)), Some((6.0, 4)));
    use FindingKind::*;
    assert_eq!(
        kinds(&e),
        [RaggedRow, RaggedRow, BadCell, BadCell, BadCell, NanCell]
    );
    for (finding, line) in e
        .findings
        .iter()
        .zip(["line 3", "line 4", "line 5", "line 6", "line 6"])
    {
        assert!(finding.1.contains(line), "{finding:?}");
    }
}

#[test]
fn nothing_to_read() {
    let kind = |text: &str| {
        parse(text.as_bytes(), &target())
            .map(|e| kinds(&e))
            .map_err(|e| e.kind)
    };
    assert_eq!(kind(""), Err(FindingKind::EmptyFile));
    assert_eq!(kind("\n"), Err(FindingKind::EmptyFile));
    assert_eq!(kind(HEADER), Ok(vec![FindingKind::HeaderOnly]));
    assert_eq!(
        kind("global_step,score\n1,1\n"),
        Err(FindingKind::MissingColumn)
    );
    assert_eq!(kind(HEADER.trim_end()), Ok(vec![FindingKind::HeaderOnly]));
}

#[test]
fn a_clock_that_runs_backwards_is_told() {
    let e = read("5,1,5,0.9,0\n3,2,3,0.4,0\n");
    assert_eq!(kinds(&e), [FindingKind::ClockBackwards]);
    assert_eq!(e.reached.map(|r| r.time), Some(3.0));
}

#[test]
fn decimals_are_rounded_correctly() {
    let e = read("0.1,1,7.2057594037927933e16,0.1,0\n");
    assert_eq!(e.reached.map(|r| r.time), Some(72_057_594_037_927_936.0));
}

//! What fine-tuning took, beside the time to target.

use super::Section;
use super::words::{self, digits3};
use crate::board::{Board, BoardCell, Tuning};

/// The columns.
pub(crate) const HEADER: [&str; 8] = [
    "submission",
    "workload",
    "time to target [s]",
    "trained",
    "trained [% of all]",
    "on disk [KiB]",
    "peak memory [MiB]",
    "forgetting [loss]",
];

const CAPTION: &str = "Medians over studies. On disk: what is trained, in 32 bits. Forgetting: how \
                       much the loss on held-out pretraining data has grown; positive is worse.";

/// The table; `None` where nothing was fine-tuned.
pub(super) fn section(board: &Board) -> Option<Section> {
    let rows = rows(board);
    (!rows.is_empty()).then(|| Section {
        title: "Fine-tuning",
        header: HEADER.map(str::to_string).to_vec(),
        rows,
        caption: CAPTION.to_string(),
    })
}

/// A row for each submission and workload that was fine-tuned, workload by workload.
pub(crate) fn rows(board: &Board) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (at, workload) in board.workloads.iter().enumerate() {
        for row in &board.rows {
            let cell = row.cells.get(at);
            if let Some((cell, tuning)) = cell.and_then(|c| Some((c, c.tuning.as_ref()?))) {
                rows.push(line(&row.submission, &workload.name, cell, tuning));
            }
        }
    }
    rows
}

fn line(submission: &str, workload: &str, cell: &BoardCell, tuning: &Tuning) -> Vec<String> {
    let mebibytes = tuning
        .peak_memory_bytes
        .map(|bytes| bytes / f64::from(1 << 20));
    let known = |x: Option<f64>, text: fn(f64) -> String| x.map_or("not known".to_string(), text);
    vec![
        submission.to_string(),
        workload.to_string(),
        words::time(cell),
        format!("{:.0}", tuning.trained),
        digits3(100.0 * tuning.share),
        digits3(tuning.adapter_bytes / 1024.0),
        known(mebibytes, digits3),
        known(tuning.forgetting, |x| format!("{x:+.3}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{BoardRow, BoardWorkload};
    use crate::record::Direction;

    fn cell(tuning: Option<Tuning>) -> BoardCell {
        BoardCell {
            time: Some(12.5),
            ratio: Some(1.0),
            steps: None,
            studies: Vec::new(),
            statuses: Vec::new(),
            tuning,
        }
    }

    fn board(tuning: Option<Tuning>) -> Board {
        Board {
            workloads: vec![BoardWorkload {
                name: "w".into(),
                metric: "loss".into(),
                direction: Direction::Minimize,
                target: 1.0,
                best_time: Some(12.5),
            }],
            rows: vec![BoardRow {
                submission: "s".into(),
                rank: 1,
                score: 1.0,
                score_interval: None,
                rank_interval: None,
                rank_leave_one_out: None,
                cells: vec![cell(tuning)],
            }],
            ..Board::default()
        }
    }

    #[test]
    fn a_row_has_time_size_memory_and_forgetting() {
        let tuning = Tuning {
            trained: 2048.0,
            share: 0.02,
            adapter_bytes: 8192.0,
            peak_memory_bytes: Some(3.0 * 1048576.0),
            forgetting: Some(0.25),
        };
        let section = section(&board(Some(tuning))).unwrap();
        let wanted = ["s", "w", "12.5", "2048", "2.00", "8.00", "3.00", "+0.250"];
        assert_eq!(section.rows, vec![wanted.map(str::to_string).to_vec()]);
        assert_eq!(section.header.len(), wanted.len());
    }

    #[test]
    fn without_fine_tuning_there_is_no_table() {
        assert!(section(&board(None)).is_none());
    }
}

//! The board as text and files.
//!
//! Every form shows the raw times to target before ratios and score: a score says who was faster
//! in this company, a time says how fast. Where there is no number there is a word (`missed`,
//! `crashed`, `no record`), never a dash.

mod tuning;
mod words;

pub(crate) use tuning::{HEADER as TUNING, rows as tuning_rows};
pub use words::{CellState, digits3, status_words};

use crate::board::Board;
use crate::record::Direction;
use crate::tables::{self, TableError};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table of text with a title: what the terminal and Markdown forms have in common.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) caption: String,
}

impl Section {
    /// The section for a terminal of so many columns.
    pub(crate) fn terminal(self, width: Option<u16>) -> String {
        let mut table = Table::new();
        table
            .force_no_tty()
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.header)
            .add_rows(self.rows);
        if let Some(width) = width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("\n{}\n{}\n", self.title, table.trim_fmt());
        if !self.caption.is_empty() {
            text += &format!("{}\n", wrap(&self.caption, width));
        }
        text
    }

    /// The section as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let escape = |s: &str| plain(s).replace('\\', "\\\\").replace('|', "\\|");
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|c| escape(c)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = format!("\n## {}\n\n", plain(self.title));
        text += &line(&self.header);
        text += "|:--|";
        text += &"--:|".repeat(self.header.len().saturating_sub(1));
        text += "\n";
        for row in &self.rows {
            text += &line(row);
        }
        if !self.caption.is_empty() {
            text += &format!("\n{}\n", plain(&self.caption));
        }
        text
    }
}

/// Text from a record on one line of Markdown, where a name may not become markup of the page: a tag
/// begins with `<` and a letter or one of a few signs, `<=` does not.
fn plain(text: &str) -> String {
    let opens = |c: char| c.is_ascii_alphabetic() || "/!?".contains(c);
    let text = text.replace(['\n', '\r'], " ");
    let mut parts = text.split('<');
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain += if part.starts_with(opens) { "&lt;" } else { "<" };
        plain += part;
    }
    plain
}

/// The board for a terminal. `width` is that of the terminal in columns, to which long cells are
/// wrapped; `None` (a pipe or a file) wraps nothing.
pub fn terminal(board: &Board, width: Option<u16>) -> String {
    let mut text = format!("{} ({})\n", board.title, board.ruleset);
    for section in sections(board) {
        text += &section.terminal(width);
    }
    text += &format!("\n{}\n", wrap(&board.method, width));
    for note in &board.notes {
        text += &format!("{}\n", wrap(&format!("Note: {note}"), width));
    }
    text
}

/// The board as Markdown.
pub fn markdown(board: &Board) -> String {
    let title = format!("{} ({})", board.title, board.ruleset);
    let mut text = format!("# {}\n", plain(&title));
    for section in sections(board) {
        text += &section.markdown();
    }
    text += &format!("\n## Method\n\n{}\n", plain(&board.method));
    if !board.notes.is_empty() {
        text += "\n## Notes\n\n";
        for note in &board.notes {
            text += &format!("- {}\n", plain(note));
        }
    }
    text
}

/// The board as indented JSON: the fields of [`Board`], times in seconds. In a cell, `time: null`
/// with entries in `studies` is a target not reached; without entries there is no record.
///
/// # Errors
/// [`TableError::Json`].
pub fn json(board: &Board) -> Result<String, TableError> {
    Ok(serde_json::to_string_pretty(board)? + "\n")
}

/// The board as CSV in the long form of [`tables::board_frame`].
///
/// # Errors
/// [`TableError::Encode`].
pub fn csv(board: &Board) -> Result<Vec<u8>, TableError> {
    tables::to_csv("board", &mut tables::board_frame(board)?)
}

/// The board as a Parquet file in the long form of [`tables::board_frame`].
///
/// # Errors
/// [`TableError::Encode`].
pub fn parquet(board: &Board) -> Result<Vec<u8>, TableError> {
    tables::to_parquet("board", &mut tables::board_frame(board)?)
}

fn sections(board: &Board) -> Vec<Section> {
    let mut sections = vec![times(board), ratios(board)];
    sections.extend(tuning::section(board));
    sections.push(scores(board));
    sections
}

fn times(board: &Board) -> Section {
    let workload = |w: &crate::board::BoardWorkload| {
        let sign = match w.direction {
            Direction::Minimize => "<=",
            Direction::Maximize => ">=",
        };
        format!("{} [s] to {} {sign} {}", w.name, w.metric, w.target)
    };
    let spread = board
        .rows
        .iter()
        .flat_map(|r| &r.cells)
        .any(|c| c.studies.len() > 1);
    Section {
        title: "Time to target",
        header: header("submission", board.workloads.iter().map(workload)),
        rows: rows(board, |cell, _| words::time(cell)),
        caption: if spread {
            "Seconds on the submission clock: median over studies (fastest to slowest study)."
        } else {
            "Seconds on the submission clock, one study."
        }
        .to_string(),
    }
}

fn ratios(board: &Board) -> Section {
    let rows = rows(board, words::ratio);
    let out = rows.iter().flatten().any(|cell| cell.ends_with("out"));
    Section {
        title: "Ratio to the best time",
        header: header(
            "submission",
            board
                .workloads
                .iter()
                .map(|w| format!("{} [best = 1]", w.name)),
        ),
        rows,
        caption: if out {
            "out: the target was reached, but by the rules the time does not count.".to_string()
        } else {
            String::new()
        },
    }
}

fn scores(board: &Board) -> Section {
    let interval = board.rows.iter().any(|r| r.score_interval.is_some());
    let left_out = board.rows.iter().any(|r| r.rank_leave_one_out.is_some());
    let rows = board.rows.iter().map(|r| {
        vec![
            r.submission.clone(),
            r.rank.to_string(),
            format!("{:.4}", r.score),
            words::score_interval(r),
            words::rank_range(r.rank_interval, "too few studies"),
            words::rank_range(r.rank_leave_one_out, "no other submission"),
        ]
    });
    let mut caption = String::new();
    if interval {
        caption += "Intervals: bootstrap over studies. ";
    }
    if left_out {
        caption += "The last column is the range of the rank when any one other submission is \
                    left out, in the numbering of this board.";
    }
    Section {
        title: "Score",
        header: header(
            "submission",
            [
                "rank",
                "score [0 to 1]",
                "score interval",
                "rank interval",
                "rank, one left out",
            ]
            .map(str::to_string),
        ),
        rows: rows.collect(),
        caption: caption.trim_end().to_string(),
    }
}

fn header(first: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(first.to_string()).chain(rest).collect()
}

fn rows(
    board: &Board,
    text: impl Fn(&crate::board::BoardCell, &crate::board::BoardWorkload) -> String,
) -> Vec<Vec<String>> {
    board
        .rows
        .iter()
        .map(|row| {
            let cells = row.cells.iter().zip(&board.workloads);
            std::iter::once(row.submission.clone())
                .chain(cells.map(|(cell, workload)| text(cell, workload)))
                .collect()
        })
        .collect()
}

/// Breaks a paragraph at spaces, at `width` columns.
pub(crate) fn wrap(text: &str, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from) else {
        return text.to_string();
    };
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

//! `eval_measurements.csv`, reduced to what a score needs.
//!
//! Only the columns that count are turned into numbers, each with correct rounding. A file is read
//! as far as it goes: what is cut short or no number is told, and never taken for a number.

use super::finding::FindingKind;
use super::targets::WorkloadTarget;
use crate::score::Reach;
use std::borrow::Cow;

/// The clock, as the official scorer reads it.
const SCORE: &str = "score";
/// The same clock, as the step times are computed from it.
const CLOCK: &str = "accumulated_submission_time";
const STEP: &str = "global_step";

/// What one file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Evals {
    /// Evaluations.
    pub rows: usize,
    /// First evaluation that met the target.
    pub reached: Option<Reach>,
    /// Best value of the metric, and the clock at its first occurrence.
    pub best: Option<(f64, f64)>,
    /// Clock at the last evaluation.
    pub last_clock: Option<f64>,
    /// Step at the last evaluation.
    pub last_step: Option<u64>,
    /// Whether the metric of the last evaluation is NaN.
    pub ends_in_nan: bool,
    /// Seconds per step between evaluations, the first one counted from 0; no NaN.
    pub step_times: Vec<f64>,
    /// What is wrong with the file.
    pub findings: Vec<(FindingKind, String)>,
}

/// Why a file has nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoEvals {
    pub kind: FindingKind,
    pub message: String,
}

/// Positions of the columns that count.
struct Columns {
    score: usize,
    clock: Option<usize>,
    step: usize,
    metric: usize,
    width: usize,
}

/// Reads the bytes of a file for the given target.
pub(super) fn parse(bytes: &[u8], target: &WorkloadTarget) -> Result<Evals, NoEvals> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(NoEvals {
            kind: FindingKind::EmptyFile,
            message: "the file is empty; the trial is left out".into(),
        });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bytes = unquoted(bytes);
    let mut lines = Lines::new(&bytes);
    let mut cells = Vec::new();
    lines.next_line(&mut cells);
    let columns = columns(&cells, target)?;
    let mut reader = Reader {
        columns,
        target,
        evals: Evals::default(),
        before: (0.0, 0.0),
        nan_lines: (0, 0),
        shortest: usize::MAX,
    };
    while let Some(line) = lines.next_line(&mut cells) {
        if cells.len() == 1 && cells[0].is_empty() {
            continue;
        }
        reader.row(&cells, &line, lines.at_end());
    }
    Ok(reader.finish())
}

/// Names of all columns of a file, trimmed; for readers of the whole file.
pub(super) fn table(bytes: &[u8]) -> (Vec<String>, Vec<Vec<Option<f64>>>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bytes = unquoted(bytes);
    let mut lines = Lines::new(&bytes);
    let mut cells = Vec::new();
    lines.next_line(&mut cells);
    let names: Vec<String> = cells
        .iter()
        .map(|c| String::from_utf8_lossy(c).into_owned())
        .collect();
    let mut rows = Vec::new();
    while lines.next_line(&mut cells).is_some() {
        if (cells.len() == 1 && cells[0].is_empty()) || cells.len() > names.len() {
            continue;
        }
        let whole = whole_cells(cells.len(), names.len());
        let value = |i: usize| (i < whole).then(|| number(cells[i]).unwrap_or(f64::NAN));
        rows.push((0..names.len()).map(value).collect());
    }
    (names, rows)
}

/// How many cells of a row are known to be whole: in a row with fewer cells than the header, the
/// last one may be cut.
fn whole_cells(found: usize, width: usize) -> usize {
    if found < width {
        found.saturating_sub(1)
    } else {
        found
    }
}

fn columns(header: &[&[u8]], target: &WorkloadTarget) -> Result<Columns, NoEvals> {
    let find = |name: &str| header.iter().position(|c| *c == name.as_bytes());
    let need = |name: &str| {
        find(name).ok_or_else(|| NoEvals {
            kind: FindingKind::MissingColumn,
            message: format!("column `{name}` is missing; the trial is left out"),
        })
    };
    Ok(Columns {
        score: find(SCORE).map_or_else(|| need(CLOCK), Ok)?,
        clock: find(CLOCK),
        step: need(STEP)?,
        metric: need(&format!("validation/{}", target.metric))?,
        width: header.len(),
    })
}

struct Reader<'a> {
    columns: Columns,
    target: &'a WorkloadTarget,
    evals: Evals,
    /// Clock and step of the row before.
    before: (f64, f64),
    /// Rows with a NaN metric: how many, and the line of the first.
    nan_lines: (usize, usize),
    /// Length of the shortest last cell so far.
    shortest: usize,
}

impl Reader<'_> {
    fn find(&mut self, kind: FindingKind, message: String) {
        self.evals.findings.push((kind, message));
    }

    fn row(&mut self, cells: &[&[u8]], line: &Line, last: bool) {
        let (width, n) = (self.columns.width, line.number);
        if cells.len() > width {
            self.find(
                FindingKind::RaggedRow,
                format!(
                    "line {n} has {} cells instead of {width}; it is left out",
                    cells.len()
                ),
            );
            return;
        }
        let mut whole = whole_cells(cells.len(), width);
        if cells.len() < width {
            let kind = if last {
                FindingKind::TruncatedRow
            } else {
                FindingKind::RaggedRow
            };
            self.find(
                kind,
                format!(
                    "line {n} is cut short after {} of {width} cells; the cells in front of the \
                     cut count",
                    cells.len()
                ),
            );
        } else {
            let length = cells.last().map_or(0, |c| c.len());
            if line.ended {
                self.shortest = self.shortest.min(length);
            } else if self.shortest != usize::MAX && length < self.shortest {
                whole -= 1;
                self.find(
                    FindingKind::TruncatedRow,
                    format!(
                        "line {n} is cut short in its last cell, which is shorter than all above \
                         it; the cells in front of it count"
                    ),
                );
            } else {
                self.find(
                    FindingKind::NoFinalNewline,
                    format!("line {n} does not end, but has all its cells; it counts"),
                );
            }
        }
        self.values(&cells[..whole], n);
    }

    /// One cell as a number: NaN where it is empty or no number.
    fn value(&mut self, cells: &[&[u8]], column: usize, name: &str, line: usize) -> f64 {
        let Some(cell) = cells.get(column) else {
            return f64::NAN;
        };
        number(cell).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(cell).into_owned();
            self.find(
                FindingKind::BadCell,
                format!("line {line}: column `{name}` is \"{text}\", which is no number; it counts as NaN"),
            );
            f64::NAN
        })
    }

    fn values(&mut self, cells: &[&[u8]], line: usize) {
        let score = self.value(cells, self.columns.score, SCORE, line);
        let step = self.value(cells, self.columns.step, STEP, line);
        let name = self.target.metric.as_str();
        let metric = self.value(cells, self.columns.metric, name, line);
        let clock = match self.columns.clock {
            // In the known logs both columns are equal; then the text need not be read twice.
            Some(c) if cells.get(c) != cells.get(self.columns.score) => {
                self.value(cells, c, CLOCK, line)
            }
            _ => score,
        };
        let index = self.evals.rows as u64;
        self.evals.rows += 1;

        let step_time = (clock - self.before.0) / (step - self.before.1);
        if !step_time.is_nan() {
            self.evals.step_times.push(step_time);
        }
        if index > 0 && (clock < self.before.0 || step < self.before.1) {
            let what = "clock or step is less than in the row above; the rows count in the order of the file";
            self.find(FindingKind::ClockBackwards, format!("line {line}: {what}"));
        }
        self.before = (clock, step);

        let steps = (step.is_finite() && step >= 0.0).then_some(step as u64);
        let usable = score.is_finite() && score >= 0.0;
        if usable {
            self.evals.last_clock = Some(score);
        }
        self.evals.last_step = steps.or(self.evals.last_step);
        self.evals.ends_in_nan = metric.is_nan();
        if metric.is_nan() {
            if self.nan_lines.0 == 0 {
                self.nan_lines.1 = line;
            }
            self.nan_lines.0 += 1;
            return;
        }
        let better = |best: (f64, f64)| self.target.direction.better(metric, best.0);
        if self.evals.best.is_none_or(better) {
            self.evals.best = Some((metric, score));
        }
        if self.evals.reached.is_none() && self.target.direction.meets(metric, self.target.target) {
            if usable {
                self.evals.reached = Some(Reach {
                    time: score,
                    index,
                    steps,
                });
            } else {
                self.find(
                    FindingKind::BadCell,
                    format!(
                        "line {line} meets the target, but its clock (column `{SCORE}`) is no \
                         number of seconds; it cannot stop the clock"
                    ),
                );
            }
        }
    }

    fn finish(mut self) -> Evals {
        let (count, line) = self.nan_lines;
        if count > 0 {
            let (name, rows) = (&self.target.metric, self.evals.rows);
            let message = format!(
                "column `validation/{name}` is empty or NaN in {count} of {rows} rows, first in \
                 line {line}; NaN never meets a target"
            );
            self.find(FindingKind::NanCell, message);
        }
        if self.evals.rows == 0 {
            let message =
                "the file has a header, but no evaluation; the trial counts as not reached";
            self.find(FindingKind::HeaderOnly, message.into());
        }
        self.evals
    }
}

/// A cell as a number; what pandas takes for a missing value is NaN, other text is `None`.
fn number(cell: &[u8]) -> Option<f64> {
    const MISSING: [&str; 9] = [
        "", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "-nan",
    ];
    let text = std::str::from_utf8(cell).ok()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(_) => MISSING.contains(&text).then_some(f64::NAN),
    }
}

struct Line {
    /// Number from 1.
    number: usize,
    /// Whether a line end was there.
    ended: bool,
}

/// Splits into lines and cells.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            number: 0,
        }
    }

    /// Whether nothing but white space follows.
    fn at_end(&self) -> bool {
        self.rest.iter().all(u8::is_ascii_whitespace)
    }

    /// Puts the trimmed cells of the next line into `cells`.
    fn next_line(&mut self, cells: &mut Vec<&'a [u8]>) -> Option<Line> {
        cells.clear();
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let bytes = self.rest;
        let mut start = 0;
        for (i, byte) in bytes.iter().enumerate() {
            // Comma and line feed are the only separators; one comparison rejects most bytes.
            if *byte > b',' || (*byte != b',' && *byte != b'\n') {
                continue;
            }
            cells.push(bytes[start..i].trim_ascii());
            start = i + 1;
            if *byte == b'\n' {
                self.rest = &bytes[start..];
                return Some(self.line(true));
            }
        }
        cells.push(bytes[start..].trim_ascii());
        self.rest = &[];
        Some(self.line(false))
    }

    fn line(&self, ended: bool) -> Line {
        Line {
            number: self.number,
            ended,
        }
    }
}

/// The same text without quotes; separators within quotes become spaces. (No official log has
/// quotes, but a spreadsheet program adds them.)
fn unquoted(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'"') {
        return Cow::Borrowed(bytes);
    }
    let mut inside = false;
    let mut plain = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'"' => inside = !inside,
            b',' | b'\n' if inside => plain.push(b' '),
            other => plain.push(*other),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;

//! What the replays of `verify` share: a row for each case, and the report of all rows.

use super::panic_message;
use crate::commands::Format;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use serde::Serialize;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// One case that was replayed; the row is the JSON object.
pub(super) trait Replayed: Serialize {
    /// What the cases are called, in the plural.
    const CASES: &'static str;
    /// The heads of the columns after the verdict.
    const HEADER: &'static [&'static str];

    /// Whether it agrees with its reference.
    fn passed(&self) -> bool;

    /// The cells after the verdict; the first is the case's name.
    fn cells(&self) -> Vec<String>;

    /// What is to be said beside the numbers; empty for nothing.
    fn message(&self) -> &str;
}

/// Prints all rows, and says in the exit code whether all passed.
pub(super) fn report<R: Replayed>(
    rows: &[R],
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match format {
        Format::Json => console.print_json(&rows)?,
        Format::Text => {
            let mut header = vec![""];
            header.extend(R::HEADER);
            let cells = rows.iter().map(|row| {
                let mut cells = vec![if row.passed() { "ok" } else { "FAIL" }.to_string()];
                cells.extend(row.cells());
                cells
            });
            let table = console.table(&header, cells.collect());
            console.print(table)?;
            for row in rows.iter().filter(|r| !r.message().is_empty()) {
                let name = row.cells().into_iter().next().unwrap_or_default();
                let about = row.message().strip_prefix(&format!("{name}: "));
                let about = about.unwrap_or(row.message());
                console.print(format!("{name}: {about}\n"))?;
            }
        }
    }
    let (cases, all) = (R::CASES, rows.len());
    let failed = rows.iter().filter(|r| !r.passed()).count();
    if failed > 0 {
        console.note(format!("{failed} of {all} {cases} failed"));
        return Ok(Exit::CheckFailed);
    }
    console.note(format!("all {all} {cases} passed"));
    Ok(Exit::Ok)
}

/// The entries of a folder that `keep` wants, by name; an error where there are none.
pub(super) fn cases(
    folder: &Path,
    none: &str,
    keep: impl Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, Failure> {
    let fault = |e| Failure::io(folder, "read", e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if keep(&path) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(Failure::Usage(format!("{}: {none}", folder.display())));
    }
    Ok(found)
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A panic of the code under test is a case that failed, not the end of the others.
pub(super) fn caught<T>(replay: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let outcome = catch_unwind(AssertUnwindSafe(replay));
    outcome.unwrap_or_else(|payload| Err(panic_message(payload.as_ref())))
}

/// A number for JSON, which has no infinity.
pub(super) fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// A cell with an error; a dash where there is none.
pub(super) fn error_cell(x: Option<f64>) -> String {
    x.map_or_else(|| "-".into(), |x| format!("{x:.1e}"))
}

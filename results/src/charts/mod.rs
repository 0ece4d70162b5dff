//! The charts: performance profile, time to target with its spread, and validation curves, each as
//! PNG and as SVG from the same drawing code.
//!
//! Text is set in DejaVu Sans, which the crate carries (`assets/`), so that a PNG does not depend
//! on the fonts of the machine; an SVG asks for any sans-serif font.
//!
//! A submission has one colour, one marker and one dash pattern on every chart of a board. The
//! colours are those of Okabe and Ito ("Color Universal Design", 2002) without black (kept for text
//! and targets) and without yellow (hardly visible on white).

mod axis;
mod changes;
mod clip;
mod curves;
mod frame;
mod history;
mod lines;
mod palette;
mod pen;
mod picture;
mod profile;
mod shapes;
mod times;

use crate::board::Board;
use crate::compare::{Comparison, Question};
use crate::error::RecordError;
use crate::history::Series;
use crate::run::Trial;
use palette::Palette;
use picture::Picture;
use std::path::{Path, PathBuf};

pub use profile::share_within;

/// Why a chart could not be drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The font that the crate carries cannot be read.
    #[error("the built-in font cannot be read; this build of Velodrome is damaged")]
    Font,
    /// The drawing library refused.
    #[error("cannot draw chart `{chart}`: {message}")]
    Draw {
        /// Name of the chart.
        chart: String,
        /// The library's own words.
        message: String,
    },
    /// So many rows that the picture would have more pixels than can be written.
    #[error(
        "chart `{chart}` would be {width} x {height} pixels; score fewer workloads or submissions \
         at once"
    )]
    TooLarge {
        /// Name of the chart.
        chart: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A chart could not be written.
    #[error(transparent)]
    Write(#[from] RecordError),
}

/// Writes every chart of `board` into `dir` (made if missing): `performance_profile`,
/// `time_to_target` and one `curves.WORKLOAD` for each workload of the board or of `trials`, each
/// as `.png` and `.svg`. Returns the files in that order. Each file is written whole or not at all.
///
/// # Errors
/// [`ChartError`] of the first chart that fails; the charts before it stay.
pub fn write_all(board: &Board, trials: &[&Trial], dir: &Path) -> Result<Vec<PathBuf>, ChartError> {
    std::fs::create_dir_all(dir).map_err(|e| RecordError::io(dir, "create", e))?;
    let palette = Palette::new(board, trials);
    let mut files = Vec::new();
    write(
        &profile::Profile::new(board, &palette),
        dir,
        "performance_profile",
        &mut files,
    )?;
    write(
        &times::Times::new(board, &palette),
        dir,
        "time_to_target",
        &mut files,
    )?;
    let mut used: Vec<String> = Vec::new();
    for workload in workloads(board, trials) {
        let name = file_name(&format!("curves.{workload}"), &mut used);
        let curves = curves::Curves::new(board, trials, &workload, &palette);
        write(&curves, dir, &name, &mut files)?;
    }
    Ok(files)
}

/// Writes the changes of a comparison into `dir` (made if missing): one `changes.QUESTION` for each
/// question that was answered, as `.png` and `.svg`. Returns the files. Changes are shares of the base
/// in per cent.
///
/// # Errors
/// [`ChartError`] of the first chart that fails; the charts before it stay.
pub fn write_changes(found: &Comparison, dir: &Path) -> Result<Vec<PathBuf>, ChartError> {
    std::fs::create_dir_all(dir).map_err(|e| RecordError::io(dir, "create", e))?;
    let mut files = Vec::new();
    for question in Question::ALL {
        // Widths of words are measured, so the font comes first.
        pen::register_font()?;
        let picture = changes::Changes::new(found, question);
        if !picture.is_empty() {
            write(&picture, dir, &format!("changes.{question}"), &mut files)?;
        }
    }
    Ok(files)
}

/// Writes one metric of a history, with its steps, to `path`: as SVG where the name ends so, else as
/// PNG. `unit` stands at the axis; several series are shown as shares of their first values.
///
/// # Errors
/// [`ChartError`] when the picture cannot be drawn or written.
pub fn write_history(
    series: &[Series],
    metric: &str,
    unit: &str,
    path: &Path,
) -> Result<(), ChartError> {
    pen::register_font()?;
    let picture = history::History::new(series, metric, unit);
    if path.extension().is_some_and(|e| e == "svg") {
        let svg = picture::svg(&picture)?;
        return Ok(crate::record::write_shared(path, svg.as_bytes())?);
    }
    picture::write_png(&picture, path)
}

/// The performance profile of `board` as an SVG document.
///
/// For each submission the share rho(tau) of workloads whose time to target is at most tau times
/// the fastest one, for tau from 1 to 4 (Dolan and Moré, 2002).
///
/// # Errors
/// [`ChartError`] when the picture cannot be drawn.
pub fn profile_svg(board: &Board) -> Result<String, ChartError> {
    picture::svg(&profile::Profile::new(board, &Palette::new(board, &[])))
}

/// Times to target of `board` as an SVG document: one panel per workload, one row per submission, a
/// point per study and a larger mark at their median, in seconds.
///
/// # Errors
/// [`ChartError`] when the picture cannot be drawn.
pub fn times_svg(board: &Board) -> Result<String, ChartError> {
    picture::svg(&times::Times::new(board, &Palette::new(board, &[])))
}

/// Validation curves of `workload` as an SVG document: every trial as a thin line, the trial of the
/// median study as a thick one, over submission seconds, with the target.
///
/// # Errors
/// [`ChartError`] when the picture cannot be drawn.
pub fn curves_svg(board: &Board, trials: &[&Trial], workload: &str) -> Result<String, ChartError> {
    let palette = Palette::new(board, trials);
    picture::svg(&curves::Curves::new(board, trials, workload, &palette))
}

/// The workloads that have curves: those of the board in its order, then those that only the
/// trials know, in theirs.
pub fn workloads(board: &Board, trials: &[&Trial]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let of_board = board.workloads.iter().map(|w| &w.name);
    for name in of_board.chain(trials.iter().map(|t| &t.record.workload)) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn write<P: Picture>(
    picture: &P,
    dir: &Path,
    name: &str,
    files: &mut Vec<PathBuf>,
) -> Result<(), ChartError> {
    let png = dir.join(format!("{name}.png"));
    picture::write_png(picture, &png)?;
    files.push(png);
    let svg = dir.join(format!("{name}.svg"));
    crate::record::write_shared(&svg, picture::svg(picture)?.as_bytes())?;
    files.push(svg);
    Ok(())
}

/// A file name that any file system takes, different from those in `used` (compared without case).
fn file_name(wanted: &str, used: &mut Vec<String>) -> String {
    let safe: String = wanted
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(120)
        .collect();
    let mut name = safe.clone();
    let mut n = 2;
    while used.contains(&name.to_lowercase()) {
        name = format!("{safe}-{n}");
        n += 1;
    }
    used.push(name.to_lowercase());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_safe_and_distinct() {
        let mut used = Vec::new();
        assert_eq!(file_name("curves.a/../b", &mut used), "curves.a_.._b");
        assert_eq!(file_name("curves.a_.._B", &mut used), "curves.a_.._B-2");
        assert_eq!(file_name(&"x".repeat(300), &mut used).len(), 120);
    }
}

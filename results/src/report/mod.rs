//! The report: one HTML page that holds everything, loads nothing and runs no script.
//!
//! It shows what was raced and on what, the board (raw times first), the charts, every trial of
//! every workload, every failure with its reason, and where the wall time went.

mod board;
mod format;
mod trials;

use crate::board::Board;
use crate::charts::{self, ChartError};
use crate::record::{Fingerprint, Status};
use crate::run::{Run, Trial};
use format::{bytes, count};
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior, context};

/// What a report is about.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The scored table.
    pub board: &'a Board,
    /// The runs that it was scored from.
    pub runs: &'a [Run],
    /// The command that races the same again; empty where it is not known.
    pub command: String,
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A chart could not be drawn.
    #[error("report: {0}")]
    Chart(#[from] ChartError),
    /// The page could not be put together; a fault in Velodrome.
    #[error("report: the page template failed: {0}")]
    Template(#[from] minijinja::Error),
}

const TEMPLATE: &str = include_str!("report.html");

/// The report as an HTML document. Every text from a record is escaped.
///
/// # Errors
/// [`ReportError`] when a chart cannot be drawn.
pub fn render(report: &Report<'_>) -> Result<String, ReportError> {
    let board = report.board;
    let trials: Vec<&Trial> = report.runs.iter().flat_map(|r| &r.trials).collect();
    let mut workloads = Vec::new();
    for name in charts::workloads(board, &trials) {
        let chart = inline(charts::curves_svg(board, &trials, &name)?);
        workloads.push(trials::workload(board, &trials, &name, chart));
    }
    let page = context! {
        title => &board.title,
        ruleset => &board.ruleset,
        method => &board.method,
        notes => &board.notes,
        command => &report.command,
        raced => raced(report, &trials),
        machines => machines(&trials),
        times => board::times(board),
        ratios => board::ratios(board),
        tuning => board::tuning(board),
        scores => board::scores(board),
        profile_chart => inline(charts::profile_svg(board)?),
        times_chart => inline(charts::times_svg(board)?),
        workloads,
        failures => trials::failures(report.runs),
        findings => trials::findings(report.runs),
        clock => trials::clock(&trials),
        version => env!("CARGO_PKG_VERSION"),
    };
    let mut env = Environment::new();
    // A misspelt name in the template is an error, not a gap. The name's ending turns escaping on.
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.add_template("report.html", TEMPLATE)?;
    let page = env.get_template("report.html")?.render(page)?;
    // A name may hold anything, and HTML has no such character.
    Ok(page.replace('\0', "\u{fffd}"))
}

/// An SVG document as a part of the page: HTML needs no namespace for it.
fn inline(svg: String) -> Value {
    Value::from_safe_string(svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1))
}

fn pair(name: &str, value: impl Into<String>) -> Value {
    context! { name, value => value.into() }
}

/// The distinct values in order of first appearance.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut out = Vec::new();
    for value in values {
        if !out.contains(&value) {
            out.push(value);
        }
    }
    out
}

/// How many trials ended how, in words: `5 reached, 1 crashed`.
fn tally(statuses: impl Iterator<Item = Status>) -> String {
    let statuses: Vec<Status> = statuses.collect();
    let parts: Vec<String> = Status::ALL
        .iter()
        .filter_map(|s| {
            let n = statuses.iter().filter(|t| *t == s).count();
            (n > 0).then(|| format!("{n} {}", word(*s)))
        })
        .collect();
    if parts.is_empty() {
        format::NONE.to_string()
    } else {
        parts.join(", ")
    }
}

/// A status as a word for people.
fn word(status: Status) -> String {
    status.as_str().replace('_', " ")
}

fn raced(report: &Report<'_>, trials: &[&Trial]) -> Vec<Value> {
    let of_runs = |get: fn(&Run) -> String| distinct(report.runs.iter().map(get)).join(", ");
    let planned: usize = report.runs.iter().map(|r| r.record.trials.len()).sum();
    let mut rows = vec![pair("Suite", of_runs(|r| r.record.suite.clone()))];
    rows.push(pair("Ruleset", of_runs(|r| r.record.ruleset.clone())));
    rows.push(pair(
        "Evaluation cadence",
        of_runs(|r| r.record.cadence.clone()),
    ));
    rows.push(pair("Seed", of_runs(|r| r.record.seed.to_string())));
    rows.push(pair("Submissions", report.board.rows.len().to_string()));
    rows.push(pair("Workloads", report.board.workloads.len().to_string()));
    let studies = distinct(trials.iter().map(|t| t.record.study)).len();
    rows.push(pair("Studies", studies.to_string()));
    rows.push(pair(
        "Trials",
        format!(
            "{planned} planned: {}",
            tally(trials.iter().map(|t| t.record.status))
        ),
    ));
    rows.push(pair(
        "Run folders",
        of_runs(|r| r.path.display().to_string()),
    ));
    rows
}

fn machines(trials: &[&Trial]) -> Vec<Value> {
    distinct(trials.iter().map(|t| &t.record.fingerprint))
        .into_iter()
        .map(|print| {
            let n = trials
                .iter()
                .filter(|t| &t.record.fingerprint == print)
                .count();
            context! { trials => n, rows => machine(print) }
        })
        .collect()
}

fn machine(print: &Fingerprint) -> Vec<Value> {
    let known = |text: &str| {
        if text.is_empty() {
            format::NONE.into()
        } else {
            text.to_string()
        }
    };
    let versions: Vec<String> = print
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    vec![
        pair("Processor", known(&print.cpu)),
        pair("Logical processors", count(print.cores as u64)),
        pair("Processor flags", known(&print.cpu_flags.join(" "))),
        pair("Memory", bytes(print.memory_bytes)),
        pair(
            "Accelerator",
            print.accelerator.clone().unwrap_or_else(|| "none".into()),
        ),
        pair("System", known(&print.os)),
        pair("Device", known(&print.device)),
        pair("Compute threads", count(print.threads as u64)),
        pair("Cargo features", known(&print.features.join(" "))),
        pair("Versions", known(&versions.join(", "))),
        pair("Compiler", known(&print.rustc)),
        pair("Commit", known(&print.commit)),
        pair("Executable (SHA-256)", known(&print.executable)),
    ]
}

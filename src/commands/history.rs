//! `velodrome history`.

use super::{Format, read_runs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use velodrome_results::charts;
use velodrome_results::compare::{Verdict, change};
use velodrome_results::history::{self, Entry, METRICS, Series};

/// Keep what each commit needed, and find the commit that changed it
///
/// The history is one Parquet file that only grows: a row for each run, workload and submission, with
/// the medians of its trials.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome history add history.parquet runs/smoke-1a2b3c4d --commit $(git rev-parse HEAD)
  velodrome history list history.parquet
  velodrome history changes history.parquet --metric seconds_per_step
  velodrome history plot history.parquet --metric steps_to_target -o steps.png")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add runs; the file is made where it is missing
    Add(Add),
    /// List what was added, in order
    List(List),
    /// Find the steps where a metric changed
    Changes(Changes),
    /// Draw a metric over commits, with its steps
    Plot(Plot),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The history
    history: PathBuf,
    /// Runs: folders, or files that `velodrome export --records` wrote
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The commit that the runs are of
    #[arg(long, value_name = "SHA")]
    commit: String,
    /// What `compare` or `race` said of the commit
    #[arg(long, value_name = "VERDICT", value_parser = PossibleValuesParser::new(VERDICTS.map(Verdict::as_str)).map(verdict))]
    verdict: Option<Verdict>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// The history
    history: PathBuf,
    /// Form of the list on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What is looked at.
#[derive(Debug, clap::Args)]
struct Choice {
    /// The history
    history: PathBuf,
    /// What is followed
    #[arg(long, value_name = "NAME", default_value = "steps_to_target", value_parser = PossibleValuesParser::new(METRICS.map(|m| m.0)))]
    metric: String,
    /// Only this workload; may be repeated
    #[arg(long = "workload", short = 'w', value_name = "NAME")]
    workloads: Vec<String>,
    /// Only this submission; may be repeated
    #[arg(long = "submission", short = 's', value_name = "NAME")]
    submissions: Vec<String>,
    /// Chance that a series that did not change shows a step
    #[arg(long, value_name = "P", default_value_t = 0.01)]
    level: f64,
}

#[derive(Debug, clap::Args)]
struct Changes {
    #[command(flatten)]
    choice: Choice,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Plot {
    #[command(flatten)]
    choice: Choice,
    /// The picture: .png or .svg
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

const VERDICTS: [Verdict; 4] = [
    Verdict::Same,
    Verdict::Improved,
    Verdict::Inconclusive,
    Verdict::Regressed,
];

fn verdict(word: String) -> Verdict {
    let found = VERDICTS.into_iter().find(|v| v.as_str() == word);
    found.unwrap_or(Verdict::Inconclusive)
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    match arguments.action {
        Action::Add(a) => add(&a, console)?,
        Action::List(a) => list(&a, console)?,
        Action::Changes(a) => changes(&a, console)?,
        Action::Plot(a) => plot(&a, console)?,
    }
    Ok(Exit::Ok)
}

fn add(arguments: &Add, console: &mut Console) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0.0, |d| d.as_secs() as f64);
    let (path, commit) = (&arguments.history, &arguments.commit);
    for run in read_runs(&arguments.runs)? {
        let added = history::append(path, &run, commit, now, arguments.verdict)?;
        console.print(format!(
            "{} rows of {} added to {}\n",
            added.len(),
            run.path.display(),
            path.display()
        ))?;
    }
    Ok(())
}

fn list(arguments: &List, console: &mut Console) -> Result<(), Failure> {
    let entries = history::read(&arguments.history)?;
    if arguments.format == Format::Json {
        return console.print_json(&entries);
    }
    let row = |e: &Entry| {
        let median = |name: &str| e.medians.get(name).map_or("-".into(), |m| short(*m));
        vec![
            e.commit.chars().take(12).collect(),
            day(e.added),
            format!("{} on {}", e.submission, e.workload),
            format!("{} of {}", e.reached, e.trials),
            median("steps_to_target"),
            median("seconds_per_step"),
            median("state_bytes"),
            e.verdict.map_or("-".into(), |v| v.to_string()),
        ]
    };
    let header = [
        "commit",
        "added",
        "",
        "reached",
        "steps",
        "s per step",
        "state bytes",
        "verdict",
    ];
    let table = console.table(&header, entries.iter().map(row).collect());
    console.print(table)
}

/// The chosen series.
fn series(choice: &Choice) -> Result<Vec<Series>, Failure> {
    if !(choice.level > 0.0 && choice.level < 1.0) {
        return Err(Failure::Usage(format!(
            "--level {}: give a share between 0 and 1",
            choice.level
        )));
    }
    let chosen = |list: &[String], name: &str| list.is_empty() || list.iter().any(|l| l == name);
    let mut entries = history::read(&choice.history)?;
    entries.retain(|e| {
        chosen(&choice.workloads, &e.workload) && chosen(&choice.submissions, &e.submission)
    });
    if entries.is_empty() {
        return Err(Failure::Usage(format!(
            "{} has no such series; see `velodrome history list`",
            choice.history.display()
        )));
    }
    Ok(history::series(&entries, &choice.metric, choice.level))
}

/// One row for each step.
fn steps(series: &[Series]) -> Vec<Vec<String>> {
    let of = |s: &Series| -> Vec<Vec<String>> {
        let row = |c: &history::Change| {
            vec![
                format!("{} on {}", s.submission, s.workload),
                s.points[c.at - 1].0.chars().take(12).collect(),
                s.points[c.at].0.chars().take(12).collect(),
                change(c.ratio),
                c.p.map_or("certain".into(), |p| format!("p {p:.1e}")),
            ]
        };
        s.changes.iter().map(row).collect()
    };
    series.iter().flat_map(of).collect()
}

fn tell(series: &[Series], metric: &str, console: &mut Console) -> Result<(), Failure> {
    let steps = steps(series);
    if steps.is_empty() {
        let points: usize = series.iter().map(|s| s.points.len()).max().unwrap_or(0);
        return console.print(format!(
            "{metric}: no step in {} series of up to {points} commits\n",
            series.len()
        ));
    }
    let table = console.table(&[metric, "last before", "first after", "change", ""], steps);
    console.print(table)
}

fn changes(arguments: &Changes, console: &mut Console) -> Result<(), Failure> {
    let series = series(&arguments.choice)?;
    match arguments.format {
        Format::Json => console.print_json(&json!({
            "metric": arguments.choice.metric,
            "level": arguments.choice.level,
            "series": series,
        })),
        Format::Text => tell(&series, &arguments.choice.metric, console),
    }
}

fn plot(arguments: &Plot, console: &mut Console) -> Result<(), Failure> {
    let ending = arguments.out.extension().and_then(|e| e.to_str());
    if !matches!(ending, Some("png" | "svg")) {
        return Err(Failure::Usage(format!(
            "{}: the name of a picture ends in .png or .svg",
            arguments.out.display()
        )));
    }
    let choice = &arguments.choice;
    let series = series(choice)?;
    let unit = METRICS
        .iter()
        .find(|m| m.0 == choice.metric)
        .map_or("", |m| m.1);
    charts::write_history(&series, &choice.metric, unit, &arguments.out)?;
    tell(&series, &choice.metric, console)
}

/// Four significant digits.
fn short(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.4e}")
            .parse::<f64>()
            .map_or_else(|_| value.to_string(), |v| v.to_string())
    }
}

/// The day of a Unix time in UTC, as year-month-day.
///
/// Howard Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms", 2014), for days
/// after 1970.
fn day(seconds: f64) -> String {
    let days = (seconds / 86_400.0).max(0.0) as u64 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + 400 * era + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{:02}",
        of_year - (153 * shifted + 2) / 5 + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn run(words: &[&str]) -> (Result<Exit, Failure>, String) {
        let (mut console, out, _) = Console::captured();
        let line = Line::try_parse_from(std::iter::once(&"history").chain(words)).unwrap();
        let exit = execute(line.arguments, &mut console);
        (exit, out.text())
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0.0, "1970-01-01"),
            (951_782_400.0, "2000-02-29"),
            (1_735_689_599.0, "2024-12-31"),
            (1_764_115_200.0, "2025-11-26"),
        ] {
            assert_eq!(day(seconds), expected);
        }
    }

    /// A recorded board, added, listed, searched and drawn.
    #[test]
    fn a_history_grows_and_is_shown() {
        let records = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/results/boards/external-digits/records.parquet"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.parquet");
        let history = file.to_str().unwrap();
        let add = [
            "add",
            history,
            records,
            "--commit",
            "abc123",
            "--verdict",
            "same",
        ];
        assert_eq!(run(&add).0.unwrap(), Exit::Ok);
        let error = run(&add).0.unwrap_err();
        assert_eq!(error.exit(), Exit::Incomparable);
        assert!(error.to_string().contains("abc123"), "{error}");
        let (_, list) = run(&["list", history]);
        assert!(
            list.contains("abc123") && list.contains("adamw on digits_mlp"),
            "{list}"
        );
        let (_, json) = run(&["list", history, "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json[0]["verdict"], "same");
        let (exit, text) = run(&["changes", history, "--metric", "seconds_per_step"]);
        assert_eq!(exit.unwrap(), Exit::Ok);
        assert!(text.contains("no step"), "{text}");
        let picture = folder.path().join("steps.svg");
        let out = picture.to_str().unwrap();
        let (exit, _) = run(&[
            "plot",
            history,
            "--metric",
            "seconds_per_step",
            "-o",
            out,
            "-w",
            "digits_mlp",
            "-s",
            "adamw",
        ]);
        assert_eq!(exit.unwrap(), Exit::Ok);
        assert!(
            std::fs::read_to_string(&picture)
                .unwrap()
                .contains("abc123")
        );
        for wrong in [
            &["plot", history, "-o", "steps.jpeg"][..],
            &["changes", history, "-w", "nothing"],
            &["changes", history, "--level", "0"],
        ] {
            assert_eq!(run(wrong).0.unwrap_err().exit(), Exit::Usage, "{wrong:?}");
        }
    }
}

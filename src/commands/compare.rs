//! `velodrome compare`.

use super::read_runs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::ValueEnum;
use std::fmt::Write;
use std::path::PathBuf;
use velodrome_results::compare::{Answer, CompareOptions, Comparison, Row, Verdict, compare};

/// Compare two runs of one suite, before and after a change
///
/// Trials are paired by workload, submission, hyperparameter point and seeds. Three questions are
/// answered apart, for each row and for the whole: learning (steps to target), speed (seconds per step)
/// and memory (bytes of state, peak). The exit code is the verdict. docs/comparison.md says what the
/// numbers assume.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  velodrome compare runs/main runs/change
  velodrome compare base.parquet runs/change --format markdown > comment.md
  velodrome compare runs/main runs/change --drift 0 --speed 0.02")]
pub(crate) struct Arguments {
    /// The run before the change: a folder, or a file that `velodrome export --records` wrote
    base: PathBuf,
    /// The run after the change
    candidate: PathBuf,
    /// Chance that an unchanged candidate is called regressed anywhere
    #[arg(long, value_name = "P", default_value_t = CompareOptions::default().family_error)]
    family_error: f64,
    /// Coverage of the intervals
    #[arg(long, value_name = "P", default_value_t = CompareOptions::default().confidence)]
    confidence: f64,
    /// Share of more steps to target, or of a worse best metric, that is a change
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().learning)]
    learning: f64,
    /// Share of a longer step that is a change
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().speed)]
    speed: f64,
    /// Share by which the machine may have slowed down or sped up between the runs; 0 for trials that
    /// were interleaved
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().drift)]
    drift: f64,
    /// Share of more bytes of state that is a change
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().memory)]
    memory: f64,
    /// Share of a higher peak of the process that is a change
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().peak)]
    peak: f64,
    /// Compare learning and memory of runs from different machines
    #[arg(long)]
    allow_mixed: bool,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
}

/// The forms of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For a terminal
    Text,
    /// For a pull request
    Markdown,
    /// For programs
    Json,
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    let options = CompareOptions {
        family_error: arguments.family_error,
        confidence: arguments.confidence,
        learning: arguments.learning,
        speed: arguments.speed,
        drift: arguments.drift,
        memory: arguments.memory,
        peak: arguments.peak,
        allow_mixed: arguments.allow_mixed,
        ..CompareOptions::default()
    };
    let runs = read_runs(&[arguments.base, arguments.candidate])?;
    let [base, candidate] = runs.as_slice() else {
        return Err(Failure::Internal(
            "two paths gave other than two runs".into(),
        ));
    };
    let found = compare(base, candidate, &options)?;
    match arguments.format {
        Form::Text => console.print(text(&found, console))?,
        Form::Markdown => console.print(markdown(&found))?,
        Form::Json => console.print_json(&found)?,
    }
    Ok(match found.verdict {
        Verdict::Same | Verdict::Improved => Exit::Ok,
        Verdict::Inconclusive => Exit::Inconclusive,
        Verdict::Regressed => Exit::Regressed,
    })
}

const HEADER: [&str; 6] = ["", "verdict", "measure", "change", "interval", "why"];

/// A ratio as a change in per cent: 1.05 is +5.0 %.
fn change(ratio: f64) -> String {
    format!("{:+.1} %", 100.0 * (ratio - 1.0))
}

fn cells(name: String, answer: &Answer) -> Vec<String> {
    let interval = answer.interval.map(|(low, high)| {
        let (low, high) = (change(low), change(high));
        if low == high {
            low
        } else {
            format!("{low} to {high}")
        }
    });
    vec![
        name,
        answer.verdict.to_string(),
        format!("{} ({})", answer.measure, answer.runs),
        answer.ratio.map_or("-".into(), change),
        interval.unwrap_or("-".into()),
        answer.reason.clone(),
    ]
}

fn whole(found: &Comparison) -> Vec<Vec<String>> {
    let answers = found.answers.iter();
    answers.map(|(q, a)| cells(q.to_string(), a)).collect()
}

/// Workload and submission, and the point where several share them.
fn name(row: &Row, all: &[Row]) -> String {
    let same = |r: &&Row| r.workload == row.workload && r.submission == row.submission;
    let mut name = format!("{} on {}", row.submission, row.workload);
    if all.iter().filter(same).count() > 1 {
        let point: Vec<String> = row
            .point
            .iter()
            .map(|(k, v)| format!("{k} {v:.4e}"))
            .collect();
        let _ = write!(name, " ({})", point.join(", "));
    }
    name
}

/// The answers of the rows that `matters` picks.
fn rows(found: &Comparison, matters: impl Fn(Verdict) -> bool) -> Vec<Vec<String>> {
    let mut cells_of = Vec::new();
    for row in &found.rows {
        for (question, answer) in &row.answers {
            if matters(answer.verdict) {
                let name = format!("{}: {question}", name(row, &found.rows));
                cells_of.push(cells(name, answer));
            }
        }
    }
    cells_of
}

fn is_clear(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Regressed | Verdict::Improved)
}

/// How many rows have changed at all with equal seeds.
fn changed(found: &Comparison) -> String {
    let shared = found.rows.iter().filter_map(|r| r.changed);
    let (all, changed) = shared.fold((0, 0), |(n, c), x| (n + 1, c + u32::from(x)));
    match (all, changed) {
        (0, _) => "No seeds are shared.".into(),
        (_, 0) => "With equal seeds every trial went the same way, to the last digit.".into(),
        _ => format!("With equal seeds {changed} of {all} rows train otherwise than before."),
    }
}

fn text(found: &Comparison, console: &Console) -> String {
    let mut text = format!("{}\n\n", found.verdict.as_str().to_uppercase());
    text += &console.table(&HEADER, whole(found));
    let clear = rows(found, is_clear);
    if !clear.is_empty() {
        text += "\nRows that changed:\n";
        text += &console.table(&HEADER, clear);
    }
    let open = rows(found, |v| v == Verdict::Inconclusive).len();
    let _ = writeln!(text, "\n{}", changed(found));
    if open > 0 {
        let _ = writeln!(
            text,
            "{open} answers about single rows are open; --format json has all."
        );
    }
    for note in &found.notes {
        let _ = writeln!(text, "Note: {}", note.message);
    }
    text
}

fn markdown(found: &Comparison) -> String {
    let table = |rows: Vec<Vec<String>>| {
        let mut text = format!(
            "| {} |\n|{}\n",
            HEADER.join(" | "),
            "---|".repeat(HEADER.len())
        );
        for row in rows {
            let row: Vec<String> = row.iter().map(|c| c.replace('|', "\\|")).collect();
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    };
    let mut text = format!(
        "## Training: {}\n\n{}\n",
        found.verdict,
        table(whole(found))
    );
    let clear = rows(found, is_clear);
    if !clear.is_empty() {
        let _ = writeln!(text, "### Rows that changed\n\n{}", table(clear));
    }
    let _ = writeln!(text, "{}\n", changed(found));
    let rest = rows(found, |v| !is_clear(v));
    if !rest.is_empty() {
        let _ = writeln!(
            text,
            "<details><summary>{} other answers</summary>\n\n{}\n</details>\n",
            rest.len(),
            table(rest)
        );
    }
    for note in &found.notes {
        let _ = writeln!(text, "- {}", note.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn changes_are_signed_shares() {
        assert_eq!(change(1.05), "+5.0 %");
        assert_eq!(change(0.5), "-50.0 %");
        assert_eq!(change(1.0), "+0.0 %");
    }

    /// The committed records of a real board against themselves, in every form.
    #[test]
    fn a_board_against_itself_is_the_same() {
        let records = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/results/boards/external-digits/records.parquet"
        );
        for (form, part) in [
            ("text", "SAME"),
            ("markdown", "## Training: same"),
            ("json", "\"verdict\": \"same\""),
        ] {
            let (mut console, out, _) = Console::captured();
            let line = ["compare", records, records, "--format", form];
            let arguments = Line::try_parse_from(line).unwrap().arguments;
            assert_eq!(execute(arguments, &mut console).unwrap(), Exit::Ok);
            assert!(out.text().contains(part), "{}", out.text());
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }
}

//! The verdict of a comparison as text for people and programs: what `compare` and `race` share.

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::ValueEnum;
use std::fmt::Write;
use std::path::PathBuf;
use velodrome_results::charts;
use velodrome_results::compare::{Answer, CompareOptions, Comparison, Verdict, junit};

/// What counts as a change, and how sure one must be of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Limits {
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
    /// Share of more bytes of state that is a change
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().memory)]
    memory: f64,
    /// Share of a higher peak of the process that is a change
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().peak)]
    peak: f64,
}

impl Limits {
    /// As options of a comparison; the others are the defaults.
    pub(crate) fn options(&self) -> CompareOptions {
        CompareOptions {
            family_error: self.family_error,
            confidence: self.confidence,
            learning: self.learning,
            speed: self.speed,
            memory: self.memory,
            peak: self.peak,
            ..CompareOptions::default()
        }
    }
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
    /// For build servers: JUnit XML
    Junit,
}

/// How a comparison is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Telling {
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
    /// Draw the changes of the rows into this folder, a chart for each question as PNG and SVG
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

impl Telling {
    /// Prints `found`, and draws it where that is asked for.
    pub(crate) fn tell(&self, found: &Comparison, console: &mut Console) -> Result<(), Failure> {
        if let Some(folder) = &self.charts {
            for file in charts::write_changes(found, folder)? {
                console.note(file.display());
            }
        }
        match self.format {
            Form::Text => console.print(text(found, console)),
            Form::Markdown => console.print(markdown(found)),
            Form::Json => console.print_json(found),
            Form::Junit => console.print(junit(found)),
        }
    }
}

/// The exit code of a verdict.
pub(crate) fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Same | Verdict::Improved => Exit::Ok,
        Verdict::Inconclusive => Exit::Inconclusive,
        Verdict::Regressed => Exit::Regressed,
    }
}

const HEADER: [&str; 6] = ["", "verdict", "measure", "change", "interval", "why"];

fn cells(name: String, answer: &Answer) -> Vec<String> {
    vec![
        name,
        answer.verdict.to_string(),
        format!("{} ({})", answer.measure, answer.runs),
        answer.change(),
        answer.interval_words(),
        answer.reason.clone(),
    ]
}

fn whole(found: &Comparison) -> Vec<Vec<String>> {
    let answers = found.answers.iter();
    answers.map(|(q, a)| cells(q.to_string(), a)).collect()
}

/// The answers of the rows that `matters` picks.
fn rows(found: &Comparison, matters: impl Fn(Verdict) -> bool) -> Vec<Vec<String>> {
    let mut cells_of = Vec::new();
    for (row, name) in found.rows.iter().zip(found.names()) {
        for (question, answer) in &row.answers {
            if matters(answer.verdict) {
                cells_of.push(cells(format!("{name}: {question}"), answer));
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

/// Text in Markdown: neither table, nor HTML, nor a new line.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace(['\n', '\r'], " ")
}

fn markdown(found: &Comparison) -> String {
    let table = |rows: Vec<Vec<String>>| {
        let mut text = format!(
            "| {} |\n|{}\n",
            HEADER.join(" | "),
            "---|".repeat(HEADER.len())
        );
        for row in rows {
            let row: Vec<String> = row.iter().map(|c| plain(c)).collect();
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
        let _ = writeln!(text, "- {}", plain(&note.message));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_markdown_stays_text() {
        assert_eq!(plain("<script>|a\nb & c"), "&lt;script>\\|a b &amp; c");
    }

    #[test]
    fn only_a_verdict_against_the_candidate_fails() {
        assert_eq!(exit(Verdict::Same), Exit::Ok);
        assert_eq!(exit(Verdict::Improved), Exit::Ok);
        assert_eq!(exit(Verdict::Inconclusive), Exit::Inconclusive);
        assert_eq!(exit(Verdict::Regressed), Exit::Regressed);
    }
}

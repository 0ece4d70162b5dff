//! A comparison as JUnit XML, which build servers read.

use super::{Answer, Comparison, Question, Verdict};
use crate::xml::escape;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The comparison as JUnit XML: one suite for all rows together and one for the rows, in each a test
/// case for every answer. `regressed` is a failure, `inconclusive` is skipped, and a verdict on the
/// whole that no answer explains (a row that is missing) is a case of its own.
pub fn junit(found: &Comparison) -> String {
    let mut whole: Vec<Case> = cases("all rows", &found.answers);
    if found.answers.values().all(|a| a.verdict < found.verdict) {
        let notes: Vec<&str> = found.notes.iter().map(|n| n.message.as_str()).collect();
        whole.push(Case {
            row: "all rows",
            name: "complete".into(),
            verdict: found.verdict,
            message: "not everything could be compared".into(),
            details: notes.join("\n"),
        });
    }
    let names = found.names();
    let rows = found.rows.iter().zip(&names);
    let rows: Vec<Case> = rows
        .flat_map(|(row, name)| cases(name, &row.answers))
        .collect();
    let suites = [
        ("velodrome compare: whole", whole),
        ("velodrome compare: rows", rows),
    ];
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<&Case> = suites.iter().flat_map(|(_, cases)| cases).collect();
    let _ = writeln!(
        text,
        "<testsuites name=\"velodrome compare\"{}>",
        counts(&all)
    );
    for (name, cases) in &suites {
        let counts = counts(&cases.iter().collect::<Vec<_>>());
        let _ = writeln!(text, "  <testsuite name=\"{name}\"{counts}>");
        cases.iter().for_each(|case| case.write(&mut text));
        text += "  </testsuite>\n";
    }
    text += "</testsuites>\n";
    text
}

struct Case<'a> {
    row: &'a str,
    name: String,
    verdict: Verdict,
    message: String,
    details: String,
}

fn cases<'a>(row: &'a str, answers: &BTreeMap<Question, Answer>) -> Vec<Case<'a>> {
    let case = |(question, answer): (&Question, &Answer)| Case {
        row,
        name: question.to_string(),
        verdict: answer.verdict,
        message: answer.reason.clone(),
        details: answer.to_string(),
    };
    answers.iter().map(case).collect()
}

fn counts(cases: &[&Case<'_>]) -> String {
    let of = |verdict| cases.iter().filter(|c| c.verdict == verdict).count();
    let (failures, skipped) = (of(Verdict::Regressed), of(Verdict::Inconclusive));
    format!(
        " tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"",
        cases.len()
    )
}

impl Case<'_> {
    fn write(&self, text: &mut String) {
        let (row, name) = (escape(self.row), escape(&self.name));
        let (message, details) = (escape(&self.message), escape(&self.details));
        let _ = write!(text, "    <testcase classname=\"{row}\" name=\"{name}\"");
        // Writing to a string cannot fail.
        let _ = match self.verdict {
            Verdict::Regressed => writeln!(
                text,
                ">\n      <failure type=\"regressed\" message=\"{message}\">{details}</failure>\n    \
                 </testcase>"
            ),
            Verdict::Inconclusive => writeln!(
                text,
                ">\n      <skipped message=\"{message}\"/>\n      \
                 <system-out>{details}</system-out>\n    </testcase>"
            ),
            verdict => writeln!(
                text,
                ">\n      <system-out>{verdict}: {details}</system-out>\n    </testcase>"
            ),
        };
    }
}

//! A finding as a table of a file of targets, and the records that it follows from beside it.

use crate::failure::Failure;
use std::fmt::Write;
use std::path::Path;
use velodrome_harness::contract::WorkloadSpec;
use velodrome_harness::targets::{Finding, Outcome, Procedure, Repetition};
use velodrome_results::archive;

/// What a table is made of.
pub(super) struct Entry<'a> {
    pub spec: &'a WorkloadSpec,
    pub finding: &'a Finding,
    pub procedure: &'a Procedure,
    /// Whether the search was over the best points on the base.
    pub given: bool,
}

impl Entry<'_> {
    /// The table, ready for `workloads/targets/BASE.toml`.
    pub(super) fn text(&self) -> String {
        let (spec, finding) = (self.spec, self.finding);
        let direction = match spec.target.direction {
            velodrome_results::Direction::Minimize => "minimize",
            velodrome_results::Direction::Maximize => "maximize",
        };
        let share = match spec.target.trainable_share {
            Some(share) => format!("trainable_share = {share}\n"),
            None => String::new(),
        };
        format!(
            "[{}]\nversion = {}\nmetric = \"{}\"\ndirection = \"{direction}\"\nvalidation = {}\ntest = {}\n{share}\
             budget_work = {}\nbudget_seconds = {:.1}\neval_every_work = {}\neval_batch_size = {}\n\
             step_hint = {}\nbatch_size = {}\nprovenance = \"\"\"\n{}\"\"\"\n",
            finding.workload,
            spec.version,
            spec.target.metric,
            finding.validation,
            finding.test,
            finding.budget_work,
            finding.budget_seconds,
            finding.eval_every_work,
            spec.eval_batch_size,
            spec.hints.steps,
            spec.hints.batch_size,
            self.provenance(),
        )
    }

    /// How the values came about, in lines.
    fn provenance(&self) -> String {
        let (finding, procedure) = (self.finding, self.procedure);
        let mut text = String::new();
        let winner = &finding.winner;
        // Writing to a string cannot fail.
        let searched = if self.given {
            "each at its best point on the base workload".to_string()
        } else {
            format!(
                "at the default and {} quasi-random points each, seed {}",
                procedure.trials, procedure.seed
            )
        };
        let _ = writeln!(
            text,
            "Set by `velodrome targets`: {}, {searched}; {} won and was repeated from {} fresh seeds.",
            procedure.algorithms.join(", "),
            winner.algorithm,
            procedure.seeds
        );
        let point: Vec<String> = winner
            .point
            .0
            .iter()
            .map(|(name, value)| format!("{name} {value:.4e}"))
            .collect();
        let _ = writeln!(text, "Point: {}.", point.join(", "));
        for algorithm in &procedure.algorithms {
            let values: Vec<String> = finding
                .searched
                .iter()
                .filter(|s| s.algorithm == *algorithm)
                .map(|s| s.best.map_or("none".into(), short))
                .collect();
            if !values.is_empty() {
                let _ = writeln!(
                    text,
                    "Best validation of {algorithm}: {}.",
                    values.join(", ")
                );
            }
        }
        let list = |f: &dyn Fn(&Repetition) -> String| -> String {
            let values: Vec<String> = finding.repeated.iter().map(f).collect();
            values.join(", ")
        };
        let _ = writeln!(
            text,
            "Repetitions, best validation: {}; test beside it: {}; work to the target: {}.",
            list(&|r| short(r.validation)),
            list(&|r| short(r.test)),
            list(&|r| r.work_to_target.map_or("missed".into(), |w| w.to_string())),
        );
        let _ = writeln!(
            text,
            "Validation target: their median; test target: the worst of those that reach it. \
             Evaluations cost {:.0} % of the training time.",
            100.0 * finding.evaluation_share
        );
        let records = self.records();
        let _ = writeln!(text, "Records: {}.", records.join(", "));
        text.lines().map(|line| wrapped(line) + "\n").collect()
    }

    /// Names of the files of records, in the folder of target files.
    fn records(&self) -> Vec<String> {
        let name = &self.finding.workload;
        ["search", "repeat"]
            .map(|part| format!("records/{name}.{part}.parquet"))
            .into()
    }

    /// Puts the table into `folder/BASE.toml`, in place of an older one, and the records beside it.
    /// Returns the names of the files.
    pub(super) fn write(&self, folder: &Path, outcome: &Outcome) -> Result<String, Failure> {
        let path = folder.join(format!("{}.toml", self.spec.base));
        let old = if path.exists() {
            std::fs::read_to_string(&path).map_err(|e| failure(&path, "read", e))?
        } else {
            String::new()
        };
        let records = folder.join("records");
        std::fs::create_dir_all(&records).map_err(|e| failure(&records, "create", e))?;
        let mut told = String::new();
        for (name, run) in self
            .records()
            .iter()
            .zip([&outcome.search, &outcome.repeat])
        {
            archive::write(run, &folder.join(name))?;
            let _ = writeln!(told, "{}", folder.join(name).display());
        }
        let text = replaced(&old, &self.finding.workload, &self.text());
        std::fs::write(&path, text).map_err(|e| failure(&path, "write", e))?;
        let _ = writeln!(told, "{}", path.display());
        Ok(told)
    }
}

fn failure(path: &Path, what: &'static str, error: std::io::Error) -> Failure {
    velodrome_results::RecordError::io(path, what, error).into()
}

fn short(x: f64) -> String {
    format!("{x:.4}")
}

/// `old` with the table `[name]` replaced by `table`, or with it at the end.
fn replaced(old: &str, name: &str, table: &str) -> String {
    let header = format!("[{name}]");
    let mut before = String::new();
    let mut after = String::new();
    let mut part = 0;
    for line in old.lines() {
        if line.starts_with('[') {
            part = match part {
                0 if line == header => 1,
                0 => 0,
                _ => 2,
            };
        }
        match part {
            0 => before += &format!("{line}\n"),
            1 => {}
            _ => after += &format!("{line}\n"),
        }
    }
    let mut text = before.trim_end().to_string();
    if !text.is_empty() {
        text += "\n\n";
    }
    text += table;
    if !after.is_empty() {
        text += "\n";
        text += &after;
    }
    text
}

/// Breaks a line behind at most 100 characters, at spaces.
fn wrapped(line: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in line.split(' ') {
        if width > 0 && width + 1 + word.len() > 100 {
            text.push('\n');
            width = 0;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text += word;
        width += word.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_replaced_where_it_stands_or_added_at_the_end() {
        let old = "# words\n\n[a]\nx = 1\n\n[a_b]\nx = 2\n\n[c]\nx = 3\n";
        assert_eq!(
            replaced(old, "a_b", "[a_b]\nx = 9\n"),
            "# words\n\n[a]\nx = 1\n\n[a_b]\nx = 9\n\n[c]\nx = 3\n"
        );
        assert_eq!(
            replaced(old, "d", "[d]\nx = 9\n"),
            format!("{old}\n[d]\nx = 9\n")
        );
        assert_eq!(replaced("", "d", "[d]\n"), "[d]\n");
    }

    #[test]
    fn lines_break_at_spaces() {
        let line = ["word"; 40].join(" ");
        let text = wrapped(&line);
        assert!(text.lines().all(|l| l.len() <= 100));
        assert_eq!(text.replace('\n', " "), line);
    }
}

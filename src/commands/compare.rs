//! `velodrome compare`.

use super::read_runs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::verdict::{self, Limits, Telling};
use std::path::PathBuf;
use velodrome_results::compare::{CompareOptions, compare};
use velodrome_results::trace::Trace;

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
  velodrome compare base.parquet runs/change --format junit > verdict.xml
  velodrome compare runs/main runs/change --drift 0 --speed 0.02")]
pub(crate) struct Arguments {
    /// The run before the change: a folder, or a file that `velodrome export --records` wrote
    base: PathBuf,
    /// The run after the change
    candidate: PathBuf,
    #[command(flatten)]
    limits: Limits,
    /// Share by which the machine may have slowed down or sped up between the runs; 0 for trials that
    /// were interleaved
    #[arg(long, value_name = "SHARE", default_value_t = CompareOptions::default().drift)]
    drift: f64,
    /// Compare learning and memory of runs from different machines
    #[arg(long)]
    allow_mixed: bool,
    #[command(flatten)]
    telling: Telling,
}

pub(crate) fn execute(arguments: Arguments, console: &mut Console) -> Result<Exit, Failure> {
    let options = CompareOptions {
        drift: arguments.drift,
        allow_mixed: arguments.allow_mixed,
        ..arguments.limits.options()
    };
    let runs = read_runs::<Trace>(&[arguments.base, arguments.candidate])?;
    let [base, candidate] = runs.as_slice() else {
        return Err(Failure::Internal(
            "two paths gave other than two runs".into(),
        ));
    };
    let found = compare(base, candidate, &options)?;
    arguments.telling.tell(&found, console)?;
    Ok(verdict::exit(found.verdict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

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
            ("junit", "failures=\"0\" errors=\"0\" skipped=\"0\""),
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

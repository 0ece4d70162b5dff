//! The table `evals`: one row per evaluation.

use super::TableError;
use super::frame::Frame;
use crate::measures::Measures;
use crate::record::{EvalRecord, TrialRecord};
use crate::run::Run;
use polars::prelude::DataFrame;
use std::collections::BTreeSet;
use std::path::Path;

struct Row<'a> {
    run: &'a Path,
    trial: &'a TrialRecord,
    eval: &'a EvalRecord,
}

/// Reads the measures of one split.
type Split = fn(&EvalRecord) -> &Measures;

const SPLITS: [(&str, Split); 3] = [
    ("train", |e| &e.train),
    ("validation", |e| &e.validation),
    ("test", |e| &e.test),
];

/// One row per evaluation of the runs: the trial's identity, `n`, `step`, `work` (examples),
/// `clock` and `wall` (seconds), and one column `SPLIT.MEASURE` per measure that occurs.
///
/// # Errors
/// [`TableError::Encode`].
pub fn evals_frame(runs: &[Run]) -> Result<DataFrame, TableError> {
    let rows: Vec<Row<'_>> = runs
        .iter()
        .flat_map(|run| run.trials.iter().map(move |trial| (run, trial)))
        .flat_map(|(run, trial)| {
            trial.evals.iter().map(move |eval| Row {
                run: &run.path,
                trial: &trial.record,
                eval,
            })
        })
        .collect();
    let mut frame = Frame::new(&rows);
    frame.words("run", |r| Some(r.run.display().to_string()));
    frame.text("id", |r| &r.trial.id);
    frame.text("workload", |r| &r.trial.workload);
    frame.text("submission", |r| &r.trial.submission);
    frame.count("study", |r| r.trial.study.into());
    frame.count("trial", |r| r.trial.trial.into());
    frame.count("n", |r| r.eval.n);
    frame.count("step", |r| r.eval.step);
    frame.count("work", |r| r.eval.work);
    frame.real("clock", |r| r.eval.clock);
    frame.real("wall", |r| r.eval.wall);
    for (split, measures) in SPLITS {
        let names: BTreeSet<&String> = rows.iter().flat_map(|r| measures(r.eval).keys()).collect();
        for name in names {
            frame.maybe_real(&format!("{split}.{name}"), |r| {
                measures(r.eval).get(name).copied()
            });
        }
    }
    frame.finish("evals")
}

//! A trial as a comparison sees it.

use crate::record::TrialRecord;
use crate::run::{Run, Trial};
use crate::trace::{Evaluation, Trace};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A trial's record, and a trace of its evaluations.
#[derive(Clone, Copy)]
pub(super) struct Ride<'a> {
    path: &'a Path,
    pub record: &'a TrialRecord,
    course: Trace,
}

impl<'a> Ride<'a> {
    fn new<E: Evaluation>(trial: &'a Trial<E>) -> Self {
        Self {
            path: &trial.path,
            record: &trial.record,
            course: Trace::of_all(&trial.evals),
        }
    }

    /// Where the record lies.
    pub fn file(&self) -> PathBuf {
        self.path.join("trial.json")
    }

    /// Whether two trials went the same way: everything but times.
    pub fn is_like(&self, other: &Self) -> bool {
        self.record.status == other.record.status && self.course == other.course
    }
}

/// The trials of a run.
pub(super) fn rides<E: Evaluation>(run: &Run<E>) -> Vec<Ride<'_>> {
    // Evaluations in full have yet to be hashed.
    let trials = run.trials.par_iter().with_min_len(100);
    trials.map(Ride::new).collect()
}

//! The score of a log tree as JSON.

use super::LogScore;
use super::finding::LogFinding;
use super::sensitivity::{self, LeftOut};
use crate::record::Status;
use crate::score::{Cell, Matrix, profile};
use crate::tables::TableError;
use serde::Serialize;
use serde::ser::Serializer;
use std::collections::BTreeMap;
use std::path::Path;

/// A time or ratio: a number, `"inf"` where the target was not reached, `null` where absent.
#[derive(Debug, Clone, Copy)]
struct Value(Cell);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(x) if x.is_finite() => s.serialize_f64(x),
            Some(x) if x.is_nan() => s.serialize_str("nan"),
            Some(x) if x < 0.0 => s.serialize_str("-inf"),
            Some(_) => s.serialize_str("inf"),
            None => s.serialize_none(),
        }
    }
}

type Row<'a> = BTreeMap<&'a str, Value>;

#[derive(Serialize)]
struct Submission<'a> {
    submission: &'a str,
    score: f64,
    score_exact: f64,
    rank: usize,
    ruleset: &'static str,
    policy: &'static str,
    integration: String,
    score_interval: Option<(f64, f64)>,
    rank_interval: Option<(usize, usize)>,
    rank_leave_one_out: Option<(usize, usize)>,
    times: Row<'a>,
    after_base_to_heldout: Row<'a>,
    after_4x: Row<'a>,
    after_rules: Row<'a>,
    ratios: Row<'a>,
    profile: Vec<(f64, f64)>,
    time_ratio_to_reference: Option<Row<'a>>,
    time_ratio: Option<f64>,
    speed_up: Option<f64>,
    reference: Option<&'a str>,
    step_times: Row<'a>,
    workloads: BTreeMap<&'a str, Workload>,
    sensitivity: Vec<Change<'a>>,
    trials: Vec<Trial<'a>>,
    findings: Vec<&'a LogFinding>,
    assumed: &'a [String],
}

#[derive(Serialize)]
struct Workload {
    time: Value,
    time_after_rules: Value,
    ratio: Value,
    held_out: bool,
    metric: String,
    target: f64,
    step_hint: Option<u64>,
    step_time: Value,
    statuses: BTreeMap<&'static str, usize>,
    studies: Vec<Study>,
}

#[derive(Serialize)]
struct Study {
    study: u32,
    trial: Option<u32>,
    time: Value,
    steps: Option<u64>,
    status: Status,
}

#[derive(Serialize)]
struct Change<'a> {
    #[serde(flatten)]
    change: &'a LeftOut,
    score: Option<f64>,
    rank: Option<usize>,
    difference: Option<f64>,
    order_kept: Option<f64>,
}

#[derive(Serialize)]
struct Trial<'a> {
    study: u32,
    workload: &'a str,
    framework: &'a str,
    trial: u32,
    path: &'a Path,
    status: Status,
    reason: Option<&'a str>,
    evaluations: usize,
    target_reached: bool,
    time_to_target: Value,
    index_to_target: Option<u64>,
    step_to_target: Option<u64>,
    best_metric: Value,
    time_to_best: Value,
    last_time: Value,
    last_step: Option<u64>,
}

impl LogScore<'_> {
    /// An array with one object per submission, best first: `submission`, `score`, `rank`, the
    /// maps `times` (raw), `after_rules` and `ratios` from workload to a number of seconds or a
    /// ratio, `"inf"` (not reached) or `null` (absent); the same per workload with its studies and
    /// statuses in `workloads`; every trial, every finding, and what was assumed. Findings that
    /// concern no submission are in the first object.
    ///
    /// # Errors
    /// [`TableError::Json`].
    pub fn json(&self) -> Result<String, TableError> {
        let order = self.order();
        let objects: Vec<Submission<'_>> = order
            .iter()
            .enumerate()
            .map(|(place, &s)| self.object(s, place == 0))
            .collect();
        Ok(serde_json::to_string_pretty(&objects)? + "\n")
    }

    fn name(&self, w: usize) -> &str {
        &self.logs.targets.workloads[w].name
    }

    fn row(&self, matrix: &Matrix, s: usize) -> Row<'_> {
        let cells = matrix[s].iter().enumerate();
        cells
            .map(|(w, cell)| (self.name(w), Value(*cell)))
            .collect()
    }

    fn object(&self, s: usize, first: bool) -> Submission<'_> {
        let (logs, scored) = (self.logs, &self.scored);
        let name = logs.submissions[s].as_str();
        let speed_up = self.speed_ups.as_ref().map(|all| &all[s]);
        let mine = |f: &&LogFinding| match &f.submission {
            Some(of) if logs.submissions.contains(of) => of == name,
            // A folder without any trial is no submission of the board.
            _ => first,
        };
        let ratios = |cells: &[Cell]| -> Row<'_> {
            let cells = cells.iter().enumerate();
            cells
                .map(|(w, cell)| (self.name(w), Value(*cell)))
                .collect()
        };
        Submission {
            submission: name,
            score: scored.scores[s],
            score_exact: self.exact[s],
            rank: scored.ranks[s],
            ruleset: logs.ruleset.as_str(),
            policy: self.options.policy.as_str(),
            integration: self.options.integration.to_string(),
            score_interval: self.intervals.as_ref().map(|i| i[s].score),
            rank_interval: self.intervals.as_ref().map(|i| i[s].rank),
            rank_leave_one_out: self.rank_left_out.as_ref().map(|r| r[s]),
            times: self.row(&self.times, s),
            after_base_to_heldout: self.row(&scored.stages.after_base, s),
            after_4x: self.row(&scored.stages.after_limit, s),
            after_rules: self.row(&scored.stages.after_rules, s),
            ratios: self.row(&scored.ratios, s),
            profile: profile::steps(&scored.ratios[s])
                .into_iter()
                .filter(|(tau, _)| *tau <= sensitivity::LIMIT)
                .collect(),
            time_ratio_to_reference: speed_up.map(|x| ratios(&x.time_ratios)),
            time_ratio: speed_up.and_then(|x| x.time_ratio),
            speed_up: speed_up.and_then(super::SpeedUp::speed_up),
            reference: self.reference.map(|r| logs.submissions[r].as_str()),
            step_times: self.row(&self.step_times, s),
            workloads: (0..logs.targets.workloads.len())
                .map(|w| (self.name(w), self.workload(s, w)))
                .collect(),
            sensitivity: self
                .variations
                .iter()
                .map(|v| Change {
                    change: &v.change,
                    score: v.scores[s],
                    rank: v.ranks[s],
                    difference: v.scores[s].map(|x| x - scored.scores[s]),
                    order_kept: sensitivity::agreement(&scored.scores, &v.scores),
                })
                .collect(),
            trials: self.trial_rows(name),
            findings: logs.findings.iter().filter(mine).collect(),
            assumed: &logs.assumed,
        }
    }

    fn workload(&self, s: usize, w: usize) -> Workload {
        let target = &self.logs.targets.workloads[w];
        let base = w < self.logs.targets.base;
        let study = |r: crate::board::StudyResult| {
            let counted = self.studies.cells[s][w].iter().find(|t| t.study == r.study);
            Study {
                study: r.study,
                trial: r.time.map(|_| r.trial),
                time: Value(counted.map(|t| t.time)),
                steps: r.steps,
                status: r.status,
            }
        };
        Workload {
            time: Value(self.times[s][w]),
            time_after_rules: Value(self.scored.stages.after_limit[s][w])
                .or_final(base.then(|| self.scored.stages.after_rules[s][w])),
            ratio: Value(if base { self.scored.ratios[s][w] } else { None }),
            held_out: !base,
            metric: target.metric.clone(),
            target: target.target,
            step_hint: target.step_hint,
            step_time: Value(self.step_times[s][w]),
            statuses: self
                .statuses(s, w)
                .into_iter()
                .map(|(k, n)| (k.as_str(), n))
                .collect(),
            studies: self.study_results(s, w).into_iter().map(study).collect(),
        }
    }

    fn trial_rows(&self, submission: &str) -> Vec<Trial<'_>> {
        let mine = self
            .logs
            .trials
            .iter()
            .filter(|t| t.folder.submission == submission);
        mine.map(|t| {
            let evals = t.evals.as_ref();
            let reached = evals.and_then(|e| e.reached);
            let best = evals.and_then(|e| e.best);
            Trial {
                study: t.folder.study,
                workload: self.name(t.folder.workload),
                framework: t.folder.framework,
                trial: t.folder.trial,
                path: &t.folder.path,
                status: t.status,
                reason: t.reason.as_deref(),
                evaluations: evals.map_or(0, |e| e.rows),
                target_reached: reached.is_some(),
                time_to_target: Value(evals.map(|_| reached.map_or(f64::INFINITY, |r| r.time))),
                index_to_target: reached.map(|r| r.index),
                step_to_target: reached.and_then(|r| r.steps),
                best_metric: Value(best.map(|b| b.0)),
                time_to_best: Value(best.map(|b| b.1)),
                last_time: Value(evals.and_then(|e| e.last_clock)),
                last_step: evals.and_then(|e| e.last_step),
            }
        })
        .collect()
    }
}

impl Value {
    /// The value after the last rule, where there is one.
    fn or_final(self, last: Option<Cell>) -> Self {
        last.map_or(self, Value)
    }
}

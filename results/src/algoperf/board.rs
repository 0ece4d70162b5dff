//! The score of a log tree as a board, which the charts and the report read.

use super::LogScore;
use super::trial::LogTrial;
use crate::board::{Board, BoardCell, BoardRow, BoardWorkload, StudyResult};
use crate::record::Status;
use crate::score::{Cell, median};
use std::cmp::Ordering;
use std::collections::BTreeMap;

impl LogScore<'_> {
    /// The board: the workloads that are scored, best submission first.
    pub fn board(&self) -> Board {
        let targets = &self.logs.targets;
        let workload = |w: usize| {
            let t = &targets.workloads[w];
            BoardWorkload {
                name: t.name.clone(),
                metric: t.metric.clone(),
                direction: t.direction,
                target: t.target,
                best_time: self.scored.best[w].filter(|t| t.is_finite()),
            }
        };
        let row = |s: usize| BoardRow {
            submission: self.logs.submissions[s].clone(),
            rank: self.scored.ranks[s],
            score: self.scored.scores[s],
            score_interval: self.intervals.as_ref().map(|i| i[s].score),
            rank_interval: self.intervals.as_ref().map(|i| i[s].rank),
            rank_leave_one_out: self.rank_left_out.as_ref().map(|r| r[s]),
            cells: (0..targets.base).map(|w| self.cell(s, w)).collect(),
        };
        Board {
            title: format!("AlgoPerf logs in {}", self.logs.root.display()),
            ruleset: self.logs.ruleset.to_string(),
            method: self.method(),
            workloads: (0..targets.base).map(workload).collect(),
            rows: self.order().into_iter().map(row).collect(),
            notes: self.notes(),
        }
    }

    /// The trials of a cell, unreadable ones included.
    pub(super) fn trials(&self, s: usize, w: usize) -> impl Iterator<Item = &LogTrial> {
        self.cells[s][w].iter().map(|&i| &self.logs.trials[i])
    }

    /// How many trials of a cell ended how.
    pub(super) fn statuses(&self, s: usize, w: usize) -> Vec<(Status, usize)> {
        let count = |status| self.trials(s, w).filter(|t| t.status == status).count();
        let counts = Status::ALL
            .into_iter()
            .map(|status| (status, count(status)));
        counts.filter(|(_, n)| *n > 0).collect()
    }

    fn cell(&self, s: usize, w: usize) -> BoardCell {
        let finite = |cell: Cell| cell.filter(|x| x.is_finite());
        let studies = self.study_results(s, w);
        let steps = self.studies.cells[s][w].iter().map(|study| {
            let reach = study.row.and_then(|i| self.table.trials[i].reached);
            reach
                .and_then(|r| r.steps)
                .map_or(f64::INFINITY, |n| n as f64)
        });
        BoardCell {
            tuning: None,
            time: finite(self.times[s][w]),
            ratio: finite(self.scored.ratios[s][w]),
            steps: finite(median(steps.collect())),
            studies,
            statuses: self.statuses(s, w),
        }
    }

    /// The trial that stands for each study. A study of which no trial could be read has no part
    /// in the median, but is shown as what it is: crashed.
    pub(super) fn study_results(&self, s: usize, w: usize) -> Vec<StudyResult> {
        let mut by_study: BTreeMap<u32, Vec<&LogTrial>> = BTreeMap::new();
        for trial in self.trials(s, w) {
            by_study.entry(trial.folder.study).or_default().push(trial);
        }
        let direction = self.logs.targets.workloads[w].direction;
        let best = |t: &LogTrial| {
            let best = t.evals.as_ref().and_then(|e| e.best);
            best.map_or(f64::NAN, |b| b.0)
        };
        let order = |a: &&&LogTrial, b: &&&LogTrial| {
            let (a, b) = (best(a), best(b));
            match (direction.better(a, b), direction.better(b, a)) {
                (true, _) => Ordering::Less,
                (_, true) => Ordering::Greater,
                _ => Ordering::Equal,
            }
        };
        let result = |(study, trials): (u32, Vec<&LogTrial>)| {
            let selected = self.studies.cells[s][w]
                .iter()
                .find(|t| t.study == study)
                .and_then(|t| t.row)
                .map(|row| &self.logs.trials[self.rows[row]]);
            // `min_by` keeps the first among equals, which has the lowest number.
            let trial = selected.or_else(|| trials.iter().min_by(order).copied())?;
            let reach = trial.evals.as_ref().and_then(|e| e.reached);
            Some(StudyResult {
                study,
                trial: trial.folder.trial,
                time: reach.map(|r| r.time),
                steps: reach.and_then(|r| r.steps),
                status: trial.status,
            })
        };
        by_study.into_iter().filter_map(result).collect()
    }

    /// How the score was computed.
    fn method(&self) -> String {
        let logs = self.logs;
        let held: Vec<&str> = logs
            .targets
            .held_out
            .iter()
            .map(|h| logs.targets.workloads[h.workload].name.as_str())
            .collect();
        let held = if held.is_empty() {
            "No held-out workloads".to_string()
        } else {
            format!(
                "Held-out workloads, which a submission must also solve for its time on their base \
                 to count: {}",
                held.join(", ")
            )
        };
        format!(
            "Comparison set: {} submissions ({}) on {} workloads; ruleset \
             {}. Policy {}: {}; a cell is the median over the studies that exist. {held}. A time \
             over 4 times the best of its workload counts as not reached. Score: area under the \
             performance profile from ratio 1 to 4, over 3 (integration {}). Intervals: {} % \
             percentile bootstrap over studies, {} resamples, seed {}.",
            logs.submissions.len(),
            logs.submissions.join(", "),
            logs.targets.base,
            logs.ruleset,
            self.options.policy,
            self.options.policy.in_words(),
            self.options.integration,
            self.options.bootstrap.confidence * 100.0,
            self.options.bootstrap.resamples,
            self.options.bootstrap.seed,
        )
    }

    /// Assumptions, and one line per kind of finding.
    fn notes(&self) -> Vec<String> {
        let mut kinds: BTreeMap<&str, (usize, String)> = BTreeMap::new();
        for finding in &self.logs.findings {
            let entry = kinds.entry(finding.kind.as_str());
            let first = || {
                (
                    0,
                    format!("{}: {}", finding.path.display(), finding.message),
                )
            };
            entry.or_insert_with(first).0 += 1;
        }
        let assumed = self.logs.assumed.iter().map(|a| format!("Assumed: {a}"));
        let found = kinds.into_iter().map(|(kind, (count, first))| {
            format!("Finding {kind}, {count} in all; the first: {first}")
        });
        assumed.chain(found).collect()
    }
}

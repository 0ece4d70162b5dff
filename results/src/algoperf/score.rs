//! Times, rules, scores, speed-ups and step times of a log tree.

use super::sensitivity::{self, Variation};
use super::{LogError, Logs, Ruleset};
use crate::bootstrap::{self, BootstrapOptions, Interval};
use crate::score::{
    self, Cell, Integration, Matrix, Options, Policy, Rules, Scored, StudyTimes, Table, TrialRow,
    median, profile,
};

/// How to score logs.
#[derive(Debug, Clone, PartialEq)]
pub struct LogScoreOptions {
    /// Which trial of a study counts. The default, the fastest, reproduces every published score.
    pub policy: Policy,
    /// How the area under the profile is computed. The default is the official trapezoid rule on
    /// 100 points.
    pub integration: Integration,
    /// The bootstrap intervals.
    pub bootstrap: BootstrapOptions,
    /// The submission to which speed-ups are related; `baseline` where there is one.
    pub reference: Option<String>,
}

impl Default for LogScoreOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            integration: Integration::Trapezoid(100),
            bootstrap: BootstrapOptions::default(),
            reference: None,
        }
    }
}

/// One submission's times against the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeedUp {
    /// Time over the reference's time, per scored workload; absent where either is, or where a
    /// time that was not reached has no budget to stand for it.
    pub time_ratios: Vec<Cell>,
    /// Their geometric mean: less than 1 is faster. `None` where any ratio is absent.
    pub time_ratio: Option<f64>,
}

impl SpeedUp {
    /// How many times as fast as the reference: the reciprocal of [`Self::time_ratio`].
    pub fn speed_up(&self) -> Option<f64> {
        self.time_ratio.map(|r| 1.0 / r)
    }
}

/// The score of a log tree. Rows are the submissions of the logs, in their order; columns are the
/// workloads of the targets, the scored ones first.
#[derive(Debug, Clone)]
pub struct LogScore<'a> {
    /// The logs.
    pub logs: &'a Logs,
    /// How they were scored.
    pub options: LogScoreOptions,
    /// The trials that were read, as rows.
    pub table: Table,
    /// For each row of the table, the trial's position in [`Logs::trials`].
    pub(super) rows: Vec<usize>,
    /// Positions in [`Logs::trials`], by submission and workload.
    pub(super) cells: Vec<Vec<Vec<usize>>>,
    /// The study times.
    pub studies: StudyTimes,
    /// Medians over studies: the raw times to target.
    pub times: Matrix,
    /// Rules, ratios, scores and ranks.
    pub scored: Scored,
    /// Scores by the exact integral.
    pub exact: Vec<f64>,
    /// Bootstrap intervals over studies; `None` with fewer than 2 studies.
    pub intervals: Option<Vec<Interval>>,
    /// Ranks when any one other submission is left out; `None` for a lone submission.
    pub rank_left_out: Option<Vec<(usize, usize)>>,
    /// Scores with one submission, workload or study left out, and with smaller budgets.
    pub variations: Vec<Variation>,
    /// Position of the submission to which speed-ups are related.
    pub reference: Option<usize>,
    /// Speed-ups, where there is a reference.
    pub speed_ups: Option<Vec<SpeedUp>>,
    /// Median seconds per step.
    pub step_times: Matrix,
}

impl Logs {
    /// Scores the logs.
    ///
    /// # Errors
    /// [`LogError::Submission`] when the reference is not in the logs; [`LogError::Score`] for a
    /// setting outside its range.
    pub fn score(&self, options: &LogScoreOptions) -> Result<LogScore<'_>, LogError> {
        let (table, rows) = self.table();
        let scoring = self.scoring(options);
        let studies = table.study_times(options.policy)?;
        let times = studies.medians();
        let scored = score::score_times(&times, &scoring)?;
        let exact = scored
            .ratios
            .iter()
            .map(|r| profile::score(r, Integration::Exact))
            .collect::<Result<_, _>>()?;
        let reference = self.reference(options.reference.as_deref())?;
        let (intervals, variations) = rayon::join(
            || bootstrap::bootstrap(&studies, &scoring, &options.bootstrap),
            || sensitivity::all(self, &table, &studies, &scoring),
        );
        Ok(LogScore {
            logs: self,
            rank_left_out: bootstrap::leave_one_submission_out(&times, &scoring)?,
            intervals: intervals?,
            variations: variations?,
            speed_ups: reference.map(|r| self.speed_ups(&times, r)),
            step_times: self.step_times(),
            options: options.clone(),
            reference,
            cells: self.cells(),
            table,
            rows,
            studies,
            times,
            scored,
            exact,
        })
    }

    /// The settings of the scorer.
    fn scoring(&self, options: &LogScoreOptions) -> Options {
        Options {
            policy: options.policy,
            integration: options.integration,
            rules: Rules {
                held_out: self.targets.held_out.clone(),
                ..Rules::default()
            },
        }
    }

    fn position(&self, submission: &str) -> Option<usize> {
        self.submissions.iter().position(|s| s == submission)
    }

    fn cells(&self) -> Vec<Vec<Vec<usize>>> {
        let mut cells =
            vec![vec![Vec::new(); self.targets.workloads.len()]; self.submissions.len()];
        for (i, trial) in self.trials.iter().enumerate() {
            if let Some(s) = self.position(&trial.folder.submission) {
                cells[s][trial.folder.workload].push(i);
            }
        }
        cells
    }

    /// The trials that were read, as a plain table.
    fn table(&self) -> (Table, Vec<usize>) {
        let mut rows = Vec::new();
        let mut table = Table {
            submissions: self.submissions.clone(),
            workloads: self.targets.names(),
            trials: Vec::new(),
        };
        for (i, trial) in self.trials.iter().enumerate() {
            let (Some(evals), Some(submission)) =
                (&trial.evals, self.position(&trial.folder.submission))
            else {
                continue;
            };
            rows.push(i);
            table.trials.push(TrialRow {
                submission,
                workload: trial.folder.workload,
                study: trial.folder.study,
                trial: trial.folder.trial,
                status: trial.status,
                reached: evals.reached,
            });
        }
        (table, rows)
    }

    fn reference(&self, wanted: Option<&str>) -> Result<Option<usize>, LogError> {
        match wanted {
            None => Ok(self.position("baseline")),
            Some(name) => self
                .position(name)
                .map(Some)
                .ok_or_else(|| LogError::Submission {
                    name: name.to_string(),
                    known: self.submissions.join(", "),
                }),
        }
    }

    fn speed_ups(&self, times: &Matrix, reference: usize) -> Vec<SpeedUp> {
        let self_tuning = self.ruleset == Ruleset::SelfTuning;
        let time = |s: usize, w: usize| -> Cell {
            let time = times[s][w]?;
            if time.is_finite() {
                return Some(time);
            }
            self.budgets
                .penalty(&self.targets.workloads[w].name, self_tuning)
        };
        (0..times.len())
            .map(|s| {
                let ratio = |w: usize| Some(time(s, w)? / time(reference, w)?);
                let time_ratios: Vec<Cell> = (0..self.targets.base).map(ratio).collect();
                let logs: Option<Vec<f64>> = time_ratios.iter().map(|r| r.map(f64::ln)).collect();
                let mean = |logs: Vec<f64>| (logs.iter().sum::<f64>() / logs.len() as f64).exp();
                SpeedUp {
                    time_ratio: logs.map(mean),
                    time_ratios,
                }
            })
            .collect()
    }

    fn step_times(&self) -> Matrix {
        let mut all = vec![vec![Vec::new(); self.targets.workloads.len()]; self.submissions.len()];
        for trial in &self.trials {
            if let (Some(evals), Some(s)) = (&trial.evals, self.position(&trial.folder.submission))
            {
                all[s][trial.folder.workload].extend(&evals.step_times);
            }
        }
        let row = |row: Vec<Vec<f64>>| row.into_iter().map(median).collect();
        all.into_iter().map(row).collect()
    }
}

impl LogScore<'_> {
    /// The submissions' positions, best first; ties keep the order of the logs.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.logs.submissions.len()).collect();
        order.sort_by_key(|s| self.scored.ranks[*s]);
        order
    }
}

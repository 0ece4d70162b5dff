//! Scores: from a plain table of trials to study times, ratios, the performance profile and ranks.
//!
//! The procedure is AlgoPerf's (Dahl et al., "Benchmarking Neural Network Training Algorithms",
//! arXiv:2306.07179, section 4.2, and its competition rules), after the performance profiles of
//! Dolan and Moré (arXiv:cs/0102001). Its steps, each a function of its own:
//!
//! 1. [`Table::study_times`]: one time per (submission, workload, study), by a [`Policy`];
//! 2. [`StudyTimes::medians`]: the median over the studies that exist;
//! 3. [`Rules::apply`]: held-out workloads and the limit of four times the best time;
//! 4. [`profile::ratios`]: time over the best time of the workload;
//! 5. [`profile::score`]: area under the performance profile between ratios 1 and 4;
//! 6. [`profile::ranks`].
//!
//! **Absent is not infinite.** A [`Cell`] is `None` where there is no trial to judge (not raced,
//! unreadable), and `Some(f64::INFINITY)` where a trial was raced and did not reach the target.
//! Both contribute nothing to a score, but a median, a rule or a reader must tell them apart.
//!
//! Nothing here knows where the trials came from: our own records and foreign logs meet here.

mod policy;
pub mod profile;
mod rules;
mod table;

pub use policy::{Integration, Policy, UnknownName};
pub use rules::{HeldOut, Rules, Stages};
pub use table::{Reach, ScoreError, StudyTime, StudyTimes, Table, TrialRow, median};

/// A time or ratio: `None` is absent, `Some(f64::INFINITY)` is raced but not reached.
pub type Cell = Option<f64>;

/// Cells by submission, then by workload.
pub type Matrix = Vec<Vec<Cell>>;

/// How to score: the defaults are the fastest trial by time, no held-out workloads, the limit of
/// four times the best, and the exact integral.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// Which trial of a study counts.
    pub policy: Policy,
    /// How the area under the profile is computed.
    pub integration: Integration,
    /// What is done to the times before the ratios.
    pub rules: Rules,
}

/// What [`score_times`] computes. Rows are submissions in the table's order; the columns of
/// [`Self::best`] and [`Self::ratios`] are [`Self::columns`].
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The workloads that count (all but the held-out ones), as columns of the table.
    pub columns: Vec<usize>,
    /// The times after each rule.
    pub stages: Stages,
    /// Best time of each workload that counts, after the rules.
    pub best: Vec<Cell>,
    /// Time over best time.
    pub ratios: Matrix,
    /// Score in 0..=1.
    pub scores: Vec<f64>,
    /// Rank from 1; equal scores share a rank.
    pub ranks: Vec<usize>,
}

/// Scores a matrix of times in seconds (submission x workload, held-out workloads included).
///
/// # Errors
/// [`ScoreError`] when rows differ in length, a time is NaN or negative, a rule names a column
/// that is not there, or the integration has fewer than 2 points.
pub fn score_times(times: &Matrix, options: &Options) -> Result<Scored, ScoreError> {
    check(times)?;
    let workloads = times.first().map_or(0, Vec::len);
    let columns = options.rules.columns(workloads);
    let stages = options.rules.apply(times)?;
    let best = profile::best(&stages.after_rules);
    let ratios = profile::ratios(&stages.after_rules, &best);
    let scores = ratios
        .iter()
        .map(|row| profile::score(row, options.integration))
        .collect::<Result<Vec<_>, _>>()?;
    let ranks = profile::ranks(&scores);
    Ok(Scored {
        columns,
        stages,
        best,
        ratios,
        scores,
        ranks,
    })
}

fn check(times: &Matrix) -> Result<(), ScoreError> {
    let width = times.first().map_or(0, Vec::len);
    for (submission, row) in times.iter().enumerate() {
        if row.len() != width {
            return Err(ScoreError::Shape {
                submission,
                found: row.len(),
                expected: width,
            });
        }
        if let Some((workload, time)) = row
            .iter()
            .enumerate()
            .find_map(|(w, t)| t.filter(|t| t.is_nan() || *t < 0.0).map(|t| (w, t)))
        {
            return Err(ScoreError::Time {
                place: format!("submission {submission}, workload {workload}"),
                time,
            });
        }
    }
    Ok(())
}

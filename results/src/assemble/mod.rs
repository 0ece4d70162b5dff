//! From runs to a board.
//!
//! A board is a claim, so this is where runs are refused that cannot stand side by side: other
//! rulesets or cadences always, other machines, builds, targets or budgets unless the reader asks
//! for it (and then the board says so). What is missing, damaged, still running or broken becomes
//! a note or a cell with a status, never a hole.

mod cells;
mod checks;
mod collect;

pub(crate) use checks::{Value, machine_fields, setting_fields};

use crate::board::{Board, BoardRow, BoardWorkload};
use crate::bootstrap::{self, BootstrapOptions};
use crate::record::Target;
use crate::run::Run;
use crate::score::{self, HeldOut, Integration, Policy, Rules, ScoreError, StudyTimes, Table};
use collect::Collected;
use std::path::PathBuf;

/// How to make a board.
#[derive(Debug, Clone, PartialEq)]
pub struct AssembleOptions {
    /// Which trial of a study counts.
    pub policy: Policy,
    /// How the area under the profile is computed.
    pub integration: Integration,
    /// A time over this many times the best of its workload counts as not reached.
    pub limit: Option<f64>,
    /// Names of held-out workloads: variants on which a submission must succeed for its time on
    /// the base workload to count, and which are not scored themselves. Where none are named, those
    /// that the runs say.
    pub held_out: Vec<String>,
    /// The intervals.
    pub bootstrap: BootstrapOptions,
    /// Accept different machines, builds, targets and budgets, and note them on the board.
    pub allow_mixed: bool,
}

impl Default for AssembleOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            integration: Integration::default(),
            limit: Rules::default().limit,
            held_out: Vec::new(),
            bootstrap: BootstrapOptions::default(),
            allow_mixed: false,
        }
    }
}

/// Why runs cannot become a board.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// There is nothing to score.
    #[error("{}: no trial has been raced yet; start or resume it with `velodrome run`",
        paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))]
    Empty {
        /// The runs.
        paths: Vec<PathBuf>,
    },
    /// Two runs follow different rules, which no option can reconcile.
    #[error(
        "field `{field}` is \"{first}\" in {first_path}, but \"{second}\" in {second_path}; runs \
         with different rules have no common board: score them one by one"
    )]
    Rules {
        /// Field of `run.json`.
        field: &'static str,
        /// Its value in the first run.
        first: String,
        /// The first run.
        first_path: PathBuf,
        /// Its value in the other run.
        second: String,
        /// The other run.
        second_path: PathBuf,
    },
    /// Trials differ in something that changes times or results.
    #[error("these trials cannot share a board:\n{}\nrace them on one machine with one build, or \
         pass --allow-mixed to score them anyway, with a note on the board",
        differences.iter().map(|d| format!("  {d}")).collect::<Vec<_>>().join("\n"))]
    Mixed {
        /// One sentence per difference, naming the field, the values and the files.
        differences: Vec<String>,
    },
    /// The same trial was raced in two of the runs.
    #[error(
        "trial {id} is complete both in {first} and in {second}; score the runs one by one, or \
         use `velodrome compare` to judge one against the other"
    )]
    Twice {
        /// The trial.
        id: String,
        /// The first run.
        first: PathBuf,
        /// The other run.
        second: PathBuf,
    },
    /// A held-out workload that does not fit.
    #[error("held-out workload \"{name}\": {why}")]
    HeldOut {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The scorer refused the table or a setting.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

/// Makes the board of one or more runs, which form one comparison set.
///
/// # Errors
/// See [`AssembleError`].
pub fn assemble(runs: &[Run], options: &AssembleOptions) -> Result<Board, AssembleError> {
    let rules = checks::same_rules(runs)?;
    let collected = collect::collect(runs)?;
    let mut notes = Vec::new();
    let differences = checks::differences(&collected);
    if !differences.is_empty() && !options.allow_mixed {
        return Err(AssembleError::Mixed { differences });
    }
    notes.extend(differences.into_iter().map(|d| format!("Mixed: {d}.")));
    if collected.table.workloads.is_empty() {
        return Err(AssembleError::Empty {
            paths: runs.iter().map(|r| r.path.clone()).collect(),
        });
    }

    let options = AssembleOptions {
        held_out: held_out_names(runs, options),
        ..options.clone()
    };
    let options = &options;
    let scoring = score::Options {
        policy: options.policy,
        integration: options.integration,
        rules: Rules {
            held_out: held_out(&collected, &options.held_out)?,
            limit: options.limit,
        },
    };
    let studies = collected.table.study_times(options.policy)?;
    let times = studies.medians();
    let scored = score::score_times(&times, &scoring)?;
    let intervals = bootstrap::bootstrap(&studies, &scoring, &options.bootstrap)?;
    let leave_out = bootstrap::leave_one_submission_out(&times, &scoring)?;

    let mut rows: Vec<BoardRow> = Vec::new();
    for (s, submission) in collected.table.submissions.iter().enumerate() {
        let cells = scored.columns.iter().enumerate().map(|(column, &w)| {
            let ratio = scored.ratios[s][column];
            cells::cell(&collected, &studies.cells[s][w], (s, w), ratio)
        });
        rows.push(BoardRow {
            submission: submission.clone(),
            rank: scored.ranks[s],
            score: scored.scores[s],
            score_interval: intervals.as_ref().map(|i| i[s].score),
            rank_interval: intervals.as_ref().map(|i| i[s].rank),
            rank_leave_one_out: leave_out.as_ref().map(|r| r[s]),
            cells: cells.collect(),
        });
    }
    // Stable, so that ties keep the suite's order.
    rows.sort_by_key(|row| row.rank);

    notes.extend(collected.notes(&studies));
    Ok(Board {
        title: title(runs),
        ruleset: rules.ruleset.clone(),
        method: method(&collected.table, &studies, options, &rules),
        workloads: scored
            .columns
            .iter()
            .zip(&scored.best)
            .map(|(&w, best)| board_workload(&collected, w, *best))
            .collect(),
        rows,
        notes,
    })
}

fn board_workload(collected: &Collected<'_>, w: usize, best: score::Cell) -> BoardWorkload {
    let Target {
        metric,
        direction,
        validation,
        ..
    } = collected.workloads[w].target.clone();
    BoardWorkload {
        name: collected.table.workloads[w].clone(),
        metric,
        direction,
        target: validation,
        best_time: best.filter(|t| t.is_finite()),
    }
}

fn title(runs: &[Run]) -> String {
    let mut suites: Vec<&str> = runs.iter().map(|r| r.record.suite.as_str()).collect();
    suites.dedup();
    suites.join(" + ")
}

/// The held-out workloads that the reader names, or else those of the runs.
fn held_out_names(runs: &[Run], options: &AssembleOptions) -> Vec<String> {
    let mut names = options.held_out.clone();
    if names.is_empty() {
        for name in runs.iter().flat_map(|r| &r.record.held_out) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// Finds the columns of the held-out workloads and of their bases.
fn held_out(collected: &Collected<'_>, names: &[String]) -> Result<Vec<HeldOut>, AssembleError> {
    let column = |name: &str| collected.table.workloads.iter().position(|w| w == name);
    let refuse = |name: &String, why: String| AssembleError::HeldOut {
        name: name.clone(),
        why,
    };
    names
        .iter()
        .map(|name| {
            let workload = column(name).ok_or_else(|| {
                let known = collected.table.workloads.join(", ");
                refuse(name, format!("no such workload on this board ({known})"))
            })?;
            let base = &collected.workloads[workload].base;
            let base_column = column(base)
                .filter(|b| *b != workload && !names.contains(base))
                .ok_or_else(|| {
                    refuse(
                        name,
                        format!("its base workload \"{base}\" is not scored on this board"),
                    )
                })?;
            Ok(HeldOut {
                workload,
                base: base_column,
            })
        })
        .collect()
}

/// How the score was computed, in sentences that can stand under the table.
fn method(
    table: &Table,
    studies: &StudyTimes,
    options: &AssembleOptions,
    rules: &checks::SameRules,
) -> String {
    let count =
        |n: usize, word: &str, words: &str| format!("{n} {}", if n == 1 { word } else { words });
    let trials_per_study = table.trials.iter().map(|t| t.trial).max().unwrap_or(0) as usize;
    let mut text = format!(
        "Comparison set: {} ({}) on {}; {} of up to {}; ruleset {}; evaluations counted in {}. \
         Policy {}: {}; a cell is the median over studies. ",
        count(table.submissions.len(), "submission", "submissions"),
        table.submissions.join(", "),
        count(table.workloads.len(), "workload", "workloads"),
        count(studies.studies().len(), "study", "studies"),
        count(trials_per_study, "trial", "trials"),
        rules.ruleset,
        rules.cadence,
        options.policy,
        options.policy.in_words(),
    );
    if let Some(limit) = options.limit {
        text +=
            &format!("A time over {limit} times the best of its workload counts as not reached. ");
    }
    if options.held_out.is_empty() {
        text += "No held-out workloads. ";
    } else {
        text += &format!(
            "Held-out workloads, which a submission must also solve for its time on their base to \
             count: {}. ",
            options.held_out.join(", ")
        );
    }
    text += &match options.integration {
        Integration::Exact => {
            "Score: area under the performance profile from ratio 1 to 4, over 3 (exact integral \
             of the step function)."
                .to_string()
        }
        Integration::Trapezoid(points) => format!(
            "Score: area under the performance profile from ratio 1 to 4, over 3 (trapezoid rule \
             on {points} points)."
        ),
    };
    let bootstrap = &options.bootstrap;
    if studies.studies().len() >= 2 && bootstrap.resamples > 0 {
        text += &format!(
            " Intervals: {} % percentile bootstrap over studies, {} resamples, seed {}.",
            bootstrap.confidence * 100.0,
            bootstrap.resamples,
            bootstrap.seed
        );
    } else {
        text += " No intervals: they need at least 2 studies.";
    }
    text
}

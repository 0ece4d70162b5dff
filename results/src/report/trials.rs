//! The trials: one table per workload, the failures, the findings, and the clock.

use super::format::{NONE, bytes, count, metric, number, or_none, percent};
use super::{distinct, pair, tally, word};
use crate::board::Board;
use crate::record::{ClockParts, Direction, EndedBy};
use crate::run::{Run, Trial};
use minijinja::context;
use minijinja::value::Value;

/// The section of one workload.
pub(super) fn workload(board: &Board, trials: &[&Trial], name: &str, chart: Value) -> Value {
    let own: Vec<&Trial> = trials
        .iter()
        .copied()
        .filter(|t| t.record.workload == name)
        .collect();
    let counts = board.workloads.iter().any(|w| w.name == name);
    let of_board = board.workloads.iter().find(|w| w.name == name);
    let goal = of_board
        .map(|w| (w.metric.clone(), w.direction))
        .or_else(|| {
            let target = &own.first()?.record.target;
            Some((target.metric.clone(), target.direction))
        });
    let (metric_name, better) = match goal {
        Some((metric, Direction::Minimize)) => (metric, "lower is better"),
        Some((metric, Direction::Maximize)) => (metric, "higher is better"),
        None => (NONE.to_string(), "direction unknown"),
    };
    let mut facts = vec![pair("Metric", format!("{metric_name} ({better})"))];
    if let Some(workload) = of_board {
        facts.push(pair("Validation target", workload.target.to_string()));
    }
    facts.extend(facts_of_trials(&own));
    facts.push(pair("Trials", tally(own.iter().map(|t| t.record.status))));
    let mut own = own;
    let place = |t: &Trial| {
        let rows = board.rows.iter();
        let mut rows = rows.map(|r| &r.submission);
        rows.position(|s| *s == t.record.submission)
            .unwrap_or(usize::MAX)
    };
    own.sort_by_key(|t| {
        (
            place(t),
            t.record.submission.clone(),
            t.record.study,
            t.record.trial,
        )
    });
    let rows: Vec<Value> = own.iter().map(|t| trial(t)).collect();
    context! { name, counts, facts, chart, metric => metric_name, trials => rows }
}

/// What the trials say of their workload; more than one value is shown as such.
fn facts_of_trials(trials: &[&Trial]) -> Vec<Value> {
    let all = |get: &dyn Fn(&Trial) -> String| distinct(trials.iter().map(|t| get(t))).join(" or ");
    if trials.is_empty() {
        return Vec::new();
    }
    let mut facts = Vec::new();
    let variant = all(&|t| {
        if t.record.base == t.record.workload {
            String::new()
        } else {
            t.record.base.clone()
        }
    });
    if !variant.is_empty() {
        facts.push(pair("Variant of", variant));
    }
    facts.push(pair(
        "Test target",
        all(&|t| t.record.target.test.to_string()),
    ));
    facts.push(pair(
        "Budget",
        all(&|t| {
            let budget = &t.record.budget;
            format!(
                "{} examples, {} s",
                count(budget.work),
                number(budget.seconds)
            )
        }),
    ));
    facts.push(pair(
        "Evaluated every",
        all(
            &|t| match (t.record.eval_every_work, t.record.eval_every_seconds) {
                (0, seconds) => format!("{} s", number(seconds)),
                (work, _) => format!("{} examples", count(work)),
            },
        ),
    ));
    facts.push(pair(
        "Parameters",
        all(&|t| {
            let outcome = &t.record.outcome;
            let (trainable, total) = (outcome.trainable_parameters, outcome.parameters);
            format!("{} trainable of {}", count(trainable), count(total))
        }),
    ));
    facts
}

fn trial(trial: &Trial) -> Value {
    let record = &trial.record;
    let outcome = &record.outcome;
    let point: Vec<String> = record
        .point
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let codes: Vec<String> = distinct(record.findings.iter().map(|f| f.code.clone()));
    let steps = &outcome.step_times;
    context! {
        submission => &record.submission,
        study => record.study,
        trial => record.trial,
        status => word(record.status),
        failed => record.status.is_failure(),
        time => or_none(outcome.time_to_target, number),
        steps => or_none(outcome.steps_to_target, count),
        steps_taken => count(outcome.counters.steps),
        work => count(outcome.counters.work),
        clock => number(outcome.clock.on_clock()),
        step_ms => if steps.count > 0 { number(steps.quantiles[2] * 1e3) } else { NONE.into() },
        memory => or_none(outcome.peak_memory_bytes, bytes),
        state => bytes(outcome.state_bytes),
        validation => or_none(outcome.best_validation, metric),
        test => or_none(outcome.test_at_best, metric),
        point => point.join(", "),
        findings => codes.join(", "),
    }
}

/// Every trial that broke, could not be read, or is not there, with its reason.
pub(super) fn failures(runs: &[Run]) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut row = |trial: &str, what: String, reason: String| {
        rows.push(context! { trial, what, reason });
    };
    for run in runs {
        for trial in &run.trials {
            let record = &trial.record;
            let ended = record.ended_by.map_or("", |e| match e {
                EndedBy::Target => "ended by the target",
                EndedBy::WorkBudget => "ended by the work budget",
                EndedBy::TimeBudget => "ended by the budget of seconds",
                EndedBy::Divergence => "ended by a loss or metric that was not finite",
                EndedBy::Failure => "ended by an error, a panic, a signal or a limit",
            });
            let broken = record.status.is_failure() || !record.status.is_final();
            if broken || record.reason.is_some() {
                let reason = record.reason.clone().unwrap_or_else(|| match ended {
                    "" => "no reason was recorded".to_string(),
                    ended => ended.to_string(),
                });
                row(&record.id, word(record.status), reason);
            }
        }
        for (id, error) in &run.damaged {
            row(id, "damaged record".into(), error.to_string());
        }
        for id in &run.missing {
            let path = run.path.display();
            row(
                id,
                "no record".into(),
                format!("planned in {path}, but not raced yet"),
            );
        }
    }
    rows
}

/// Every finding, with how many trials have it.
pub(super) fn findings(runs: &[Run]) -> Vec<Value> {
    let all = || {
        runs.iter().flat_map(|r| &r.trials).flat_map(|t| {
            t.record
                .findings
                .iter()
                .map(move |f| (f, &t.record.workload, &t.record.submission))
        })
    };
    distinct(all().map(|(f, _, _)| f))
        .into_iter()
        .map(|finding| {
            let with: Vec<_> = all().filter(|(f, _, _)| *f == finding).collect();
            let places = distinct(with.iter().map(|(_, w, s)| format!("{s} on {w}")));
            context! {
                code => &finding.code,
                message => &finding.message,
                trials => with.len(),
                places => places.join(", "),
            }
        })
        .collect()
}

/// Where the wall time went: sums over the trials of a submission on a workload, in seconds.
pub(super) fn clock(trials: &[&Trial]) -> Vec<Value> {
    distinct(
        trials
            .iter()
            .map(|t| (&t.record.workload, &t.record.submission)),
    )
    .into_iter()
    .map(|(workload, submission)| {
        let own: Vec<&ClockParts> = trials
            .iter()
            .filter(|t| &t.record.workload == workload && &t.record.submission == submission)
            .map(|t| &t.record.outcome.clock)
            .collect();
        let sum = |get: fn(&ClockParts) -> f64| own.iter().map(|c| get(c)).sum::<f64>();
        let worst = own
            .iter()
            .map(|c| c.unaccounted_share())
            .fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
        let parts: Vec<String> = [
            sum(|c| c.start),
            sum(|c| c.training),
            sum(|c| c.prepare),
            sum(|c| c.background),
            sum(ClockParts::on_clock),
            sum(|c| c.setup),
            sum(|c| c.input_wait),
            sum(|c| c.evaluation),
            sum(|c| c.logging),
            sum(|c| c.checkpoint),
            sum(|c| c.total),
        ]
        .map(number)
        .to_vec();
        context! {
            workload,
            submission,
            trials => own.len(),
            parts,
                warm_up => number(sum(|c| c.warm_up)),
                worst => percent(worst),
            // The record's own closure rule.
            open => worst.abs() > 0.01,
        }
    })
    .collect()
}

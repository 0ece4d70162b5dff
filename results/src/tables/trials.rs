//! The table `trials`: one row per trial.

use super::TableError;
use super::frame::Frame;
use crate::record::{ClockParts, Counters, Direction, EndedBy, Outcome, StepSummary, TrialRecord};
use crate::run::Run;
use polars::prelude::DataFrame;
use std::collections::BTreeSet;

struct Row<'a> {
    run: &'a Run,
    trial: &'a TrialRecord,
}

/// Names of columns, and how to read them from a part of the record.
type Columns<'a, Part, Value> = &'a [(&'a str, fn(&Part) -> Value)];

/// One row per trial of the runs that has a readable record, with every scalar of the record:
/// identity, settings, machine, status, outcome, clock parts (`clock.NAME`, seconds), counts,
/// step times (`step_times.NAME`, seconds), and hyperparameters (`hp.NAME`).
///
/// # Errors
/// [`TableError::Encode`].
pub fn trials_frame(runs: &[Run]) -> Result<DataFrame, TableError> {
    let rows: Vec<Row<'_>> = runs
        .iter()
        .flat_map(|run| {
            run.trials.iter().map(move |trial| Row {
                run,
                trial: &trial.record,
            })
        })
        .collect();
    let mut frame = Frame::new(&rows);
    identity(&mut frame);
    settings(&mut frame);
    outcome(&mut frame);
    machine(&mut frame);
    let names: BTreeSet<&String> = rows.iter().flat_map(|r| r.trial.point.keys()).collect();
    for name in names {
        frame.maybe_real(&format!("hp.{name}"), |r| r.trial.point.get(name).copied());
    }
    frame.finish("trials")
}

fn identity(frame: &mut Frame<'_, Row<'_>>) {
    frame.words("run", |r| Some(r.run.path.display().to_string()));
    frame.text("suite", |r| &r.run.record.suite);
    frame.text("cadence", |r| &r.run.record.cadence);
    frame.count("suite_seed", |r| r.run.record.seed);
    frame.text("id", |r| &r.trial.id);
    frame.text("hash", |r| &r.trial.hash);
    frame.text("workload", |r| &r.trial.workload);
    frame.text("base", |r| &r.trial.base);
    frame.count("workload_version", |r| r.trial.workload_version.into());
    frame.text("submission", |r| &r.trial.submission);
    frame.text("ruleset", |r| &r.trial.ruleset);
    frame.count("study", |r| r.trial.study.into());
    frame.count("trial", |r| r.trial.trial.into());
    frame.maybe_real("started", |r| r.trial.started);
    frame.text("status", |r| r.trial.status.as_str());
    frame.words("ended_by", |r| r.trial.ended_by.map(ended_by));
    frame.words("reason", |r| r.trial.reason.clone());
    frame.words("findings", |r| {
        let codes: Vec<&str> = r.trial.findings.iter().map(|f| f.code.as_str()).collect();
        (!codes.is_empty()).then(|| codes.join(";"))
    });
}

fn ended_by(cause: EndedBy) -> String {
    match cause {
        EndedBy::Target => "target",
        EndedBy::WorkBudget => "work_budget",
        EndedBy::TimeBudget => "time_budget",
        EndedBy::Divergence => "divergence",
        EndedBy::Failure => "failure",
    }
    .to_string()
}

fn settings(frame: &mut Frame<'_, Row<'_>>) {
    frame.count("seeds.data", |r| r.trial.seeds.data);
    frame.count("seeds.model", |r| r.trial.seeds.model);
    frame.count("seeds.algorithm", |r| r.trial.seeds.algorithm);
    frame.text("device", |r| &r.trial.device);
    frame.count("threads", |r| r.trial.threads as u64);
    frame.text("target.metric", |r| &r.trial.target.metric);
    frame.text("target.direction", |r| match r.trial.target.direction {
        Direction::Minimize => "minimize",
        Direction::Maximize => "maximize",
    });
    frame.real("target.validation", |r| r.trial.target.validation);
    frame.real("target.test", |r| r.trial.target.test);
    frame.maybe_real("target.trainable_share", |r| r.trial.target.trainable_share);
    frame.count("budget.work", |r| r.trial.budget.work);
    frame.real("budget.seconds", |r| r.trial.budget.seconds);
    frame.count("eval_every_work", |r| r.trial.eval_every_work);
    frame.real("eval_every_seconds", |r| r.trial.eval_every_seconds);
}

fn outcome(frame: &mut Frame<'_, Row<'_>>) {
    let reals: Columns<'_, Outcome, Option<f64>> = &[
        ("time_to_target", |o| o.time_to_target),
        ("time_to_test_target", |o| o.time_to_test_target),
        ("best_validation", |o| o.best_validation),
        ("test_at_best", |o| o.test_at_best),
        ("retained.before", |o| o.retained.map(|r| r.before)),
        ("retained.after", |o| o.retained.map(|r| r.after)),
    ];
    for (name, get) in reals {
        frame.maybe_real(name, |r| get(&r.trial.outcome));
    }
    let counts: Columns<'_, Outcome, Option<u64>> = &[
        ("steps_to_target", |o| o.steps_to_target),
        ("work_to_target", |o| o.work_to_target),
        ("state_bytes", |o| Some(o.state_bytes)),
        ("trainable_parameters", |o| Some(o.trainable_parameters)),
        ("parameters", |o| Some(o.parameters)),
        ("adapter_bytes", |o| Some(o.adapter_bytes())),
        ("peak_memory_bytes", |o| o.peak_memory_bytes),
        ("last_eval_work", |o| Some(o.last_eval_work)),
        ("resumes", |o| Some(o.resumes.into())),
    ];
    for (name, get) in counts {
        frame.maybe_count(name, |r| get(&r.trial.outcome));
    }
    let clock: Columns<'_, ClockParts, f64> = &[
        ("on_clock", ClockParts::on_clock),
        ("setup", |c| c.setup),
        ("start", |c| c.start),
        ("training", |c| c.training),
        ("prepare", |c| c.prepare),
        ("background", |c| c.background),
        ("input_wait", |c| c.input_wait),
        ("evaluation", |c| c.evaluation),
        ("logging", |c| c.logging),
        ("checkpoint", |c| c.checkpoint),
        ("total", |c| c.total),
        ("warm_up", |c| c.warm_up),
        ("unaccounted_share", ClockParts::unaccounted_share),
    ];
    for (name, get) in clock {
        frame.real(&format!("clock.{name}"), |r| get(&r.trial.outcome.clock));
    }
    let counters: Columns<'_, Counters, u64> = &[
        ("steps", |c| c.steps),
        ("work", |c| c.work),
        ("tokens", |c| c.tokens),
        ("forward_passes", |c| c.forward_passes),
        ("backward_passes", |c| c.backward_passes),
        ("evaluations", |c| c.evaluations),
    ];
    for (name, get) in counters {
        frame.count(&format!("counters.{name}"), |r| {
            get(&r.trial.outcome.counters)
        });
    }
    frame.count("step_times.count", |r| r.trial.outcome.step_times.count);
    let step_times: Columns<'_, StepSummary, f64> = &[
        ("mean", |s| s.mean),
        ("q05", |s| s.quantiles[0]),
        ("q25", |s| s.quantiles[1]),
        ("q50", |s| s.quantiles[2]),
        ("q75", |s| s.quantiles[3]),
        ("q95", |s| s.quantiles[4]),
        ("min", |s| s.min),
        ("max", |s| s.max),
    ];
    for (name, get) in step_times {
        frame.real(&format!("step_times.{name}"), |r| {
            get(&r.trial.outcome.step_times)
        });
    }
}

fn machine(frame: &mut Frame<'_, Row<'_>>) {
    frame.text("fingerprint.cpu", |r| &r.trial.fingerprint.cpu);
    frame.count("fingerprint.cores", |r| r.trial.fingerprint.cores as u64);
    frame.count("fingerprint.memory_bytes", |r| {
        r.trial.fingerprint.memory_bytes
    });
    frame.words("fingerprint.accelerator", |r| {
        r.trial.fingerprint.accelerator.clone()
    });
    frame.text("fingerprint.os", |r| &r.trial.fingerprint.os);
    frame.text("fingerprint.device", |r| &r.trial.fingerprint.device);
    frame.words("fingerprint.features", |r| {
        Some(r.trial.fingerprint.features.join(";"))
    });
    frame.count("fingerprint.threads", |r| {
        r.trial.fingerprint.threads as u64
    });
    frame.text("fingerprint.rustc", |r| &r.trial.fingerprint.rustc);
    frame.words("fingerprint.versions", |r| {
        let versions = r.trial.fingerprint.versions.iter();
        let pairs: Vec<String> = versions.map(|(name, v)| format!("{name}={v}")).collect();
        Some(pairs.join(";"))
    });
    frame.text("fingerprint.commit", |r| &r.trial.fingerprint.commit);
    frame.text("fingerprint.executable", |r| {
        &r.trial.fingerprint.executable
    });
}

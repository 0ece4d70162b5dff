//! What is claimed of a row: a sample for each measure, and what no test need decide.

use super::pairs::{Group, Note, Pair};
use super::ride::Ride;
use super::stats::Sample;
use super::{Answer, CompareOptions, Question, Row, Verdict};
use crate::record::{Direction, Status};

/// Something to be tested: a sample of logarithms of candidate over base, and what counts.
pub(super) struct Claim {
    pub measure: &'static str,
    pub sample: Sample,
    /// The rows' own samples, where the test must not exchange labels between rows.
    pub strata: Vec<Sample>,
    /// Logarithm of the ratio from which on a difference is a change.
    pub threshold: f64,
    /// Logarithm of the ratio up to which the machine may have drifted.
    pub drift: f64,
    /// Logarithm of the ratio up to which an interval says that nothing has changed. It does not grow
    /// where the machine wandered: that makes a comparison harder, not its programs more alike.
    pub same: f64,
    /// A verdict that no test can change, and why.
    pub settled: Option<(Verdict, String)>,
}

/// A row before its tests.
pub(super) struct Case {
    pub row: Row,
    pub learning: Option<Claim>,
    pub speed: Option<Claim>,
    pub peak: Option<Claim>,
}

const STEPS: &str = "steps to target";

/// A failure that chance has no part in. Where seeds differ, divergence may be bad luck.
fn is_defect(trial: &Ride<'_>) -> bool {
    let status = trial.record.status;
    status.is_failure() && status != Status::Diverged
}

/// Trials of one row by how they ended.
struct Sorted<'a> {
    /// Those whose measures count.
    sound: Group<'a>,
    /// Failures of the candidate alone.
    broken: Vec<Ride<'a>>,
    /// Pairs that failed alike on both sides.
    alike: usize,
}

fn sort<'a>(group: &Group<'a>, notes: &mut Vec<Note>) -> Sorted<'a> {
    let mut sorted = Sorted {
        sound: Group {
            pairs: Vec::new(),
            ..group.clone()
        },
        broken: Vec::new(),
        alike: 0,
    };
    for &(a, b) in &group.pairs {
        let (before, after) = (a.record.status, b.record.status);
        match (before.is_failure(), after.is_failure()) {
            (false, false) => sorted.sound.pairs.push((a, b)),
            (false, true) => sorted.broken.push(b),
            (true, false) => notes.push(Note::new(
                "base_failed",
                format!("trial {} {before} in the base alone", a.record.id),
            )),
            (true, true) => {
                sorted.alike += usize::from(before == after);
                let id = &a.record.id;
                let message = if before == after {
                    format!("trial {id} {before} on both sides")
                } else {
                    format!("trial {id} {before} in the base and {after} in the candidate")
                };
                notes.push(Note::new("both_failed", message));
            }
        }
    }
    let (before, after) = &mut sorted.sound.apart;
    if !before.iter().any(|t| is_defect(t)) {
        sorted.broken.extend(after.iter().filter(|t| is_defect(t)));
    }
    for side in [before, after] {
        side.retain(|t| !is_defect(t));
    }
    sorted
}

pub(super) fn case(
    group: &Group<'_>,
    same_machine: bool,
    drift: f64,
    options: &CompareOptions,
    notes: &mut Vec<Note>,
) -> Case {
    let Sorted {
        sound,
        broken,
        alike,
    } = sort(group, notes);
    let changed = (!sound.pairs.is_empty()).then(|| sound.pairs.iter().any(|(a, b)| !a.is_like(b)));
    let nothing = || Claim {
        measure: STEPS,
        sample: Sample::Paired(Vec::new()),
        strata: Vec::new(),
        threshold: 0.0,
        drift: 0.0,
        same: 0.0,
        settled: None,
    };
    let mut learning = learning(&sound, options);
    if let Some(trial) = broken.first() {
        let record = &trial.record;
        let why = record.reason.as_ref();
        let reason = format!(
            "trial {} {} in the candidate alone{}",
            record.id,
            record.status,
            why.map_or(String::new(), |r| format!(": {r}"))
        );
        notes.push(Note::new("candidate_failed", reason.clone()));
        learning.get_or_insert_with(nothing).settled = Some((Verdict::Regressed, reason));
    } else if changed == Some(false) {
        let reason = "every trial went the same way, to the last digit".into();
        learning.get_or_insert_with(nothing).settled = Some((Verdict::Same, reason));
    } else if changed.is_none() && alike > 0 && alike == group.pairs.len() {
        let reason = "every trial failed in the same way".into();
        learning.get_or_insert_with(nothing).settled = Some((Verdict::Same, reason));
    }
    let step = |t: &Ride<'_>| Some(t.record.outcome.step_times.mean).filter(|s| *s > 0.0);
    let mut speed = claim(&sound, "seconds per step", &step, options.speed, drift);
    if let Some(claim) = &mut speed {
        claim.same = options.speed.max(options.drift).ln_1p();
    }
    let peak = |t: &Ride<'_>| t.record.outcome.peak_memory_bytes.map(|b| b as f64);
    let state = state(&sound, options);
    Case {
        row: Row {
            workload: group.workload.clone(),
            submission: group.submission.clone(),
            point: group.point.clone(),
            verdict: Verdict::Inconclusive,
            changed,
            answers: state.into_iter().map(|a| (Question::Memory, a)).collect(),
        },
        learning,
        speed: speed.filter(|_| same_machine),
        peak: claim(&sound, "peak memory", &peak, options.peak, 0.0),
    }
}

/// The sample of logarithms of `value`; `None` where no trial has one.
fn claim(
    group: &Group<'_>,
    measure: &'static str,
    value: &dyn Fn(&Ride<'_>) -> Option<f64>,
    threshold: f64,
    drift: f64,
) -> Option<Claim> {
    let logs = |trials: &[Ride<'_>]| -> Vec<f64> {
        trials.iter().filter_map(|t| Some(value(t)?.ln())).collect()
    };
    let sample = if group.apart.1.is_empty() {
        let pairs = group.pairs.iter();
        let difference = |(a, b): &Pair<'_>| Some((value(b)? / value(a)?).ln());
        Sample::Paired(pairs.filter_map(difference).collect())
    } else {
        Sample::Apart(logs(&group.apart.0), logs(&group.apart.1))
    };
    let equal = matches!(&sample, Sample::Paired(d) if d.iter().all(|x| *x == 0.0));
    (sample.size() > 0).then(|| Claim {
        measure,
        sample,
        strata: Vec::new(),
        threshold: threshold.ln_1p(),
        drift: drift.ln_1p(),
        same: threshold.max(drift).ln_1p(),
        settled: equal.then(|| (Verdict::Same, "equal to the last digit".into())),
    })
}

/// Steps to target, or the best metric where nobody reached it.
fn learning(group: &Group<'_>, options: &CompareOptions) -> Option<Claim> {
    let reached = group
        .trials()
        .any(|t| t.record.outcome.steps_to_target.is_some());
    let most = group.trials().map(|t| budget_steps(&t)).fold(0.0, f64::max);
    let mut found = if reached {
        let steps = |t: &Ride<'_>| {
            let steps = match t.record.outcome.steps_to_target {
                Some(steps) => steps as f64,
                // It broke off, so that its own count says nothing.
                None if t.record.status == Status::Diverged => most,
                None => budget_steps(t),
            };
            (steps > 0.0).then_some(steps)
        };
        claim(group, STEPS, &steps, options.learning, 0.0)
    } else {
        // The larger the worse.
        let metric = |t: &Ride<'_>| {
            let best = t.record.outcome.best_validation?;
            let worse = match t.record.target.direction {
                Direction::Minimize => best,
                Direction::Maximize => 1.0 / best,
            };
            (worse > 0.0 && worse.is_finite()).then_some(worse)
        };
        let measure = "best validation metric";
        claim(group, measure, &metric, options.learning, 0.0)
    };
    if let Some(claim) = &mut found {
        // Equal numbers of steps are not yet equal trials; `Ride::is_like` decides.
        claim.settled = None;
    }
    found
}

/// The steps of a trial that missed its target, as many as its whole budget of work has: a trial that
/// ran out of seconds must not look as if it had needed fewer.
fn budget_steps(trial: &Ride<'_>) -> f64 {
    let counters = trial.record.outcome.counters;
    let share = trial.record.budget.work as f64 / counters.work.max(1) as f64;
    counters.steps as f64 * share.max(1.0)
}

/// Bytes of state do not depend on chance.
fn state(group: &Group<'_>, options: &CompareOptions) -> Option<Answer> {
    let bytes = |t: &Ride<'_>| t.record.outcome.state_bytes as f64;
    let most = |trials: &[Ride<'_>]| trials.iter().map(bytes).fold(0.0, f64::max);
    let (runs, before, after) = if group.apart.1.is_empty() {
        let by = |a: &&Pair<'_>, b: &&Pair<'_>| {
            let grown = |p: &Pair<'_>| (bytes(&p.1) + 1.0) / (bytes(&p.0) + 1.0);
            grown(a).total_cmp(&grown(b))
        };
        let worst = group.pairs.iter().max_by(by)?;
        (group.pairs.len(), bytes(&worst.0), bytes(&worst.1))
    } else {
        let (a, b) = (&group.apart.0, &group.apart.1);
        (a.len().min(b.len()), most(a), most(b))
    };
    let ratio = if before > 0.0 {
        after / before
    } else {
        f64::NAN
    };
    let grown = after > before * (1.0 + options.memory);
    let shrunk = before > after * (1.0 + options.memory);
    Some(Answer {
        verdict: match (grown, shrunk) {
            (true, _) => Verdict::Regressed,
            (_, true) => Verdict::Improved,
            _ => Verdict::Same,
        },
        measure: "bytes of state".into(),
        runs,
        ratio: ratio.is_finite().then_some(ratio),
        interval: ratio.is_finite().then_some((ratio, ratio)),
        p_worse: None,
        p_better: None,
        reason: format!("{before} bytes before, {after} after"),
    })
}

/// All rows as one claim; those that share no seeds about the mean of their base.
pub(super) fn pooled<'a>(claims: impl Iterator<Item = &'a Claim>) -> Option<Claim> {
    let claims: Vec<&Claim> = claims.collect();
    let first = claims.first()?;
    let same = |c: &&Claim| matches!(c.settled, Some((Verdict::Same, _)));
    let all_same = claims.iter().all(same);
    let paired = claims.iter().all(|c| matches!(c.sample, Sample::Paired(_)));
    let mut differences = Vec::new();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for claim in &claims {
        match &claim.sample {
            Sample::Paired(d) if paired => differences.extend(d),
            Sample::Paired(d) => {
                before.extend(std::iter::repeat_n(0.0, d.len()));
                after.extend(d);
            }
            Sample::Apart(a, b) => {
                let mean = a.iter().sum::<f64>() / a.len().max(1) as f64;
                before.extend(a.iter().map(|x| x - mean));
                after.extend(b.iter().map(|x| x - mean));
            }
        }
    }
    let strata = claims.iter().filter(|_| !paired).map(|c| c.sample.clone());
    Some(Claim {
        measure: if claims.iter().all(|c| c.measure == first.measure) {
            first.measure
        } else {
            "steps to target or best metric"
        },
        strata: strata.collect(),
        sample: if paired {
            Sample::Paired(differences)
        } else {
            Sample::Apart(before, after)
        },
        threshold: first.threshold,
        drift: first.drift,
        same: first.same,
        settled: all_same.then(|| (Verdict::Same, "every row is equal".into())),
    })
}

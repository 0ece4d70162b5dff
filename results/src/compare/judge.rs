//! From paired trials to answers and verdicts.

use super::pairs::{Group, Note, Paired};
use super::stats::{Sample, holm, p_worse};
use super::{Answer, CompareOptions, Comparison, Question, Row, Verdict};
use crate::record::{Direction, EvalRecord};
use crate::run::Trial;
use std::collections::BTreeMap;

/// Something to be tested: a sample of logarithms of candidate over base, and what counts.
struct Claim {
    measure: &'static str,
    sample: Sample,
    /// Logarithm of the ratio from which on a difference is a change.
    threshold: f64,
    /// Logarithm of the ratio up to which the machine may have drifted.
    drift: f64,
    /// A verdict that no test can change, and why.
    settled: Option<(Verdict, String)>,
}

/// A row before its tests.
struct Case {
    row: Row,
    learning: Option<Claim>,
    speed: Option<Claim>,
    peak: Option<Claim>,
}

pub(super) fn judge(paired: Paired<'_>, options: &CompareOptions) -> Comparison {
    let mut notes = paired.notes;
    let mut cases: Vec<Case> = paired
        .groups
        .iter()
        .map(|group| case(group, paired.same_machine, options, &mut notes))
        .collect();
    let together = |claims: Vec<&Claim>| pooled(&claims);
    let learning = together(cases.iter().filter_map(|c| c.learning.as_ref()).collect());
    let speed = together(cases.iter().filter_map(|c| c.speed.as_ref()).collect());

    // Half of the error goes to the rows, half to the whole.
    let level = options.family_error / 2.0;
    let rows: Vec<&Claim> = cases
        .iter()
        .flat_map(|c| [&c.learning, &c.speed, &c.peak])
        .flatten()
        .collect();
    let mut answered = answers(&rows, level, options).into_iter();
    let whole: Vec<&Claim> = [&learning, &speed].into_iter().flatten().collect();
    let mut answered_whole = answers(&whole, level, options).into_iter();
    let learning = learning.as_ref().and_then(|_| answered_whole.next());
    let speed = speed.as_ref().and_then(|_| answered_whole.next());

    for case in &mut cases {
        let learned = case.learning.as_ref().and_then(|_| answered.next());
        let timed = case.speed.as_ref().and_then(|_| answered.next());
        let peak = case.peak.as_ref().and_then(|_| answered.next());
        let answers = &mut case.row.answers;
        answers.extend(learned.map(|a| (Question::Learning, a)));
        answers.extend(timed.map(|a| (Question::Speed, a)));
        if let Some(peak) = peak {
            // A peak is noisy: it speaks where it is sure, and the bytes of state speak otherwise.
            let sure = matches!(peak.verdict, Verdict::Regressed | Verdict::Improved);
            let state = answers.get(&Question::Memory).map(|a| a.verdict);
            if sure && state.is_none_or(|v| v < peak.verdict) {
                answers.insert(Question::Memory, peak);
            }
        }
        let verdicts = case.row.answers.values().map(|a| a.verdict);
        case.row.verdict = verdicts.max().unwrap_or(Verdict::Inconclusive);
    }
    let rows: Vec<Row> = cases.into_iter().map(|c| c.row).collect();
    let mut answers = BTreeMap::new();
    for (question, pool) in [
        (Question::Learning, learning),
        (Question::Speed, speed),
        (Question::Memory, worst(&rows, Question::Memory)),
    ] {
        let Some(mut answer) = pool else { continue };
        let regressed = rows.iter().filter(|row| {
            let of_row = row.answers.get(&question);
            of_row.is_some_and(|a| a.verdict == Verdict::Regressed)
        });
        let regressed = regressed.count();
        if regressed > 0 && answer.verdict != Verdict::Regressed {
            answer.verdict = Verdict::Regressed;
            answer.reason = format!("{regressed} of {} rows regressed", rows.len());
        }
        answers.insert(question, answer);
    }
    let verdicts = answers.values().map(|a: &Answer| a.verdict);
    let mut verdict = verdicts.max().unwrap_or(Verdict::Inconclusive);
    if paired.missing_rows > 0 {
        verdict = verdict.max(Verdict::Inconclusive);
    }
    Comparison {
        verdict,
        answers,
        rows,
        notes,
        options: *options,
    }
}

/// The worst answer of the rows; the largest ratio among equal verdicts.
fn worst(rows: &[Row], question: Question) -> Option<Answer> {
    let answers = rows.iter().filter_map(|row| row.answers.get(&question));
    let by = |a: &&Answer, b: &&Answer| {
        let ratio = |a: &Answer| a.ratio.unwrap_or(1.0);
        a.verdict
            .cmp(&b.verdict)
            .then(ratio(a).total_cmp(&ratio(b)))
    };
    answers.max_by(by).cloned()
}

fn case(
    group: &Group<'_>,
    same_machine: bool,
    options: &CompareOptions,
    notes: &mut Vec<Note>,
) -> Case {
    let mut broken = Vec::new();
    let mut sound = Group {
        workload: group.workload.clone(),
        submission: group.submission.clone(),
        point: group.point.clone(),
        pairs: Vec::new(),
        apart: group.apart.clone(),
    };
    for &(a, b) in &group.pairs {
        match (a.record.status.is_failure(), b.record.status.is_failure()) {
            (false, false) => sound.pairs.push((a, b)),
            (false, true) => broken.push(b),
            (true, false) => notes.push(Note::new(
                "base_failed",
                format!(
                    "trial {} {} in the base alone",
                    a.record.id, a.record.status
                ),
            )),
            (true, true) => notes.push(Note::new(
                "both_failed",
                format!("trial {} failed on both sides", a.record.id),
            )),
        }
    }
    let failed = |trials: &[&Trial]| {
        let failures = trials.iter().filter(|t| t.record.status.is_failure());
        failures.count() as f64 / trials.len().max(1) as f64
    };
    // Without common seeds a failure is the candidate's own where the base has none at all.
    if !group.apart.1.is_empty() {
        if failed(&group.apart.0) == 0.0 {
            broken.extend(
                group
                    .apart
                    .1
                    .iter()
                    .filter(|t| t.record.status.is_failure()),
            );
        }
        for side in [&mut sound.apart.0, &mut sound.apart.1] {
            side.retain(|t| !t.record.status.is_failure());
        }
    }
    let changed =
        (!sound.pairs.is_empty()).then(|| sound.pairs.iter().any(|(a, b)| !identical(a, b)));
    let mut learning = learning(&sound, options);
    if let Some(trial) = broken.first() {
        let reason = format!(
            "trial {} {} in the candidate alone{}",
            trial.record.id,
            trial.record.status,
            trial
                .record
                .reason
                .as_ref()
                .map_or(String::new(), |r| format!(": {r}"))
        );
        notes.push(Note::new("candidate_failed", reason.clone()));
        let claim = learning.get_or_insert_with(|| Claim {
            measure: "steps to target",
            sample: Sample::Paired(Vec::new()),
            threshold: 0.0,
            drift: 0.0,
            settled: None,
        });
        claim.settled = Some((Verdict::Regressed, reason));
    } else if let (Some(false), Some(claim)) = (changed, &mut learning) {
        let reason = "every trial went the same way, to the last digit".into();
        claim.settled = Some((Verdict::Same, reason));
    }
    let step = |t: &Trial| Some(t.record.outcome.step_times.mean).filter(|s| *s > 0.0);
    let speed = same_machine
        .then(|| {
            claim(
                &sound,
                "seconds per step",
                &step,
                options.speed,
                options.drift,
            )
        })
        .flatten();
    let peak = |t: &Trial| t.record.outcome.peak_memory_bytes.map(|b| b as f64);
    let peak = claim(&sound, "peak memory", &peak, options.peak, 0.0);
    let mut row = Row {
        workload: group.workload.clone(),
        submission: group.submission.clone(),
        point: group.point.clone(),
        verdict: Verdict::Inconclusive,
        changed,
        answers: BTreeMap::new(),
    };
    row.answers
        .extend(state(&sound, options).map(|a| (Question::Memory, a)));
    Case {
        row,
        learning,
        speed,
        peak,
    }
}

/// Whether two trials went the same way: everything but times.
fn identical(a: &Trial, b: &Trial) -> bool {
    let timeless = |e: &EvalRecord| EvalRecord {
        clock: 0.0,
        wall: 0.0,
        ..e.clone()
    };
    a.record.status == b.record.status
        && a.evals.len() == b.evals.len()
        && a.evals
            .iter()
            .zip(&b.evals)
            .all(|(a, b)| timeless(a) == timeless(b))
}

/// The sample of logarithms of `value`; `None` where no trial has one.
fn claim(
    group: &Group<'_>,
    measure: &'static str,
    value: &dyn Fn(&Trial) -> Option<f64>,
    threshold: f64,
    drift: f64,
) -> Option<Claim> {
    let logs = |trials: &[&Trial]| -> Vec<f64> {
        trials.iter().filter_map(|t| Some(value(t)?.ln())).collect()
    };
    let sample = if group.apart.1.is_empty() {
        let pairs = group.pairs.iter();
        Sample::Paired(
            pairs
                .filter_map(|(a, b)| Some((value(b)? / value(a)?).ln()))
                .collect(),
        )
    } else {
        Sample::Apart(logs(&group.apart.0), logs(&group.apart.1))
    };
    let equal = matches!(&sample, Sample::Paired(d) if d.iter().all(|x| *x == 0.0));
    (sample.size() > 0).then(|| Claim {
        measure,
        sample,
        threshold: threshold.ln_1p(),
        drift: drift.ln_1p(),
        settled: equal.then(|| (Verdict::Same, "equal to the last digit".into())),
    })
}

/// Steps to target, a missed one at all steps of its budget; the best metric where nobody reached it.
fn learning(group: &Group<'_>, options: &CompareOptions) -> Option<Claim> {
    let sides = [
        group.pairs.iter().map(|p| p.0).collect(),
        group.pairs.iter().map(|p| p.1).collect(),
        group.apart.0.clone(),
        group.apart.1.clone(),
    ];
    let sides: [Vec<&Trial>; 4] = sides;
    let reached = sides
        .iter()
        .flatten()
        .any(|t| t.record.outcome.steps_to_target.is_some());
    let mut found = if reached {
        let steps = |t: &Trial| {
            let outcome = &t.record.outcome;
            let steps = outcome.steps_to_target.unwrap_or(outcome.counters.steps);
            (steps > 0).then_some(steps as f64)
        };
        claim(group, "steps to target", &steps, options.learning, 0.0)
    } else {
        // The larger the worse.
        let metric = |t: &Trial| {
            let best = t.record.outcome.best_validation?;
            let worse = match t.record.target.direction {
                Direction::Minimize => best,
                Direction::Maximize => 1.0 / best,
            };
            (worse > 0.0).then_some(worse)
        };
        claim(
            group,
            "best validation metric",
            &metric,
            options.learning,
            0.0,
        )
    };
    if let Some(claim) = &mut found {
        // Equal numbers of steps are not yet equal trials; `identical` decides.
        claim.settled = None;
    }
    found
}

/// Bytes of state do not depend on chance.
fn state(group: &Group<'_>, options: &CompareOptions) -> Option<Answer> {
    let bytes = |t: &Trial| t.record.outcome.state_bytes as f64;
    let most = |trials: &[&Trial]| trials.iter().map(|t| bytes(t)).fold(0.0, f64::max);
    let (runs, before, after) = if group.apart.1.is_empty() {
        let by = |a: &&(&Trial, &Trial), b: &&(&Trial, &Trial)| {
            let grown = |p: &(&Trial, &Trial)| (bytes(p.1) + 1.0) / (bytes(p.0) + 1.0);
            grown(a).total_cmp(&grown(b))
        };
        let worst = group.pairs.iter().max_by(by)?;
        (group.pairs.len(), bytes(worst.0), bytes(worst.1))
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
fn pooled(claims: &[&Claim]) -> Option<Claim> {
    let first = claims.first()?;
    let all_same = claims
        .iter()
        .all(|c| matches!(c.settled, Some((Verdict::Same, _))));
    let paired = claims.iter().all(|c| matches!(c.sample, Sample::Paired(_)));
    let mut differences = Vec::new();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for claim in claims {
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
    Some(Claim {
        measure: first.measure,
        sample: if paired {
            Sample::Paired(differences)
        } else {
            Sample::Apart(before, after)
        },
        threshold: first.threshold,
        drift: first.drift,
        settled: all_same.then(|| (Verdict::Same, "every row is equal".into())),
    })
}

/// Tests all claims as one family.
fn answers(claims: &[&Claim], level: f64, options: &CompareOptions) -> Vec<Answer> {
    let open: Vec<&&Claim> = claims.iter().filter(|c| c.settled.is_none()).collect();
    let test = |mirror: bool| -> Vec<f64> {
        let p = open.iter().map(|claim| {
            let sample = if mirror {
                claim.sample.mirrored()
            } else {
                claim.sample.clone()
            };
            p_worse(&[sample.shifted(-claim.drift)], options.seed)
        });
        holm(&p.collect::<Vec<f64>>())
    };
    let mut p = test(false).into_iter().zip(test(true));
    let answer = |claim: &&Claim| {
        let tested = match claim.settled {
            Some(_) => None,
            None => p.next(),
        };
        answer(claim, tested, level, options)
    };
    claims.iter().map(answer).collect()
}

fn answer(
    claim: &Claim,
    tested: Option<(f64, f64)>,
    level: f64,
    options: &CompareOptions,
) -> Answer {
    let estimate = claim.sample.estimate();
    let interval = claim.sample.interval(options.confidence);
    let edge = claim.threshold.max(claim.drift);
    let (verdict, reason) = match (&claim.settled, estimate) {
        (Some((verdict, reason)), _) => (*verdict, reason.clone()),
        (None, None) => (Verdict::Inconclusive, "nothing to compare".into()),
        (None, Some(shift)) => {
            let (worse, better) = tested.unwrap_or((1.0, 1.0));
            if worse <= level && shift > edge {
                (Verdict::Regressed, "worse by more than chance".into())
            } else if better <= level && shift < -edge {
                (Verdict::Improved, "better by more than chance".into())
            } else if interval.is_some_and(|(low, high)| low >= -edge && high <= edge) {
                (
                    Verdict::Same,
                    "the interval lies within the threshold".into(),
                )
            } else if interval.is_none() {
                (Verdict::Inconclusive, "too few runs".into())
            } else {
                (Verdict::Inconclusive, "the runs scatter too much".into())
            }
        }
    };
    Answer {
        verdict,
        measure: claim.measure.into(),
        runs: claim.sample.size(),
        ratio: estimate.map(f64::exp),
        interval: interval.map(|(low, high)| (low.exp(), high.exp())),
        p_worse: tested.map(|t| t.0),
        p_better: tested.map(|t| t.1),
        reason,
    }
}

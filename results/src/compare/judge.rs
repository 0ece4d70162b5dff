//! From claims to answers and verdicts.

use super::claims::{Case, Claim, case, pooled};
use super::pairs::Paired;
use super::stats::{Cuts, holm, p_worse};
use super::{Answer, CompareOptions, Comparison, Question, Row, Verdict};
use rayon::prelude::*;
use std::collections::BTreeMap;

pub(super) fn judge(paired: Paired<'_>, options: &CompareOptions) -> Comparison {
    let mut notes = paired.notes;
    let mut cases: Vec<Case> = paired
        .groups
        .iter()
        .map(|group| {
            let same_machine = paired.same_machine;
            case(group, same_machine, paired.drift, options, &mut notes)
        })
        .collect();
    let learning = pooled(cases.iter().filter_map(|c| c.learning.as_ref()));
    let speed = pooled(cases.iter().filter_map(|c| c.speed.as_ref()));

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
        drift: paired.drift,
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

/// Tests all claims as one family.
fn answers(claims: &[&Claim], level: f64, options: &CompareOptions) -> Vec<Answer> {
    let open: Vec<&&Claim> = claims.iter().filter(|c| c.settled.is_none()).collect();
    let test = |mirror: bool| -> Vec<f64> {
        let p = open.par_iter().map(|claim| {
            let of_row = std::slice::from_ref(&claim.sample);
            let strata = match claim.strata.as_slice() {
                [] => of_row,
                strata => strata,
            };
            let turned = strata.iter().map(|sample| {
                let turned = mirror.then(|| sample.mirrored());
                turned.as_ref().unwrap_or(sample).shifted(-claim.drift)
            });
            p_worse(&turned.collect::<Vec<_>>(), options.seed)
        });
        holm(&p.collect::<Vec<f64>>())
    };
    let mut p = test(false).into_iter().zip(test(true));
    let tested: Vec<Option<(f64, f64)>> = claims
        .iter()
        .map(|claim| claim.settled.is_none().then(|| p.next()).flatten())
        .collect();
    let cuts = Cuts::new(claims.iter().map(|c| &c.sample), options.confidence);
    let both = claims.par_iter().zip(tested);
    both.map(|(claim, tested)| answer(claim, tested, level, &cuts))
        .collect()
}

fn answer(claim: &Claim, tested: Option<(f64, f64)>, level: f64, cuts: &Cuts) -> Answer {
    let (estimate, interval) = claim.sample.shift_within(cuts);
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
            } else if interval.is_some_and(|(low, high)| low >= -claim.same && high <= claim.same) {
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

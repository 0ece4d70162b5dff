//! How often comparisons err, by simulation: whole comparisons of runs whose step times are drawn from
//! recorded ones.
//!
//! Trials are drawn in racing order from a stretch of a recorded run, each as the ratio of its step time
//! to the median of its row, so that noise comes with its tails and with its memory. Seeds scatter the
//! steps to target by [`Setting::scatter`], and in the worst case a change makes the steps of equal seeds
//! independent: that is how it is drawn here.

use super::stats::median;
use super::{CompareError, CompareOptions, Looks, Verdict, compare};
use crate::record::{EvalRecord, RUN_FORMAT, RunRecord, Status};
use crate::run::{Run, Trial};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use std::collections::HashMap;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Rows of the suite.
    pub rows: usize,
    /// Studies: of two runs their number, of a race the most.
    pub studies: u32,
    /// A race, whose trials are raced in turn and which ends when the verdict is clear; else two runs,
    /// one after the other.
    pub race: bool,
    /// Two runs whose seeds differ.
    pub other_seeds: bool,
    /// The machine between two runs: their step times differ by a share drawn evenly up to this.
    pub sittings: f64,
    /// Standard deviation of the logarithm of the steps to target over seeds.
    pub scatter: f64,
    /// The candidate's step times, as a factor.
    pub step: f64,
    /// The candidate's steps to target, as a factor; 1 with equal seeds is the same trial.
    pub steps: f64,
    /// The candidate's bytes of state, as a factor.
    pub state: f64,
}

impl Default for Setting {
    /// Two runs of an unchanged program: six rows, ten studies.
    fn default() -> Self {
        Self {
            rows: 6,
            studies: 10,
            race: false,
            other_seeds: false,
            sittings: 0.1,
            scatter: 0.1,
            step: 1.0,
            steps: 1.0,
            state: 1.0,
        }
    }
}

/// Verdicts of simulated comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Comparisons.
    pub comparisons: usize,
    /// Those that ended `regressed`, `improved`, `same` and `inconclusive`.
    pub regressed: usize,
    /// See [`Self::regressed`].
    pub improved: usize,
    /// See [`Self::regressed`].
    pub same: usize,
    /// See [`Self::regressed`].
    pub inconclusive: usize,
    /// Pairs that a comparison needed, on average.
    pub pairs: f64,
}

/// Compares `comparisons` times under `setting`, from the step times of `records`, whose trials stand in
/// racing order.
///
/// # Errors
/// [`CompareError`] as for [`compare`]; [`CompareError::NoTimes`] where no row of the records has three
/// step times.
pub fn simulate(
    records: &[Run],
    setting: &Setting,
    options: &CompareOptions,
    comparisons: usize,
    seed: u64,
) -> Result<Rates, CompareError> {
    let noise: Vec<Vec<f64>> = records
        .iter()
        .map(residuals)
        .filter(|s| !s.is_empty())
        .collect();
    let template = records
        .iter()
        .flat_map(|r| &r.trials)
        .find(|t| t.record.status == Status::Reached);
    let (Some(template), false) = (template, noise.is_empty()) else {
        return Err(CompareError::NoTimes);
    };
    let mut template = template.clone();
    template.evals.truncate(1);
    template.record.outcome.counters.evaluations = 1;
    template.record.outcome.peak_memory_bytes = None;
    template.record.outcome.step_times.histogram.clear();
    let found: Result<Vec<(Verdict, usize)>, CompareError> = (0..comparisons)
        .into_par_iter()
        .map(|i| {
            let mut draw = Draw {
                rng: ChaCha8Rng::seed_from_u64(seed.wrapping_add(i as u64)),
                noise: &noise,
                template: &template,
                setting,
            };
            if setting.race {
                draw.race(options)
            } else {
                draw.runs(options)
            }
        })
        .collect();
    let found = found?;
    let count = |verdict| found.iter().filter(|(v, _)| *v == verdict).count();
    let pairs: usize = found.iter().map(|(_, pairs)| pairs).sum();
    Ok(Rates {
        comparisons,
        regressed: count(Verdict::Regressed),
        improved: count(Verdict::Improved),
        same: count(Verdict::Same),
        inconclusive: count(Verdict::Inconclusive),
        pairs: pairs as f64 / comparisons.max(1) as f64,
    })
}

/// Logarithms of the step times of a run, in racing order, about the medians of their rows.
fn residuals(run: &Run) -> Vec<f64> {
    let step = |t: &Trial| {
        let mean = t.record.outcome.step_times.mean;
        (mean > 0.0).then(|| mean.ln())
    };
    let mut rows: HashMap<(&str, &str), Vec<f64>> = HashMap::new();
    for trial in &run.trials {
        let row = rows.entry((&trial.record.workload, &trial.record.submission));
        row.or_default().extend(step(trial));
    }
    rows.retain(|_, values| values.len() >= 3);
    let levels: HashMap<_, _> = rows
        .into_iter()
        .filter_map(|(row, mut values)| Some((row, median(&mut values)?)))
        .collect();
    let about_level = |trial: &Trial| {
        let row = (
            trial.record.workload.as_str(),
            trial.record.submission.as_str(),
        );
        Some(step(trial)? - levels.get(&row)?)
    };
    run.trials.iter().filter_map(about_level).collect()
}

/// One simulated comparison.
struct Draw<'a> {
    rng: ChaCha8Rng,
    noise: &'a [Vec<f64>],
    template: &'a Trial,
    setting: &'a Setting,
}

impl Draw<'_> {
    fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * n as u128) >> 64) as usize
    }

    /// A standard normal value (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Noise of `n` trials that are raced one after the other: a stretch of a recorded run, which is
    /// closed to a ring.
    fn stretch(&mut self, n: usize) -> Vec<f64> {
        let noise = self.noise;
        let series = &noise[self.below(noise.len())];
        let from = self.below(series.len());
        series.iter().cycle().skip(from).take(n).copied().collect()
    }

    /// Steps to target of the two trials of a pair, or of two samples.
    fn steps(&mut self) -> (f64, f64) {
        let scatter = self.setting.scatter;
        let base = 1000.0 * (scatter * self.normal()).exp();
        if self.setting.steps == 1.0 && !self.setting.other_seeds {
            return (base, base);
        }
        let other = 1000.0 * (scatter * self.normal()).exp();
        (base, other * self.setting.steps)
    }

    fn trial(&self, row: usize, study: u32, steps: f64, step: f64, candidate: bool) -> Trial {
        let mut trial = self.template.clone();
        let record = &mut trial.record;
        record.workload = format!("workload_{row}");
        record.study = study;
        record.id = format!("workload_{row}.x.study-{study}.trial-1");
        record.seeds.data = u64::from(study);
        let outcome = &mut record.outcome;
        outcome.steps_to_target = Some(steps.round() as u64);
        outcome.step_times.mean = step;
        outcome.state_bytes = 1 << 20;
        if candidate {
            outcome.state_bytes = (self.setting.state * f64::from(1 << 20)) as u64;
            record.seeds.data += if self.setting.other_seeds { 1 << 32 } else { 0 };
        }
        let evals = trial.evals.iter().map(|e| EvalRecord {
            step: steps.round() as u64,
            ..e.clone()
        });
        trial.evals = evals.collect();
        trial
    }

    fn run(&self, trials: Vec<Trial>) -> Run {
        Run {
            path: "simulated".into(),
            record: RunRecord {
                format: RUN_FORMAT.into(),
                suite: "simulated".into(),
                ruleset: "external".into(),
                cadence: "work".into(),
                seed: 0,
                held_out: Vec::new(),
                trials: Vec::new(),
            },
            trials,
            missing: Vec::new(),
            damaged: Vec::new(),
        }
    }

    /// Two runs, one after the other.
    fn runs(&mut self, options: &CompareOptions) -> Result<(Verdict, usize), CompareError> {
        let pairs = self.setting.rows * self.setting.studies as usize;
        let shift = (2.0 * self.unit() - 1.0) * self.setting.sittings.ln_1p();
        let noise = self.stretch(pairs).into_iter().zip(self.stretch(pairs));
        let (mut base, mut candidate) = (Vec::new(), Vec::new());
        for (pair, (a, b)) in noise.enumerate() {
            let (row, study) = self.place(pair);
            let (before, after) = self.steps();
            base.push(self.trial(row, study, before, a.exp(), false));
            let step = self.setting.step * (b + shift).exp();
            candidate.push(self.trial(row, study, after, step, true));
        }
        let found = compare(&self.run(base), &self.run(candidate), options)?;
        Ok((found.verdict, pairs))
    }

    /// Row and study of a pair: study by study.
    fn place(&self, pair: usize) -> (usize, u32) {
        let rows = self.setting.rows.max(1);
        (pair % rows, 1 + (pair / rows) as u32)
    }

    /// A race: in turn, and looked at until it is clear.
    fn race(&mut self, options: &CompareOptions) -> Result<(Verdict, usize), CompareError> {
        let most = self.setting.rows * self.setting.studies as usize;
        let noise = self.stretch(2 * most);
        let (mut base, mut candidate) = (self.run(Vec::new()), self.run(Vec::new()));
        let options = CompareOptions {
            drift: 0.0,
            ..*options
        };
        let mut looks = Looks::new(most);
        let mut first = false;
        for pair in 0..most {
            let (row, study) = self.place(pair);
            let (before, after) = self.steps();
            // ABBA or BAAB, by lot.
            first = if pair % 2 == 0 {
                self.rng.next_u64() & 1 == 1
            } else {
                !first
            };
            let (a, b) = (
                noise[2 * pair + usize::from(first)],
                noise[2 * pair + usize::from(!first)],
            );
            base.trials
                .push(self.trial(row, study, before, a.exp(), false));
            let step = self.setting.step * b.exp();
            candidate
                .trials
                .push(self.trial(row, study, after, step, true));
            if (pair + 1) % self.setting.rows.max(1) != 0 || !looks.is_due(pair + 1) {
                continue;
            }
            let found = compare(&base, &candidate, &looks.options(&options, pair + 1))?;
            looks.book(pair + 1);
            if found.verdict != Verdict::Inconclusive {
                return Ok((found.verdict, pair + 1));
            }
        }
        Ok((Verdict::Inconclusive, most))
    }
}

//! Boards and runs made up for the tests of the charts and the report, with the shapes of real ones:
//! losses that fall like a power of the clock, spread over studies, one crash and one miss.

use std::collections::BTreeMap;
use std::path::PathBuf;
use velodrome_results::board::{Board, BoardCell, BoardRow, BoardWorkload, StudyResult};
use velodrome_results::run::{Run, Trial};
use velodrome_results::*;

/// A workload of the synthetic suite.
pub struct Work {
    pub name: &'static str,
    pub metric: &'static str,
    pub direction: Direction,
    pub target: f64,
    /// Metric at the start and the best that can be had.
    pub range: (f64, f64),
    /// Seconds of the budget.
    pub seconds: f64,
}

pub fn suite() -> Vec<Work> {
    let work = |name, metric, direction, target, range, seconds| Work {
        name,
        metric,
        direction,
        target,
        range,
        seconds,
    };
    vec![
        work(
            "digits_mlp",
            "error_rate",
            Direction::Minimize,
            0.05,
            (0.91, 0.018),
            6.0,
        ),
        work(
            "fashion_resnet",
            "accuracy",
            Direction::Maximize,
            0.86,
            (0.1, 0.91),
            60.0,
        ),
        work(
            "shakespeare_gpt",
            "loss",
            Direction::Minimize,
            1.95,
            (5.55, 1.6),
            150.0,
        ),
    ]
}

/// Submissions with how fast each is on each workload (1 is the reference).
pub const SPEEDS: [(&str, [f64; 3]); 6] = [
    ("adamw", [1.0, 1.0, 1.0]),
    ("nadamw", [1.08, 0.97, 1.18]),
    ("nesterov", [0.55, 1.3, 0.22]),
    ("heavy_ball", [0.5, 1.05, 0.1]),
    ("lion", [0.9, 0.8, 1.4]),
    ("schedule_free_adamw", [1.1, 0.9, 0.85]),
];

/// A repeatable number in 0..1.
pub fn noise(n: u64) -> f64 {
    let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x >> 11) as f64 / (1u64 << 53) as f64
}

pub fn fingerprint() -> Fingerprint {
    Fingerprint {
        cpu: "Example CPU 9000 @ 2.50GHz".into(),
        cores: 2,
        cpu_flags: vec!["avx2".into(), "avx512f".into(), "fma".into()],
        memory_bytes: 16 << 30,
        os: "Linux 6.1".into(),
        device: "flex".into(),
        threads: 2,
        rustc: "1.95.0".into(),
        versions: BTreeMap::from([
            ("burn".to_string(), "0.22.1".to_string()),
            ("velodrome".to_string(), "0.1.0".to_string()),
        ]),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        executable: "ab".repeat(32),
        ..Fingerprint::default()
    }
}

/// A trial without evaluations.
pub fn bare_trial(work: &Work, submission: &str, study: u32, trial: u32) -> Trial {
    let id = format!("{}.{submission}.study-{study}.trial-{trial}", work.name);
    Trial {
        path: PathBuf::from("run/trials").join(&id),
        evals: Vec::new(),
        record: TrialRecord {
            format: record::TRIAL_FORMAT.into(),
            hash: "0".repeat(64),
            id,
            workload: work.name.into(),
            workload_version: 1,
            base: work.name.into(),
            submission: submission.into(),
            ruleset: "external".into(),
            study,
            trial,
            point: BTreeMap::from([
                ("learning_rate".to_string(), 0.0031),
                ("weight_decay".to_string(), 0.01),
            ]),
            seeds: Seeds {
                data: 1,
                model: 2,
                algorithm: 3,
            },
            device: "flex".into(),
            threads: 2,
            target: Target {
                metric: work.metric.into(),
                direction: work.direction,
                validation: work.target,
                test: work.target,
                trainable_share: None,
            },
            budget: Budget {
                work: 240_000,
                seconds: work.seconds,
            },
            eval_every_work: 4_000,
            step_hint: None,
            eval_every_seconds: 0.0,
            fingerprint: fingerprint(),
            started: None,
            status: Status::Missed,
            ended_by: Some(EndedBy::WorkBudget),
            reason: None,
            outcome: Outcome::default(),
            findings: Vec::new(),
        },
    }
}

pub fn eval(n: u64, clock: f64, metric: &str, value: f64) -> EvalRecord {
    EvalRecord {
        n,
        step: n * 60,
        work: n * 4_000,
        clock,
        wall: clock * 1.2,
        train: BTreeMap::from([("loss".to_string(), 1.0)]),
        validation: BTreeMap::from([(metric.to_string(), value), ("other".to_string(), 7.0)]),
        test: BTreeMap::from([(metric.to_string(), value)]),
    }
}

/// A trial that is raced to its target or its budget.
pub fn trial(work: &Work, w: usize, s: usize, study: u32, number: u32) -> Trial {
    let (name, speeds) = SPEEDS[s];
    let seed = ((w * 100 + s) * 100 + study as usize * 10 + number as usize) as u64;
    let luck = 0.8 + 0.4 * noise(seed) - 0.25 * f64::from(number - 1);
    let speed = speeds[w] * luck;
    let mut t = bare_trial(work, name, study, number);
    let (start, floor) = work.range;
    for n in 0..=60u64 {
        let clock = work.seconds * n as f64 / 60.0;
        let progress = 1.0 / (1.0 + 14.0 * speed * clock / work.seconds).powf(1.35);
        let wobble = 1.0 + 0.06 * (noise(seed * 1000 + n) - 0.5);
        let value = floor + (start - floor) * progress * wobble;
        t.evals.push(eval(n, clock, work.metric, value));
        if work.direction.meets(value, work.target) {
            t.record.status = Status::Reached;
            t.record.ended_by = Some(EndedBy::Target);
            t.record.outcome.time_to_target = Some(clock);
            t.record.outcome.steps_to_target = Some(n * 60);
            break;
        }
    }
    finish(&mut t);
    t
}

/// Fills in the counts and the clock from the evaluations.
pub fn finish(t: &mut Trial) {
    let Some(last) = t.evals.last() else { return };
    let o = &mut t.record.outcome;
    o.counters = Counters {
        steps: last.step,
        work: last.work,
        tokens: last.work,
        forward_passes: last.step,
        backward_passes: last.step,
        evaluations: t.evals.len() as u64,
    };
    o.clock = ClockParts {
        setup: 0.12,
        start: 0.01,
        training: last.clock - 0.01,
        evaluation: last.clock * 0.2,
        logging: 0.004,
        checkpoint: 0.02,
        total: last.clock * 1.2 + 0.146,
        warm_up: last.clock * 0.02,
        ..ClockParts::default()
    };
    o.step_times = StepSummary {
        count: last.step,
        mean: 0.0101,
        quantiles: [0.008, 0.009, 0.01, 0.011, 0.013],
        min: 0.007,
        max: 0.03,
        histogram: vec![(0.0095, last.step)],
    };
    let metric = &t.record.target.metric;
    let values = t
        .evals
        .iter()
        .filter_map(|e| e.validation.get(metric).copied());
    let direction = t.record.target.direction;
    o.best_validation = values.reduce(|a, b| if direction.better(b, a) { b } else { a });
    o.test_at_best = o.best_validation;
    o.state_bytes = 1_234_567;
    o.trainable_parameters = 110_000;
    o.parameters = 110_000;
    o.peak_memory_bytes = Some(150 << 20);
}

/// 6 submissions x 3 workloads x 3 studies x 2 trials; `lion` crashes on `fashion_resnet` in study
/// 2, `heavy_ball` cannot reach the target of `shakespeare_gpt`.
pub fn run() -> Run {
    let mut trials = Vec::new();
    for (w, work) in suite().iter().enumerate() {
        for s in 0..SPEEDS.len() {
            for study in 1..=3 {
                for number in 1..=2 {
                    let mut t = trial(work, w, s, study, number);
                    if (w, s, study) == (1, 4, 2) {
                        t.evals.truncate(9);
                        t.record.status = Status::Crashed;
                        t.record.ended_by = Some(EndedBy::Failure);
                        t.record.reason =
                            Some("the submission panicked at step 487: index out of bounds".into());
                        t.record.outcome = Outcome::default();
                        finish(&mut t);
                    }
                    if s == 5 {
                        t.record.findings.push(Finding {
                            code: "background_work".into(),
                            message: "other threads worked while the clock stood".into(),
                        });
                    }
                    trials.push(t);
                }
            }
        }
    }
    run_of(trials)
}

pub fn run_of(trials: Vec<Trial>) -> Run {
    Run {
        path: PathBuf::from("runs/quick"),
        record: RunRecord {
            format: record::RUN_FORMAT.into(),
            suite: "quick".into(),
            ruleset: "external".into(),
            cadence: "work".into(),
            seed: 20_260,
            held_out: Vec::new(),
            trials: trials
                .iter()
                .map(|t| (t.record.id.clone(), t.record.hash.clone()))
                .collect(),
        },
        trials,
        missing: Vec::new(),
        damaged: Vec::new(),
    }
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    let m = times.get(times.len().checked_sub(1)? / 2)?;
    m.is_finite().then_some(*m)
}

/// Scores the trials in the plainest way: fastest trial of a study, lower median of the studies.
pub fn board(suite: &[Work], trials: &[Trial]) -> Board {
    let mut names: Vec<String> = Vec::new();
    for t in trials {
        if !names.contains(&t.record.submission) {
            names.push(t.record.submission.clone());
        }
    }
    let mut rows: Vec<BoardRow> = names
        .iter()
        .map(|name| BoardRow {
            submission: name.clone(),
            rank: 1,
            score: 0.0,
            score_interval: None,
            rank_interval: None,
            rank_leave_one_out: None,
            cells: suite.iter().map(|w| cell(w, name, trials)).collect(),
        })
        .collect();
    let mut workloads = Vec::new();
    for (i, w) in suite.iter().enumerate() {
        let best = rows.iter().filter_map(|r| r.cells[i].time).reduce(f64::min);
        for row in &mut rows {
            row.cells[i].ratio = row.cells[i].time.zip(best).map(|(t, b)| t / b);
        }
        workloads.push(BoardWorkload {
            name: w.name.into(),
            metric: w.metric.into(),
            direction: w.direction,
            target: w.target,
            best_time: best,
        });
    }
    for row in &mut rows {
        let area: f64 = row
            .cells
            .iter()
            .filter_map(|c| c.ratio)
            .map(|r| (4.0 - r.max(1.0)).max(0.0))
            .sum();
        row.score = area / (3.0 * suite.len().max(1) as f64);
        row.score_interval = Some(((row.score - 0.08).max(0.0), (row.score + 0.05).min(1.0)));
    }
    rows.sort_by(|a, b| b.score.total_cmp(&a.score));
    for (i, row) in rows.iter_mut().enumerate() {
        row.rank = i + 1;
        row.rank_interval = Some((i.max(1), i + 2));
        row.rank_leave_one_out = Some((i + 1, i + 1));
    }
    Board {
        title: "quick".into(),
        ruleset: "external".into(),
        method: "Fastest trial of each study, median over studies, exact area for tau in 1..4."
            .into(),
        workloads,
        rows,
        notes: vec!["Comparison set: the six submissions of this board.".into()],
    }
}

fn cell(work: &Work, name: &str, trials: &[Trial]) -> BoardCell {
    let own: Vec<&TrialRecord> = trials
        .iter()
        .map(|t| &t.record)
        .filter(|r| r.workload == work.name && r.submission == name)
        .collect();
    let mut studies: Vec<StudyResult> = Vec::new();
    for r in &own {
        let time = r.outcome.time_to_target;
        let result = StudyResult {
            study: r.study,
            trial: r.trial,
            time,
            steps: r.outcome.steps_to_target,
            status: r.status,
        };
        match studies.iter_mut().find(|s| s.study == r.study) {
            None => studies.push(result),
            Some(s) => {
                if time.unwrap_or(f64::INFINITY) < s.time.unwrap_or(f64::INFINITY) {
                    *s = result;
                }
            }
        }
    }
    let statuses = Status::ALL
        .into_iter()
        .map(|s| (s, own.iter().filter(|r| r.status == s).count()))
        .filter(|(_, n)| *n > 0)
        .collect();
    BoardCell {
        tuning: None,
        time: median(
            studies
                .iter()
                .map(|s| s.time.unwrap_or(f64::INFINITY))
                .collect(),
        ),
        ratio: None,
        steps: median(
            studies
                .iter()
                .map(|s| s.steps.map_or(f64::INFINITY, |s| s as f64))
                .collect(),
        ),
        studies,
        statuses,
    }
}

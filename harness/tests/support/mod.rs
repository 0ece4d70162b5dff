//! A tiny workload whose phases take exactly as long as a test says, on a clock that the test
//! holds. It exists to test the harness: nothing is learned from it.
#![allow(dead_code, missing_docs)]

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use velodrome_harness::contract::*;
use velodrome_harness::race::time::FakeTime;
use velodrome_harness::race::trial::{Stop, Trial, TrialSetup};
use velodrome_results::measures::Measures;
use velodrome_results::record::TRIAL_FORMAT;
use velodrome_results::{
    Budget, Direction, EndedBy, Fingerprint, Outcome, Seeds, Status, Target, TrialRecord,
};

pub const EXAMPLES: usize = 64;

/// Points `(x, 2 x_1 - x_2)` on a fixed grid.
pub struct Grid {
    pub len: usize,
    pub time: Arc<FakeTime>,
    pub batch_takes: Duration,
}

impl Dataset for Grid {
    fn len(&self) -> usize {
        self.len
    }

    fn batch(&self, indices: &[usize]) -> HostBatch {
        self.time.advance(self.batch_takes);
        let x: Vec<f32> = indices
            .iter()
            .flat_map(|&i| [(i % 8) as f32 / 8.0, (i / 8) as f32 / 8.0])
            .collect();
        let y: Vec<f32> = x.chunks(2).map(|p| 2.0 * p[0] - p[1]).collect();
        let n = indices.len();
        HostBatch {
            fields: vec![
                HostField {
                    name: "x",
                    shape: vec![n, 2],
                    values: HostValues::Float(x),
                },
                HostField {
                    name: "y",
                    shape: vec![n],
                    values: HostValues::Float(y),
                },
            ],
            examples: n,
            units: n,
        }
    }
}

#[derive(Module, Debug)]
pub struct Line {
    map: Linear,
}

thread_local! {
    /// What an evaluation does beside computing, set by the workload that built the model.
    pub static DURING_EVALUATION: std::cell::RefCell<Option<Box<dyn Fn()>>> =
        const { std::cell::RefCell::new(None) };
}

impl Line {
    fn errors(&self, batch: &Batch) -> Result<Tensor<1>, ModelError> {
        let y = self.map.forward(batch.float::<2>("x")?);
        let n = batch.len();
        Ok((y.reshape([n]) - batch.float::<1>("y")?).square())
    }
}

impl Network for Line {
    fn losses(&self, batch: &Batch, _pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        self.errors(batch)
    }

    fn evaluate(&self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Measures, ModelError> {
        let (mut sum, mut n) = (0.0, 0);
        for batch in batches {
            sum += f64::from(self.errors(&batch)?.sum().into_scalar::<f32>());
            n += batch.len();
        }
        DURING_EVALUATION.with_borrow(|f| {
            if let Some(f) = f {
                f();
            }
        });
        Ok([("loss".to_string(), sum / n as f64)].into())
    }
}

pub struct FakeWorkload {
    pub time: Arc<FakeTime>,
    pub open_takes: Duration,
    pub batch_takes: Duration,
    pub test_points: usize,
}

impl FakeWorkload {
    pub fn new(time: &Arc<FakeTime>) -> Self {
        Self {
            time: time.clone(),
            open_takes: Duration::ZERO,
            batch_takes: Duration::ZERO,
            test_points: EXAMPLES,
        }
    }
}

impl Workload for FakeWorkload {
    fn spec(&self) -> WorkloadSpec {
        WorkloadSpec {
            name: "line".into(),
            version: 1,
            base: "line".into(),
            change: None,
            drawn: false,
            kind: "line".into(),
            size: Size::Laptop,
            summary: "a line".into(),
            track: Track::Pretrain,
            data: DataSource {
                name: "grid".into(),
                source: "made".into(),
                licence: "none".into(),
                sha256: String::new(),
            },
            model: "3 parameters".into(),
            parameters: 3,
            loss: "squared error".into(),
            unit: "points".into(),
            split_sizes: [EXAMPLES, EXAMPLES, self.test_points],
            target: target(),
            target_provenance: "by hand".into(),
            budget: Budget {
                work: 640,
                seconds: 1e6,
            },
            eval_every_work: 64,
            hints: Hints {
                steps: 80,
                batch_size: 8,
            },
            eval_batch_size: 64,
        }
    }

    fn open(&self) -> Result<Splits, WorkloadError> {
        self.time.advance(self.open_takes);
        let split = |len, batch_takes| Grid {
            len,
            time: self.time.clone(),
            batch_takes,
        };
        Ok(Splits::new(
            split(EXAMPLES, self.batch_takes),
            split(EXAMPLES, Duration::ZERO),
            split(self.test_points, Duration::ZERO),
        ))
    }

    fn build(&self, device: &Device) -> Result<Box<dyn Model>, WorkloadError> {
        let map = LinearConfig::new(2, 1).init(device);
        Ok(Box::new(Trained::new(Line { map })))
    }
}

pub fn target() -> Target {
    Target {
        metric: "loss".into(),
        direction: Direction::Minimize,
        validation: 1e-12,
        test: 1e-12,
        trainable_share: None,
    }
}

/// What a probe does at a step.
pub type OnUpdate =
    Arc<dyn Fn(u64, &mut Trainee, &Batch) -> Result<(), SubmissionError> + Send + Sync>;

/// Gradient descent whose hooks are closures of the test.
pub struct Probe {
    pub on_start: fn(&FakeTime, &mut Trainee),
    pub on_update: OnUpdate,
    pub on_prepare: fn(&FakeTime),
    pub time: Arc<FakeTime>,
}

impl Probe {
    pub fn new(time: &Arc<FakeTime>) -> Self {
        Self {
            on_start: |_, _| {},
            on_update: Arc::new(descend),
            on_prepare: |_| {},
            time: time.clone(),
        }
    }
}

/// One step of plain gradient descent.
pub fn descend(_: u64, trainee: &mut Trainee, batch: &Batch) -> Result<(), SubmissionError> {
    let pass = trainee.gradients(batch, &PassOptions::default())?;
    let gradients = pass.gradients;
    trainee.map(|info, value| match gradients.get(info) {
        Some(gradient) => value - gradient.mul_scalar(0.1),
        None => value,
    });
    Ok(())
}

impl Submission for Probe {
    fn describe(&self) -> Description {
        Description {
            name: "probe",
            summary: "gradient descent under test",
            paper: "none",
            reference: "none",
            track: Track::Pretrain,
            rulesets: &[Ruleset::External, Ruleset::SelfTuning],
            version: "1",
        }
    }

    fn search_space(&self) -> SearchSpace {
        SearchSpace::new()
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        _context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        (self.on_start)(&self.time, trainee);
        Ok(Box::new(Running {
            on_update: self.on_update.clone(),
            on_prepare: self.on_prepare,
            time: self.time.clone(),
        }))
    }
}

struct Running {
    on_update: OnUpdate,
    on_prepare: fn(&FakeTime),
    time: Arc<FakeTime>,
}

impl Algorithm for Running {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        (self.on_update)(context.step, trainee, batch)
    }

    fn prepare_for_eval(&mut self, _trainee: &mut Trainee) -> Result<(), SubmissionError> {
        (self.on_prepare)(&self.time);
        Ok(())
    }

    fn save(&self, _state: &mut State) -> Result<(), SubmissionError> {
        Ok(())
    }

    fn load(&mut self, _state: &State, _trainee: &Trainee) -> Result<(), SubmissionError> {
        Ok(())
    }
}

/// A planned trial of the fake workload.
pub fn planned(workload: &FakeWorkload) -> TrialRecord {
    let spec = workload.spec();
    TrialRecord {
        format: TRIAL_FORMAT.into(),
        id: "line.probe.study-1.trial-1".into(),
        hash: "0".into(),
        workload: spec.name,
        workload_version: spec.version,
        base: spec.base,
        submission: "probe".into(),
        ruleset: "self-tuning".into(),
        study: 1,
        trial: 1,
        point: BTreeMap::new(),
        seeds: Seeds {
            data: 1,
            model: 2,
            algorithm: 3,
        },
        device: "flex".into(),
        threads: 2,
        target: spec.target,
        budget: spec.budget,
        eval_every_work: spec.eval_every_work,
        step_hint: None,
        eval_every_seconds: 0.0,
        fingerprint: Fingerprint::default(),
        started: None,
        status: Status::Running,
        ended_by: None,
        reason: None,
        outcome: Outcome::default(),
        findings: Vec::new(),
    }
}

/// Burn's random generator is one per process: trials of parallel tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Races the trial in `dir`, in this process.
pub fn race(
    workload: &FakeWorkload,
    submission: &dyn Submission,
    record: TrialRecord,
    dir: &Path,
) -> TrialRecord {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = TrialSetup {
        workload,
        submission,
        device: Device::flex(),
        dir,
        checkpoint_seconds: 0.0,
        keep_weights: false,
        time: workload.time.clone(),
    };
    let mut emit = |_| {};
    let mut trial = Trial::new(setup, record, &mut emit);
    let result: Result<EndedBy, Stop> = trial.run();
    trial.finish(result).unwrap()
}

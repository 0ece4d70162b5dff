//! Hyperparameters that are tuned while the weights train: unconstrained numbers with a scale of
//! perturbation, stepped by Adam on the gradient of a validation loss.

use rand::Rng;
use serde::{Deserialize, Serialize};
use std::f64::consts::{E, PI, TAU};
use velodrome_harness::contract::PassOptions;

/// Adam's decay rates and epsilon, as in `torch.optim.Adam`.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// What a hyperparameter sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sets {
    /// The dropout rate.
    Dropout,
    /// The label smoothing.
    LabelSmoothing,
    /// The factor `l` of the penalty `l |w|^2 / 2` of the kernels.
    L2,
}

/// A hyperparameter between 0 and `high`: `value(x) = high / (1 + exp(-x))` of an unconstrained `x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knob {
    /// What it sets.
    pub sets: Sets,
    /// Upper end of its range, not included.
    pub high: f64,
    /// Where it starts, between 0 and `high`.
    pub start: f64,
}

impl Knob {
    /// The hyperparameter's value at the unconstrained `x`.
    pub fn value(&self, x: f64) -> f64 {
        self.high / (1.0 + (-x).exp())
    }

    /// The unconstrained number whose value is `y`.
    pub fn unvalue(&self, y: f64) -> f64 {
        (y / (self.high - y)).ln()
    }
}

/// How hyperparameters are tuned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Adam's learning rate for the unconstrained numbers and the scales.
    pub learning_rate: f64,
    /// Standard deviation of the perturbations at the start, above 0.
    pub scale: f64,
    /// Whether the scales are tuned too.
    pub learn_scale: bool,
    /// Weight of the perturbations' entropy, which the validation loss is rewarded with.
    pub entropy: f64,
}

/// What a step of training is regularised with.
#[derive(Debug, Clone)]
pub struct Regularisation {
    /// Dropout and label smoothing; 0 where they are not tuned.
    pub options: PassOptions,
    /// Factor of the penalty on the kernels.
    pub l2: f64,
}

/// Adam on a few numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Adam {
    at: Vec<f64>,
    average: Vec<f64>,
    square: Vec<f64>,
}

impl Adam {
    fn new(at: Vec<f64>) -> Self {
        let zeros = vec![0.0; at.len()];
        Self {
            at,
            average: zeros.clone(),
            square: zeros,
        }
    }

    /// Step number `time`, from 1.
    fn step(&mut self, slopes: &[f64], lr: f64, time: i32) {
        let (first, second) = (1.0 - BETA1.powi(time), 1.0 - BETA2.powi(time));
        let state = self.average.iter_mut().zip(&mut self.square);
        for ((x, (m, v)), g) in self.at.iter_mut().zip(state).zip(slopes) {
            *m = BETA1 * *m + (1.0 - BETA1) * g;
            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
            *x -= lr * (*m / first) / ((*v / second).sqrt() + EPSILON);
        }
    }
}

/// What a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    center: Adam,
    spread: Adam,
    steps: i32,
}

/// One draw of perturbed hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// Standard normal numbers.
    pub noise: Vec<f64>,
    /// The unconstrained numbers plus scale times noise.
    pub at: Vec<f64>,
}

/// The hyperparameters at work.
#[derive(Debug, Clone)]
pub struct Tuned {
    knobs: Vec<Knob>,
    tuning: Tuning,
    position: Position,
}

impl Tuned {
    /// Hyperparameters at their starts.
    pub fn new(knobs: Vec<Knob>, tuning: Tuning) -> Self {
        let center = knobs.iter().map(|k| k.unvalue(k.start)).collect();
        let spread = vec![unsoftplus(tuning.scale); knobs.len()];
        Self {
            knobs,
            tuning,
            position: Position {
                center: Adam::new(center),
                spread: Adam::new(spread),
                steps: 0,
            },
        }
    }

    /// The unconstrained numbers.
    pub fn center(&self) -> &[f64] {
        &self.position.center.at
    }

    /// The values that they stand for.
    pub fn values(&self) -> Vec<f64> {
        let pairs = self.knobs.iter().zip(self.center());
        pairs.map(|(knob, x)| knob.value(*x)).collect()
    }

    /// Standard deviations of the perturbations, in unconstrained units.
    pub fn scales(&self) -> Vec<f64> {
        self.position
            .spread
            .at
            .iter()
            .map(|s| softplus(*s))
            .collect()
    }

    /// A perturbed draw.
    pub fn draw(&self, rng: &mut impl Rng) -> Draw {
        let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let noise: Vec<f64> = self
            .knobs
            .iter()
            .map(|_| normal(uniform(), uniform()))
            .collect();
        let moved = self.center().iter().zip(self.scales()).zip(&noise);
        Draw {
            at: moved.map(|((x, s), e)| x + s * e).collect(),
            noise,
        }
    }

    /// What a step at these unconstrained numbers is regularised with.
    pub fn regularisation(&self, at: &[f64]) -> Regularisation {
        let mut found = Regularisation {
            options: PassOptions {
                dropout: Some(0.0),
                ..PassOptions::default()
            },
            l2: 0.0,
        };
        for (knob, x) in self.knobs.iter().zip(at) {
            let value = knob.value(*x);
            match knob.sets {
                Sets::Dropout => found.options.dropout = Some(value),
                Sets::LabelSmoothing => found.options.label_smoothing = value,
                Sets::L2 => found.l2 = value,
            }
        }
        found
    }

    /// One step, from the validation loss's gradient at a draw.
    pub fn step(&mut self, slopes: &[f64], draw: &Draw) {
        let Tuning {
            learning_rate: lr,
            entropy,
            learn_scale,
            ..
        } = self.tuning;
        self.position.steps += 1;
        let time = self.position.steps;
        if learn_scale {
            let spread = &mut self.position.spread;
            let each = spread.at.iter().zip(slopes).zip(&draw.noise);
            let slopes: Vec<f64> = each
                .map(|((s, g), e)| (g * e - entropy / softplus(*s)) / (1.0 + (-s).exp()))
                .collect();
            spread.step(&slopes, lr, time);
        }
        self.position.center.step(slopes, lr, time);
    }

    /// For a checkpoint.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Goes on from a checkpoint; `false` if that is of another number of hyperparameters.
    pub fn resume(&mut self, position: Position) -> bool {
        let n = self.knobs.len();
        let fits = [&position.center, &position.spread]
            .iter()
            .all(|a| [&a.at, &a.average, &a.square].iter().all(|v| v.len() == n));
        if fits {
            self.position = position;
        }
        fits
    }
}

/// Entropy in nats of independent normal numbers with these standard deviations.
pub fn entropy(scales: &[f64]) -> f64 {
    let each = scales.iter().map(|s| (s * (TAU * E).sqrt()).ln());
    each.sum()
}

/// A standard normal number from two uniform ones in `[0, 1)` (Box and Muller 1958).
pub fn normal(a: f64, b: f64) -> f64 {
    (-2.0 * (1.0 - a).ln()).sqrt() * (2.0 * PI * b).cos()
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn unsoftplus(y: f64) -> f64 {
    y + (-(-y).exp_m1()).ln()
}

//! Averages of the weights at chosen steps.

use crate::common::fraction;
use burn::tensor::Tensor;
use velodrome_harness::contract::{ParamInfo, Point, SubmissionError, Trainee};

/// How snapshots are averaged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// Mean of the latest so many.
    Queue(usize),
    /// Exponential moving average of this decay rate, from the first snapshot.
    Ema(f64),
}

/// Which steps leave a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// First step that may, from 0.
    pub start: u64,
    /// Those that are multiples of this do.
    pub every: u64,
}

impl Cadence {
    /// From `burn_in_factor` and `every_factor`, for `steps` steps in all.
    pub fn from_point(point: &Point, steps: u64) -> Result<Self, SubmissionError> {
        let steps = steps as f64;
        Ok(Self {
            start: (fraction(point, "burn_in_factor")? * steps).ceil() as u64,
            every: ((fraction(point, "every_factor")? * steps).ceil() as u64).max(1),
        })
    }

    /// Whether the weights behind `step` (from 0) become a snapshot.
    pub fn takes(&self, step: u64) -> bool {
        step >= self.start && step.is_multiple_of(self.every)
    }
}

/// The average of one trial's snapshots: of the trainable parameters, flat, in order.
#[derive(Debug, Clone)]
pub struct Snapshots {
    form: Form,
    /// The queue as a ring, or the one moving average.
    places: Vec<Vec<Tensor<1>>>,
    taken: usize,
    /// The queue's mean, once it was asked for.
    mean: Option<Vec<Tensor<1>>>,
}

impl Snapshots {
    /// None yet; the places hold `initial`.
    pub fn new(form: Form, initial: Vec<Tensor<1>>) -> Self {
        let places = match form {
            Form::Queue(length) => length.max(1),
            Form::Ema(_) => 1,
        };
        Self {
            form,
            places: vec![initial; places],
            taken: 0,
            mean: None,
        }
    }

    /// Takes in one more snapshot.
    pub fn push(&mut self, weights: Vec<Tensor<1>>) {
        let place = self.taken % self.places.len();
        if let Some(old) = self.places.get_mut(place) {
            *old = match self.form {
                Form::Ema(beta) if self.taken > 0 => old
                    .iter()
                    .zip(weights)
                    .map(|(e, w)| e.clone().mul_scalar(beta) + w.mul_scalar(1.0 - beta))
                    .collect(),
                _ => weights,
            };
        }
        self.taken += 1;
        self.mean = None;
    }

    /// Snapshots taken so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// All tensors, to be saved.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor<1>> {
        self.places.iter().flatten()
    }

    /// Stands as after `taken` snapshots, and gives the tensors, to be restored.
    pub fn restore(&mut self, taken: usize) -> impl Iterator<Item = &mut Tensor<1>> {
        self.taken = taken;
        self.mean = None;
        self.places.iter_mut().flatten()
    }

    /// Whether there is an average to be evaluated.
    pub fn ready(&self) -> bool {
        self.taken >= self.places.len()
    }

    /// The average, once it is [ready](Self::ready).
    pub fn average(&mut self) -> Option<Vec<Tensor<1>>> {
        if !self.ready() {
            return None;
        }
        if self.mean.is_none() {
            let mut places = self.places.iter();
            let first = places.next()?.clone();
            let sum = places.fold(first, |sum, place| {
                let pairs = sum.into_iter().zip(place);
                pairs.map(|(a, b)| a + b.clone()).collect()
            });
            let share = 1.0 / self.places.len() as f64;
            self.mean = Some(sum.into_iter().map(|s| s.mul_scalar(share)).collect());
        }
        self.mean.clone()
    }
}

/// Puts `average` in the place of trainable parameters, in order.
pub fn placed(average: Vec<Tensor<1>>) -> impl FnMut(&ParamInfo, Tensor<1>) -> Tensor<1> {
    let mut average = average.into_iter();
    move |info, old| match info.trainable {
        true => average.next().unwrap_or(old),
        false => old,
    }
}

/// Values of the trainable parameters, in order.
pub fn trainable(trainee: &Trainee) -> Vec<Tensor<1>> {
    let params = trainee.params();
    let values = params.iter().zip(trainee.values());
    values
        .filter_map(|(info, value)| info.trainable.then_some(value))
        .collect()
}
